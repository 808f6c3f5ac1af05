"""Every verb does what its help says, with the files that a user would look at."""

import csv
import io
import json
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

import earnest as er
from earnest.wording import in_shell


def test_help_answers_at_once():
    started = time.perf_counter()
    answer = subprocess.run([sys.executable, "-m", "earnest.cli", "--help"], capture_output=True, text=True, check=True)
    # 0.1 s on an idle machine; the margin is for a busy one. What counts is that neither JAX nor DuckDB is imported.
    assert time.perf_counter() - started < 2.0
    for verb in ("simulate", "fit", "sample", "threshold", "filter", "export", "demo"):
        assert verb in answer.stdout
    probe = "import sys, earnest.cli; print([m for m in ('jax', 'duckdb', 'pandas', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_simulate_writes_a_log_and_its_truth(tmp_path, earnest):
    arguments = ("--users", 7, "--comparisons", 5, "--models", 3, "--truth", tmp_path / "truth.json")
    earnest("simulate", "--out", tmp_path / "votes.parquet", *arguments)
    log = er.read_comparisons(tmp_path / "votes.parquet")
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert len(log) == 35
    assert set(truth["attentiveness"]) == set(log.users)
    assert len(truth["parameters"]["skill"]) == 3


def test_fit_says_what_it_chose_and_saves_what_it_learned(earnest, votes, tmp_path):
    said = earnest("fit", votes, "--out", tmp_path / "fit").output
    assert "480 votes of 40 users on 3 models" in said
    assert "ties by Davidson, since the log has" in said
    assert "skill model_1" in said
    fit = er.load(tmp_path / "fit")
    assert len(fit.attentiveness) == 40
    assert fit.columns["user"] == "user"


def test_a_log_without_ties_gets_a_model_without(earnest, tmp_path):
    rows = ["user,model_a,model_b,winner"]
    rows += [f"u{u},x,y,{'model_a' if (u + n) % 3 else 'model_b'}" for u in range(6) for n in range(8)]
    (tmp_path / "votes.csv").write_text("\n".join(rows))
    said = earnest("fit", tmp_path / "votes.csv", "--out", tmp_path / "fit").output
    assert "no ties, since the log has none" in said
    assert er.load(tmp_path / "fit").schema.outcomes == ("model_a", "model_b")


def test_a_model_file_is_what_is_fitted(earnest, votes, tmp_path):
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.RaoKupper()), casual=er.CoinFlip())
    (tmp_path / "model.toml").write_text(model.to_toml())
    earnest("fit", votes, "--model", tmp_path / "model.toml", "--out", tmp_path / "fit")
    assert er.load(tmp_path / "fit").model == model


def test_columns_are_named_once_and_remembered(earnest, votes, tmp_path):
    with votes.open() as file:
        rows = list(csv.reader(file))
    names = {"user": "who", "model_a": "one", "model_b": "two", "winner": "better"}
    rows[0] = [names.get(name, name) for name in rows[0]]
    with (tmp_path / "votes.csv").open("w") as file:
        csv.writer(file).writerows(rows)
    options = ("--user", "who", "--model-a", "one", "--model-b", "two", "--winner", "better")
    earnest("fit", tmp_path / "votes.csv", *options, "--out", tmp_path / "fit")
    arguments = ("--fit", tmp_path / "fit", "--threshold", 0.5, "--out")
    earnest("filter", tmp_path / "votes.csv", *arguments, tmp_path / "kept.csv")
    # what Earnest wrote has the standard names and is read all the same
    earnest("filter", tmp_path / "kept.csv", *arguments, tmp_path / "again.csv")
    assert (tmp_path / "kept.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_threshold_prints_the_curve_the_choice_and_the_reason(earnest, fitted):
    said = earnest("threshold", fitted).output
    best = er.thresholds(er.load(fitted)).recommend()
    assert f"recommended threshold {best.threshold:.4f}: {in_shell(best.reason)}" in said
    assert f"{best.threshold:.4f}  <-" in said
    assert "every label kept" in said
    assert "soft weights" in said


def test_nothing_but_results_when_piped(fitted):
    command = [sys.executable, "-m", "earnest.cli", "threshold", str(fitted)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


def test_threshold_speaks_json_and_csv(earnest, fitted):
    curve = er.thresholds(er.load(fitted))
    told = json.loads(earnest("threshold", fitted, "--json").stdout)
    assert told["recommendation"]["threshold"] == pytest.approx(curve.recommend().threshold)
    assert told["references"]["unfiltered"] == pytest.approx(curve.unfiltered)
    assert len(told["curve"]) == len(curve.table)
    rows = list(csv.DictReader(io.StringIO(earnest("threshold", fitted, "--csv").stdout)))
    assert [float(row["users"]) for row in rows] == curve.table["users"].tolist()


def test_filter_keeps_the_users_at_or_above_the_recommendation(earnest, fitted, votes, tmp_path):
    earnest("filter", votes, "--fit", fitted, "--threshold", "recommended", "--out", tmp_path / "kept.parquet")
    fit = er.load(fitted)
    best = er.thresholds(fit).recommend()
    expected = fit.attentiveness.query("mean >= @best.threshold")["user"]
    kept = er.read_comparisons(tmp_path / "kept.parquet")
    assert set(kept.users) == set(expected)
    assert len(kept) == best.labels


def test_export_writes_one_row_a_decided_vote(earnest, fitted, votes, tmp_path):
    said = earnest("export", votes, "--fit", fitted, "--out", tmp_path / "preferences.jsonl").output
    counts = er.read_comparisons(votes).outcome_counts()
    rows = [json.loads(line) for line in (tmp_path / "preferences.jsonl").read_text().splitlines()]
    assert len(rows) == counts["model_a"] + counts["model_b"]
    assert f"{counts['tie']:,} ties left out" in said
    wanted = {"prompt", "chosen", "rejected", "attentiveness", "weight", "label_noise", "label_noise_posterior"}
    assert wanted <= rows[0].keys()


def test_export_can_filter_at_once(earnest, fitted, votes, tmp_path):
    arguments = (votes, "--fit", fitted, "--threshold", "recommended", "--out")
    earnest("filter", *arguments, tmp_path / "kept.parquet")
    earnest("export", *arguments, tmp_path / "preferences.parquet")
    counts = er.read_comparisons(tmp_path / "kept.parquet").outcome_counts()
    assert pq.read_table(tmp_path / "preferences.parquet").num_rows == counts["model_a"] + counts["model_b"]


def test_export_takes_texts_from_tables(earnest, tmp_path):
    rows = ["user,model_a,model_b,winner,prompt"]
    rows += [f"u{u},x,y,{'model_a' if (u + n) % 3 else 'model_b'},p{n}" for u in range(6) for n in range(4)]
    (tmp_path / "votes.csv").write_text("\n".join(rows))
    prompts = [{"id": f"p{n}", "text": f"question {n}"} for n in range(4)]
    answers = [{"prompt": f"p{n}", "model": m, "result": f"{m} says {n}"} for n in range(4) for m in "xy"]
    for name, table in (("prompts", prompts), ("answers", answers)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, table)))
    earnest("fit", tmp_path / "votes.csv", "--out", tmp_path / "fit")
    tables = ("--prompts", tmp_path / "prompts.jsonl", "--responses", tmp_path / "answers.jsonl")
    out = ("--out", tmp_path / "preferences.jsonl")
    earnest("export", tmp_path / "votes.csv", "--fit", tmp_path / "fit", *tables, *out)
    first = json.loads((tmp_path / "preferences.jsonl").read_text().splitlines()[0])
    assert (first["prompt"], first["chosen"], first["rejected"]) == ("question 0", "y says 0", "x says 0")


def test_the_demonstration_leaves_what_it_says(earnest, tmp_path):
    said = earnest("demo", "--out", tmp_path / "demo", "--users", 60, "--comparisons", 10).output
    for name in ("attentiveness", "skills", "thresholds", "em_trace"):
        assert (tmp_path / "demo" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / "demo" / f"{name}.svg").read_text()
        assert str(tmp_path / "demo" / f"{name}.png") in said
    assert "intervals hold the truth" in said
    for name in ("votes.csv", "truth.json", "kept.parquet", "preferences.jsonl"):
        assert (tmp_path / "demo" / name).is_file()
    # and the commands it ends with are true
    for line in said.splitlines():
        if line.startswith("  earnest "):
            earnest(*line.split()[1:])

"""The crowd's votes on real responses (skipped where the shared folder is not there)."""

import json

import pytest

from earnest.comparisons import count_cells, read_comparisons, write_preferences


def test_the_real_log_is_read_with_no_options(shared_data):
    log = read_comparisons(shared_data / "votes.csv")
    assert (len(log), len(log.users), len(log.models)) == (8931, 124, 59)
    counts = log.outcome_counts()
    assert sum(counts.values()) == 8931
    assert counts["tie"] / 8931 == pytest.approx(0.39, abs=0.005)
    assert counts["model_a"] > counts["model_b"]
    assert "comparison" not in log.mapping
    assert any("'id' repeats (2,139 values in 8,931 rows)" in note for note in log.notes)
    assert log.mapping["user"] == "worker"
    assert read_comparisons(shared_data / "votes.csv", item="id").mapping["item"] == "id"
    assert count_cells(log, ties=True).count.sum() == 8931
    n = count_cells(log, ties=True).n_comparisons()
    assert (n.min(), n.max()) == (7, 343)


@pytest.mark.parametrize("models", [{}, {"model_a": "model_x", "model_b": "model_y"}], ids=["names", "ids"])
def test_the_real_texts_are_found(shared_data, tmp_path, models):
    log = read_comparisons(shared_data / "votes.csv", **models)
    out = tmp_path / "preferences.jsonl"
    summary = write_preferences(log, out, None, shared_data / "prompts.jsonl", shared_data / "results.jsonl")
    assert (summary.written, summary.ties) == (5460, 3471)
    texts = {}
    for line in (shared_data / "results.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        texts[str(row["prompt"]), row["name"]] = texts[str(row["prompt"]), str(row["model"])] = row["result"]
    prompts = {
        str(row["id"]): row["text"]
        for row in map(json.loads, (shared_data / "prompts.jsonl").read_text(encoding="utf-8").splitlines())
    }
    votes = [vote for vote in log.to_arrow().to_pylist() if vote["winner"] != "tie"]
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    for vote, row in zip(votes, rows, strict=True):
        won, lost = ("model_a", "model_b") if vote["winner"] == "model_a" else ("model_b", "model_a")
        assert row["prompt"] == prompts[vote["prompt"]]
        assert row["chosen"] == texts[vote["prompt"], vote[won]]
        assert row["rejected"] == texts[vote["prompt"], vote[lost]]
        assert row["user"] == vote["user"]

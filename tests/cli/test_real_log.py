"""The README's four commands on the real log beside the checkout."""

import json

import pyarrow.parquet as pq

import earnest as er


def test_from_votes_to_preferences(shared_data, earnest, tmp_path):
    votes, fit = shared_data / "votes.csv", tmp_path / "fit"
    columns = ("--user", "worker", "--model-a", "left", "--model-b", "right", "--winner", "winner")
    said = earnest("fit", votes, *columns, "--out", fit).output
    assert "8,931 votes of 124 users on 59 models" in said
    assert "converged" in said
    assert "skill: 59 entries, highest GPT 4 " in said
    assert "recommended threshold" in earnest("threshold", fit).output

    earnest("filter", votes, "--fit", fit, "--threshold", "recommended", "--out", tmp_path / "kept.parquet")
    kept = er.read_comparisons(tmp_path / "kept.parquet")
    assert 4_000 < len(kept) < 8_931

    texts = ("--prompts", shared_data / "prompts.jsonl", "--responses", shared_data / "results.jsonl")
    out = tmp_path / "preferences.jsonl"
    earnest("export", votes, "--fit", fit, *texts, "--out", out)
    counts = er.read_comparisons(votes, user="worker", model_a="left", model_b="right").outcome_counts()
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == counts["model_a"] + counts["model_b"]
    assert all(row["prompt"] and row["chosen"] != row["rejected"] for row in rows[:1000])

    # what Earnest filtered is exported just as well
    earnest("export", tmp_path / "kept.parquet", "--fit", fit, *texts, "--out", tmp_path / "kept_preferences.parquet")
    counts = kept.outcome_counts()
    assert pq.read_table(tmp_path / "kept_preferences.parquet").num_rows == counts["model_a"] + counts["model_b"]

"""Votes inside nested objects: fields by their path, against the same log made flat by hand."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from earnest import InputError, doctor, read_comparisons
from earnest.cli import main
from earnest.comparisons.fields import available
from earnest.comparisons.sources import open_source


def votes(n=400, seed=1):
    """Flat rows: who, the two models, their texts, the outcome."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        a, b = rng.permutation(3)[:2]
        rows.append(
            {"id": f"v{number}", "user": f"u{rng.integers(20)}", "model_a": f"m{a}", "model_b": f"m{b}",
             "winner": str(rng.choice(["model_a", "model_b", "tie"])), "prompt": f"why {number % 7}?",
             "response_a": f"A{number}", "response_b": f"B{number}"}
        )  # fmt: skip
    return rows


def nested(row, lists=False):
    sides = [{"model": row[f"model_{side}"], "text": row[f"response_{side}"]} for side in "ab"]
    return {
        "id": row["id"],
        "annotator": {"id": row["user"], "country": "DE"},
        "responses": sides if lists else dict(zip("ab", sides, strict=True)),
        "result": {"winner": row["winner"], "seconds": 3},
        "prompt": {"text": row["prompt"], "language": "en"},
    }


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


STANDARD = ["user", "model_a", "model_b", "winner", "comparison", "prompt", "response_a", "response_b"]


def read(source, **named):
    log = read_comparisons(source, **named)
    return log.query(f"SELECT {', '.join(f'CAST({n} AS VARCHAR) AS {n}' for n in STANDARD)} FROM log ORDER BY 5")


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "frame"])
def test_fields_are_found_by_themselves(tmp_path, kind, lists):
    flat = pd.DataFrame(votes())
    flat.to_csv(tmp_path / "flat.csv", index=False)
    rows = [nested(row, lists) for row in votes()]
    if kind == "jsonl":
        source = written(tmp_path / "log.jsonl", rows)
    elif kind == "json":
        source = tmp_path / "log.json"
        source.write_text(json.dumps(rows), encoding="utf-8")
    elif kind == "parquet":
        source = tmp_path / "log.parquet"
        pa.parquet.write_table(pa.Table.from_pylist(rows), source)
    else:
        source = pa.Table.from_pylist(rows)
    assert read(source).equals(read(tmp_path / "flat.csv"))


def test_fields_can_be_named(tmp_path):
    rows = [{**nested(row), "annotator": {"who": {"is it": row["user"]}}, "user": "robot"} for row in votes()]
    log = read_comparisons(written(tmp_path / "log.jsonl", rows), user="annotator.who.is it")
    assert set(log.users) == {row["user"] for row in votes()}
    assert "source_user" in log.columns  # what has the standard name is carried through under another


def test_a_field_that_only_a_late_row_has_is_found_where_it_is_named(tmp_path):
    rows = [{**row, "more": {"category": "x"} if number > 1500 else {}} for number, row in enumerate(votes(1600))]
    log = read_comparisons(written(tmp_path / "log.jsonl", rows), category="more.category")
    assert log.query("SELECT count(category) AS n FROM log")["n"].to_pylist() == [99]


def test_a_row_without_the_field_is_a_bad_row(tmp_path):
    rows = [nested(row) for row in votes()]
    del rows[7]["annotator"]["id"]
    with pytest.raises(InputError, match=r"data row 8.*annotator\.id.*user is missing"):
        read_comparisons(written(tmp_path / "log.jsonl", rows))


def test_a_field_that_is_not_there_has_near_ones(tmp_path):
    with pytest.raises(InputError, match=r"no column 'annotator\.idd'.*did you mean 'annotator\.id'"):
        read_comparisons(written(tmp_path / "log.jsonl", [nested(row) for row in votes()]), user="annotator.idd")


def test_objects_that_could_be_anything_are_listed_with_their_fields(tmp_path):
    rows = [{**row, "user": {"x": row["user"], "y": 1}} for row in votes()]
    with pytest.raises(InputError, match=r"no user column.*'user', .*'user\.x', 'user\.y'"):
        read_comparisons(written(tmp_path / "log.jsonl", rows))


def test_a_user_who_is_named_ends_the_question_which_column_it_is(tmp_path):
    rows = [{**row, "judge": "j", "worker": "w", "more": {"k": 1}} for row in votes()]
    for row in rows:
        del row["user"]
    log = read_comparisons(written(tmp_path / "log.jsonl", rows), user="judge")
    assert list(log.users) == ["j"]


def test_a_late_field_of_a_fit_is_remembered(tmp_path):
    rows = [{**row, "more": {"topic": "x"} if number > 1200 else {}} for number, row in enumerate(votes(1300))]
    late = written(tmp_path / "log.jsonl", rows)
    source = open_source(late)
    assert "more.topic" not in available(source, [])
    assert "more.topic" in available(source, ["more.topic"])


def test_a_column_with_a_dot_in_its_name_is_that_column(tmp_path):
    rows = [{**row, "annotator.id": f"p{row['user']}", "annotator": {"id": "other"}} for row in votes()]
    log = read_comparisons(written(tmp_path / "log.jsonl", rows), user="annotator.id")
    assert set(log.users) == {f"p{row['user']}" for row in votes()}


def test_flat_logs_with_conversations_are_read_as_before(tmp_path):
    talk = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "so"}]
    rows = [{**row, "response_a": talk, "response_b": talk, "meta": {"user": "no"}} for row in votes()]
    log = read_comparisons(written(tmp_path / "log.jsonl", rows))
    assert set(log.users) == {row["user"] for row in votes()}
    assert "meta" in log.columns
    assert not any("meta" in note for note in log.notes)


def test_doctor_finds_fields_with_odd_names(tmp_path):
    rows = [nested(row) for row in votes()]
    odd = [{"session": {"worker ref": r["annotator"]["id"]}, "left llm": r["responses"]["a"], "right llm":
            r["responses"]["b"], "verdict": {"it is": r["result"]["winner"]}} for r in rows]  # fmt: skip
    found = doctor(written(tmp_path / "log.jsonl", odd))
    text = " ".join(str(found).split())
    assert "user from the column 'session.worker ref'" in text
    assert "model_a from the column 'left llm.model'" in text


def test_the_columns_of_a_fit_are_remembered(tmp_path):
    rows = [{**nested(row), "annotator": {"xyz": row["user"]}} for row in votes()]
    path, fit = str(written(tmp_path / "log.jsonl", rows)), str(tmp_path / "fit")
    run = CliRunner().invoke(main, ["fit", path, "--user", "annotator.xyz", "--out", fit])
    assert run.exit_code == 0, run.output
    kept = tmp_path / "kept.jsonl"
    run = CliRunner().invoke(main, ["filter", path, "--fit", fit, "--threshold", "0", "--out", str(kept)])
    assert run.exit_code == 0, run.output
    assert sorted(read_comparisons(kept).users) == sorted({row["user"] for row in votes()})

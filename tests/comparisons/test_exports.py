"""What holds of every tool's export: how it is told, what a bad file says, what stays on the disk."""

import codecs
import gc
import gzip
import json

import pandas as pd
import pytest

import earnest as er
from earnest.comparisons import InputError
from earnest.comparisons.exports import TOOLS, json_sql, read_export, recognised


def battle(number, **more):
    """A battle of LMArena; any tool would do."""
    return {
        **{
            "question_id": f"q{number}",
            "model_a": "xy"[number % 2],
            "model_b": "yx"[number % 2],
            "judge": f"u{number % 3}",
        },
        **{"winner": ["model_a", "model_b", "tie"][number % 3], **more},
    }


FEEDBACK = {"id": "f", "user_id": "u", "type": "rating", "data": {}, "meta": {}, "snapshot": None}
TASK = {"id": 1, "data": {"model_a": "x", "model_b": "y"}, "annotations": []}
RECORD = {"id": "r", "fields": {"model_a": "x", "model_b": "y"}, "metadata": {}, "responses": {"better": []}}


def save(path, made):
    path.write_text(json.dumps(made), encoding="utf-8")
    return path


@pytest.fixture
def log(tmp_path):
    return read_export(save(tmp_path / "a.json", [battle(i) for i in range(40)]))


@pytest.mark.parametrize(
    ("record", "name"), [(FEEDBACK, "open-webui"), (battle(1), "lmarena"), (RECORD, "argilla"), (TASK, "label-studio")]
)
def test_each_tool_is_told_by_its_keys_and_no_other(record, name):
    assert [tool.name for tool in TOOLS.values() if tool.recognise(frozenset(record))] == [name]


def test_every_tool_names_the_source_of_its_format():
    for tool in TOOLS.values():
        assert "/" in tool.published


def test_the_wrong_tool_is_said_with_the_right_one(tmp_path):
    path = save(tmp_path / "a.json", [battle(1)])
    with pytest.raises(
        InputError, match=r"a\.json: not an export of Argilla; it looks like tool='lmarena'\. Keys .*'judge'"
    ):
        read_export(path, "argilla")
    with pytest.raises(InputError, match="tool='lm-arena': expected 'auto' or one of 'open-webui', 'lmarena'"):
        read_export(path, "lm-arena")


def test_what_a_tool_settles_itself_may_not_be_named(tmp_path):
    path = save(tmp_path / "a.json", [battle(1)])
    with pytest.raises(InputError, match=r"question='better': an export of LMArena says this by itself; name user"):
        read_export(path, question="better")
    with pytest.raises(
        InputError, match=r"user='u': an export of Open WebUI says this by itself; nothing is to be named"
    ):
        read_export(save(path, [FEEDBACK]), user="u")


def test_what_is_of_no_tool_is_said_with_its_keys(tmp_path):
    path = save(tmp_path / "a.json", [{"left": "x", "right": "y", "pick": 1}])
    with pytest.raises(
        InputError, match=r"a\.json: the export is of no tool that is known here; .*read_comparisons\. .*'pick'"
    ):
        read_export(path)
    with pytest.raises(
        InputError, match=r"not an export of Open WebUI; the format is described in open-webui/open-webui"
    ):
        read_export(path, "open-webui")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"question_id": "q"}, 7]', "record 2: expected an object, got"),
        ('[{"question_id": "q"', "expected one JSON object a line, or one array of objects"),
        ('{"question_id": "q"}\n{"question_id"\n', "line 2: not JSON"),
        ("", "the file is empty"),
    ],
)
def test_a_file_that_is_no_list_of_objects(tmp_path, text, said):
    path = tmp_path / ("a.jsonl" if "\n" in text else "a.json")
    path.write_text(text)
    with pytest.raises(InputError, match=rf"{path.name}.*{said}"):
        read_export(path)


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_long_record_is_read_and_one_too_long_is_told(tmp_path, suffix, monkeypatch):
    made = [battle(i, picture="x" * (40 << 20) if i == 2 else "") for i in range(4)]
    path = tmp_path / f"a.{suffix}"
    path.write_text(json.dumps(made) if suffix == "json" else "".join(json.dumps(row) + "\n" for row in made))
    assert len(read_export(path)) == 4
    monkeypatch.setattr(json_sql, "_LONGEST", json_sql._LONGEST[:1])
    with pytest.raises(InputError, match=rf"a\.{suffix}: a record is longer than 16 MiB"):
        read_export(path)


@pytest.mark.parametrize("source", [pd.DataFrame({"model_a": ["x"]}), 7])
def test_what_is_no_file_is_told(source):
    with pytest.raises(
        InputError, match=r"is no export: expected a path, .* write a data frame to a Parquet file first"
    ):
        read_export(source)


def test_several_files_are_one_export_and_the_second_is_named(tmp_path):
    save(tmp_path / "a.json", [battle(i) for i in range(5)])
    save(tmp_path / "b.json", [battle(i) for i in range(5, 9)])
    assert len(read_export(tmp_path / "*.json")) == 9
    save(tmp_path / "b.json", [battle(5), battle(6, judge=" ")])
    with pytest.raises(InputError, match=r"b\.json, record 2, column 'user': the user is missing"):
        read_export(tmp_path / "*.json")


def test_an_export_that_changed_is_told(log, tmp_path):
    assert log.outcome_counts() == {"model_a": 14, "model_b": 13, "tie": 13}
    save(tmp_path / "a.json", [battle(i) for i in range(41)])
    with pytest.raises(InputError, match=r"a\.json"):
        log.outcome_counts()


def test_the_flat_file_goes_with_the_log(tmp_path):
    log = read_export(save(tmp_path / "a.json", [battle(i) for i in range(4)]))
    home = log.recipe.source.flat.parent
    assert home.is_dir()
    del log
    gc.collect()
    assert not home.exists()


def test_nothing_is_left_where_reading_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with pytest.raises(InputError, match="none of the 1 feedbacks"):
        read_export(save(tmp_path / "a.json", [FEEDBACK]))
    gc.collect()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_it_is_a_log_like_any_other(log, tmp_path):
    fit = er.fit_em(er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson())), log)
    assert set(fit.attentiveness["user"]) == {"u0", "u1", "u2"}
    log.write(tmp_path / "votes.parquet")
    again = er.read_comparisons(tmp_path / "votes.parquet")
    assert again.to_arrow().equals(log.to_arrow())
    assert len(er.filter_log(log, fit, threshold=0.0)) == 40


def test_sides_that_never_change_are_told(tmp_path, log):
    assert not any("same order" in note for note in log.notes)
    made = [battle(2 * i) for i in range(6)]
    log = read_export(save(tmp_path / "b.json", made))
    assert any("always stood in the same order" in note and "CoinFlip" in note for note in log.notes)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "json.gz"])
def test_a_byte_order_mark_is_no_part_of_an_export(tmp_path, suffix):
    """As Windows' programs write it; also where doctor and import ask which tool it is."""
    made = [battle(i) for i in range(6)]
    text = "\n".join(map(json.dumps, made)) if suffix == "jsonl" else json.dumps(made)
    pack = gzip.compress if suffix.endswith("gz") else bytes
    plain, marked = tmp_path / f"plain.{suffix}", tmp_path / f"marked.{suffix}"
    plain.write_bytes(pack(text.encode()))
    marked.write_bytes(pack(codecs.BOM_UTF8 + text.encode()))
    assert recognised(marked) == recognised(plain) == "LMArena"
    assert read_export(marked).to_arrow().equals(read_export(plain).to_arrow())


def test_an_export_of_nothing_says_so(tmp_path):
    for text in ("[]", "[ ]\n"):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match=r"a.json: the export has no records"):
            read_export(tmp_path / "a.json")


def test_a_record_has_one_number_in_messages_and_in_quarantine(tmp_path):
    """Also where records before it are no votes."""
    task = {"id": 1, "data": {"model_a": "x", "model_b": "y"}}
    done = {"result": [{"from_name": "p", "type": "pairwise", "value": {"selected": "left"}}]}
    made = [task | {"annotations": []}, task | {"annotations": []}]
    made += [task | {"annotations": [done | {"id": k, "completed_by": user}]} for k, user in enumerate(["ann", None])]
    path = save(tmp_path / "a.json", made)
    with pytest.raises(InputError, match="record 4, column 'user'"):
        read_export(path)
    read_export(path, on_bad_rows="quarantine", quarantine=tmp_path / "bad.csv")
    assert pd.read_csv(tmp_path / "bad.csv")["quarantine_row"].tolist() == [4]


def test_words_that_are_given_are_added_to_the_tools(tmp_path):
    path = save(tmp_path / "a.json", [battle(0), battle(1), battle(2, winner="neither")])
    with pytest.raises(InputError, match="neither"):
        read_export(path)
    assert read_export(path, outcomes={"neither": "tie"}).outcome_counts() == {"model_a": 1, "model_b": 1, "tie": 1}

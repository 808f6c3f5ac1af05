"""Reading: which column is what, what an outcome is, what is carried, what is set aside."""

import datetime
import json

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from earnest.comparisons import InputError, read_comparisons

VOTES = {
    "user": ["ann", "bob", "ann"],
    "model_a": ["x", "y", "x"],
    "model_b": ["y", "z", "z"],
    "winner": ["model_a", "tie", "model_b"],
}


def frame(**changes):
    columns = VOTES | changes
    return pd.DataFrame({name: values for name, values in columns.items() if values is not None})


def renamed(**names):
    return frame().rename(columns=names)


@pytest.mark.parametrize("user", ["user", "judge", "worker", "annotator", "performer", "User_ID", "RATER"])
def test_usual_user_columns(user):
    log = read_comparisons(renamed(user=user))
    assert list(log.users) == ["ann", "bob"]
    assert log.mapping["user"] == user
    assert any(repr(user) in note for note in log.notes) == (user != "user")


@pytest.mark.parametrize(
    "pair", [("left", "right"), ("model_x", "model_y"), ("Model_A", "Model_B"), ("model_1", "model_2")]
)
def test_usual_model_columns(pair):
    log = read_comparisons(renamed(model_a=pair[0], model_b=pair[1]))
    assert list(log.models) == ["x", "y", "z"]


def test_two_pairs_of_models_are_settled_and_said():
    log = read_comparisons(
        pd.DataFrame(
            {
                **{"worker": ["1", "2"], "model_x": [10, 11], "model_y": [11, 12], "winner": ["left", "tie"]},
                **{"left": ["x", "y"], "right": ["y", "z"]},
            }
        )
    )
    assert (log.mapping["model_a"], log.mapping["model_b"]) == ("left", "right")
    assert any("'model_x' and 'model_y'" in note for note in log.notes)
    assert log.columns[-2:] == ["model_x", "model_y"]


def test_a_named_column_wins_over_a_standard_one_which_is_renamed():
    log = read_comparisons(frame(annotator=["1", "2", "2"]), user="annotator")
    assert list(log.users) == ["1", "2"]
    assert log.to_arrow()["source_user"].to_pylist() == ["ann", "bob", "ann"]
    assert any("'source_user'" in note for note in log.notes)


def test_renaming_never_meets_a_column_of_the_source():
    log = read_comparisons(frame(judge=["1", "2", "3"], source_user=["p", "q", "r"], ROW=[1, 2, 3]), user="judge")
    rows = log.to_arrow().to_pydict()
    assert rows["source_user"] == ["p", "q", "r"]
    assert rows["source_source_user"] == ["ann", "bob", "ann"]
    assert rows["source_ROW"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model_a", "model_b", "tie"], ["model_a", "model_b", "tie"]),
        (["left", "RIGHT", "Tie (bothbad)"], ["model_a", "model_b", "tie"]),
        (["A", "b", "both_bad"], ["model_a", "model_b", "tie"]),
        (["x", "z", "tie"], ["model_a", "model_b", "tie"]),
        ([" model_a ", "model_b", "draw"], ["model_a", "model_b", "tie"]),
    ],
)
def test_outcome_words_and_names(words, expected):
    log = read_comparisons(frame(winner=words))
    assert log.to_arrow()["winner"].to_pylist() == expected


@pytest.mark.parametrize(
    ("values", "outcomes"),
    [
        ([1, 0, 2], {1: "model_a", 0: "model_b", 2: "tie"}),
        ([1.0, 0.0, 0.5], {1: "model_a", 0: "model_b", 0.5: "tie"}),
        (["1", "0", "="], {"1": "model_a", "0": "model_b", "=": "tie"}),
    ],
)
def test_explicit_outcomes(values, outcomes, tmp_path):
    data = frame(winner=values)
    data.to_csv(tmp_path / "votes.csv", index=False)
    for source in (data, tmp_path / "votes.csv"):
        if isinstance(values[0], float) and source is not data:
            continue  # "1.0" in a CSV file is a text of its own
        log = read_comparisons(source, outcomes=outcomes)
        assert log.to_arrow()["winner"].to_pylist() == ["model_a", "model_b", "tie"]
    # they are added to the usual words, and other numbers stay unknown
    assert len(read_comparisons(frame(), outcomes=outcomes)) == 3
    with pytest.raises(InputError, match="as was said, else model_a"):
        read_comparisons(frame(winner=["7", "1", "0"]), outcomes=outcomes)


def _read(winner, outcomes, models=("m1", "m2")):
    data = pd.DataFrame({"user": "u", "model_a": models[0], "model_b": models[1], "winner": winner})
    return read_comparisons(data, outcomes=outcomes).to_arrow()["winner"].to_pylist()


def test_given_words_are_added_to_the_usual_ones_and_to_the_names():
    """A log of words and names with one odd word: to say what it means must lose no other row."""
    winner = ["m1", "m2", "left", "TIE", "No preference", "no preference "]
    assert _read(winner, {"No preference": "tie"}) == ["model_a", "model_b", "model_a", "tie", "tie", "tie"]
    with pytest.raises(InputError, match="No preference"):
        _read(winner, None)


def test_a_given_word_goes_before_a_usual_one_and_before_a_name():
    assert _read(["draw", "left", "m1"], {"draw": "model_b", "m1": "tie"}) == ["model_b", "model_a", "tie"]
    # capitals tell given words apart where they are given apart
    assert _read(["x", "X", "left"], {"x": "model_a", "X": "model_b"}) == ["model_a", "model_b", "model_a"]


def test_who_turns_one_side_round_must_say_the_other():
    with pytest.raises(InputError, match="'right'"):
        _read(["left", "right"], {"left": "model_b"})
    turned = {"left": "model_b", "right": "model_a"}
    assert _read(["Left", "right", "tie", "m1"], turned) == ["model_b", "model_a", "tie", "model_a"]


def test_where_numbers_are_given_other_numbers_are_no_names():
    """Models called 0, 1 and 2, and a winner told by a code."""
    assert _read(["0", "1"], {"0": "tie", "1": "model_a"}, models=("1", "2")) == ["tie", "model_a"]
    with pytest.raises(InputError, match="as was said"):
        _read(["0", "1", "2"], {"0": "tie", "1": "model_a"}, models=("1", "2"))
    assert _read(["1", "2"], None, models=("1", "2")) == ["model_a", "model_b"]  # without a code they are names


def test_a_word_that_could_be_the_other_models_name_stays_ambiguous():
    with pytest.raises(InputError, match="could mean either"):
        _read(["a", "same"], {"same": "tie"}, models=("b", "a"))
    assert _read(["a", "same"], {"same": "tie", "a": "model_b"}, models=("b", "a")) == ["model_b", "tie"]


def test_booleans_with_a_mapping():
    log = read_comparisons(frame(winner=[True, False, True]), outcomes={True: "model_a", False: "model_b"})
    assert log.outcome_counts() == {"model_a": 2, "model_b": 1, "tie": 0}


def test_models_called_like_outcomes():
    data = pd.DataFrame({"user": ["u"], "model_a": ["b"], "model_b": ["a"], "winner": ["a"]})
    with pytest.raises(InputError, match="could mean either"):
        read_comparisons(data)
    assert read_comparisons(data, outcomes="words").outcome_counts()["model_a"] == 1
    assert read_comparisons(data, outcomes="names").outcome_counts()["model_b"] == 1


def test_a_public_arena_table_needs_no_options(tmp_path):
    def talk(*turns):
        return [{"content": text, "role": "assistant" if i % 2 else "user"} for i, text in enumerate(turns)]

    data = pd.DataFrame(
        {
            "question_id": ["q1", "q2", "q3"],
            "model_a": ["m1", "m2", "m1"],
            "model_b": ["m2", "m3", "m3"],
            "winner": ["model_a", "tie (bothbad)", "model_b"],
            "judge": ["arena_user_1", "arena_user_2", "arena_user_1"],
            "conversation_a": [talk("hi", "A"), talk("x", "B"), talk("p", "r", "q", "s")],
            "conversation_b": [talk("hi", "C"), talk("x", "B"), talk("p", "t", "q", "u")],
            "turn": [1, 1, 2],
            "anony": [True] * 3,
            "language": ["English"] * 3,
            "tstamp": [1.5, 2.5, 3.5],
            "openai_moderation": [{"flagged": False}] * 3,
            "toxic_chat_tag": [{"t5": {"flagged": False}}] * 3,
        }
    )
    data.to_parquet(tmp_path / "arena.parquet")
    data.to_json(tmp_path / "arena.jsonl", orient="records", lines=True)
    data.to_json(tmp_path / "arena.json", orient="records", indent=1)
    prints = set()
    for source in (data, *tmp_path.iterdir()):
        log = read_comparisons(source)
        assert log.mapping["user"] == "judge"
        assert log.mapping["comparison"] == "question_id"
        assert log.mapping["response_a"] == "conversation_a"
        assert log.columns[-1] == "toxic_chat_tag"
        assert log.outcome_counts() == {"model_a": 1, "model_b": 1, "tie": 1}
        prints.add(log.fingerprint())
    assert len(prints) == 1


def test_a_repeating_id_is_not_taken_for_the_comparison():
    log = read_comparisons(frame(id=["p", "p", "q"]))
    assert "comparison" not in log.mapping
    assert "id" in log.columns
    assert any("repeats" in note for note in log.notes)
    assert read_comparisons(frame(id=["p", "q", "r"])).mapping["comparison"] == "id"


def test_equal_rows_are_votes_and_are_counted():
    data = pd.concat([frame(seconds=[1, 2, 3])] * 2)
    log = read_comparisons(data)
    assert len(log) == 6
    assert any(note.startswith("3 rows equal an earlier row") for note in log.notes)
    assert not any("equal an earlier row" in note for note in read_comparisons(frame(seconds=[1, 2, 3])).notes)


def test_gold_is_read_as_an_outcome_or_let_go():
    assert read_comparisons(frame(gold=["left", None, "z"])).to_arrow()["gold"].to_pylist() == [
        "model_a",
        None,
        "model_b",
    ]
    log = read_comparisons(frame(gold=["yes", "no", "yes"]))
    assert "gold" not in log.mapping
    assert log.to_arrow()["source_gold"].to_pylist() == ["yes", "no", "yes"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7, 8, 7], ["7", "8"]),
        ([7.0, 8.0, 7.0], ["7", "8"]),
        (["007", "7", "07"], ["007", "07", "7"]),
        ([2**62, 2**62 + 1, 3], ["3", str(2**62), str(2**62 + 1)]),
        ([0.5, 1.5, 2.0], ["0.5", "1.5", "2"]),
        (pd.Categorical(["u", "v", "u"]), ["u", "v"]),
        ([datetime.date(2024, 1, 2)] * 3, ["2024-01-02"]),
    ],
)
def test_user_ids_are_texts(values, expected):
    assert list(read_comparisons(frame(user=values)).users) == expected


def test_csv_ids_stay_as_written(tmp_path):
    path = tmp_path / "votes.csv"
    rows = ["007,#1,1e3,tie", "7,1.0,1,tie", "2024-01-02,true,#1,tie", "1_000,NULL,nan,tie"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(["user,model_a,model_b,winner", *rows]).encode())
    rows = read_comparisons(path).to_arrow().to_pydict()
    assert rows["user"] == ["007", "7", "2024-01-02", "1_000"]
    assert rows["model_a"] == ["#1", "1.0", "true", "NULL"]
    assert rows["model_b"] == ["1e3", "1", "#1", "nan"]


def test_json_ids_stay_as_written(tmp_path):
    path = tmp_path / "votes.jsonl"
    users = ["007", "2024-01-02", 7, 12345678901234567890, "b2f1c1de-0000-4000-8000-000000000000"]
    rows = [{"user": user, "model_a": 1, "model_b": "two", "winner": "tie"} for user in users]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    assert read_comparisons(path).to_arrow()["user"].to_pylist() == [str(user) for user in users]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_delimiters(delimiter, tmp_path):
    frame(note=["a,b;c|d\te", 'q"q', ""]).to_csv(tmp_path / "votes.csv", index=False, sep=delimiter)
    assert read_comparisons(tmp_path / "votes.csv").to_arrow()["note"].to_pylist() == ["a,b;c|d\te", 'q"q', None]


def test_an_index_column_without_a_name_is_carried(tmp_path):
    frame().to_csv(tmp_path / "votes.csv")
    assert "column1" in read_comparisons(tmp_path / "votes.csv").columns


def test_files_in_order_and_columns_in_any_order(tmp_path):
    frame().to_csv(tmp_path / "a.csv", index=False)
    frame(user=["cat"] * 3)[["winner", "model_b", "user", "model_a"]].to_csv(tmp_path / "b.csv", index=False, sep=";")
    frame(user=["dan"] * 3).to_csv(tmp_path / "c.csv.gz", index=False)
    log = read_comparisons([tmp_path / "b.csv", str(tmp_path / "a.csv"), tmp_path / "c.csv.gz"])
    assert log.to_arrow()["user"].to_pylist() == ["cat"] * 3 + ["ann", "bob", "ann"] + ["dan"] * 3
    assert log.query('SELECT "row" FROM log ORDER BY 1')["row"].to_pylist() == list(range(9))
    assert len(read_comparisons(str(tmp_path / "*.csv*"))) == 9


def test_parquet_files_of_unlike_types(tmp_path):
    frame(user=[1, 2, 1]).to_parquet(tmp_path / "a.parquet")
    frame(user=["1", "x", "1"]).to_parquet(tmp_path / "b.parquet")
    assert list(read_comparisons(str(tmp_path / "*.parquet")).users) == ["1", "2", "x"]


def test_quarantine_sets_rows_aside_with_the_reason(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text(
        "id,user,model_a,model_b,winner\n1,ann,x,y,tie\n2,,x,y,tie\n3,bob,x,x,tie\n4,bob,x,y,huh\n5,bob,x,y,left\n5,cat,x,y,tie\n"
    )
    log = read_comparisons(path, comparison="id", on_bad_rows="quarantine")
    assert (len(log), log.quarantined) == (2, 4)
    assert log.to_arrow()["comparison"].to_pylist() == ["1", "5"]
    assert any(note.startswith("4 of 6 rows cannot be used") for note in log.notes)
    aside = pd.read_csv(tmp_path / "votes.quarantine.csv", dtype=str, keep_default_na=False)
    assert log.quarantine_file == str(tmp_path / "votes.quarantine.csv")
    assert aside["quarantine_row"].tolist() == ["2", "3", "4", "6"]
    assert aside["id"].tolist() == ["2", "3", "4", "5"]
    assert [reason.split(":")[0] for reason in aside["quarantine_reason"]] == [
        *("column user", "column model_b", "column winner", "the comparison id occurs before")
    ]
    assert len(read_comparisons(str(tmp_path / "*.csv"), on_bad_rows="quarantine", comparison="id")) == 2


def test_quarantine_of_a_frame_needs_a_file_and_all_bad_rows_stop(tmp_path):
    data = frame(user=["ann", None, "bob"])
    with pytest.raises(InputError, match="quarantine="):
        read_comparisons(data, on_bad_rows="quarantine")
    log = read_comparisons(data, on_bad_rows="quarantine", quarantine=tmp_path / "bad.parquet")
    assert len(log) == 2
    assert len(pd.read_parquet(tmp_path / "bad.parquet")) == 1
    with pytest.raises(InputError, match="data row 1, column 'user'"):
        read_comparisons(frame(user=[None] * 3), on_bad_rows="quarantine", quarantine=tmp_path / "all.csv")
    assert not (tmp_path / "all.csv").exists()


def test_quarantine_never_overwrites_the_log(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("user,model_a,model_b,winner\nann,x,y,tie\n,x,y,tie\n")
    with pytest.raises(InputError, match="is the log itself"):
        read_comparisons(path, on_bad_rows="quarantine", quarantine=path)
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "convert",
    [
        pl.DataFrame,
        lambda data: pl.DataFrame(data).lazy(),
        lambda data: pa.Table.from_pandas(data),
        lambda data: pa.Table.from_pandas(data).to_batches()[0],
        lambda data: duckdb.connect().from_df(data),
    ],
    ids=["polars", "lazy polars", "arrow", "arrow batch", "duckdb"],
)
def test_any_data_frame(convert):
    data = frame(score=[0.5, 1.5, None])
    log = read_comparisons(convert(data))
    assert log.to_arrow().to_pydict() == read_comparisons(data).to_arrow().to_pydict()
    assert len(log.notes) == 0


def test_a_log_says_what_it_is():
    log = read_comparisons(frame(extra=[1, 2, 3]))
    assert repr(log) == "<ComparisonLog of the pandas data frame: 3 comparisons by 2 users>"
    assert log.columns == ["user", "model_a", "model_b", "winner", "extra"]
    assert log.source == "the pandas data frame"
    with pytest.raises(TypeError):
        read_comparisons(frame(), users="judge")


def test_only_a_close_name_is_suggested_for_a_missing_file(tmp_path):
    """That two files end in .csv makes their names no more alike."""
    (tmp_path / "odd.csv").write_text("x")
    with pytest.raises(InputError, match=r"there is no such file$"):
        read_comparisons(tmp_path / "votes.csv")
    (tmp_path / "vote.jsonl").write_text("x")
    with pytest.raises(InputError, match=r"did you mean 'vote.jsonl'\?"):
        read_comparisons(tmp_path / "votes.csv")


def test_rows_are_called_equal_only_where_that_is_a_surprise():
    """In a log of who voted how they are the rule."""
    plain = pd.concat([frame(), frame()])
    assert not any("earlier row" in note for note in read_comparisons(plain).notes)
    timed = plain.assign(seconds=[1.5, 2.5, 3.5] * 2)
    assert any(note.startswith("3 rows equal an earlier row") for note in read_comparisons(timed).notes)

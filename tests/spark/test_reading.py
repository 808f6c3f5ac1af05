"""What is wrong with a log on Spark is said as it is of one here, and nothing wrong is counted."""

import sys

import numpy as np
import pandas as pd
import pytest

import earnest as er
from earnest.comparisons import spark_rows

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]

GOOD = ("ann", "ant", "bee", "model_a")
NAMES = ["user", "model_a", "model_b", "winner"]


@pytest.fixture(scope="module")
def log_of(spark):
    def read(*rows, schema=None, **options):
        schema = schema or ", ".join(f"{name} string" for name in NAMES)
        return er.read_comparisons(spark.createDataFrame([*rows], schema), **options)

    return read


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ((None, "ant", "bee", "model_a"), ["'user'", "the user is missing", "who cast each vote"]),
        (("  ", "ant", "bee", "model_a"), ["the user is missing"]),
        (("\u2003\u00a0", "ant", "bee", "model_a"), ["the user is missing"]),
        (("a\0b", "ant", "bee", "model_a"), ["NUL character", r"a\x00b"]),
        (("x" * 1001, "ant", "bee", "model_a"), ["longer than 1000 characters", "column of texts"]),
        (("bob", None, "bee", "model_a"), ["'model_a'", "first model is missing"]),
        (("bob", "ant", " ", "model_a"), ["'model_b'", "second model is missing"]),
        (("bob", "ant", "ant", "model_a"), ["compared with itself", "model_a = 'ant', model_b = 'ant'"]),
        (("bob", "ant", "bee", None), ["the winner is missing"]),
        (("bob", "ant", "bee", "mistake"), ["'winner'", "expected model_a, model_b or tie", "mistake", "outcomes="]),
        (("bob", "b", "bee", "b"), ["could mean either"]),
        (("bob", "y" * 1001, "bee", "model_a"), ["longer than 1000"]),
    ],
)
def test_a_faulty_row_is_told_with_how_to_find_it(bad, words, log_of):
    with pytest.raises(er.InputError) as error:
        log_of(GOOD, bad, bad)
    for word in [*words, "frame.where(", "the Spark data frame"]:
        assert word in str(error.value)
    if "user" in words[0]:
        assert "2 rows" in str(error.value)


def test_the_condition_in_the_message_finds_the_rows(spark):
    frame = spark.createDataFrame([GOOD, (" ", "ant", "bee", "tie")], "user string, m1 string, m2 string, w string")
    with pytest.raises(er.InputError) as error:
        er.read_comparisons(frame, model_a="m1", model_b="m2", winner="w")
    condition = str(error.value).split('"""')[1]
    assert [row["w"] for row in frame.where(condition).collect()] == ["tie"]


def test_the_same_faults_as_here(log_of):
    """Of single bad rows the local reader is the oracle."""
    rng = np.random.default_rng(3)
    pool = [["ann", " ", None, "x" * 1001], ["ant", "bee", None, "a"], ["bee", "a", ""],
            ["model_a", "ant", "bee", "tie", "both_bad", "a", "?", None]]  # fmt: skip
    seen = set()
    for _ in range(8):
        row = tuple(
            str(v) if v is not None else None for v in (options[rng.integers(len(options))] for options in pool)
        )
        local = pd.DataFrame([GOOD, row], columns=NAMES)
        try:
            expected = er.read_comparisons(local).outcome_counts()
        except er.InputError:
            expected = None
        try:
            found = log_of(GOOD, row).outcome_counts()
        except er.InputError:
            found = None
        assert found == expected, row
        seen.add(found is None)
    assert seen == {True, False}


def test_ties_without_a_rule(log_of):
    log = log_of(GOOD, ("bob", "ant", "bee", "tie"), ("bob", "ant", "bee", "tie"))
    with pytest.raises(er.InputError, match=r"winner = 'tie'.*2 comparisons of the log are.*Davidson"):
        er.fit_em(er.BehaviorModel(), log)


def test_numbers_that_are_no_ids(log_of):
    schema = "user double, model_a string, model_b string, winner string"
    for number, words in ((1.5, "with a fraction"), (2.0**53, "too large to be an exact id"), (float("nan"), "missing"),
                          (float("inf"), "too large"), (None, "missing")):  # fmt: skip
        with pytest.raises(er.InputError, match=words):
            log_of((1.0, *GOOD[1:]), (number, *GOOD[1:]), schema=schema)
    with pytest.raises(er.InputError, match=r"'user' is of type timestamp, expected texts or numbers"):
        log_of(schema=schema.replace("double", "timestamp"))
    with pytest.raises(er.InputError, match=r"'model_a' is of type array<string>"):
        log_of(schema="user string, model_a array<string>, model_b string, winner string")


def test_frames_without_rows_or_columns(log_of, spark):
    with pytest.raises(er.InputError, match="the log is empty, it has column names but no rows"):
        log_of()
    with pytest.raises(er.InputError, match="no winner column"):
        er.read_comparisons(spark.createDataFrame([GOOD], "user string, model_a string, model_b string, what string"))
    twins = spark.createDataFrame([("u", *GOOD)], "user string, USER string, a string, b string, winner string")
    with pytest.raises(er.InputError, match="'USER' occurs beside 'user'"):
        er.read_comparisons(twins)


def test_quarantine_is_refused(log_of):
    with pytest.raises(er.InputError, match=r"not supported on Spark.*frame\.where"):
        log_of(GOOD, on_bad_rows="quarantine")


def test_ids_of_votes_are_checked_where_they_are_named(log_of):
    schema = "id bigint, user string, model_a string, model_b string, winner string"
    assert len(log_of((1, *GOOD), (2, *GOOD), schema=schema, comparison="id")) == 2
    repeated = log_of((1, *GOOD), (1, *GOOD), schema=schema)
    assert len(repeated) == 2
    assert "comparison='id'" in repeated.notes[0]
    with pytest.raises(er.InputError, match=r"'1' occurs 2 times"):
        log_of((1, *GOOD), (1, *GOOD), schema=schema, comparison="id")
    with pytest.raises(er.InputError, match="id is missing"):
        log_of((1, *GOOD), (None, *GOOD), schema=schema, comparison="id")


def test_gold_that_is_none_is_let_go_and_gold_that_is_some_is_used(log_of):
    schema = "user string, model_a string, model_b string, winner string, gold string"
    assert "gold" not in log_of((*GOOD, "24 carat"), (*GOOD, None), schema=schema).mapping
    log = log_of((*GOOD, "model_b"), (*GOOD, None), ("bob", "bee", "ant", "model_b", "left"), schema=schema)
    assert log.mapping["gold"] == "gold"
    cells = er.BehaviorModel(gold=er.Gold(), casual=er.PositionBias()).count(log).cells
    assert sorted(cells["gold"]) == [0, 1, 2]


def test_odd_names_of_columns(spark):
    schema = "`my user` string, `a.b` string, `c``d` string, `win ner` string, `gap of x` double"
    rows = [("u1", "ant", "bee", "tie", 1.0), ("u1", "bee", "ant", "model_a", -2.5), ("u2", "ant", "bee", "b", 1.0)]
    frame = spark.createDataFrame(rows, schema)
    log = er.read_comparisons(frame, user="my user", model_a="a.b", model_b="c`d", winner="win ner")
    assert log.mapping == {"user": "my user", "model_a": "a.b", "model_b": "c`d", "winner": "win ner"}
    attention = er.SampleAttention(covariates=("gap of x",))
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), attention=attention)
    assert sorted(model.count(log).cells["gap of x"]) == [-2.5, 1.0, 1.0]


def test_a_covariate_that_is_missing_somewhere(log_of):
    schema = "user string, model_a string, model_b string, winner string, gap double"
    model = er.BehaviorModel(attention=er.SampleAttention(covariates=("gap",)))
    for missing in (None, float("nan")):
        log = log_of((*GOOD, 1.0), (*GOOD, missing), schema=schema)
        with pytest.raises(er.InputError, match=r"rows with .*gap.*missing or not a finite number"):
            er.fit_em(model, log)
    with pytest.raises(er.InputError, match="the model looks at 'width'"):
        er.fit_em(er.BehaviorModel(attention=er.SampleAttention(covariates=("width",))), log)


def test_too_many_different_votes(log_of, monkeypatch):
    monkeypatch.setattr(spark_rows, "MOST", 2)
    with pytest.raises(er.InputError, match=r"more than 2 different combinations.*frame\.drop"):
        log_of(GOOD, ("u", "bee", "ant", "tie"), ("u", "cow", "ant", "tie"))


def test_votes_that_change_between_two_looks_are_noticed(spark, tmp_path):
    schema = ", ".join(f"{name} string" for name in NAMES)
    path = str(tmp_path / "votes")
    spark.createDataFrame([GOOD], schema).write.csv(path)
    log = er.read_comparisons(spark.read.schema(schema).csv(path))
    spark.createDataFrame([GOOD, GOOD], schema).write.mode("append").csv(path)
    fresh = er.read_comparisons(spark.read.schema(schema).csv(path))
    log.rows = fresh.rows
    with pytest.raises(er.InputError, match="had 1 comparisons when it was read and has 3 now"):
        er.fit_em(er.BehaviorModel(), log)


def test_texts_of_a_collation_are_told_apart_by_capitals(spark):
    schema = "user string collate UTF8_LCASE, model_a string collate UTF8_LCASE, model_b string, winner string"
    log = er.read_comparisons(spark.createDataFrame([GOOD, ("ANN", "ANT", "bee", "tie")], schema))
    assert list(log.models) == ["ANT", "ant", "bee"]
    counts = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson())).count(log)
    assert counts.multiplicity.sum() == 2


def test_nobody_imports_pyspark_without_a_spark_frame():
    import subprocess

    code = (
        "import sys, pandas, earnest as er; er.read_comparisons(pandas.DataFrame([['u','a1','b1','tie']], "
        "columns=['user','model_a','model_b','winner'])); sys.exit('pyspark' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

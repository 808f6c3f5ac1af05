"""Filtering and exporting, with a made-up fit."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earnest.comparisons import EarnestError, InputError, filter_log, read_comparisons, write_preferences

LABELS = ["attentiveness", "weight", "label_noise", "label_noise_posterior", "responsibility"]


class Fit:
    """Says of every user what `mean` says, and of every vote a noise."""

    context: tuple[str, ...] = ()

    def __init__(self, mean, noise=0.1):
        self.mean, self.noise = mean, noise

    def attentiveness_for(self, log):
        found = log.query('SELECT "user", count(*) AS comparisons FROM log GROUP BY 1 ORDER BY 1').to_pandas()
        return found.assign(mean=[self.mean[user] for user in found["user"]], sd=0.1)

    def label_blocks(self, log):
        yield self.label_table(log)

    def label_table(self, log):
        table = log.query('SELECT DISTINCT "user", model_a, model_b, winner FROM log').to_pandas()
        mean = np.array([self.mean[user] for user in table["user"]])
        table[LABELS] = np.column_stack([mean, mean, *[np.full(len(mean), self.noise)] * 2, mean])
        table.loc[table["winner"] == "tie", ["label_noise", "label_noise_posterior"]] = np.nan
        return table


VOTES = pd.DataFrame(
    {
        **{"user": ["ann", "bob", "ann", "cat"], "model_a": ["x", "y", "x", "y"], "model_b": ["y", "x", "z", "x"]},
        **{"winner": ["model_a", "model_a", "tie", "model_b"], "prompt": ["1", "1", "2", "1"], "item": ["i"] * 4},
    }
)
PROMPTS = pd.DataFrame({"id": [1, 2], "text": ["Say =1+1", "Why?"]})
RESPONSES = pd.DataFrame(
    {
        **{"prompt": [1, 1, 1, 2, 2], "model": [10, 11, 12, 10, 12], "name": ["x", "y", "z", "x", "z"]},
        "result": ["two", '"3"\n', "4", "because", "<b>"],
    }
)
MEAN = {"ann": 0.9, "bob": 0.2, "cat": 0.6}


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_decided_vote_is_one_row(tmp_path):
    out = tmp_path / "out.jsonl"
    summary = write_preferences(read_comparisons(VOTES), out, Fit(MEAN), PROMPTS, RESPONSES)
    assert (summary.comparisons, summary.written, summary.ties, summary.noisy) == (4, 3, 1, 0)
    rows = lines(out)
    assert list(rows[0]) == [
        *("prompt", "chosen", "rejected", *LABELS[:4], "user", "chosen_model", "rejected_model", "item")
    ]
    assert [row["chosen"] for row in rows] == ["two", '"3"\n', "two"]  # the conflicting vote stays
    assert [row["rejected"] for row in rows] == ['"3"\n', "two", '"3"\n']
    assert {row["prompt"] for row in rows} == {"Say =1+1"}
    assert [row["attentiveness"] for row in rows] == [0.9, 0.2, 0.6]
    assert "3 preferences of 4 comparisons" in str(summary)


def test_texts_of_the_log_itself_and_no_fit(tmp_path):
    log = read_comparisons(VOTES.assign(response_a=list("abcd"), response_b=list("efgh")))
    write_preferences(log, tmp_path / "out.parquet")
    rows = pd.read_parquet(tmp_path / "out.parquet")
    assert rows["chosen"].tolist() == ["a", "b", "h"]
    assert rows["prompt"].tolist() == ["1", "1", "1"]
    assert list(rows.columns) == ["prompt", "chosen", "rejected", "user", "chosen_model", "rejected_model", "item"]


def test_conversations(tmp_path):
    def talk(*turns):
        return [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(turns)]

    first = [talk("hi", "A"), talk("p", "r", "q", "s"), talk("same", "same"), talk("t", "u")]
    second = [talk("hi", "B"), talk("p", "t", "q", "u"), talk("same", "other"), talk("t", "u")]
    data = VOTES.drop(columns="prompt").assign(conversation_a=first, conversation_b=second, winner="model_b")
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in data.to_dict("records")))
    for source in (data, path):
        assert write_preferences(read_comparisons(source), tmp_path / "out.jsonl").conversational
        rows = lines(tmp_path / "out.jsonl")
        assert rows[0]["prompt"] == [{"role": "user", "content": "hi"}]
        assert rows[0]["chosen"] == [{"role": "assistant", "content": "B"}]
        assert [turn["content"] for turn in rows[1]["rejected"]] == ["r", "q", "s"]
        assert rows[3]["chosen"] == rows[3]["rejected"] == [{"role": "assistant", "content": "u"}]


def test_texts_as_answers_to_conversations(tmp_path):
    data = VOTES.assign(prompt=[[{"role": "user", "content": "hi"}]] * 4, response_a="A", response_b="B")
    write_preferences(read_comparisons(data), tmp_path / "out.jsonl")
    assert lines(tmp_path / "out.jsonl")[0]["chosen"] == [{"role": "assistant", "content": "A"}]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"responses": RESPONSES[1:]}, r"data row 1: .* has no text for this prompt \('prompt'\) and model_a"),
        ({"prompts": PROMPTS[1:]}, "data row 1: .* has no text for this prompt"),
        ({"responses": pd.concat([RESPONSES, RESPONSES.assign(result="?")])}, "different texts"),
        ({"prompts": pd.concat([PROMPTS, PROMPTS.assign(text="?")])}, "data row 3: id '1' has 2 different texts"),
        ({"responses": None}, "there are no texts for chosen and rejected"),
        ({"prompts": PROMPTS.rename(columns={"id": "nr"})}, "none of the usual columns"),
        ({"response_text": "resul"}, "did you mean 'result'"),
        ({"response_model": "model"}, "has no text"),
        ({"noise": "ignore"}, "noise='ignore'"),
        ({"prompts": "none.jsonl"}, "there is no such file"),
    ],
)
def test_what_is_missing_or_ambiguous_is_named(changes, expected, tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    arguments = {"prompts": PROMPTS, "responses": RESPONSES} | changes
    with pytest.raises(EarnestError, match=expected):
        write_preferences(read_comparisons(VOTES), out, Fit(MEAN), **arguments)
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_votes_without_texts_can_be_left_out(tmp_path):
    log = read_comparisons(VOTES)
    responses = RESPONSES[RESPONSES["name"] != "y"]
    with pytest.raises(InputError):
        write_preferences(log, tmp_path / "out.jsonl", None, PROMPTS, responses)
    all_x = read_comparisons(pd.concat([VOTES, VOTES.assign(model_a="x", model_b="z", winner="left")]))
    summary = write_preferences(all_x, tmp_path / "out.jsonl", None, PROMPTS, responses, missing="drop")
    assert (summary.written, summary.missing, summary.ties) == (4, 3, 1)


def test_repeated_equal_texts_are_no_conflict(tmp_path):
    twice = pd.concat([RESPONSES, RESPONSES])
    assert write_preferences(read_comparisons(VOTES), tmp_path / "o.jsonl", None, PROMPTS, twice).written == 3


@pytest.mark.parametrize(("noise", "written", "values"), [("keep", 3, {0.6}), ("clip", 3, {0.49}), ("drop", 0, set())])
def test_labels_that_robust_dpo_cannot_use(noise, written, values, tmp_path):
    log = read_comparisons(VOTES)
    out = tmp_path / "out.jsonl"
    summary = write_preferences(log, out, Fit(MEAN, 0.6), PROMPTS, RESPONSES, noise=noise)
    assert (summary.written, summary.noisy) == (written, 3)
    assert {row["label_noise"] for row in lines(out)} == values
    with pytest.raises(EarnestError, match=r"data row 1: label_noise is 0\.600 .*3 rows are like that"):
        write_preferences(log, tmp_path / "no.jsonl", Fit(MEAN, 0.5 + 0.1), PROMPTS, RESPONSES, noise="refuse")
    assert not (tmp_path / "no.jsonl").exists()


def test_clipping_reaches_those_just_below_a_half(tmp_path):
    """At 0.4999 robust DPO would count a label 5,000 times."""

    class Near(Fit):
        def label_table(self, log):
            table = super().label_table(log)
            return table.assign(label_noise=table["user"].map({"ann": 0.4999, "bob": 0.6, "cat": 0.3}))

    out = tmp_path / "out.jsonl"
    summary = write_preferences(read_comparisons(VOTES), out, Near(MEAN), PROMPTS, RESPONSES, noise="clip")
    assert {row["user"]: row["label_noise"] for row in lines(out)} == {"ann": 0.49, "bob": 0.49, "cat": 0.3}
    assert summary.noisy == 1
    assert "1 with label_noise >= 0.5" in str(summary)


def test_a_fit_that_knows_nothing_of_a_vote(tmp_path):
    class Silent(Fit):
        def label_table(self, log):
            return super().label_table(log)[1:]

    with pytest.raises(EarnestError, match="the fit says nothing about this vote"):
        write_preferences(read_comparisons(VOTES), tmp_path / "o.jsonl", Silent(MEAN), PROMPTS, RESPONSES)
    with pytest.raises(EarnestError, match="no finite label quality for user"):
        write_preferences(read_comparisons(VOTES), tmp_path / "o.jsonl", Fit(MEAN, np.nan), PROMPTS, RESPONSES)


def test_filter_keeps_users_and_says_so(tmp_path):
    log = read_comparisons(VOTES)
    kept = filter_log(log, Fit(MEAN), 0.6)
    assert list(kept.users) == ["ann", "cat"]
    assert kept.notes[-1].startswith("kept 2 of 3 users and 3 of 4 comparisons")
    assert (len(log), len(kept), len(filter_log(kept, Fit(MEAN), 0.6, min_comparisons=2))) == (4, 3, 2)
    kept.write(tmp_path / "kept.csv")
    assert read_comparisons(tmp_path / "kept.csv").fingerprint() == kept.fingerprint()
    with pytest.raises(EarnestError, match=r"no user .* reaches the threshold 0\.95.*highest mean is 0\.900"):
        filter_log(log, Fit(MEAN), 0.95)
    for threshold in (-0.1, 1.1, float("nan"), "0.5", True):
        with pytest.raises(EarnestError, match="expected a number from 0 to 1"):
            filter_log(log, Fit(MEAN), threshold)
    with pytest.raises(EarnestError, match="not a number"):
        filter_log(log, Fit(MEAN | {"bob": float("nan")}), 0.5)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(means=st.lists(st.floats(0, 1), min_size=3, max_size=3), threshold=st.floats(0, 1))
def test_filtering_is_what_it_says(means, threshold):
    mean = dict(zip(MEAN, means, strict=True))
    expected = sorted(user for user in mean if mean[user] >= threshold)
    log = read_comparisons(VOTES)
    if expected:
        kept = filter_log(log, Fit(mean), threshold)
        assert list(kept.users) == expected
        assert len(kept) == VOTES["user"].isin(expected).sum()
    else:
        with pytest.raises(EarnestError, match="no user"):
            filter_log(log, Fit(mean), threshold)

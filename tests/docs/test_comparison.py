"""The benchmark behind docs/comparison.md, in small."""

import comparison
import numpy as np
import pandas as pd
import pytest


def test_effective_labels_against_those_of_all_votes():
    eta = pd.Series([1.0, 0.5, 0.0, 0.5], list("abcd"))
    assert comparison.worth(eta, np.array([True, True, True, True])) == pytest.approx(1)
    assert comparison.worth(eta, np.array([True, False, False, False])) == pytest.approx(1 / (4 * 0.25))
    assert comparison.worth(eta, np.array([False] * 4)) == 0


def test_the_best_cut_knows_the_truth():
    eta = pd.Series([1.0, 0.9, 0.1, 0.0], list("abcd"))
    right = comparison.judged(eta, eta, 0.5)
    assert right["ranks"] == pytest.approx(1)
    assert right["best cut"] == pytest.approx(2 * 0.95**2 / (4 * 0.5**2))
    assert right["own cut"] == right["best cut"]
    assert comparison.judged(1 - eta, eta, None)["best cut"] == pytest.approx(1)  # nothing better than all votes


def test_rules_of_thumb():
    rows = [("ann", "x", "y", "model_a"), ("ann", "y", "x", "model_b"), ("bob", "x", "y", "model_b"),
            ("bob", "x", "y", "model_b"), ("cid", "x", "y", "model_a"), ("cid", "x", "y", "model_a")]  # fmt: skip
    votes = pd.DataFrame(rows, columns=["user", "model_a", "model_b", "winner"])
    assert comparison.by_skill(votes).to_dict() == {"ann": 1, "bob": 0, "cid": 1}
    assert comparison.agreement(votes).to_dict() == {"ann": 1, "bob": 0, "cid": 1}
    assert comparison.one_sided(votes).to_dict() == {"ann": 1, "bob": 0, "cid": 0}


def test_shares_as_weights():
    rows = [(user, "x", "y", won) for user, said in {"ann": "aaaaaaaaab", "bob": "bababababb"}.items()
            for won in ("model_a" if letter == "a" else "model_b" for letter in said)]  # fmt: skip
    rows += [("cid", "x", "y", "model_a")] * 10
    votes = pd.DataFrame(rows, columns=["user", "model_a", "model_b", "winner"])
    plain, shrunk = comparison.weights_by_skill(votes, False), comparison.weights_by_skill(votes, True)
    assert plain.to_dict() == pytest.approx({"ann": 0.8, "bob": 0.0, "cid": 1.0})
    assert shrunk["cid"] < 1
    assert plain["bob"] <= shrunk["bob"] < shrunk["ann"] < shrunk["cid"]
    assert comparison.weighed(plain, pd.Series([0.5, 0.5, 0.5], plain.index)) < 1
    eta = pd.Series([1.0, 0.0], ["a", "b"])
    assert comparison.weighed(eta, eta) == pytest.approx(1 / (2 * 0.25))


def test_filters_in_small(monkeypatch):
    monkeypatch.setattr(comparison, "RULES", {"every vote": comparison.RULES["every vote"]})
    table = comparison.filters(1, users=120)
    assert table.loc["every vote", "own cut"] == 1
    assert table.loc["Earnest", "own cut"] > 1
    assert table.loc["attentiveness known", "best cut"] > table.loc["Earnest", "best cut"]

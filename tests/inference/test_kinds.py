"""Kinds of users and attention by comparison: users and labels against sums over kinds and a fine grid, in loops."""

import runpy
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

import earnest as er
from earnest.comparisons.cells import Cells, Counts
from earnest.comparisons.errors import EarnestError
from earnest.comparisons.schema import Schema
from earnest.diagnostics.bands import _left_out
from earnest.diagnostics.replicates import Believed
from earnest.inference.labels import label_entries
from earnest.inference.results import Fit
from earnest.inference.scoring import estimate
from earnest.inference.users import kind_probabilities, summarise, workload
from earnest.inference.users_given import users_given
from earnest.models.component import CellView

_here = Path(__file__)
_variants = runpy.run_path(str(_here.parents[1] / "models" / "variants.py"))
MODELS, SIMPLE = _variants["MODELS"], ("tastes", "sample attention")
OUTCOMES = {"model_a": 0, "model_b": 1, "tie": 2}


def as_if_estimated(model, counts, free, log):
    """A fit whose estimates are these free parameters: nothing here is about estimates."""
    unknown = np.full((len(free), len(free)), np.nan)
    return Fit(model, counts.cells.schema, counts, "marginal", "map", free, unknown, free, unknown, pd.DataFrame(),
               np.zeros(0), "converged", 0, (), fingerprint=log.fingerprint())  # fmt: skip


class Exact:
    """A user's joint weights of kinds and levels, from probabilities written down a second time."""

    def __init__(self, name, fit, frame):
        self.name, self.values, self.frame = name, fit.parameters, frame
        self.models = sorted({*frame["model_a"], *frame["model_b"]})
        self.eta, self.log_weight = _variants["population"](name, self.values)
        self.kinds = _variants["kinds"](name, self.values)

    def vote(self, row, kind, outcome):
        """How often it is attended at every level, P as this kind of user has it, C, and P of one in earnest."""
        _, taste, favourite = kind
        a, b = self.models.index(row["model_a"]), self.models.index(row["model_b"])
        preferred = _variants["attended"](self.name, self.values, a, b, row, {}, taste)
        careless = _variants["casual"](self.name, self.values, row, {}, a, b, favourite)
        attends = _variants["attention"](self.name, self.eta, self.values, row, self.frame)
        attends = np.zeros_like(self.eta) if favourite is not None else attends * np.ones_like(self.eta)
        p = np.where(self.eta < 0, preferred[(1, 0, 2)[outcome]], preferred[outcome])
        return attends, p, careless, preferred

    def joint(self, rows):
        """Probability of each kind and level with these votes, (kind, level), not normalised; its logarithm."""
        out = []
        for kind in self.kinds:
            joint = self.log_weight + np.log(kind[0])
            for row in rows:
                attends, p, c, _ = self.vote(row, kind, OUTCOMES[row["winner"]])
                joint = joint + np.log(attends * p + (1 - attends) * c[OUTCOMES[row["winner"]]])
            out.append(joint)
        return np.array(out)

    def value(self):
        """Attentiveness of every kind and level."""
        return np.array([self.eta * (kind[2] is None) for kind in self.kinds])


@pytest.fixture(
    scope="module",
    params=["signed partisans", "everything", *(pytest.param(n, marks=pytest.mark.long) for n in SIMPLE)],
)
def told(request):
    name = request.param
    truth = MODELS[name].simulate(6, [1, 2, 3, 5, 8, 4], 3, seed=11)
    log = truth.log
    counts = MODELS[name].count(log)
    model = MODELS[name].prepare(counts)
    free = model.table(counts.cells.schema).pack(model.canonical(truth.parameters))
    fit = as_if_estimated(model, counts, free, log)
    with jax.enable_x64(True):
        fit = replace(fit, attentiveness=estimate(fit, counts, False, draws=0))
    frame = log.to_arrow().to_pandas()
    return name, fit, log, frame, Exact(name, fit, frame)


def test_users_are_those_of_the_sums(told):
    _, fit, _, frame, exact = told
    above = fit.probability_above(0.3).set_index("user")["probability"]
    kinds = fit.kinds().set_index("user") if len(exact.kinds) > 1 else None
    value = exact.value()
    for user, rows in frame.groupby("user"):
        weight = np.exp((joint := exact.joint(rows.to_dict("records"))) - logsumexp(joint))
        mine = fit.attentiveness.set_index("user").loc[user]
        mean = (weight * value).sum()
        assert mine["mean"] == pytest.approx(mean, abs=1e-6)
        assert mine["sd"] == pytest.approx(np.sqrt((weight * (value - mean) ** 2).sum()), abs=1e-5)
        assert above[user] == pytest.approx((weight * (value > 0.3)).sum(), abs=2e-4)  # the grid's own step
        if kinds is not None:
            # The sign of attentiveness comes first among the kinds.
            rest = weight.sum(1) if exact.eta.min() >= 0 else np.concatenate(
                [(weight * (exact.eta > 0)).sum(1), (weight * (exact.eta < 0)).sum(1)])  # fmt: skip
            np.testing.assert_allclose(kinds.loc[user].to_numpy(dtype=float), rest, atol=1e-6)


def test_labels_are_those_of_the_sums(told):
    """Each vote against all others of its user."""
    _, fit, log, frame, exact = told
    keys = ["user", "model_a", "model_b", "winner", *fit.context]
    labels = fit.label_table(log).set_index(keys)
    against = exact.eta < 0
    for _, rows in frame.groupby("user"):
        records = rows.to_dict("records")
        whole = exact.joint(records)
        whole = np.exp(whole - logsumexp(whole))
        for number, row in enumerate(records):
            y = OUTCOMES[row["winner"]]
            left = exact.joint(records[:number] + records[number + 1 :])
            left = np.exp(left - logsumexp(left))
            found = labels.loc[tuple(row[key] for key in keys)]
            weight = responsibility = noise = doubt = 0.0
            for kind, before, after in zip(exact.kinds, left, whole, strict=True):
                attends, p, c, preferred = exact.vote(row, kind, y)
                attended = attends * p / (attends * p + (1 - attends) * c[y])
                weight += (before * attends * np.where(against, -1.0, 1.0)).sum()
                responsibility += (after * attended * ~against).sum()
                if y < 2:
                    casual, wanted = c[1 - y] / (c[0] + c[1]), preferred[1 - y] / (preferred[0] + preferred[1])
                    noise += (before * ((1 - attends) * casual + attends * against)).sum()
                    doubt += (after * ((1 - attended) * wanted + attended * against)).sum()
            expected = {"weight": weight, "responsibility": responsibility}
            if y < 2:
                expected |= {"label_noise": noise, "label_noise_posterior": doubt}
            for quantity, value in expected.items():
                assert float(np.ravel(found[quantity])[0]) == pytest.approx(value, abs=1e-6), quantity


def test_draws_given_the_globals_have_the_mean_and_the_mass(told):
    """Attentiveness drawn by inverting the distribution function, over its branches."""
    _, fit, *_ = told
    values = {name: np.repeat(np.asarray(value)[None], 400, 0) for name, value in fit.parameters.items()}
    levels = (np.arange(400) + 0.5) / 400

    def uniforms(first, n):
        return np.repeat(levels[first : first + n, None], len(fit.counts.users), 1)

    with jax.enable_x64(True):
        pieces = list(users_given(fit.model, fit.counts, values, uniforms))
    drawn = np.concatenate([piece.attentiveness for piece in pieces])
    assert (np.diff(drawn, axis=0) >= -1e-9).all()
    np.testing.assert_allclose(drawn.mean(0), fit.attentiveness["mean"], atol=2e-3)
    np.testing.assert_allclose((drawn > 0.3).mean(0), fit.probability_above(0.3)["probability"], atol=4e-3)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(EarnestError, match="TasteGroups cannot stand beside Signed: who turns one taste"):
        er.BehaviorModel(er.Signed(), er.TasteGroups(2))
    log = er.BehaviorModel().simulate(10, 5, 3, seed=1).log
    for model, name in {
        er.BehaviorModel(er.Signed()): "Signed",
        er.BehaviorModel(preference=er.TasteGroups(2)): "TasteGroups",
        er.BehaviorModel(casual=er.Partisan()): "Partisan",
        er.BehaviorModel(attention=er.SampleAttention(("x",))): "SampleAttention",
    }.items():
        with pytest.raises(EarnestError, match="is missing|no column|'x'" if name == "SampleAttention" else name):
            er.fit_em(model, log, method="label")
    for bad, words in {
        lambda: er.SampleAttention(()): "at least one numeric column",
        lambda: er.SampleAttention(("x",), scales=(0.0,)): "one positive number",
        lambda: er.SampleAttention(("x",), centres=(np.nan,)): "one number",
        lambda: er.TasteGroups(1): "2 or more",
        lambda: er.Partisan(loyalty=0.4): "above 0.5 and below 1",
        lambda: er.Partisan(by_category=True): "over all categories",
        lambda: er.BehaviorModel(attention=er.Beta()): "expected an Attention component",
    }.items():
        with pytest.raises(EarnestError, match=words):
            bad()
    with pytest.raises(EarnestError, match="tells no kinds of users apart"):
        er.fit_em(er.BehaviorModel(), log, restarts=False).kinds()


SPLIT = er.BehaviorModel(er.Beta(), er.TasteGroups(2), er.CoinFlip())


@pytest.mark.parametrize(
    "n", [pytest.param(40, marks=pytest.mark.long), 20_000, pytest.param(100_000, marks=pytest.mark.long)]
)
@pytest.mark.parametrize(
    ("skill", "share"), [([[1.0, -1.0], [0.2, -0.2]], 0.575), ([[1.5, -1.5], [0.12, -0.12]], 0.56)]
)
def test_a_heavy_user_of_two_possible_tastes(n, skill, share):
    """Two narrow peaks far apart, both as probable: nodes must follow both."""
    cells = Cells(Schema(("a", "b"), ((0, 1),), False), np.array([0, 0]), np.array([1, 1]), np.array([0, 1]))
    won = round(share * n)
    votes = np.array([won, n - won], dtype=float)
    counts = Counts(np.array(["u"], dtype=object), cells, np.array([0, 0]), np.array([0, 1]), votes)
    free = SPLIT.table(cells.schema).pack({"attentiveness_alpha": np.array(1.0), "attentiveness_beta": np.array(1.0),
                                           "skill": np.array(skill), "taste_weight": np.array([0.5, 0.5])})  # fmt: skip
    with jax.enable_x64(True):
        work = workload(counts, dense=False)
        found, kinds = summarise(SPLIT, free, work, (0.1, 0.5, 0.9)), kind_probabilities(SPLIT, free, work)
    eta = (np.arange(2_000_000) + 0.5) / 2e6
    p = 1 / (1 + np.exp(np.diff(skill)))  # Pr(a wins) under each taste, (taste, 1)
    q = eta * p + (1 - eta) * 0.5
    log_lik = won * np.log(q) + (n - won) * np.log1p(-q)
    weight = np.exp(log_lik - logsumexp(log_lik))
    mean = (weight * eta).sum()
    assert found.mean[0] == pytest.approx(mean, abs=1e-8)
    assert found.sd[0] == pytest.approx(np.sqrt((weight * (eta - mean) ** 2).sum()), rel=1e-6)
    np.testing.assert_allclose(kinds[0], weight.sum(1), atol=1e-8)
    below = np.searchsorted(np.cumsum(weight.sum(0)), (0.1, 0.5, 0.9))
    np.testing.assert_allclose(found.quantiles[0], eta[below], atol=2e-5)


@pytest.mark.parametrize("value", [0.1, 12.3, 1 / 3, 0.0])
def test_a_constant_column_says_nothing(value):
    model = er.BehaviorModel(attention=er.SampleAttention(("x",)))
    cells = CellView.of(
        Cells(
            Schema(("a", "b"), ((0, 1),), False),
            np.zeros(56, dtype=int),
            np.ones(56, dtype=int),
            np.zeros(56, dtype=int),
            {"x": np.full(56, value)},
        )
    )
    assert model.attention.measure(cells, np.linspace(1, 7, 56)).scales == (1.0,)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(er.BehaviorModel(er.Signed()), marks=pytest.mark.long),
        er.BehaviorModel(casual=er.Partisan(share_prior=er.priors.Beta(4.0, 4.0))),
    ],
    ids=["signed", "partisan"],
)
def test_gold_users_are_of_an_honest_kind(kind):
    gold = replace(kind, gold=er.Gold(users=("user_01", "user_02"), answers=False))
    truth = gold.simulate(20, 8, 3, seed=3)
    honest = truth.attentiveness["kind"][:2]
    assert set(honest) == ({"sincere"} if kind.attentiveness.signed else {"no favourite"})
    fit = er.fit_em(gold, truth.log, restarts=False)
    table = fit.kinds().set_index("user")
    np.testing.assert_allclose(table.loc[["user_01", "user_02"]].iloc[:, 0], 1.0)
    np.testing.assert_allclose(table.sum(axis=1), 1.0)
    point = {name: np.repeat(np.asarray(value)[None], 3, 0) for name, value in fit.parameters.items()}
    with jax.enable_x64(True):
        for _, users in Believed(fit.model, fit.counts, point, fit.parameters, 3).same_users(seed=1):
            assert (users.kind[:2] == 0).all()
            assert (users.attentiveness[:2] == 1).all()


def test_at_attentiveness_0_both_stories_are_weighed():
    """One who never attends, and one who might: information of leave-one-out weights against their exact sum."""
    model = er.BehaviorModel(er.Groups((0.0, 1.0)), er.BradleyTerry(), er.Partisan())
    values = {"attentiveness_weight": [0.1, 0.9], "skill": [1.0, 0.0, -1.0], "casual_outcome": [0.5, 0.5],
              "partisan_share": 0.5, "favourite_weight": [0.4, 0.3, 0.3]}  # fmt: skip
    log = model.simulate(40, 4, 3, seed=5, parameters=values).log
    counts = model.count(log)
    free = model.table(counts.cells.schema).pack({name: np.asarray(value) for name, value in values.items()})
    fit = as_if_estimated(model, counts, free, log)
    n = 4000
    repeated = {name: np.repeat(np.asarray(value)[None], n, 0) for name, value in fit.parameters.items()}
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        pieces = list(
            users_given(model, counts, repeated, lambda first, k: np.random.default_rng(first).random((k, 40)))
        )
        entries = label_entries(fit, counts, counts.cells.schema)
    eta = np.concatenate([piece.attentiveness for piece in pieces])
    some = rng.choice(n, 400, replace=False)
    found = _left_out(model, counts, {name: value[some] for name, value in repeated.items()}, eta[some])
    weight = entries["weight"]
    total = (counts.count * weight**2).sum()
    of_user = np.bincount(counts.user, weights=counts.count * weight, minlength=40)
    exact = total + np.var(eta @ of_user) / total
    assert found == pytest.approx(exact, rel=0.03)


def test_the_form_with_sampled_users_is_refused():
    log = SPLIT.simulate(8, 4, 2, seed=1).log
    for call in (lambda: er.to_numpyro(SPLIT, log, latent="explicit"), lambda: er.to_pymc(SPLIT, log, latent="explicit"),
                 lambda: er.sample(SPLIT, log, latent="explicit", draws=30, tune=30)):  # fmt: skip
        with pytest.raises(EarnestError, match="summed out together with their attentiveness; use latent='marginal'"):
            call()

"""Calibration: what ranks say of a posterior, and whether right models pass and faulty ones do not."""

import json
from dataclasses import dataclass, field, replace

import jax
import numpy as np
import pytest
from faults import FAULTS, RIGHT
from scipy.stats import norm

import earnest as er
from earnest.comparisons.errors import EarnestError
from earnest.diagnostics import calibration as calibration_module
from earnest.diagnostics.calibration import calibrate
from earnest.diagnostics.calibration_em import Approximation
from earnest.diagnostics.calibration_logs import Design, tell
from earnest.diagnostics.calibration_machines import LOG_LIKELIHOOD, USERS_EACH, USERS_MEAN, replicate
from earnest.diagnostics.calibration_plots import calibration_ecdf
from earnest.diagnostics.calibration_words import reading
from earnest.diagnostics.ecdf import RANKED, bands, ecdf, p_value, rank, smallest_noticed, uniformity

LEVEL = 0.999


@dataclass(frozen=True)
class Favourite(er.Preference):
    """A component as a user writes it: who attends takes the earlier-named model with one unknown probability."""

    directed = False
    turned: bool = False
    prior: er.priors.Prior = field(default_factory=er.priors.Beta)

    def parameters(self, schema):
        return (er.Parameter("favour", self.prior),)

    def log_prob(self, xp, values, cells):
        favour = values["favour"]
        named_won = xp.where(cells.won_a, cells.sign, -cells.sign)
        chosen = -named_won if self.turned else named_won
        return xp.where(chosen > 0, xp.log(favour), xp.log1p(-favour))


GROUPS = er.Groups((0.2, 0.9))
OWN = er.BehaviorModel(GROUPS, Favourite(), er.CoinFlip())
TURNED = replace(OWN, preference=Favourite(turned=True))
SMALL = {"users": 20, "comparisons": 6, "models": 2}


def ranks_of(place, rng, n):
    """Ranks among 99 draws of a truth whose place in the posterior is `place(z)` for a standard normal z."""
    u = norm.cdf(place(rng.standard_normal(n)))
    return rng.binomial(RANKED, u)


# ------------------------------------------------------------------------------------------------ ranks


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (lambda z: z, "right"),
        (lambda z: 2 * z, "too narrow"),
        (lambda z: 0.5 * z, "too wide"),
        (lambda z: z + 0.8, "too low"),  # the truth lies high in it
        (lambda z: z - 0.8, "too high"),
    ],
)
def test_the_reading_names_what_is_wrong(place, said):
    seen = uniformity(ranks_of(place, np.random.default_rng(1), 200), LEVEL)
    assert reading({"quantity": "skill", "correlation": 0.5, **vars(seen)}) == said
    assert seen.inside == (said == "right")
    assert (seen.excursion > 1) == (said != "right")


def test_a_posterior_against_the_truth_is_called_turned_round_and_the_log_likelihood_has_words_of_its_own():
    rng = np.random.default_rng(2)
    wide = {**vars(uniformity(ranks_of(lambda z: 3 * z, rng, 200), LEVEL)), "quantity": "skill"}
    assert reading({**wide, "correlation": -0.8}) == "turned round"
    assert reading({**wide, "correlation": 0.8}) == "too narrow"
    high = {**vars(uniformity(ranks_of(lambda z: z + 1, rng, 200), LEVEL)), "quantity": LOG_LIKELIHOOD}
    assert reading({**high, "correlation": 1.0}) == "the draws fit worse"


def test_p_values_are_uniform_and_agree_with_the_band():
    rng = np.random.default_rng(3)
    samples = [rng.integers(RANKED + 1, size=60) for _ in range(1000)]
    p = np.array([p_value(ranks) for ranks in samples])
    for share in (0.05, 0.2, 0.5):
        assert abs(np.mean(p <= share) - share) < 4 * np.sqrt(share * (1 - share) / 1000) + 0.01
    inside = np.array([uniformity(ranks, 0.9).inside for ranks in samples])
    assert np.mean(inside == (p > 0.1)) > 0.98
    assert p_value(np.full(60, RANKED)) == 1 / 100_001


def test_what_is_said_to_be_noticed_every_second_time_is():
    n, rng = 150, np.random.default_rng(4)
    shift, factor = smallest_noticed(n, LEVEL)
    for place in (lambda z: z + shift, lambda z: factor * z):
        noticed = np.mean([not uniformity(ranks_of(place, rng, n), LEVEL).inside for _ in range(200)])
        assert 0.35 < noticed < 0.65, noticed


# ------------------------------------------------------------------------------------------------ logs


def test_the_story_is_told_as_the_model_says():
    """Half of the votes attended, the stronger model wins 0.8 of those and half of the others: 0.65."""
    model = er.BehaviorModel(er.Groups((0.5,)), er.KnownAdvantage(0.8, stronger=("model_2", "model_1")), er.CoinFlip())
    design = Design(400, 50, 2)
    told = tell(model, design, 5)
    _, first, _ = design.shown
    won = np.where(told.outcome == 0, first, 1 - first)
    assert abs(np.mean(won == 1) - 0.65) < 4 * np.sqrt(0.65 * 0.35 / len(won))
    assert np.all(told.attentiveness == 0.5)
    frame = design.log(told.outcome, model).to_arrow().to_pandas()
    winner = np.where(frame["winner"] == "model_a", frame["model_a"], frame["model_b"])
    assert list(winner) == [f"model_{w + 1}" for w in won]


# ------------------------------------------------------------------------------------------------ calibrate


@pytest.fixture(scope="module")
def own():
    return calibrate(OWN, replications=60, **SMALL)


@pytest.fixture(scope="module")
def turned():
    return calibrate(TURNED, truth=OWN, replications=30, **SMALL)


def test_a_right_model_with_a_component_of_ones_own_passes(own):
    assert own.good, own.table
    assert list(own.table["quantity"]) == [
        "attentiveness_weight[0.2]", "favour", LOG_LIKELIHOOD, *[f"attentiveness[user_0{u}]" for u in (1, 2, 3)],
        "attentiveness, mean of users",
    ]  # fmt: skip
    assert "is calibrated as far as 60 replications can tell" in own.verdict
    assert "about every second time" in own.verdict
    assert own.level == pytest.approx(1 - 0.01 / 7)
    assert own.coverage is None
    lower, upper = own.bands
    for quantity in own.ranks:
        seen = ecdf(own.ranks[quantity].to_numpy())
        assert np.all((lower <= seen) & (seen <= upper))


def test_the_same_component_turned_round_is_caught_and_named(turned):
    table = turned.table.set_index("quantity")
    assert not turned.good
    assert table.loc["favour", "reading"] == "turned round"
    assert table.loc["favour", "correlation"] < -0.3
    assert not table.loc[LOG_LIKELIHOOD, "inside"]
    assert "favour" in turned.verdict
    assert "an order or a sign is swapped" in turned.verdict
    assert "another declaration" in turned.verdict


@pytest.fixture(scope="module")
def em():
    return calibrate(OWN, replications=20, method="em", **SMALL)


def test_em_is_judged_by_its_intervals_too(em):
    line = em.coverage.set_index("quantity")
    assert set(line.index) == {"attentiveness_weight[0.2]", "favour", USERS_EACH}
    assert (line["intervals"] + line["missing"] == 20).all()
    assert line.loc["favour", "covered"] * line.loc["favour", "intervals"] == pytest.approx(
        round(line.loc["favour", "covered"] * line.loc["favour", "intervals"])
    )
    assert "EM's 90 % intervals of users' attentiveness hold the truth in" in em.verdict
    assert (em.runs["status"] == "converged").all()


def test_what_em_covers_is_what_a_fit_of_the_log_covers():
    """A replication by its own machine, and once more by `read_comparisons` and `fit_em`."""
    design = Design(20, 6, 2)
    told = tell(OWN, design, [0, 7, 0])
    fit = er.fit_em(OWN, design.log(told.outcome, OWN))
    with jax.enable_x64(True):
        line = replicate(Approximation(OWN, design), OWN, [0, 7])
    frame = fit.attentiveness.set_index("user").loc[list(design.user_names)]
    ends = zip(frame["lower"], frame["upper"], told.attentiveness, strict=True)
    assert line["covered"][USERS_EACH] == np.mean([low <= eta <= high for low, high, eta in ends])
    low, high = fit.intervals(0.9)["favour"]
    assert line["covered"]["favour"] == (low <= told.values["favour"] <= high)
    assert line["iterations"] == fit.iterations
    assert line["true"]["favour"] == pytest.approx(float(told.values["favour"]), rel=1e-5)
    # 99 draws of a normal on the logit scale, against its centre and spread.
    at, where = fit.centre[fit.table.slices["favour"]][0], fit.table.slices["favour"]
    place = norm.cdf(
        (np.log(told.values["favour"] / (1 - told.values["favour"])) - at) / fit.spread[where, where][0, 0] ** 0.5
    )
    assert abs(line["ranks"]["favour"] / 99 - place) < 4 * np.sqrt(0.25 / 99)


def test_a_run_goes_on_where_it_was_stopped(em, tmp_path, monkeypatch):
    path, done, one = tmp_path / "run.jsonl", [], calibration_module.replicate

    def watched(machine, truth, seed):
        if seed[-1] == stop:
            raise KeyboardInterrupt
        done.append(seed[-1])
        return one(machine, truth, seed)

    monkeypatch.setattr(calibration_module, "replicate", watched)
    stop = 13
    with pytest.raises(KeyboardInterrupt):
        calibrate(OWN, replications=60, results=path, method="em", **SMALL)
    path.write_bytes(path.read_bytes()[:-40])  # a kill in the middle of the last line
    stop = None
    done.clear()
    found = calibrate(OWN, replications=20, results=path, method="em", **SMALL)
    assert done == list(range(12, 20))
    assert found.ranks.equals(em.ranks)
    assert found.coverage.equals(em.coverage)
    assert calibrate(OWN, replications=20, results=path, method="em", **SMALL).ranks.equals(em.ranks)
    assert done == list(range(12, 20))


def test_results_of_another_design_are_refused(tmp_path, monkeypatch):
    path, line = tmp_path / "run.jsonl", {"ranks": {"favour": 50}, "true": {"favour": 0.5}, "mean": {"favour": 0.5}}
    monkeypatch.setattr(calibration_module, "replicate", lambda machine, truth, seed: line)
    calibrate(OWN, replications=20, results=path, method="em", **SMALL)
    before = path.read_bytes()
    for change, said in (
        ({"seed": 1}, "seed was 0, not 1"),
        ({"users": 21}, "users was 20, not 21"),
        ({"truth": TURNED}, "truth was another one"),
        ({"method": "sample"}, "method was 'em', not 'sample'"),
    ):
        with pytest.raises(EarnestError, match=said):
            calibrate(OWN, replications=20, results=path, **{"method": "em", **SMALL, **change})
    lines = before.decode().splitlines()
    head = json.loads(lines[0])
    head["probe"]["model"][0] += 0.5
    path.write_text("\n".join([json.dumps(head), *lines[1:]]) + "\n")
    with pytest.raises(EarnestError, match="model behaves otherwise than it did.*has its code changed"):
        calibrate(OWN, replications=20, results=path, method="em", **SMALL)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(EarnestError, match="not written by calibrate"):
        calibrate(OWN, replications=20, results=path, method="em", **SMALL)
    assert path.read_text() == "a,b\n1,2\n"


def test_a_truth_with_other_parameters_has_no_likelihood_under_the_model():
    """Only what both know is ranked."""
    truth = replace(OWN, attentiveness=er.Beta())
    with jax.enable_x64(True):
        line = replicate(Approximation(OWN, Design(20, 6, 2)), truth, [0, 0])
    assert set(line["ranks"]) == {"favour", *[f"attentiveness[{u}]" for u in range(3)], USERS_MEAN}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"replications": 5}, "replications=5: expected a whole number, 20 or more"),
        ({"seed": -1}, "seed=-1"),
        ({"error": 1.5}, "error=1.5"),
        ({"method": "nuts"}, "method='nuts': expected 'sample' or 'em'"),
        ({"users": 1, "comparisons": 1, "models": 5}, "too few to show each of 5 models"),
        ({"models": 1}, "models=1: expected a whole number, 2 or more"),
        ({"model": "beta"}, "expected a BehaviorModel"),
        ({"model": replace(OWN, gold=er.Gold())}, "looks at gold answers, which are not simulated"),
        (
            {"model": replace(OWN, preference=er.KnownAdvantage(0.7))},
            "preference component leaves something to the data",
        ),
        (
            {"model": er.BehaviorModel(er.Groups((0.5,)), er.KnownAdvantage(0.7, stronger="model_1"), er.CoinFlip())},
            "nothing to calibrate",
        ),
        ({"truth": er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))}, "its logs have ties"),
    ],
)
def test_mistakes_are_named(arguments, said):
    with pytest.raises(EarnestError, match=said):
        calibrate(**{"model": OWN, "replications": 20, "method": "em", **SMALL, **arguments})


def test_the_figure_shows_what_is_outside_first(turned):
    axes = calibration_ecdf(turned)
    assert len(axes) == len(turned.table)
    excursion = turned.table.set_index("quantity")["excursion"]
    titles = [axis.get_title(loc="left").split("\n")[0] for axis in axes]
    assert list(excursion[titles]) == sorted(excursion, reverse=True)
    line = axes[titles.index("favour")].lines[-1].get_ydata()
    at = np.arange(1, RANKED + 1) / (RANKED + 1)
    ranks = turned.ranks["favour"].to_numpy()
    np.testing.assert_allclose(line[1:-1], [np.mean(ranks < k) - k / 100 for k in range(1, 100)], atol=1e-12)
    assert line[0] == line[-1] == 0
    band = axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx((bands(30, turned.level)[1] - at).max())
    with pytest.raises(EarnestError, match="one axes or more"):
        calibration_ecdf(turned, [])


@pytest.mark.long
@pytest.mark.parametrize("name", ["right", *FAULTS])
def test_every_fault_is_caught_and_the_right_model_is_not(name, root):
    """100 replications each; `python benchmarks/calibration.py --part faults` says how many would do."""
    folder = root / ".cache" / "calibration"
    folder.mkdir(parents=True, exist_ok=True)
    model = FAULTS.get(name, RIGHT)
    found = calibrate(model, truth=RIGHT, replications=100, results=folder / f"faults-{name}.jsonl")
    assert found.good == (name == "right"), found.verdict


def test_what_differs_by_rounding_is_a_tie():
    """Levels of groups are told by the simulator as they stand and by draws as exp(log(level))."""
    rng = np.random.default_rng(0)
    draws = np.repeat(np.exp(np.log([0.1, 0.9])), 50) * (1 + 1e-15)
    ranks = np.array([rank(0.1, draws, rng) for _ in range(2000)])
    assert ranks.min() == 0
    assert ranks.max() == 50
    assert ranks.mean() == pytest.approx(25, abs=1.5)
    assert {rank(0.1, np.array([0.1 - 1e-6, 0.1 + 1e-6]), rng) for _ in range(20)} == {1}

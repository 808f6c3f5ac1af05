"""The planner: exact sums against integrals and simulated logs."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import integrate, special, stats

import earnest as er
from earnest.cli import main
from earnest.comparisons.errors import EarnestError
from earnest.diagnostics.planning import _Population, _share_at


def by_integration(votes, attentive, gap, concentration):
    """Pr(k) and posterior mean of every k by adaptive integration over the log-odds of attentiveness."""
    a, b = attentive * concentration, (1 - attentive) * concentration
    mu = special.expit(gap)

    def integral(k, power):
        def inside(x):
            eta = special.expit(x)
            log = a * special.log_expit(x) + b * special.log_expit(-x) - special.betaln(a, b)
            return np.exp(log + stats.binom.logpmf(k, votes, 0.5 + eta * (mu - 0.5))) * eta**power

        return integrate.quad(inside, -60, 60, points=[-5, 0, 5], limit=400, epsabs=1e-13)[0]

    chance = np.array([integral(k, 0) for k in range(votes + 1)])
    return chance, np.array([integral(k, 1) for k in range(votes + 1)]) / chance


@pytest.mark.parametrize(("votes", "attentive", "gap", "concentration"), [(12, 0.4, 1.0, 1.2), (7, 0.8, 2.5, 6.0)])
def test_it_is_what_integration_says(votes, attentive, gap, concentration):
    found = er.plan(100, votes, attentive, gap, concentration=concentration).here
    chance, mean = by_integration(votes, attentive, gap, concentration)
    assert chance.sum() == pytest.approx(1.0, abs=1e-9)
    cuts = [(chance[k:].sum(), chance[k:] @ mean[k:] / chance[k:].sum(), mean[k]) for k in range(votes + 1)]
    share, precision, threshold = max(cuts, key=lambda cut: cut[0] * cut[1] ** 2)
    assert found["share"] == pytest.approx(share, abs=1e-8)
    assert found["precision"] == pytest.approx(precision, abs=1e-8)
    assert found["threshold"] == pytest.approx(threshold if share < 1 - 1e-9 else 0.0, abs=1e-8)
    assert found["filtered"] == pytest.approx(100 * votes * share * precision**2, rel=1e-8)
    chance, mean = by_integration(votes - 1, attentive, gap, concentration)
    assert found["weighted"] == pytest.approx(100 * votes * (chance @ mean**2), rel=1e-8)


def test_logs_of_that_design_are_worth_what_was_planned():
    """Fitted logs' own curves, population and all to be estimated: their mean within three of its standard errors."""
    found = er.plan(2000, 20, 0.5, 1.0).here
    model = er.BehaviorModel(preference=er.KnownAdvantage(float(found["advantage"])), casual=er.CoinFlip())
    told = []
    for seed in range(8):
        truth = model.simulate(
            2000, 20, 2, seed=seed, parameters={"attentiveness_alpha": 0.6, "attentiveness_beta": 0.6}
        )
        fit = er.fit_em(model, truth.log)
        curve = er.thresholds(fit)
        best = curve.recommend()
        eta = truth.attentiveness.set_index("user")["attentiveness"].reindex(fit.attentiveness["user"]).to_numpy()
        reliability = np.corrcoef(fit.attentiveness["mean"], eta)[0, 1]
        told.append((best.effective_labels, best.precision, curve.soft_weights_leave_one_out, reliability))
    mean, error = np.mean(told, axis=0), np.std(told, axis=0, ddof=1) / np.sqrt(len(told))
    wanted = found[["filtered", "precision", "weighted", "reliability"]].to_numpy(dtype=float)
    assert (np.abs(mean - wanted) < 3 * error).all(), (mean, wanted, error)
    assert (error < 0.03 * wanted).all()  # near enough for that to say something


def test_with_very_many_votes_it_is_the_theory():
    # model.md 8: attentiveness uniform and known: cut at 1/3 for 8/27, weights for 1/3, 1/4 as it is.
    found = er.plan(1, 2000, 0.5, 7.99, concentration=2.0)
    here = found.here / 2000
    assert here["filtered"] == pytest.approx(8 / 27, rel=2e-3)
    assert here["weighted"] == pytest.approx(1 / 3, rel=2e-3)
    assert here["unfiltered"] == pytest.approx(1 / 4)
    assert found.ideal / 2000 == pytest.approx(1 / 3)
    assert found.here["threshold"] == pytest.approx(1 / 3, abs=0.01)


def test_without_a_gap_nothing_is_learned():
    found = er.plan(100, 20, 0.4, 0.0, precision=0.8)
    assert found.here["filtered"] == pytest.approx(found.here["unfiltered"])
    assert found.here["reliability"] == pytest.approx(0.0, abs=1e-9)
    assert found.here["threshold"] == 0.0
    assert found.here["share"] == pytest.approx(1.0)
    assert "hardly tell users apart" in found.verdict
    assert "no cut of this design" in found.needed[0]
    assert "log-odds" in found.needed[1]
    assert "votes a user" not in found.needed[1]  # no number of votes helps


def loosest(votes, attentive, gap, concentration, precision):
    """Labels kept by the loosest cut that is precise enough; of the users at its edge it keeps a part."""
    chance, mean = by_integration(votes, attentive, gap, concentration)
    kept = spare = 0.0
    for one, eta in list(zip(chance, mean, strict=True))[::-1]:
        if spare + one * (eta - precision) < 0:
            return kept + spare / (precision - eta)
        kept, spare = kept + one, spare + one * (eta - precision)
    return kept


def ways(found):
    """Votes and gap that a precision takes, from the words."""
    words = found.needed[1]
    return int(words.split("at that precision: about ")[1].split()[0]), float(
        words.split("a gap of about ")[1].split()[0]
    )


@pytest.mark.parametrize(
    ("votes", "attentive", "gap", "concentration", "precision"),
    [(20, 0.4, 1.0, 1.2, 0.8), (20, 0.2, 0.5, 0.6, 0.6), (20, 0.4, 1.0, 3.0, 0.7)],
)
def test_what_is_needed_is_enough_and_no_more(votes, attentive, gap, concentration, precision):
    found = er.plan(5000, votes, attentive, gap, concentration=concentration, precision=precision)
    many, wide = ways(found)
    assert loosest(many, attentive, gap, concentration, precision) >= 0.1
    assert loosest(many - 1, attentive, gap, concentration, precision) < 0.1
    assert loosest(votes, attentive, wide + 0.006, concentration, precision) >= 0.1
    assert loosest(votes, attentive, wide - 0.02, concentration, precision) < 0.1


def test_what_effective_labels_take():
    found = er.plan(5000, 20, 0.4, 1.0, effective_labels=40_000)
    users = int(" ".join(found.needed).split("this gap: ")[1].split()[0].replace(",", ""))
    assert er.plan(users, 20, 0.4, 1.0).here["filtered"] >= 40_000 > er.plan(users - 1, 20, 0.4, 1.0).here["filtered"]


@pytest.mark.parametrize("precision", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    ("attentive", "concentration"), [(0.2, 0.6), (0.4, 3.0), (0.8, 30.0), (0.001, 0.01), (0.999, 1.0)]
)
def test_more_votes_or_a_larger_gap_keep_no_fewer(attentive, concentration, precision):
    population = _Population.beta(attentive, concentration)
    assert population.mean == pytest.approx(attentive, rel=2e-5)
    gaps, votes = np.linspace(0.05, 8, 25), (1, 2, 3, 5, 8, 13, 21, 34, 57, 58, 63, 120, 300)
    share = np.array([[_share_at(population, n, gap, precision) for gap in gaps] for n in votes])
    assert np.diff(share, axis=0).min() > -1e-12
    assert np.diff(share, axis=1).min() > -1e-12
    here = er.plan(100, 20, attentive, 1.0, concentration=concentration).here
    assert 0 < here["precision"] < 1


def test_more_of_anything_never_hurts():
    table = er.plan(100, 20, 0.3, 1.0).table.set_index(["votes", "gap"])
    worth = (table["weighted"] / table["unfiltered"]).unstack()
    assert (worth.diff().dropna() > 0).all().all()
    assert (worth.diff(axis=1).iloc[:, 1:] > 0).all().all()
    assert (table["filtered"] >= table["unfiltered"] * (1 - 1e-12)).all()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"users": 0}, "users"), ({"votes": 2.5}, "votes"), ({"votes": 5000}, "2,000"), ({"attentive": 1.0}, "attentive"),
        ({"gap": -1.0}, "gap"), ({"gap": float("nan")}, "gap"), ({"precision": 1.2}, "precision"),
        ({"effective_labels": 0}, "effective_labels"), ({"concentration": True}, "concentration"),
        ({"attentive": 1e-17}, r"attentive=1e-17.*from 0\.001 to 0\.999"), ({"attentive": 1e-12}, "attentive"),
        ({"concentration": 1e-20}, r"concentration=1e-20.*from 0\.01 to 1000"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_named(bad, said):
    with pytest.raises(EarnestError, match=said):
        er.plan(**bad)


def test_the_command_says_the_same(tmp_path):
    arguments = ["plan", "--users", "500", "--votes", "10", "--attentive", "0.4", "--advantage", "0.7"]
    told = CliRunner().invoke(main, [*arguments, "--format", "json"])
    gap = np.log(0.7 / 0.3)
    assert json.loads(told.output)["here"]["filtered"] == pytest.approx(er.plan(500, 10, 0.4, gap).here["filtered"])
    shown = CliRunner().invoke(main, [*arguments, "--figure", str(tmp_path / "plan")])
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= 80
    assert (tmp_path / "plan.png").stat().st_size > 10_000
    both = CliRunner().invoke(main, [*arguments, "--gap", "1"])
    assert both.exit_code == 2
    assert "give one" in both.output
    wide = CliRunner().invoke(main, [*arguments[:-1], "0.9999"])
    assert wide.exit_code == 2
    assert "--advantage: expected a probability from 0.5 to 0.9996" in wide.output
    assert CliRunner().invoke(main, [*arguments[:-1], "0.9996"]).exit_code == 0


def test_shares_are_told_from_all_and_none():
    found = er.plan(100, 20, 0.999, 1.0, precision=0.9995)
    assert "of which 99.9% are attended" in found.verdict
    assert "a gap of 1 log-odds" in found.verdict  # what the numbers are those of
    assert "a concentration of 1.2" in found.verdict
    assert found.needed[0].startswith("Users who attend to 99.95% of their votes: ")

"""The planner: exact sums against integrals and simulated logs."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import integrate, special, stats

import earnest as er
from earnest.cli import main
from earnest.comparisons.errors import EarnestError


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


def test_what_is_needed_is_enough_and_no_more():
    found = er.plan(5000, 20, 0.4, 1.0, precision=0.8, effective_labels=40_000)
    words = " ".join(found.needed)
    votes = int(words.split("at that precision: ")[1].split()[0])

    def share(n):
        """Labels kept by the loosest cut that is precise enough."""
        chance, mean = by_integration(n, 0.4, 1.0, 1.2)
        kept = [chance[k:].sum() for k in range(n + 1) if chance[k:] @ mean[k:] >= 0.8 * chance[k:].sum()]
        return max(kept, default=0.0)

    assert share(votes) >= 0.1 > share(votes - 1)
    users = int(words.split("this gap: ")[1].split()[0].replace(",", ""))
    assert er.plan(users, 20, 0.4, 1.0).here["filtered"] >= 40_000 > er.plan(users - 1, 20, 0.4, 1.0).here["filtered"]


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

"""Prior sensitivity: against a conjugate posterior whose scaled forms are known, a flat prior, and silent votes."""

import numpy as np
import pytest
import xarray
from arviz_base import from_dict
from scipy import stats

import earnest as er
from earnest.comparisons.errors import EarnestError
from earnest.diagnostics.calibration_plots import prior_sensitivity
from earnest.diagnostics.sensitivity import LIMIT, POPULATION, USERS, sensitivity

CHAINS, DRAWS, N_USERS = 4, 500, 5
LABEL = "attentiveness_weight[1]"


def conjugate(concentration, yes, no, weigh=1.0):
    """A posterior of the share of attentive users that is Beta(concentration + yes, concentration + no), evenly drawn.

    Users of whom everyone is known to be one or the other: `yes` and `no` of them. `weigh` scales their log-likelihood.
    """
    model = er.BehaviorModel(
        er.Groups((0.0, 1.0), weight_prior=er.priors.Dirichlet(concentration)),
        er.KnownAdvantage(0.7, stronger=("a", "b")),
        er.CoinFlip(),
    )
    posterior = stats.beta(concentration + weigh * yes, concentration + weigh * no)
    even = posterior.ppf((np.arange(CHAINS * DRAWS) + 0.5) / (CHAINS * DRAWS))
    share = np.random.default_rng(0).permutation(even).reshape(CHAINS, DRAWS)
    joint = weigh * (yes * np.log(share) + no * np.log1p(-share))
    tree = from_dict(
        {
            "posterior": {"attentiveness_weight": np.stack([1 - share, share], axis=-1)},
            "sample_stats": {"diverging": np.zeros((CHAINS, DRAWS), dtype=bool)},
            "observed_data": {"votes": np.zeros((N_USERS, 1, 2))},
        },
        coords={"group": ["0", "1"], "outcome": ["model_a", "model_b"], "user": [f"u{i}" for i in range(N_USERS)]},
        dims={"attentiveness_weight": ["group"], "votes": ["user", "shown", "outcome"]},
    )
    by_user = np.repeat(joint[..., None] / N_USERS, N_USERS, axis=-1)
    tree["log_likelihood"] = from_dict({"log_likelihood": {"votes": by_user}}, dims={"votes": ["user"]})[
        "log_likelihood"
    ]
    tree.attrs["declaration"] = model.to_toml()
    return tree, even


def distance(one, other, ends):
    """Cumulative Jensen-Shannon distance of two distributions, over the range of the draws, base 2 (Nguyen 2015)."""

    def of(f, g):
        m = 0.5 * (f + g)
        return np.trapezoid(f * np.log2(f / m), x) + 0.5 / np.log(2) * np.trapezoid(g - f, x)

    x = np.linspace(*ends, 40_001)[1:-1]
    out = []
    for f, g in ((one.cdf(x), other.cdf(x)), (one.sf(x), other.sf(x))):
        out.append(np.sqrt((of(f, g) + of(g, f)) / np.trapezoid(f + g, x)))
    return max(out)


@pytest.mark.parametrize(("concentration", "yes", "no"), [(2.0, 3.0, 9.0), (4.0, 12.0, 5.0), (2.0, 150.0, 60.0)])
def test_a_conjugate_posterior_moves_as_it_must(concentration, yes, no):
    """Powers of prior and likelihood give Beta distributions, too: the exact distance to them is the answer."""
    tree, even = conjugate(concentration, yes, no)
    row = sensitivity(tree).table.set_index("quantity").loc[LABEL]
    posterior = stats.beta(concentration + yes, concentration + no)
    exact = {}
    for name, more in (
        ("prior", lambda a: ((a - 1) * (concentration - 1),) * 2),
        ("likelihood", lambda a: ((a - 1) * yes, (a - 1) * no)),
    ):
        slopes = []
        for power in (0.99, 1.01):
            up, down = more(power)
            moved = stats.beta(concentration + yes + up, concentration + no + down)
            slopes.append(distance(posterior, moved, (even.min(), even.max())) / abs(np.log2(power)))
        exact[name] = np.mean(slopes)
    assert row["prior"] == pytest.approx(exact["prior"], rel=0.05)
    assert row["likelihood"] == pytest.approx(exact["likelihood"], rel=0.05)


def test_a_flat_prior_moves_nothing_and_many_votes_outweigh_another():
    flat = sensitivity(conjugate(1.0, 4.0, 6.0)[0])
    row = flat.table.set_index("quantity").loc[LABEL]
    assert row["prior"] == 0.0
    assert row["likelihood"] > LIMIT
    assert row["diagnosis"] == "the votes decide"
    assert not flat.scale_leans
    assert "does not lean on the prior" in flat.verdict
    assert "No parameter leans on its prior." in flat.verdict
    few, many = (sensitivity(conjugate(6.0, n, 9 * n)[0]) for n in (3.0, 600.0))
    assert few.scale_leans
    assert not many.scale_leans


def test_where_votes_say_nothing_the_prior_decides():
    found = sensitivity(conjugate(3.0, 5.0, 5.0, weigh=0.0)[0])
    row = found.table.set_index("quantity").loc[LABEL]
    assert row["likelihood"] == 0.0
    assert row["prior"] > LIMIT
    assert row["diagnosis"] == "the prior decides"
    assert row["strongest"] == "attentiveness_weight"
    assert found.scale_leans
    assert "leans on the prior" in found.verdict
    assert "most on that of attentiveness_weight" in found.verdict
    assert "what is said of it is the prior's" in found.verdict


def test_the_populations_mean_stands_in_where_users_were_not_kept():
    """With levels 0 and 1 it is the share of the attentive."""
    table = sensitivity(conjugate(2.0, 3.0, 9.0)[0]).table.set_index("quantity")
    for column in ("prior", "likelihood"):
        assert table.loc[POPULATION, column] == pytest.approx(table.loc[LABEL, column], rel=1e-6)


MODEL = er.BehaviorModel(er.Groups((0.1, 0.9)), er.PairAdvantage(ties=er.Davidson()), er.CoinFlip())


@pytest.fixture(scope="module")
def log():
    return MODEL.simulate(users=40, comparisons_per_user=10, models=2, seed=3).log


@pytest.fixture(scope="module")
def trace(log):
    return er.sample(MODEL, log, chains=2, draws=200, tune=200, predictive=0)


def test_a_sampled_posterior_is_judged_whole(log, trace):
    found = sensitivity(trace)
    best = er.thresholds(trace, log).recommend()
    precision = f"precision above the recommended threshold {best.threshold:.2f}"
    assert list(found.table["quantity"]) == [
        USERS, precision, "attentiveness_weight[0.1]", "attentiveness_weight[0.9]", "advantage[model_1 vs model_2]",
        "tie_strength",
    ]  # fmt: skip
    assert list(found.by_prior.columns) == ["quantity", "attentiveness_weight", "advantage", "tie_strength"]
    assert np.isfinite(found.table[["prior", "likelihood"]].to_numpy()).all()
    shares = found.table.set_index("quantity").loc[["attentiveness_weight[0.1]", "attentiveness_weight[0.9]"]]
    assert shares["prior"].iloc[0] == pytest.approx(shares["prior"].iloc[1], rel=1e-6)  # they sum to one


def test_a_likelihood_of_some_draws_is_computed_anew_from_the_log(log, trace):
    short = trace.copy()
    short["log_likelihood"] = xarray.DataTree(trace["log_likelihood"].to_dataset().isel(draw=slice(None, None, 4)))
    with pytest.raises(EarnestError, match=r"only some of its draws; give the log as well: sensitivity\(trace, log\)"):
        sensitivity(short)
    again, whole = sensitivity(short, log).table, sensitivity(trace).table
    np.testing.assert_allclose(again[["prior", "likelihood"]], whole[["prior", "likelihood"]], rtol=1e-5)
    other = MODEL.simulate(users=10, comparisons_per_user=5, models=2, seed=1).log
    with pytest.raises(EarnestError, match="not the log that this posterior was sampled from"):
        sensitivity(short, other)


def test_mistakes_are_named(log, trace):
    with pytest.raises(EarnestError, match="expected a posterior from `sample`.*got Fit"):
        sensitivity(er.fit_em(MODEL, log))
    bare = trace.copy()
    bare.attrs = {}
    with pytest.raises(EarnestError, match="lacks the declaration"):
        sensitivity(bare)
    broken = trace.copy(deep=True)
    broken["posterior"]["tie_strength"].values[0, 0] = np.nan
    with pytest.raises(EarnestError, match="draws of 'tie_strength' are not all numbers"):
        sensitivity(broken)


def test_the_figure_has_a_row_a_quantity(trace):
    found = sensitivity(trace)
    axes = prior_sensitivity(found)
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels[::-1] == list(found.table["quantity"])
    votes, priors = axes.lines[-2].get_xdata(), axes.lines[-1].get_xdata()
    assert list(votes[::-1]) == list(found.table["likelihood"])
    assert list(priors[::-1]) == list(found.table["prior"])

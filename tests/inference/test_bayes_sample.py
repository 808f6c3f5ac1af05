"""`sample` end to end on a small log: what the tree holds, that it is reproducible, saved, and the same by four roads."""

import json
import runpy
from pathlib import Path

import arviz_stats
import jax
import numpy as np
import pytest
import xarray

import earnest as er
from earnest.inference.chains import run_chains
from earnest.inference.compiled import settle, values_at
from earnest.inference.in_numpyro import numpyro_model
from earnest.inference.starts import user_starts

_logs = runpy.run_path(str(Path(__file__).with_name("logs.py")))
MODELS = ["ada", "grace", "lovelace"]
MODEL = er.BehaviorModel(er.Beta(), er.BradleyTerry(ties=er.Davidson()), er.PositionBias())
TRUE = {
    "skill": [1.5, 0.0, -1.5],
    "tie_strength": 0.5,
    "casual_outcome": [0.5, 0.3, 0.2],
    "attentiveness_alpha": 1.5,
    "attentiveness_beta": 0.8,
}
SETTINGS = {"chains": 2, "draws": 600, "tune": 200, "seed": 5, "predictive": 7, "target_accept": 0.95}
GLOBALS = ("attentiveness_alpha", "attentiveness_beta", "skill", "tie_strength", "casual_outcome")


@pytest.fixture(scope="module")
def log():
    return MODEL.simulate(users=40, comparisons_per_user=8, models=MODELS, seed=3, parameters=TRUE).log


@pytest.fixture(scope="module")
def fit(log):
    return er.fit_em(MODEL, log)


@pytest.fixture(scope="module")
def tree(log, fit):
    return er.sample(MODEL, log, latent="marginal", fit=fit, **SETTINGS)


def short(log, fit, **settings):
    """A run of the same program that is over at once."""
    return er.sample(MODEL, log, latent="marginal", fit=fit, **{**SETTINGS, "draws": 20, "tune": 40} | settings)


# ---------------------------------------------------------------------------------------------- what it holds


def test_groups_and_their_axes(tree, log):
    assert set(tree.children) == {
        "posterior", "sample_stats", "log_likelihood", "prior", "prior_predictive", "posterior_predictive",
        "observed_data", "constant_data",
    }  # fmt: skip
    posterior = tree["posterior"]
    assert set(posterior.data_vars) == {*GLOBALS, "attentiveness"}
    dims = {"skill": ("model",), "casual_outcome": ("outcome",), "attentiveness": ("user",)}
    for name, value in posterior.data_vars.items():
        assert value.dims == ("chain", "draw", *dims.get(name, ())), name
        assert np.isfinite(value).all()
    assert posterior.sizes["chain"] == 2
    assert posterior.sizes["draw"] == 600
    assert list(posterior["model"].to_numpy()) == MODELS
    assert list(posterior["outcome"].to_numpy()) == ["model_a", "model_b", "tie"]
    assert list(posterior["user"].to_numpy()) == [f"user_{i:02d}" for i in range(1, 41)]
    stats = tree["sample_stats"]
    assert {"diverging", "energy", "lp", "n_steps", "tree_depth", "acceptance_rate", "step_size"} <= set(
        stats.data_vars
    )
    assert tree["log_likelihood"]["votes"].dims == ("chain", "draw", "user")
    assert tree["prior"]["skill"].shape == (1, 500, 3)
    for group in ("prior_predictive", "posterior_predictive"):
        votes = tree[group]["votes"]
        assert votes.dims == ("chain", "draw", "user", "shown", "outcome")
        assert votes.sizes["draw"] == 7
    assert np.abs(posterior["skill"].sum("model")).max() < 1e-9
    assert np.abs(posterior["casual_outcome"].sum("outcome") - 1).max() < 1e-9
    # A logit above 37 rounds to 1, as it may where beta is small.
    assert ((posterior["attentiveness"] > 0) & (posterior["attentiveness"] <= 1)).all()


def test_the_data_are_the_log(tree, log):
    """Observed counts by name, counted again by pandas; replicates were shown the same."""
    frame = _logs["frame_of"](log)
    observed = tree["observed_data"]["votes"]
    counted = frame.groupby(["user", "model_a", "model_b", "winner"]).size()
    for (user, a, b, winner), n in counted.items():
        assert int(observed.sel(user=user, shown=f"{a} | {b}", outcome=winner)) == n
    assert int(observed.sum()) == len(frame) == 320
    constant = tree["constant_data"]
    assert (constant["comparisons"] == 8).all()
    xarray.testing.assert_equal(
        constant["shown_comparisons"].drop_vars("shown"), observed.sum("outcome").drop_vars("shown")
    )
    for group in ("prior_predictive", "posterior_predictive"):
        assert (tree[group]["votes"].sum("outcome") == observed.sum("outcome")).all()
        assert tree[group]["votes"].std("draw").max() > 0


def test_the_log_likelihood_is_the_users(tree, log):
    """Against the oracle at some draws: attentiveness is integrated out, so the unit of LOO is the user."""
    votes = _logs["votes_of"](log, kind="skill", rule="davidson", casual="position")
    for chain, draw in ((0, 0), (0, 599), (1, 137)):
        at = {name: tree["posterior"][name].to_numpy()[chain, draw] for name in GLOBALS}
        exact, _, _ = votes.user_log_likelihoods(at)
        np.testing.assert_allclose(tree["log_likelihood"]["votes"].to_numpy()[chain, draw], exact, atol=1e-8)
    loo = arviz_stats.loo(tree)
    assert loo.n_data_points == 40


def test_attributes_say_how_it_was_made(tree, log):
    attrs = tree.attrs
    assert er.BehaviorModel.from_toml(attrs["declaration"]) == MODEL
    assert attrs["fingerprint"] == log.fingerprint()
    expected = {"backend": "numpyro", "form": "marginal", "seed": 5, "draws": 600, "tune": 200, "init": "modes",
                "keep_users": "draws", "observed_unit": "user"}  # fmt: skip
    assert {name: attrs[name] for name in expected} == expected
    assert attrs["form_reason"] == "marginal form, as asked for"
    assert "2 chains" in attrs["chains_ran"]
    assert {"earnest", "jax", "numpyro"} <= set(json.loads(attrs["versions"]))
    assert len(json.loads(attrs["chain_starts"])) == 2
    assert json.loads(attrs["modes"])[0]["nats_below_best"] == 0.0
    assert attrs["integration_error_nats"] == 0.0


def test_diagnostics_are_good(tree):
    # So short a log says little of alpha and beta, and their posterior has corners.
    assert float(tree["sample_stats"]["diverging"].mean()) < 0.01
    rhat = arviz_stats.rhat(tree["posterior"].to_dataset())
    assert float(rhat.to_dataarray().max()) < 1.05


@pytest.mark.parametrize("tune", [20, pytest.param(40, marks=pytest.mark.long), 200])
def test_nothing_adapts_once_the_draws_begin(log, fit, tree, tune):
    # A step size that still follows the chain is no Markov chain; nothing in R-hat or ESS would show it.
    tree = tree if tune == SETTINGS["tune"] else short(log, fit, tune=tune, draws=60)
    steps = tree.sample_stats["step_size"].values
    assert (steps == steps[:, :1]).all()
    assert len(set(steps[:, 0])) == len(steps)  # and each chain has adapted its own


@pytest.mark.parametrize("kind", ["netcdf", "zarr"])
def test_it_is_saved_and_loaded(tree, tmp_path, kind):
    path = tmp_path / f"posterior.{kind}"
    if kind == "netcdf":
        tree.to_netcdf(path)
        again = xarray.open_datatree(path)
    else:
        tree.to_zarr(path, zarr_format=2)
        again = xarray.open_datatree(path, engine="zarr")
    with again:
        assert set(again.children) == set(tree.children)
        for name, group in tree.children.items():
            xarray.testing.assert_equal(again[name].to_dataset(), group.to_dataset())
        assert dict(again.attrs) == dict(tree.attrs)
        assert er.BehaviorModel.from_toml(again.attrs["declaration"]) == MODEL


# ---------------------------------------------------------------------------------------------- seeds and settings


def test_the_seed_decides_everything(log, fit):
    first, again, other = (short(log, fit, seed=seed) for seed in (1, 1, 2))
    for name, group in first.children.items():
        xarray.testing.assert_equal(again[name].to_dataset(), group.to_dataset())
    for name in (*GLOBALS, "attentiveness"):
        assert (first["posterior"][name] != other["posterior"][name]).all()


def test_users_may_be_summarised_or_left_out(log, fit, tree):
    """A summary of the same draws: mean and sd are those of the posterior, the interval holds 90 % of it."""
    summed = er.sample(MODEL, log, latent="marginal", fit=fit, keep_users="summary", **SETTINGS)
    xarray.testing.assert_equal(summed["posterior"]["skill"], tree["posterior"]["skill"])
    assert "attentiveness" not in summed["posterior"]
    users = summed["users"]
    draws = tree["posterior"]["attentiveness"].stack(s=("chain", "draw"))
    error = arviz_stats.mcse(tree["posterior"].to_dataset()[["attentiveness"]], method="mean")["attentiveness"]
    assert (np.abs(users["mean"] - draws.mean("s")) < 6 * error).all()
    assert np.abs(users["sd"] / draws.std("s") - 1).max() < 0.25
    inside = ((draws >= users["lower"]) & (draws <= users["upper"])).mean()
    assert abs(float(inside) - 0.9) < 0.03
    assert (users["comparisons"] == 8).all()
    none = short(log, fit, keep_users="none")
    assert "attentiveness" not in none["posterior"]
    assert "users" not in none.children
    assert none["log_likelihood"]["votes"].sizes["user"] == 40


def test_chains_may_start_from_the_prior(log, tree):
    other = er.sample(MODEL, log, latent="marginal", init="prior", **{**SETTINGS, "tune": 300, "predictive": 0})
    assert other.attrs["init"] == "prior"
    assert json.loads(other.attrs["chain_starts"]) == ["prior draw"] * 2
    assert json.loads(other.attrs["modes"]) == []
    assert "posterior_predictive" not in other.children
    agree(other, tree)


def test_a_form_is_chosen_and_explained(log, fit):
    told = []
    auto = er.sample(
        MODEL,
        log,
        fit=fit,
        progress=lambda stage, done, total: told.append(stage),
        **{**SETTINGS, "draws": 20, "tune": 40},
    )
    assert auto.attrs["form"] in ("marginal", "explicit")
    assert auto.attrs["form_reason"].startswith(f"{auto.attrs['form']} form: about ")
    assert "40 users" in auto.attrs["form_reason"]
    assert any(stage.startswith("chain 2 of 2, sampling") for stage in told)
    assert told[-1] == "replicates"


# ---------------------------------------------------------------------------------------------- other roads


def agree(one, other, names=GLOBALS):
    """Means and sds of all globals, and of every user's attentiveness, within 6 Monte-Carlo standard errors."""
    for name in (*names, "attentiveness"):
        pairs = [tree["posterior"].to_dataset()[[name]] for tree in (one, other)]
        for method in ("mean", "sd"):
            value = [getattr(p, {"mean": "mean", "sd": "std"}[method])(("chain", "draw"))[name] for p in pairs]
            error = [arviz_stats.mcse(p, method=method)[name] for p in pairs]
            error = np.hypot(*error)
            # Else the comparison would mean little: of the skewest parameter, alpha, the sd is known to a third.
            spread = pairs[1].std(("chain", "draw"))[name]
            assert float((error / spread).max()) < {"mean": 0.2, "sd": 0.6}[method], f"{name}, {method}: too few draws"
            off = np.abs(value[0] - value[1]) / error
            assert float(off.max()) < 6, f"{name}, {method}: {float(off.max()):.1f} standard errors"


# PyMC compiles for long; that its explicit form is right is also shown by test_bayes_exact.
ROADS = [
    ("numpyro", "explicit"),
    *(pytest.param("pymc", latent, marks=pytest.mark.long) for latent in ("marginal", "explicit")),
]


@pytest.mark.parametrize(("backend", "latent"), ROADS)
def test_other_roads_lead_to_the_same_posterior(log, fit, tree, backend, latent):
    # One draw says less in the explicit form.
    more = {"draws": 1500} if latent == "explicit" else {}
    other = er.sample(MODEL, log, backend=backend, latent=latent, fit=fit, **SETTINGS | more)
    assert other.attrs["form"] == latent
    assert set(other.children) == set(tree.children)
    for name, group in tree.children.items():
        wanted = {n: v.dims for n, v in group.data_vars.items()}
        if name != "sample_stats":
            assert {n: v.dims for n, v in other[name].data_vars.items()} == wanted
    assert set(tree["sample_stats"].data_vars) <= set(other["sample_stats"].data_vars) | {"lp"}
    agree(other, tree)
    # The likelihood of the users at a draw does not depend on the road that led to it.
    votes = _logs["votes_of"](log, kind="skill", rule="davidson", casual="position")
    at = {name: other["posterior"][name].to_numpy()[1, 17] for name in GLOBALS}
    exact, _, _ = votes.user_log_likelihoods(at)
    np.testing.assert_allclose(other["log_likelihood"]["votes"].to_numpy()[1, 17], exact, atol=1e-8)
    # Negative control: agreement is not for free.
    wrong = other.copy()
    skill = other["posterior"]["skill"]
    wrong["posterior"] = other["posterior"].to_dataset().assign(skill=skill + 2 * skill.std(("chain", "draw")))
    with pytest.raises(AssertionError, match="skill, mean"):
        agree(wrong, tree, ("skill",))


@pytest.mark.long
def test_the_same_seed_gives_the_same_draws_in_pymc(log, fit):
    first, again = (short(log, fit, backend="pymc", keep_users="none", predictive=0) for _ in range(2))
    for name in GLOBALS:
        np.testing.assert_array_equal(first["posterior"][name], again["posterior"][name])


def test_chains_end_when_one_of_them_is_interrupted(log, fit):
    done = []

    def press(stage, iteration, total):
        if stage.startswith("chain"):
            done.append(iteration)
            if len(done) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        short(log, fit, draws=5000, progress=press)
    assert max(done) < 1000


@pytest.mark.long
def test_vectorised_chains_are_the_same_chains(log, fit, tree):
    """As on an accelerator: all chains in one program."""
    from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

    with jax.enable_x64(True):
        statement = settle(MODEL, log).statement("marginal")
        model = numpyro_model(statement)
        values = values_at(statement.table, fit.centre)
        start = jax.tree.map(np.asarray, unconstrain_fn(model, (), {}, values))
        chains = run_chains(
            lambda data, free: potential_energy(model, (data,), {}, free), statement.tally.count, [start] * 2, [1, 2],
            tune=150, draws=[200, 200], target_accept=0.8, blocks=[tuple(sorted(start))], vectorised=True,
        )  # fmt: skip
        assert "side by side in one program" in chains.method
        draws = [jax.vmap(lambda z: constrain_fn(model, (), {}, z))(chain) for chain in chains.draws]
    for name in GLOBALS:
        mine = np.stack([np.asarray(chain[name]) for chain in draws])
        assert mine.shape == (2, 200, *tree["posterior"][name].shape[2:])
        theirs = tree["posterior"].to_dataset()[[name]]
        ours = xarray.Dataset({name: (theirs[name].dims, mine)})
        error = np.hypot(*(arviz_stats.mcse(d, method="mean")[name].to_numpy() for d in (ours, theirs)))
        off = np.abs(mine.mean((0, 1)) - theirs[name].mean(("chain", "draw")).to_numpy()) / error
        assert off.max() < 6, name
    assert all((chains.draws[0][name] != chains.draws[1][name]).any() for name in chains.draws[0])


def test_users_start_where_their_votes_put_them(log, fit):
    """Given the globals of each start, so that a scout's users are of its own mode; without a fit, anywhere."""
    settled = settle(MODEL, log)
    repeated = {name: np.stack([value] * 200) for name, value in fit.parameters.items()}
    mean = fit.attentiveness.set_index("user").loc[settled.statement("explicit").tally.users, "mean"].to_numpy()

    def started(form, fitted):
        with jax.enable_x64(True):
            starts = user_starts(settled.statement(form), settled.counts, repeated, seed=1, fitted=fitted)
        return np.array([1 / (1 + np.exp(-start["attentiveness_logit"])) for start in starts if start])

    assert started("marginal", fitted=True).size == 0
    told = started("explicit", fitted=True)
    assert told.shape == (200, 40)
    np.testing.assert_allclose(told.mean(0), mean, atol=0.1)
    assert np.unique(told, axis=0).shape == (200, 40)  # each start its own
    blind = started("explicit", fitted=False).mean(0)
    assert np.abs(blind - mean).max() > 0.2

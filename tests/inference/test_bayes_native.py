"""The models that one gets in hand are ordinary NumPyro and PyMC models: their own tools work on them."""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pymc as pm
import pytest
from numpyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO, autoguide, log_likelihood

import earnest as er

_logs = runpy.run_path(str(Path(__file__).with_name("logs.py")))
MODEL = er.BehaviorModel(er.Beta(), er.BradleyTerry(ties=er.Davidson()), er.PositionBias())
GLOBALS = ["attentiveness_alpha", "attentiveness_beta", "skill", "tie_strength", "casual_outcome"]
AT = {
    "attentiveness_alpha": np.array(1.3),
    "attentiveness_beta": np.array(0.7),
    "skill": np.array([0.8, 0.1, -0.9]),
    "tie_strength": np.array(0.6),
    "casual_outcome": np.array([0.5, 0.3, 0.2]),
}
object_mode = pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")


@pytest.fixture(scope="module")
def log():
    return MODEL.simulate(users=12, comparisons_per_user=4, models=["ada", "grace", "lovelace"], seed=2).log


@pytest.fixture(scope="module")
def exact(log):
    """Every user's log-likelihood at `AT`, by the oracle."""
    return _logs["votes_of"](log, kind="skill", rule="davidson", casual="position").user_log_likelihoods(AT)[0]


# ---------------------------------------------------------------------------------------------- NumPyro


@pytest.mark.parametrize("latent", ["explicit", pytest.param("marginal", marks=pytest.mark.long)])
def test_numpyro_samples_it(log, latent):
    with jax.enable_x64(True):
        mcmc = MCMC(NUTS(er.to_numpyro(MODEL, log, latent)), num_warmup=10, num_samples=10, progress_bar=False)
        mcmc.run(jax.random.key(0))
        draws = mcmc.get_samples()
        assert {*GLOBALS} <= set(draws)
        assert ("attentiveness" in draws) == (latent == "explicit")
        assert all(np.isfinite(value).all() for value in draws.values())
        assert draws["skill"].shape == (10, 3)
        assert np.ptp(draws["tie_strength"]) > 0


def test_numpyro_takes_a_step_of_variational_inference(log):
    with jax.enable_x64(True):
        model = er.to_numpyro(MODEL, log)
        svi = SVI(model, autoguide.AutoNormal(model), numpyro.optim.Adam(1e-2), Trace_ELBO())
        state = svi.init(jax.random.key(0))
        before = state.optim_state
        state, loss = jax.jit(svi.update)(state)
        assert np.isfinite(loss)
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), before[1], state.optim_state[1])
        assert max(jax.tree.leaves(moved)) > 0


def test_numpyro_predicts(log):
    """Prior predictive and posterior predictive votes: users were shown what they were shown."""
    with jax.enable_x64(True):
        model = er.to_numpyro(MODEL, log, "explicit")
        observed = numpyro.handlers.trace(numpyro.handlers.seed(model, 0)).get_trace()["votes"]["value"]
        prior = Predictive(model, num_samples=30)(jax.random.key(1), votes=None)
        at = {name: jnp.asarray(np.stack([value] * 30)) for name, value in AT.items()}
        posterior = Predictive(model, posterior_samples=at)(jax.random.key(2), votes=None)
        for drawn in (prior, posterior):
            assert drawn["votes"].shape == (30, *observed.shape)
            np.testing.assert_array_equal(drawn["votes"].sum(-1), np.stack([observed.sum(-1)] * 30))
            assert drawn["attentiveness"].std() > 0
            assert (drawn["votes"].std(0) > 0).any()


def test_numpyro_gives_log_likelihoods(log, exact):
    with jax.enable_x64(True):
        model = er.to_numpyro(MODEL, log)
        at = {name: jnp.asarray(value)[None] for name, value in AT.items()}
        by_pattern = np.asarray(log_likelihood(model, at)["votes"])[0]
        # Patterns come once, and `log_likelihood` weighs them by their users only within the density.
        sites = numpyro.handlers.trace(numpyro.handlers.substitute(model, AT)).get_trace()
        multiplicity = np.broadcast_to(sites["votes"]["scale"], by_pattern.shape)
        assert multiplicity.sum() == 12
        assert multiplicity @ by_pattern == pytest.approx(exact.sum(), rel=1e-10)


@pytest.mark.parametrize("latent", ["marginal", "explicit"])
def test_numpyro_draws_the_graph(log, latent):
    with jax.enable_x64(True):
        graph = numpyro.render_model(er.to_numpyro(MODEL, log, latent), render_distributions=True)
    source = graph.source
    for name in [*GLOBALS, "votes", *(["attentiveness_logit", "user"] if latent == "explicit" else [])]:
        assert name in source


# ---------------------------------------------------------------------------------------------- PyMC


@pytest.fixture(scope="module")
def native(log):
    return er.to_pymc(MODEL, log)


def test_pymc_knows_the_names(native, log):
    assert [v.name for v in native.free_RVs] == GLOBALS
    assert native.coords["model"] == ("ada", "grace", "lovelace")
    assert native.coords["outcome"] == ("model_a", "model_b", "tie")
    assert native.coords["user"] == tuple(sorted(log.users))
    assert native.named_vars_to_dims["skill"] == ("model",)
    explicit = er.to_pymc(MODEL, log, "explicit")
    assert explicit.named_vars_to_dims["attentiveness"] == ("user",)
    assert explicit.named_vars_to_dims["votes"] == ("user", "shown", "outcome")


@object_mode
@pytest.mark.parametrize("sampler", ["nutpie", pytest.param("pymc", marks=pytest.mark.long)])
def test_pymc_samples_it(native, sampler):
    with native:
        tree = pm.sample(
            draws=20, tune=20, chains=1, cores=1, nuts_sampler=sampler, random_seed=1, progressbar=False,
            compute_convergence_checks=False,
        )  # fmt: skip
    posterior = tree["posterior"]
    assert set(GLOBALS) <= set(posterior.data_vars)
    assert list(posterior["model"].to_numpy()) == ["ada", "grace", "lovelace"]
    assert np.isfinite(posterior["skill"]).all()
    assert float(posterior["tie_strength"].std()) > 0


@object_mode
@pytest.mark.filterwarnings("ignore:`find_MAP` will:FutureWarning")
def test_pymc_finds_the_mode_that_em_finds(native, log):
    """`find_MAP` leaves Jacobians out, as EM does: the same objective, so the same place."""
    fit = er.fit_em(MODEL, log)
    with native:
        found = pm.find_MAP(progressbar=False, random_seed=1)
    for name in GLOBALS:
        np.testing.assert_allclose(found[name], fit.parameters[name], rtol=2e-3, atol=2e-3, err_msg=name)
    height = native.compile_logp(jacobian=False, mode="FAST_COMPILE")(
        {v.name: found[v.name] for v in native.value_vars}
    )
    assert float(height) == pytest.approx(fit.objective_trace[-1], abs=1e-5)


@object_mode
def test_pymc_gives_log_likelihoods(native, log, exact):
    import xarray

    axes = {"skill": ["model"], "casual_outcome": ["outcome"]}
    data = {name: (["chain", "draw", *axes.get(name, [])], value[None, None]) for name, value in AT.items()}
    posterior = xarray.DataTree.from_dict({"/posterior": xarray.Dataset(data)})
    with native:
        tree = pm.compute_log_likelihood(posterior, progressbar=False, extend_inferencedata=False)
    found = (tree["votes"] if "votes" in tree else tree["log_likelihood"]["votes"]).to_numpy()
    assert found.sum() == pytest.approx(exact.sum(), rel=1e-10)


@object_mode
def test_pymc_intervenes_and_observes(log, exact):
    """`do` fixes the globals, `observe` puts other votes in place: the density follows."""
    native = er.to_pymc(MODEL, log)
    fixed = pm.do(native, AT)
    assert not fixed.free_RVs
    assert float(fixed.compile_logp(mode="FAST_COMPILE")({})) == pytest.approx(exact.sum(), rel=1e-10)
    with fixed:
        drawn = pm.draw(fixed["votes"], random_seed=3)
    shown = native.rvs_to_values[native["votes"]].eval().sum(-1)
    np.testing.assert_array_equal(drawn.sum(-1), shown)
    seen = pm.observe(native, {"tie_strength": 0.6})
    assert {v.name for v in seen.free_RVs} == {*GLOBALS} - {"tie_strength"}
    assert np.isfinite(seen.compile_logp(mode="FAST_COMPILE")(seen.initial_point()))


@pytest.mark.parametrize("latent", ["marginal", "explicit"])
def test_pymc_draws_the_graph(log, latent):
    graph = pm.model_to_graphviz(er.to_pymc(MODEL, log, latent))
    for name in [*GLOBALS, "votes", *(["attentiveness_logit", "attentiveness"] if latent == "explicit" else [])]:
        assert name in graph.source
    # Names of axes are the plates.
    assert "model" in graph.source

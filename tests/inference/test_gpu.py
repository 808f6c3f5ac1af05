"""EM and NUTS on a GPU, unchanged: the numbers of the CPU. Skipped where JAX sees no GPU.

JAX_PLATFORMS=cuda,cpu python -m pytest tests/inference/test_gpu.py -s
"""

import jax
import numpy as np
import pytest

import earnest as er


def gpus():
    try:
        return jax.devices("gpu")
    except RuntimeError:
        return []


def allocations(device):
    """How often memory of a device was asked for: proof that something was computed there."""
    return device.memory_stats()["num_allocs"]


@pytest.fixture(scope="module")
def processors():
    found = gpus()
    if not found:
        pytest.skip("JAX sees no GPU here: nothing to compare the CPU with (JAX_PLATFORMS=cuda,cpu where there is one)")
    return {"gpu": found[0], "cpu": jax.devices("cpu")[0]}


@pytest.fixture(scope="module")
def truth():
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    return model, model.simulate(2000, 20, 4, seed=1)


@pytest.mark.parametrize(
    "model",
    [None, er.BehaviorModel(er.Signed(), er.BradleyTerry(ties=er.Davidson()), er.Partisan())],
    ids=["default", "kinds"],
)
def test_em_is_the_same(processors, truth, model):
    own, log = model or truth[0], truth[1].log
    fits, used = {}, []
    for name, device in processors.items():
        used.append(allocations(processors["gpu"]))
        with jax.default_device(device):
            fits[name] = er.fit_em(own, log)
    assert used[1] > used[0], "EM did not work on the GPU"  # it was the first of the two
    one, two = fits.values()
    assert one.status == two.status
    assert one.objective_trace[-1] == pytest.approx(two.objective_trace[-1], rel=1e-10)
    np.testing.assert_allclose(one.attentiveness["mean"], two.attentiveness["mean"], atol=1e-6)
    np.testing.assert_allclose(one.responsibilities(log)[:100], two.responsibilities(log)[:100], atol=1e-6)


def test_nuts_runs_and_finds_it(processors, truth):
    model, log = truth[0], truth[1].log
    with jax.default_device(processors["gpu"]):
        fit = er.fit_em(model, log)
        before = allocations(processors["gpu"])
        tree = er.sample(model, log, chains=2, draws=200, tune=200, seed=1, fit=fit, predictive=0)
    assert allocations(processors["gpu"]) > before, "NUTS did not work on the GPU"
    skill = tree.posterior["skill"].mean(("chain", "draw")).to_numpy()
    error = np.ravel(fit.standard_errors["skill"])
    assert (np.abs(skill - fit.parameters["skill"]) < 2 * error).all()

"""One declaration, three array libraries: the log-probability and its gradient agree."""

import runpy
from pathlib import Path

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from earnest.models.component import Finite
from earnest.models.namespace import NUMPY, jax_namespace, pytensor_namespace

_built = runpy.run_path(str(Path(__file__).with_name("combinations.py")))
ALL, OUTCOMES_ONLY = _built["ALL"], _built["OUTCOMES_ONLY"]
JNP = jax_namespace()
DRAWS = 3


def evaluate(model, xp, values, latent):
    """(log P, log C, log w, log a, log(1 - a)), one after the other."""
    log_p, log_c = model.log_prob(xp, values, _built["view"](model))
    attentiveness = model.attentiveness
    return [
        log_p,
        log_c,
        attentiveness.log_weights(xp, values, latent),
        *attentiveness.attention(xp, values, latent),
    ]


def latent_of(model):
    kind = model.attentiveness.latents(_built["schema"](model.preference.allows_ties))
    return np.arange(kind.size) if isinstance(kind, Finite) else np.array([-30.0, -2.0, 0.0, 0.7, 5.0, 40.0])


@pytest.fixture(scope="module")
def symbolic():
    """All combinations compiled into one PyTensor function of all their values; also the gradients of their sums."""
    inputs, outputs, gradients = [], [], []
    for model in ALL.values():
        example = _built["draw"](model, 0)
        values = {name: pt.tensor(name, dtype="float64", shape=np.shape(value)) for name, value in example.items()}
        parts = evaluate(model, pytensor_namespace(), values, pt.as_tensor(latent_of(model)))
        inputs += values.values()
        outputs += [pt.as_tensor(part) for part in parts]
        if values:
            cost = pt.sum(parts[0]) + pt.sum(parts[1])
            gradients += pt.grad(cost, list(values.values()), disconnected_inputs="ignore")
    # Not rewritten and not turned into C: seconds instead of minutes, and the numbers of the declaration itself.
    return pytensor.function(
        inputs, outputs + gradients, mode=pytensor.compile.Mode("py", None), on_unused_input="ignore"
    )


@pytest.mark.parametrize("seed", range(DRAWS))
def test_three_libraries_agree(symbolic, seed):
    """Every combination at random parameters, 1e-10; gradients of sum(log P + log C) in PyTensor and JAX likewise."""
    drawn = {name: _built["draw"](model, 1000 * seed + i) for i, (name, model) in enumerate(ALL.items())}
    answers = symbolic(*(value for values in drawn.values() for value in values.values()))
    position = 0
    with jax.enable_x64(True):
        for name, model in ALL.items():
            latent = latent_of(model)
            plain = evaluate(model, NUMPY, drawn[name], latent)
            compiled = evaluate(model, JNP, {k: jax.numpy.asarray(v) for k, v in drawn[name].items()}, latent)
            for ours, theirs, third in zip(plain, compiled, answers[position : position + 5], strict=True):
                np.testing.assert_allclose(theirs, ours, rtol=1e-10, atol=1e-10, err_msg=name)
                np.testing.assert_allclose(third, ours, rtol=1e-10, atol=1e-10, err_msg=name)
            position += 5
        for name, model in ALL.items():
            if not drawn[name]:
                continue

            def cost(values, model=model):
                log_p, log_c = model.log_prob(JNP, values, _built["view"](model))
                return log_p.sum() + log_c.sum()

            slopes = jax.grad(cost)({k: jax.numpy.asarray(v) for k, v in drawn[name].items()})
            for parameter in drawn[name]:
                np.testing.assert_allclose(
                    answers[position], slopes[parameter], rtol=1e-9, atol=1e-9, err_msg=f"{name}: {parameter}"
                )
                position += 1
    assert position == len(answers)


def test_every_combination_is_there():
    """3 preferences x 3 tie rules x 2 casual components x 3 populations."""
    assert len(ALL) == 54
    assert len(OUTCOMES_ONLY) == 18

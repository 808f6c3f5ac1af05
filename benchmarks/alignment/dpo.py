"""Direct preference optimisation of a log-linear policy, against the published losses.

A row's margin is beta times (log policy / reference of the chosen response minus that of the rejected one). With
l(m) = -log sigmoid(m) the losses are

    DPO           l(m)                                        Rafailov et al. (2023), arXiv 2305.18290, eq. 7
    conservative  (1 - e) l(m) + e l(-m)                      Mitchell (2023), "A note on DPO with noisy preferences"
    robust        [(1 - e) l(m) - e l(-m)] / (1 - 2 e)        Chowdhury et al. (2024), arXiv 2403.00409, eq. 12
    by_side       [(w + e) l(m) - e l(-m)] / w                Natarajan et al. (2013), NIPS 26, lemma 1

each convex in m (robust for e < 1/2). In the last a label is attended with probability w and else the user takes
whatever is on a side: e is the probability that the other response would have been taken by a slip, 1 - w - e that this
one would. Both rates alike is robust with 1 - 2 e = w.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

KINDS = ("dpo", "conservative", "robust", "by_side")


def loss(kind, margin, noise=0.0, attended=1.0):
    """Loss of each row, (row,); `noise` is the row's flip rate e, `attended` (by_side only) its w."""
    right, wrong = -jax.nn.log_sigmoid(margin), -jax.nn.log_sigmoid(-margin)
    if kind == "dpo":
        return right
    if kind == "conservative":
        return (1 - noise) * right + noise * wrong
    if kind == "robust":
        return ((1 - noise) * right - noise * wrong) / (1 - 2 * noise)
    if kind == "by_side":
        return ((attended + noise) * right - noise * wrong) / attended
    raise ValueError(f"kind={kind!r}: expected one of {', '.join(KINDS)}")


def margins(beta, policy_chosen, policy_rejected, reference_chosen, reference_rejected):
    """Margins from log-probabilities of the responses, (row,)."""
    return beta * ((policy_chosen - reference_chosen) - (policy_rejected - reference_rejected))


def log_policy(parameters, features, log_reference):
    """Log-probabilities of candidates: reference times exp(parameters . features), normalised, (prompt, candidate)."""
    return jax.nn.log_softmax(log_reference + features @ parameters, axis=-1)


@partial(jax.jit, static_argnames=("kind",))
def optimum(difference, weight, noise, beta, prior, kind="dpo", attended=1.0):
    """Parameters of the log-linear policy at the least weighted loss (feature,), and the largest slope left there.

    Args:
        difference: features of the chosen response less those of the rejected one, (row, feature). The normaliser of
            the policy is the same for both and cancels.
        weight: of each row, (row,); rows of weight 0 are not there.
        noise: flip rate of each row, (row,).
        beta: of the loss.
        prior: standard deviation of a normal prior on beta times the parameters.
        kind: of the loss.
        attended: probability that the row's label was attended, (row,), for "by_side".
    """

    def total(scaled):
        rows = weight * loss(kind, difference @ scaled, noise, attended)
        return jnp.sum(rows) + 0.5 * jnp.sum((scaled / prior) ** 2)

    def step(state):
        scaled, _, count = state
        slope, bend = jax.grad(total)(scaled), jax.hessian(total)(scaled)
        direction = jnp.linalg.solve(bend, slope)
        value = total(scaled)
        shorter = jax.lax.while_loop(
            lambda t: (total(scaled - t * direction) > value) & (t > 1e-6), lambda t: t / 2, jnp.asarray(1.0)
        )
        return scaled - shorter * direction, jnp.max(jnp.abs(shorter * direction)), count + 1

    start = jnp.zeros(difference.shape[1]), jnp.asarray(jnp.inf), 0
    found = jax.lax.while_loop(lambda s: (s[1] > 1e-9) & (s[2] < 100), step, start)[0]
    return found / beta, jnp.max(jnp.abs(jax.grad(total)(found)))

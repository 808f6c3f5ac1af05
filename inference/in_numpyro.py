"""The declaration as a NumPyro model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from numpyro.distributions import constraints
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from ..comparisons.errors import EarnestError
from ..comparisons.log import ComparisonLog
from ..models import priors
from ..models.behavior import BehaviorModel
from ..models.parameters import Parameter, Values
from ..models.priors import Prior
from .arrays import JNP
from .bracket import Chances
from .chains import run_chains
from .compiled import LATENT, VOTES, Form, Statement, native_statement, no_counterpart
from .progress import ChainReport

__all__ = ["numpyro_model", "run_numpyro", "to_numpyro"]


def to_numpyro(model: BehaviorModel, log: ComparisonLog, latent: Form = "marginal") -> Callable[..., None]:
    """The declaration and a log as a NumPyro model, to go on with: NUTS, SVI, `Predictive`, `render_model`.

    Sites: the parameters by name; `votes`, the observed counts (unit, shown, outcome) of every user (or pattern of
    users with equal counts); in the explicit form `attentiveness_logit` and the deterministic `attentiveness` (user).
    Use it with 64-bit arrays (`numpyro.enable_x64()`, or inside `jax.enable_x64(True)`). Without the argument `votes`
    the model is conditioned on the log's own; simulate with `votes=None`.

    Args:
        model: the declaration.
        log: the comparisons.
        latent: "marginal" (users' latents integrated out) or "explicit".

    Returns:
        a function of `votes=...` (default: the log's own; None: unobserved, for prior predictive draws).

    Raises:
        InputError: the log does not suit the model.
        EarnestError: the explicit form of a model that tells kinds of users apart; they are summed out in the marginal.
        EarnestError: when the model is run with 32-bit arrays.

    Reference: model.md, section 6.
    """
    return numpyro_model(native_statement(model, log, latent, "NumPyro"))


def numpyro_model(statement: Statement) -> Callable[..., None]:
    """The NumPyro model of a statement; see `to_numpyro`."""
    tally = statement.tally

    def earnest_model(votes: Any = tally.count) -> None:
        if jnp.result_type(float) != jnp.float64:
            raise EarnestError(
                "the model is run with 32-bit arrays, in which the log-likelihood loses its digits: call "
                "numpyro.enable_x64() at the start, or run inside `with jax.enable_x64(True):`"
            )
        values: dict[str, Any] = {}
        for p in statement.table.parameters:
            values[p.name] = numpyro.sample(p.name, _prior(p, statement.table.shape(p), values))
        chances = statement.chances(JNP, values)
        if statement.form == "marginal":
            observed: dist.Distribution = MarginalVotes(statement, chances, statement.rules(JNP, values, chances))
            with numpyro.plate(statement.unit_dim, len(tally)), numpyro.handlers.scale(scale=tally.multiplicity):
                numpyro.sample(VOTES, observed, obs=votes)
            return
        with numpyro.plate("user", len(tally)):
            logit = numpyro.sample(LATENT, Logits(statement.model.attentiveness, values))
            a, rest = statement.attention(JNP, values, logit)
            numpyro.deterministic("attentiveness", statement.attentiveness(JNP, values, logit, chances))
            numpyro.sample(VOTES, ConditionalVotes(statement, chances, a, rest), obs=votes)

    return earnest_model


def run_numpyro(
    statement: Statement,
    starts: Sequence[Mapping[str, np.ndarray]],
    cloud: Sequence[Mapping[str, np.ndarray]],
    spread: np.ndarray | None,
    *,
    chain_draws: Sequence[int],
    tune: int,
    seed: int,
    target_accept: float,
    report: Callable[[ChainReport], None] | None = None,
) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]], str, float]:
    """Sample a statement by NumPyro's NUTS.

    Args:
        statement: the model and its votes.
        starts: values of all sites, one a chain.
        cloud: values of the globals, spread like their posterior is thought to be; the first mass matrix is theirs.
        spread: in the explicit form, variances of users' logits as far as they are known, (user,).
        chain_draws: draws of each chain after warm-up.
        tune, seed, target_accept: as in `earnest.sample`.
        report: called from the chains' threads.

    Returns:
        of each chain {site: constrained values (draw, ...)} and {statistic: (draw,)}; how chains ran, in words; the
        seconds that compiling took.
    """
    model = numpyro_model(statement)
    to_free = jax.jit(lambda values: unconstrain_fn(model, (), {}, values))
    to_values = jax.jit(jax.vmap(lambda free: constrain_fn(model, (), {}, free, return_deterministic=True)))
    free_starts = [jax.tree.map(np.asarray, to_free(dict(start))) for start in starts]
    dense = statement.tally.dense
    data = jnp.asarray(statement.tally.count) if dense else None

    def potential(data: Any, free: Any) -> Any:
        return potential_energy(model, (data,) if dense else (), {}, free)

    shared = [p.name for p in statement.table.parameters if isinstance(p.prior, priors.HierarchicalNormal)]
    own = tuple(sorted(p.name for p in statement.table.parameters if p.name not in shared))
    blocks = [own] if own else []
    users = {LATENT: starts[0][LATENT]} if statement.form == "explicit" else {}
    mass = _first_mass(own, [to_free({**one, **users}) for one in cloud])
    if mass is not None and spread is not None:
        mass[(LATENT,)] = spread
    if mass is not None:
        mass |= {(name,): np.ones(np.size(free_starts[0][name])) for name in shared}
    chains = run_chains(
        potential, data, free_starts, [int(s) for s in np.random.SeedSequence(seed).generate_state(len(starts))],
        tune=tune, draws=chain_draws, target_accept=target_accept,
        blocks=blocks, inverse_mass=mass, report=report,
    )  # fmt: skip
    values = [jax.tree.map(np.asarray, to_values(draws)) for draws in chains.draws]
    return values, chains.stats, chains.method, chains.compiling


def _first_mass(own: tuple[str, ...], cloud: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], np.ndarray] | None:
    """Inverse mass matrix of the globals from points spread like the posterior; None where there are none."""
    if not own or len(cloud) < 2:
        return None
    flat = np.stack([np.asarray(ravel_pytree({name: one[name] for name in own})[0]) for one in cloud])
    return {own: np.cov(flat.T).reshape(flat.shape[1], flat.shape[1]) + 1e-8 * np.eye(flat.shape[1])}


class _Votes(dist.Distribution):
    """Counts (slot, outcome) of every unit, given what the unit was shown."""

    support = constraints.independent(constraints.nonnegative, 2)

    def __init__(self, statement: Statement, chances: Chances) -> None:
        self.statement, self.chances = statement, chances
        shape = statement.tally.count.shape
        super().__init__(batch_shape=shape[:1], event_shape=shape[1:], validate_args=False)

    def _counts(self, key: Any, a: Any, rest: Any, kind: Any) -> Any:
        tally = self.statement.tally
        n_outcomes = tally.count.shape[2]
        shown = tally.shown.clip(0)
        p, c = (part.reshape(-1, len(tally.cells) // n_outcomes, n_outcomes)[kind[..., None], shown]
                for part in (self.chances.p, self.chances.c))  # fmt: skip
        a, rest = a[..., None], rest[..., None]
        if self.chances.stay is not None:
            key, now = jax.random.split(key)
            uniform = jax.random.uniform(now, (2, *a.shape[:-1], tally.steps[0].shape[1]))
            a = self.statement.states(uniform, a[..., 0], self.chances.stay, jnp)
            rest = 1.0 - a
        m = a[..., None] * p + rest[..., None] * c
        m = m / m.sum(-1, keepdims=True)  # of one where all comparisons get the user's own attention
        out: list[Any] = []
        left, below = jnp.asarray(tally.count.sum(2)), jnp.ones(())
        for y in range(n_outcomes - 1):
            key, now = jax.random.split(key)
            share = jnp.clip(m[..., y] / jnp.maximum(below, 1e-300), 0.0, 1.0)
            drawn = jax.random.binomial(now, jnp.broadcast_to(left, share.shape), share)
            out, left, below = [*out, drawn], left - drawn, below - m[..., y]
        return jnp.stack([*out, left], axis=-1)


class MarginalVotes(_Votes):
    """Votes of units whose latent is integrated out."""

    def __init__(self, statement: Statement, chances: Chances, rules: Any) -> None:
        self.rules = rules
        super().__init__(statement, chances)

    def log_prob(self, value: Any) -> Any:
        """Log marginal likelihood of each unit's votes given what it was shown, nats, (unit,)."""
        return self.statement.log_marginal(JNP, self.chances, self.rules, value)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Votes by way of the rule's nodes, sample_shape + (unit, slot, outcome)."""
        n = len(self.statement.tally)
        a, rest, kind = (jnp.zeros((*sample_shape, n), dtype=of) for of in (float, float, int))
        for piece, (log_w, at, complement) in zip(self.statement.pieces, self.rules, strict=True):
            key, now = jax.random.split(key)
            node = jax.random.categorical(now, log_w, shape=(*sample_shape, len(piece.units)))
            kind, node = kind.at[..., piece.units].set(node // len(at)), node % len(at)
            a, rest = a.at[..., piece.units].set(at[node]), rest.at[..., piece.units].set(complement[node])
        return self._counts(key, a, rest, kind)


class ConditionalVotes(_Votes):
    """Votes of users whose attentiveness is known."""

    def __init__(self, statement: Statement, chances: Chances, a: Any, rest: Any) -> None:
        self.a, self.rest = a, rest
        super().__init__(statement, chances)

    def log_prob(self, value: Any) -> Any:
        """Log-likelihood of each user's votes, nats, (user,)."""
        return self.statement.log_conditional(JNP, self.chances, self.a, self.rest, value)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Votes, sample_shape + (user, slot, outcome)."""
        shape = (*sample_shape, len(self.statement.tally))
        a, rest = jnp.broadcast_to(self.a, shape), jnp.broadcast_to(self.rest, shape)
        return self._counts(key, a, rest, jnp.zeros(shape, dtype=int))


class Logits(dist.Distribution):
    """The population of logit(attentiveness), as its component declares it."""

    support = constraints.real

    def __init__(self, component: Any, values: Values) -> None:
        self.component, self.values = component, values
        super().__init__(validate_args=False)

    def log_prob(self, value: Any) -> Any:
        """Log-density at logits, nats, the shape of `value`."""
        return self.component.log_weights(JNP, self.values, value)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Logits drawn by the component's own simulator."""

        def draw(values: Any, seed: Any) -> Any:
            rng = np.random.default_rng(np.asarray(seed).tolist())
            eta = self.component.sample(rng, {k: np.asarray(v) for k, v in values.items()}, int(np.prod(sample_shape)))
            eta = np.clip(np.asarray(eta, dtype=float).reshape(sample_shape), 1e-300, 1 - 1e-16)
            logits = (np.log(eta) - np.log1p(-eta)).astype(dtype)
            return np.frombuffer(logits.tobytes(), np.uint32).reshape(answer.shape)

        dtype = jnp.result_type(float)
        words = dtype.itemsize // 4
        # As bits: the switch to 64 bits may be on in this thread only, and JAX would halve doubles in the callback's.
        seed = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
        shape = (*sample_shape, words) if words > 1 else sample_shape
        answer: Any = jax.eval_shape(lambda: jnp.zeros(shape, np.uint32))
        bits = jax.pure_callback(draw, answer, dict(self.values), seed, vmap_method="sequential")
        return jax.lax.bitcast_convert_type(bits, dtype)


class _Scaled(constraints.Constraint):
    """The real line, reached from standard normal coordinates: the effects' scale and they are then independent."""

    is_discrete = False
    event_dim = 0

    def __init__(self, scale: Any) -> None:
        self.scale = scale

    def __call__(self, x: Any) -> Any:
        return constraints.real(x)

    def tree_flatten(self) -> tuple[Any, Any]:
        return (self.scale,), (("scale",), {})


@dist.transforms.biject_to.register(_Scaled)  # type: ignore[untyped-decorator]
def _from_standard(constraint: _Scaled) -> Any:
    return dist.transforms.AffineTransform(0.0, constraint.scale, domain=constraints.real)


class _ScaledZeroSum(_Scaled):
    """Vectors that sum to zero, reached from standard normal coordinates."""

    event_dim = 1

    def __call__(self, x: Any) -> Any:
        return constraints.zero_sum(1)(x)


@dist.transforms.biject_to.register(_ScaledZeroSum)  # type: ignore[untyped-decorator]
def _sums_from_standard(constraint: _ScaledZeroSum) -> Any:
    return _InScale(constraint.scale)


class _InScale(dist.transforms.ZeroSumTransform):  # type: ignore[type-arg,unused-ignore]
    """Standard normal coordinates -> a vector that sums to zero, in units of a scale."""

    def __init__(self, scale: Any) -> None:
        super().__init__(1)
        self.scale = scale

    def __call__(self, x: Any) -> Any:
        return super().__call__(x) * self.scale

    def _inverse(self, y: Any) -> Any:
        return super()._inverse(y / self.scale)

    def log_abs_det_jacobian(self, x: Any, y: Any, intermediates: Any = None) -> Any:
        """Log volume change of every vector."""
        return jnp.sum(jnp.zeros_like(x) + jnp.log(self.scale), axis=-1)

    def tree_flatten(self) -> Any:
        """The scale, for JAX."""
        return (self.scale,), (("scale",), {"transform_ndims": 1})


class ScaledZeroSumNormal(dist.ZeroSumNormal):
    """ZeroSumNormal(scale) that NUTS sees as scale times a standard one (not centred)."""

    @property
    def support(self) -> Any:
        """Vectors that sum to zero; their unit is the scale."""
        return _ScaledZeroSum(self.scale)


class ScaledNormal(dist.Normal):
    """Normal(0, scale) that NUTS sees as scale times a standard normal (not centred)."""

    def __init__(self, scale: Any) -> None:
        super().__init__(0.0, scale, validate_args=False)

    @property
    def support(self) -> Any:
        """The real line; its unit is the scale."""
        return _Scaled(self.scale)


def _prior(parameter: Parameter, shape: tuple[int, ...], values: Values) -> Any:
    prior: Prior = parameter.prior
    match prior:
        case priors.Normal(loc, scale):
            base: Any = dist.Normal(loc, scale)
        case priors.HalfNormal(scale):
            base = dist.HalfNormal(scale)
        case priors.HierarchicalNormal(name, True):
            base = ScaledZeroSumNormal(values[name], event_shape=shape[-1:])
            return base.expand(shape[:-1]).to_event(len(shape) - 1) if len(shape) > 1 else base
        case priors.HierarchicalNormal(name):
            return ScaledNormal(jnp.broadcast_to(values[name], shape)).to_event(len(shape))
        case priors.LogNormal(loc, scale, 0.0):
            base = dist.LogNormal(loc, scale)
        case priors.LogNormal(loc, scale, lower):
            # NumPyro reads the support off the last transform, whose domain would else be the whole line: NUTS would
            # run into values below `lower`, where the density is not a number.
            shift = dist.transforms.AffineTransform(lower, 1.0, domain=constraints.positive)
            base = dist.TransformedDistribution(dist.Normal(loc, scale), [dist.transforms.ExpTransform(), shift])
        case priors.Beta(a, b):
            base = dist.Beta(a, b)
        case priors.Dirichlet(concentration):
            base = dist.Dirichlet(jnp.full(shape[-1], concentration))
            return base.expand(shape[:-1]).to_event(len(shape) - 1) if len(shape) > 1 else base
        case priors.ZeroSumNormal(scale):
            base = dist.ZeroSumNormal(scale, event_shape=shape[-1:])
            return base.expand(shape[:-1]).to_event(len(shape) - 1) if len(shape) > 1 else base
        case _:
            raise no_counterpart(parameter, "NumPyro")
    return base.expand(shape).to_event(len(shape)) if shape else base

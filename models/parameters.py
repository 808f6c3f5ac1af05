"""The table of a model's unknowns: names, shapes, priors, and their packing into one free vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from .priors import Prior
from .supports import Support

__all__ = ["Parameter", "ParameterTable", "Values"]

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One unknown of a component.

    Attributes:
        name: the name used in results, samplers and TOML (`skill`, `tie_strength`, ...).
        prior: its prior; the prior's support is the parameter's support.
        dims: names of its axes (`("model",)`); each must be a coordinate of the schema or in `coords`.
        coords: names along dims that the schema does not know (`{"group": ("casual", "attentive")}`).
    """

    name: str
    prior: Prior
    dims: tuple[str, ...] = ()
    coords: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def support(self) -> Support:
        """The set of allowed values."""
        return self.prior.support


@dataclass(frozen=True)
class ParameterTable:
    """All unknowns of a model for one schema, with a bijection to a vector of free coordinates.

    Attributes:
        parameters: the unknowns, in order.
        schema: the names along the axes.
    """

    parameters: tuple[Parameter, ...]
    schema: Schema

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", _told_apart(self.parameters))
        names = [p.name for p in self.parameters]
        doubled = sorted({n for n in names if names.count(n) > 1})
        if doubled:
            raise EarnestError(f"two components declare the parameter {doubled[0]!r}: rename one of them")

    @property
    def coords(self) -> dict[str, list[str]]:
        """Names along every axis: the schema's own, then the parameters'."""
        coords = {dim: list(names) for dim, names in self.schema.coords().items()}
        for parameter in self.parameters:
            coords.update({dim: list(names) for dim, names in parameter.coords})
        return coords

    def shape(self, parameter: Parameter) -> tuple[int, ...]:
        """Shape of a parameter's value on the constrained scale."""
        coords = {**self.coords, **dict(parameter.coords)}
        missing = [dim for dim in parameter.dims if dim not in coords]
        if missing:
            raise EarnestError(
                f"parameter {parameter.name!r} has the axis {missing[0]!r}, which this log does not have; "
                f"known axes: {', '.join(coords)}"
            )
        return tuple(len(coords[dim]) for dim in parameter.dims)

    def entries(self, parameter: Parameter) -> list[tuple[str, ...]]:
        """Names along the axes of every entry of a parameter, in the order of its flattened value."""
        coords = {**self.coords, **dict(parameter.coords)}
        axes = [coords[dim] for dim in parameter.dims]
        return [tuple(str(name) for name in names) for names in product(*axes)]

    @property
    def slices(self) -> dict[str, slice]:
        """Where each parameter lies in the free vector."""
        out, start = {}, 0
        for p in self.parameters:
            size = p.support.free_size(self.shape(p))
            out[p.name] = slice(start, start + size)
            start += size
        return out

    @property
    def size(self) -> int:
        """Length of the free vector."""
        return sum(p.support.free_size(self.shape(p)) for p in self.parameters)

    def unpack(self, xp: Any, free: Any) -> dict[str, Any]:
        """Free vector (size,) -> {name: value on the constrained scale}."""
        values = {}
        for p, where in zip(self.parameters, self.slices.values(), strict=True):
            values[p.name] = p.support.constrain(xp, p.support.folded(free[where], self.shape(p)))
        return values

    @property
    def pooled(self) -> dict[str, str]:
        """{parameter whose prior's scale is unknown: that scale}."""
        known = {p.name for p in self.parameters}
        rests = {p.name: p.prior.rests_on for p in self.parameters}
        return {name: scale for name, scale in rests.items() if scale in known}

    def log_jacobian(self, xp: Any, free: Any) -> Any:
        """Log volume change from the free vector to the constrained scale, up to a constant (scalar)."""
        total = 0.0
        for p, where in zip(self.parameters, self.slices.values(), strict=True):
            total = total + p.support.log_jacobian(xp, p.support.folded(free[where], self.shape(p)))
        return total

    def pack(self, values: Values) -> np.ndarray:
        """{name: value} -> free vector (size,), NumPy.

        Raises:
            EarnestError: a value is missing, has the wrong shape, or lies outside its support.
        """
        parts = []
        for p in self.parameters:
            if p.name not in values:
                raise EarnestError(f"no value given for parameter {p.name!r}")
            value = np.asarray(values[p.name], dtype=float)
            if value.shape != self.shape(p):
                raise EarnestError(f"parameter {p.name!r}: expected shape {self.shape(p)}, got {value.shape}")
            if not p.support.contains(value):
                raise EarnestError(
                    f"parameter {p.name!r}: {np.array2string(value, threshold=6)} lies outside its support "
                    f"({type(p.support).__name__})"
                )
            parts.append(np.ravel(p.support.free(value)))
        return np.concatenate(parts) if parts else np.zeros(0)

    def log_prior(self, xp: Any, values: Values) -> Any:
        """Log prior density on the constrained scale, without Jacobian, nats (scalar)."""
        total = 0.0
        for p in self.parameters:
            total = total + p.prior.given(values).log_prob(xp, values[p.name])
        return total

    def sample_prior(self, rng: np.random.Generator, known: Values | None = None) -> dict[str, np.ndarray]:
        """One draw of every parameter from its prior; `known` ones are as given, and what rests on them follows."""
        values: dict[str, np.ndarray] = {}
        for p in self.parameters:
            drawn = p.prior.given(values).sample(rng, self.shape(p))
            values[p.name] = np.asarray((known or {}).get(p.name, drawn), dtype=float)
        return values


def _told_apart(parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    """Parameters of which an axis that several give other names to is called after each: preference_slope_covariate."""
    named: dict[str, set[tuple[str, ...]]] = {}
    for parameter in parameters:
        for dim, names in parameter.coords:
            named.setdefault(dim, set()).add(tuple(names))
    shared = {dim for dim, names in named.items() if len(names) > 1}

    def own(parameter: Parameter) -> Parameter:
        given = {dim: f"{parameter.name}_{dim}" for dim, _ in parameter.coords if dim in shared}
        dims = tuple(given.get(dim, dim) for dim in parameter.dims)
        return replace(parameter, dims=dims, coords=tuple((given.get(dim, dim), n) for dim, n in parameter.coords))

    return tuple(own(p) for p in parameters) if shared else parameters

"""Kinds of users: what a user is besides how attentive, known to nobody and summed out.

A component that tells kinds apart (tastes, favourites, the sign of attentiveness) answers with one row a kind; the
kinds of a model are the product of its components'. Of each kind attentiveness counts as it is, turned round, or not at
all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from .namespace import Namespace

__all__ = ["Kinds"]


@dataclass(frozen=True)
class Kinds:
    """The kinds of users of a model, in the order attentiveness x preference x casual (last one fastest).

    Attributes:
        names: of each component's kinds; a component that tells none apart has one, "".
        factor: +1 where a user of the kind attends, -1 where to pick the worse, 0 where never, (kind,).
    """

    names: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    factor: tuple[int, ...]

    @classmethod
    def of(cls, attentiveness: tuple[str, ...], preference: tuple[str, ...], casual: tuple[str, ...],
           attends: tuple[bool, ...]) -> Kinds:  # fmt: skip
        """Of the components' kinds; `attends` (casual kind,) says which of the casual ones ever attend."""
        names = (attentiveness or ("",), preference or ("",), casual or ("",))
        signs = (1, -1)[: len(names[0])]
        factor = tuple(s * bool(a) for s in signs for _ in names[1] for a in attends or (True,))
        return cls(names, factor)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of each component's kinds."""
        return len(self.names[0]), len(self.names[1]), len(self.names[2])

    @property
    def size(self) -> int:
        """Number of kinds; 1: users differ by their attentiveness alone."""
        return prod(self.shape)

    @property
    def labels(self) -> list[str]:
        """Name of each kind, (kind,): of the components' own, "" left out."""
        return [", ".join(name for name in part if name) for part in product(*self.names)]

    @property
    def branches(self) -> tuple[int, ...]:
        """The factors that occur, ascending: attentiveness is a factor times the latent."""
        return tuple(sorted(set(self.factor)))

    @property
    def never(self) -> np.ndarray:
        """Which kinds never attend, (kind,) booleans."""
        return np.equal(self.factor, 0)

    def spread(self, xp: Namespace, attentive: list[Any], casual: Any) -> tuple[Any, Any]:
        """log P and log C of every kind, (kind, cell) each.

        Args:
            xp: array namespace.
            attentive: log P of each of the attentiveness's kinds, (cell,) or (preference kind, cell).
            casual: log C, (cell,) or (casual kind, cell).
        """
        p = xp.stack([part if part.ndim == 2 else part[None, :] for part in attentive])[:, :, None, :]
        c = (casual if casual.ndim == 2 else casual[None, :])[None, None, :, :]
        everywhere = np.zeros((*self.shape, 1))
        return tuple((part + everywhere).reshape((self.size, -1)) for part in (p, c))

    def log_shares(self, xp: Namespace, preference: Any, casual: Any) -> Any:
        """Log share of each kind as far as preference and casual component say, (preference x casual kind,).

        None stands for a component that tells no kinds apart.
        """
        total = np.zeros(self.shape[1:])
        total = total if preference is None else total + preference[:, None]
        total = total if casual is None else total + casual[None, :]
        return total.reshape((-1,))

    def joined(self, by_sign: Any, log_shares: Any) -> Any:
        """Log-weight of each kind, (kind, ...).

        Args:
            by_sign: the population's, (...), or (sign, ...) where attentiveness has two signs.
            log_shares: see `log_shares`.
        """
        signs = self.shape[0]
        first = by_sign if signs > 1 else by_sign[None]
        inner = tuple(first.shape[i] for i in range(1, first.ndim))
        shares = log_shares.reshape((1, self.size // signs, *(1,) * len(inner)))
        return (first[:, None] + shares).reshape((self.size, *inner))

    def in_earnest(self, kind: Any) -> Any:
        """The kinds of users who are known to attend: their own taste, sincere, of a kind that attends; NumPy."""
        _, taste, habit = np.unravel_index(kind, self.shape)
        able = int(np.argmax(np.array(self.factor).reshape(self.shape)[0, 0] > 0))
        return np.ravel_multi_index((np.zeros_like(taste), taste, np.full_like(habit, able)), self.shape)

    def of_component(self, values: Any, which: int) -> Any:
        """Sum of (kind, ...) over the other components' kinds, (component's kind, ...)."""
        cube = values.reshape((*self.shape, *values.shape[1:]))
        for axis in (2, 1, 0):
            if axis != which:
                cube = cube.sum(axis)
        return cube

    def branch_of(self, values: Any) -> list[Any]:
        """Of (kind, ...) the sums over the kinds of each branch, in the order of `branches`, (...) each."""
        factor = np.array(self.factor)
        return [values[np.flatnonzero(factor == branch)].sum(0) for branch in self.branches]

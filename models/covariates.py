"""Covariates of a comparison: numeric columns of the log, each on its own scale.

A slope is per root mean square of its column, so that one prior suits seconds and characters alike. Columns are not
centred: the difference between two responses must change its sign when they are swapped.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..comparisons.cells import Cells, Counts
from ..comparisons.errors import EarnestError, InputError
from ..comparisons.schema import Schema
from .component import CellView, Component
from .namespace import Namespace
from .settings import context_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Scaled", "Standardised", "check_of_user", "check_positive", "finite_numbers", "linear", "log_moments", "shifted",
]  # fmt: skip


class Scaled(Component):
    """A component that looks at the numeric columns its settings name, each divided by its root mean square.

    Its setting `scales` holds these; None: taken from the log when it is fitted or simulated.

    Raises:
        EarnestError: unless `scales` is None or one positive number a column.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if getattr(self, "scales", None) is not None:
            object.__setattr__(self, "scales", finite_numbers(self, "scales", self.columns, positive=True))

    @property
    def columns(self) -> tuple[str, ...]:
        """The numeric columns."""
        return context_of(self, numeric=True)

    def measure(self, cells: CellView, counts: np.ndarray) -> Self:
        if not self.columns or getattr(self, "scales", None) is not None:
            return self
        share = counts / max(float(np.sum(counts)), 1e-300)
        scales = tuple(_root_mean_square(np.asarray(cells[name], dtype=float), share) for name in self.columns)
        return replace(self, scales=scales)  # type: ignore[call-arg]  # a setting of every subclass

    def prepare(self, schema: Schema, cells: CellView, counts: np.ndarray) -> Self:
        return self.measure(cells, counts)

    def scaled(self, cells: CellView) -> list[Any]:
        """The columns on their scales, (cell,) each."""
        scales: Sequence[float] = getattr(self, "scales", None) or (1.0,) * len(self.columns)
        return [cells[name] / scale for name, scale in zip(self.columns, scales, strict=True)]


class Standardised(Component):
    """A component that looks at numeric columns, each less its mean and over its standard deviation.

    Its settings name them, `centres` and `scales` hold these moments over the comparisons; None: taken from the log
    when it is fitted or simulated.

    Raises:
        EarnestError: unless these fit the columns.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, positive in (("centres", False), ("scales", True)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, finite_numbers(self, name, self._columns, positive))

    @property
    def _columns(self) -> tuple[str, ...]:
        return context_of(self, numeric=True)

    def measure(self, cells: CellView, counts: np.ndarray) -> Self:
        if not self._columns:
            return self
        share = counts / max(float(np.sum(counts)), 1e-300)
        given = [getattr(self, name, None) or (None,) * len(self._columns) for name in ("centres", "scales")]
        moments = [
            _moments(self, name, np.asarray(cells[name], dtype=float), share, centre)
            for name, centre in zip(self._columns, given[0], strict=True)
        ]
        centres = tuple(centre for centre, _ in moments)
        scales = tuple(sd if by is None else by for (_, sd), by in zip(moments, given[1], strict=True))
        return replace(self, centres=centres, scales=scales)  # type: ignore[call-arg]  # settings of every subclass

    def prepare(self, schema: Schema, cells: CellView, counts: np.ndarray) -> Self:
        return self.measure(cells, counts)

    def standard(self, cells: CellView) -> list[Any]:
        """The columns in standard units, (cell,) each."""
        n = len(self._columns)
        centres: Sequence[float] = getattr(self, "centres", None) or (0.0,) * n
        scales: Sequence[float] = getattr(self, "scales", None) or (1.0,) * n
        return [(cells[name] - at) / by for name, at, by in zip(self._columns, centres, scales, strict=True)]


def _moments(
    owner: object, name: str, column: np.ndarray, share: np.ndarray, centre: float | None
) -> tuple[float, float]:  # fmt: skip
    """Centre (if not given the mean) of a column and standard deviation about it, over cells of these shares.

    A constant column (but for rounding) has no scale, and its slope is left to the prior: 1.

    Raises:
        EarnestError: values so far apart, or so near together, that arithmetic with them overflows.
    """
    column, share = column[share > 0], share[share > 0]
    if len(column) == 0:
        return 0.0 if centre is None else centre, 1.0
    # From one of the values, so that a small difference of large numbers is not lost.
    with np.errstate(over="ignore", invalid="ignore"):
        away = column - (column[0] if centre is None else centre)
        if centre is None:
            mean = float(share @ away)
            centre, away = float(column[0]) + mean, away - mean
        largest = float(np.max(np.abs(away)))
    if 0 < largest <= 4 * float(np.spacing(np.max(np.abs(column)))):
        largest = 0.0
    spread = largest * float(np.sqrt(share @ (away / largest) ** 2)) if 0 < largest < np.inf else largest
    if largest != 0 and not np.finfo(float).tiny < spread < np.inf:
        raise EarnestError(
            f"{type(owner).__name__}: the values of column {name!r} lie from {column.min():g} to {column.max():g}, "
            f"too {'near together' if spread < 1 else 'far apart'} for floating-point numbers; give it in another unit"
        )
    return centre, spread or 1.0


def _root_mean_square(column: np.ndarray, share: np.ndarray) -> float:
    """Of a column whose cells have these shares of the comparisons; 1 where it is 0 throughout.

    Such a column has no scale, and its slope is left to the prior.
    """
    largest = float(np.max(np.abs(column), initial=0.0))
    return largest * float(np.sqrt(share @ (column / largest) ** 2)) if largest > 0 else 1.0


def finite_numbers(owner: object, setting: str, columns: tuple[str, ...], positive: bool) -> tuple[float, ...]:
    """The numbers in a setting, one a column.

    Raises:
        EarnestError: another number of them, or one that is not finite (or not positive).
    """
    given = getattr(owner, setting)
    given = given.tolist() if isinstance(given, np.ndarray) and given.ndim == 1 else given
    right = isinstance(given, list | tuple) and len(given) == len(columns)
    if not right or not all(_number(value) and (value > 0 or not positive) for value in given):
        raise EarnestError(
            f"{type(owner).__name__}({setting}={given!r}): expected one {'positive ' * positive}number for each of "
            f"{columns}"
        )
    return tuple(float(value) for value in given)


def check_of_user(column: str, counts: Counts, source: str) -> None:
    """Raise an `InputError` where a column that is known of the user differs between a user's comparisons."""
    value = np.asarray(counts.cells[column])[counts.cell]
    _, first, user = np.unique(counts.user, return_index=True, return_inverse=True)
    other = value != value[first][user]
    if other.any():
        entry = int(np.argmax(other))
        name, before = str(counts.users[counts.user[entry]]), value[first][user[entry]]
        raise InputError(
            f"{source}: user {name!r} has {column} = {before:g} and {value[entry]:g}; a covariate of users is the "
            "same in all of a user's comparisons. One that is not moves attention: "
            f"BehaviorModel(attention=SampleAttention(({column!r},)))"
        )


def check_positive(owner: object, column: str, cells: Cells) -> None:
    """Raise an `EarnestError` unless a column of times is above 0 throughout."""
    least = float(np.min(np.asarray(cells[column], dtype=float), initial=np.inf))
    if not least > 0:
        raise EarnestError(
            f"{type(owner).__name__}(column={column!r}): expected times above 0, the log has {least:g}; leave such "
            "votes out, or put the shortest time that could be measured in their place"
        )


def log_moments(times: Any, counts: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the logarithms of times (cell,); counts are (cell,)."""
    logs, share = np.log(np.asarray(times, dtype=float)), counts / max(float(np.sum(counts)), 1e-300)
    centre = float(share @ logs)
    spread = float(np.sqrt(share @ (logs - centre) ** 2))
    return centre, spread if spread > 1e-9 else 1.0


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(np.isfinite(value))


def linear(xp: Namespace, slopes: Any, columns: list[Any]) -> Any:
    """Sum of slopes times columns, (cell,)."""
    total = slopes[0] * columns[0]
    for k in range(1, len(columns)):
        total = total + slopes[k] * columns[k]
    return total


def shifted(xp: Namespace, eta: Any, offset: Any) -> Any:
    """Attentiveness whose logit is moved by `offset`; 0 and 1 stay. Shapes broadcast."""
    more = eta * xp.exp(offset)
    return more / (more + (1.0 - eta))

"""Settings of a component: what each may be, said once where it is declared and checked when one is given.

A field made by one of these functions needs no check of its own, and a field that names columns puts them into the
component's `context`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np

from ..comparisons.context import NAMED, PREVIOUS
from ..comparisons.errors import EarnestError
from .priors import Prior
from .supports import Support

__all__ = [
    "category_switch", "check_setting", "checked", "column", "column_names", "columns", "context_of",
    "number", "prior_of", "setting", "switch", "whole",
]  # fmt: skip

_RESERVED = frozenset(("user", "model_a", "model_b", "winner", "gold", "gold_user", PREVIOUS, *NAMED))
_KEY = "earnest"


@dataclass(frozen=True)
class _Setting:
    """What a field may be.

    Attributes:
        check: raises an `EarnestError` for a component and the field's name, or returns the value to keep.
        context: the columns that a value makes the component look at.
        numeric: whether these are numeric columns.
    """

    check: Callable[[object, str], Any]
    context: Callable[[Any], tuple[str, ...]] = lambda value: ()
    numeric: bool = False


def checked(component: Any) -> None:
    """Check every setting of a component.

    Raises:
        EarnestError: a setting that is not what it may be.
    """
    for name, setting in _settings(type(component)):
        kept = setting.check(component, name)
        if kept is not getattr(component, name):
            object.__setattr__(component, name, kept)


def context_of(component: Any, numeric: bool = False) -> tuple[str, ...]:
    """The columns (or the numeric ones) that the settings make a component look at, in the order of its fields."""
    named = [
        setting.context(getattr(component, name))
        for name, setting in _settings(type(component)) if setting.numeric or not numeric
    ]  # fmt: skip
    return tuple(column for columns in named for column in columns)


def _settings(kind: type) -> list[tuple[str, _Setting]]:
    """Each setting and what it may be: of a field that a subclass declares anew, what the class above says."""
    found = []
    for one in fields(kind):
        above = (cls.__dict__.get("__dataclass_fields__", {}).get(one.name) for cls in kind.__mro__)
        said = next((known.metadata[_KEY] for known in above if known is not None and _KEY in known.metadata), None)
        if said is not None:
            found.append((one.name, said))
    return found


def _field(setting: _Setting, default: Any) -> Any:
    return field(metadata={_KEY: setting}) if default is MISSING else field(default=default, metadata={_KEY: setting})


def prior_of(default: Callable[[], Prior], support: Support) -> Any:
    """A prior whose support lies inside `support`."""

    def check(owner: object, name: str) -> Any:
        check_setting(owner, name, Prior, "a prior (earnest.priors)")
        value = getattr(owner, name)
        if not support.includes(value.support):
            raise EarnestError(
                f"{type(owner).__name__}({name}={value!r}): its support ({value.support}) is not inside that of the "
                f"parameter ({support})"
            )
        return value

    return field(default_factory=default, metadata={_KEY: _Setting(check)})


def setting(check: Callable[[object, str], Any], default: Any) -> Any:
    """Anything else: `check` raises for a component and the field's name, or returns the value to keep."""
    return _field(_Setting(check), default)


def switch(default: bool) -> Any:
    """True or False: a text such as "no" would count as True."""
    return _field(_Setting(_true_or_false), default)


def category_switch() -> Any:
    """A switch, off by default, that makes the component look at the log's column `category`."""
    return _field(_Setting(_true_or_false, lambda value: ("category",) if value else ()), False)


def _true_or_false(owner: object, name: str) -> Any:
    check_setting(owner, name, bool, "True or False")
    return getattr(owner, name)


def number(default: float | None, low: float, high: float = np.inf) -> Any:
    """A number strictly between two others; with a default of None also None."""

    def check(owner: object, name: str) -> Any:
        value = getattr(owner, name)
        if value is None and default is None:
            return value
        right = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        if not right or not low < value < high or abs(value) > np.finfo(float).max:
            limits = [f" above {low:g}" * bool(low > -np.inf), f" below {high:g}" * bool(high < np.inf)]
            said = " and".join(filter(None, limits))
            raise EarnestError(
                f"{type(owner).__name__}({name}={value!r}): expected a number{said}{' or None' * (default is None)}"
            )
        return float(value)

    return _field(_Setting(check), default)


def whole(default: int, least: int) -> Any:
    """A whole number, `least` or more."""

    def check(owner: object, name: str) -> Any:
        value = getattr(owner, name)
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise EarnestError(f"{type(owner).__name__}({name}={value!r}): expected a whole number, {least} or more")
        return int(value)

    return _field(_Setting(check), default)


def column(default: Any = MISSING) -> Any:
    """The name of a numeric column."""

    def check(owner: object, name: str) -> Any:
        return column_names(owner, name, (getattr(owner, name),))[0]

    return _field(_Setting(check, lambda value: (value,), numeric=True), default)


def columns(default: Any = MISSING) -> Any:
    """Names of numeric columns."""

    def check(owner: object, name: str) -> Any:
        return column_names(owner, name, getattr(owner, name))

    return _field(_Setting(check, tuple, numeric=True), default)


def column_names(owner: object, setting: str, given: Any) -> tuple[str, ...]:
    """The names of numeric columns in a setting.

    Raises:
        EarnestError: no tuple of different names, or a name that stands for something else.
    """
    who = f"{type(owner).__name__}({setting}={given!r})"
    names = tuple(given) if isinstance(given, list | tuple) else ()
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) and name.strip() for name in names):
        raise EarnestError(f"{who}: expected names of numeric columns, for example ('length_difference',)")
    if len(set(names)) < len(names):
        raise EarnestError(f"{who}: a column is named twice")
    if taken := sorted(_RESERVED.intersection(names)):
        raise EarnestError(f"{who}: {taken[0]!r} is no covariate; name a numeric column")
    return names


def check_setting(owner: object, name: str, kind: type, what: str) -> None:
    """Raise an `EarnestError` unless the setting `name` of a component is an instance of `kind`."""
    value = getattr(owner, name)
    if not isinstance(value, kind):
        shown = f"the class {value.__name__} (call it)" if isinstance(value, type) else repr(value)
        raise EarnestError(f"{type(owner).__name__}({name}=...): expected {what}, got {shown}")

"""The declaration as TOML: readable, versioned, the same for the command line and for saved fits."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from typing import Any

import tomli_w

from ..comparisons.errors import EarnestError
from . import priors
from .component import Attentiveness, Casual, Component, Preference
from .covariates import Scaled, Standardised
from .preference import WithTies
from .priors import Prior
from .ties import TieRule

__all__ = ["FORMAT", "component_from_table", "component_to_table", "dump", "parse", "settings_from_table",
           "settings_to_table"]  # fmt: skip

FORMAT = 1

_PRIORS: dict[str, type[Prior]] = {
    name: getattr(priors, name) for name in priors.__all__ if name not in ("Prior", "HierarchicalNormal")
}


def component_to_table(component: Component) -> dict[str, Any]:
    """A component's fields as a TOML table; nested components and priors become nested tables."""
    table: dict[str, Any] = {"component": type(component).__name__}
    for field in fields(component):
        value = getattr(component, field.name)
        if value is not None:
            table[field.name] = _encode(value)
    return table


def component_from_table(table: Any, where: str) -> Component:
    """The inverse of `component_to_table`.

    Raises:
        EarnestError: the component or a field is unknown, or a value is not acceptable; the message says where.
    """
    if not isinstance(table, Mapping) or not isinstance(table.get("component"), str):
        raise EarnestError(f'[{where}]: expected a table with `component = "<name>"`')
    name = table["component"]
    usable = {known: cls for known, cls in Component.registry.items() if is_dataclass(cls) and _is_concrete(cls)}
    if name not in usable:
        near = get_close_matches(name, usable, 1)
        raise EarnestError(
            f"[{where}]: unknown component {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else "")
            + " A component of your own must be defined (its module imported) before its declaration is read."
        )
    return settings_from_table(usable[name], {k: v for k, v in table.items() if k != "component"}, where)


def settings_to_table(settings: Any) -> dict[str, Any]:
    """A dataclass's fields as a TOML table."""
    return {field.name: _encode(getattr(settings, field.name)) for field in fields(settings)}


def settings_from_table[T](cls: type[T], settings: Any, where: str) -> T:
    """A dataclass from a TOML table of its settings.

    Raises:
        EarnestError: a setting is unknown, missing or not acceptable; the message says where.
    """
    if not isinstance(settings, Mapping):
        raise EarnestError(f"[{where}]: expected a table of settings")
    name = cls.__name__
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]  # a dataclass
    for key in settings:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
            raise EarnestError(f"[{where}]: {name} has no setting {key!r}; {hint}")
    missing = [
        k for k, f in known.items() if f.default is MISSING and f.default_factory is MISSING and k not in settings
    ]
    if missing:
        raise EarnestError(f"[{where}]: {name} needs the setting {missing[0]!r}")
    try:
        return cls(**{key: _decode(value, f"{where}.{key}") for key, value in settings.items()})
    except EarnestError as error:
        raise error if str(error).startswith("[") else EarnestError(f"[{where}]: {error}") from None
    except (TypeError, ValueError) as error:
        raise EarnestError(f"[{where}]: {name} cannot be built from {settings}: {error}") from error


def _is_concrete(cls: type[Component]) -> bool:
    """Whether a class is a component of its own and not a base of others."""
    bases = (Component, Attentiveness, Preference, Casual, TieRule, Scaled, Standardised, WithTies)
    return not cls.__name__.startswith("_") and cls not in bases


def dump(tables: Mapping[str, Any]) -> str:
    """TOML text of nested tables."""
    return tomli_w.dumps(dict(tables))


def parse(text: str) -> dict[str, Any]:
    """Nested tables of a TOML text.

    Raises:
        EarnestError: the text is not TOML, or of a newer format.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EarnestError(f"the model declaration is not valid TOML: {error}") from None
    version = tables.get("format", FORMAT)
    if version != FORMAT:
        raise EarnestError(f"the model declaration has format {version!r}; this version of Earnest reads {FORMAT}")
    return tables


def _encode(value: Any) -> Any:
    if isinstance(value, Component):
        return component_to_table(value)
    if isinstance(value, Prior) and type(value) not in _PRIORS.values():
        raise EarnestError(
            f"the prior {type(value).__name__} is not one of earnest.priors and cannot be written to TOML"
        )
    if isinstance(value, Prior):
        settings = {field.name: _encode(getattr(value, field.name)) for field in fields(value)}
        return {"distribution": type(value).__name__, **settings}
    if isinstance(value, tuple | list):
        return [_encode(item) for item in value]
    if isinstance(value, bool | int | float | str):
        return value
    raise EarnestError(
        f"a setting of type {type(value).__name__} cannot be written to TOML; use numbers, strings, tuples, priors or "
        "components"
    )


def _decode(value: Any, where: str) -> Any:
    if isinstance(value, Mapping) and "component" in value:
        return component_from_table(value, where)
    if isinstance(value, Mapping) and "distribution" in value:
        return _prior_from_table(value, where)
    if isinstance(value, Mapping):
        raise EarnestError(f"[{where}]: a table here needs `component = ...` or `distribution = ...`")
    if isinstance(value, list):
        return tuple(_decode(item, where) for item in value)
    return value


def _prior_from_table(table: Mapping[str, Any], where: str) -> Prior:
    name = table["distribution"]
    if name not in _PRIORS:
        raise EarnestError(f"[{where}]: unknown distribution {name!r}; known: {', '.join(_PRIORS)}")
    settings = {key: value for key, value in table.items() if key != "distribution"}
    known = {field.name for field in fields(_PRIORS[name])}
    for key in settings:
        if key not in known:
            raise EarnestError(f"[{where}]: {name} has no setting {key!r}; known: {', '.join(sorted(known))}")
    return _PRIORS[name](**settings)

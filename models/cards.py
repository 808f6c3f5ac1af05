"""A declaration in few words: what was set, and not what was left as it is."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from ..comparisons.markup import card, sentences

if TYPE_CHECKING:
    from .behavior import BehaviorModel

__all__ = ["brief", "model_card"]


def brief(value: Any) -> str:
    """The call that makes a component, without the settings that are the default ones.

    Example:
        >>> import earnest as er
        >>> print(brief(er.BradleyTerry(ties=er.Davidson(), by_category=True)))
        BradleyTerry(ties=Davidson(), by_category=True)
    """
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    told = []
    for setting in fields(value):
        if not setting.init or not setting.repr:
            continue
        given = getattr(value, setting.name)
        usual = setting.default_factory() if setting.default_factory is not MISSING else setting.default
        if type(given) is not type(usual) or given != usual:
            told.append(f"{setting.name}={brief(given)}")
    return f"{type(value).__name__}({', '.join(told)})"


def model_card(model: BehaviorModel) -> str:
    """The components and what each says, as HTML."""
    facts = {role: f"{brief(part)}: {_says(part)}" for role, part in model.roles.items()}
    if model.gold is not None:
        facts["gold"] = f"{brief(model.gold)}: {_says(model.gold)}"
    if model.context:
        facts["looks at"] = ", ".join(model.context)
    mixture = "Pr(vote | user) = attentiveness x preference + (1 - attentiveness) x casual behaviour"
    return card("BehaviorModel", facts, sentences([mixture]))


def _says(part: Any) -> str:
    """The first sentence of a component's documentation."""
    return (type(part).__doc__ or "").strip().split("\n\n")[0].replace("\n", " ").strip().rstrip(".")

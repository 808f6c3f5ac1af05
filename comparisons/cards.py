"""A log as a card in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .columns import STANDARD
from .markup import card, points

if TYPE_CHECKING:
    from .log import ComparisonLog

__all__ = ["log_card"]

_SHOWN = 6


def log_card(log: ComparisonLog) -> str:
    """What a log holds, which columns it was read from, and its notes, as HTML."""
    if log.by_pattern:
        return card(repr(log), {})
    counts, votes = log.outcome_counts(), max(len(log), 1)
    shares = ", ".join(f"{name} {n / votes:.0%}" for name, n in counts.items() if n)
    names = [str(name) for name in log.models]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    read = [name if name == column else f"{name} from {column!r}" for name, column in log.mapping.items()]
    carried = [name for name in log.columns if name not in STANDARD]
    facts = {
        "votes": f"{len(log):,}: {shares}",
        "users": f"{len(log.users):,}",
        "models": f"{len(names):,}: {', '.join(names[:_SHOWN])}{more}",
        "columns": ", ".join(read),
    }
    if carried:
        facts["carried through"] = ", ".join(carried[:20]) + (", ..." if len(carried) > 20 else "")
    if log.quarantined:
        facts["set aside"] = f"{log.quarantined:,} rows, in {log.quarantine_file}"
    return card(
        f"ComparisonLog of {log.source}",
        facts,
        points(("note", note) for note in log.notes if " is read from the column " not in note),
    )

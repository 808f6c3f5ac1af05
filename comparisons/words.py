"""How names and numbers are put in a sentence."""

from __future__ import annotations

__all__ = ["called", "counted", "counted_users", "listed"]


def counted(n: float, what: str) -> str:
    """How many, with the noun in its number.

    Example:
        >>> counted(1, "row"), counted(1200, "row")
        ('1 row', '1,200 rows')
    """
    return f"{n:,.0f} {what}{'' if n == 1 else 's'}"


def counted_users(n: int) -> str:
    """How many users, in words."""
    return "one user" if n == 1 else f"{n:,} users"


def called(name: object, longest: int = 40) -> str:
    """A name from the log, not too long."""
    text = str(name)
    return repr(text if len(text) <= longest else text[: longest - 3] + "...")


def listed(names: list[str], most: int) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(called(name, 30) for name in names[:most]) + more

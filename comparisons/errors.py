"""Errors that a user of Earnest can act on.

Every message names what was expected, what came instead, where (file, data row, line, column) and the remedy.
"""

from numbers import Integral


class EarnestError(ValueError):
    """Base of all errors that Earnest raises on purpose; the command line prints it and exits with code 2."""


class InputError(EarnestError):
    """Input data that cannot be used as it is: a file, a data frame, a row or a column of it."""


class DiskFullError(EarnestError):
    """There is no room for what is written."""


def check_whole(name: str, value: object, least: int) -> None:
    """Raise an `EarnestError` unless an argument is a whole number (Python's or NumPy's), `least` or more."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise EarnestError(f"{name}={value!r}: expected a whole number, {least} or more")

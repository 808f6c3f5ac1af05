"""Errors that a user of Earnest can act on.

Every message names what was expected, what came instead, where (file, data row, line, column) and the remedy.
"""


class EarnestError(ValueError):
    """Base of all errors that Earnest raises on purpose; the command line prints it and exits with code 2."""


class InputError(EarnestError):
    """Input data that cannot be used as it is: a file, a data frame, a row or a column of it."""

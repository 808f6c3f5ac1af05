"""What was observed: reading and checking a log, counting it, exporting preference data."""

from .atomic import atomic_file
from .cells import Cells, Counts
from .counting import count_cells
from .errors import EarnestError, InputError
from .export import PreferenceSummary, write_preferences
from .filtering import filter_log
from .log import ComparisonLog
from .patterns import Patterns
from .read import read_comparisons
from .schema import OUTCOMES, Schema

__all__ = [
    "OUTCOMES",
    "Cells",
    "ComparisonLog",
    "Counts",
    "EarnestError",
    "InputError",
    "Patterns",
    "PreferenceSummary",
    "Schema",
    "atomic_file",
    "count_cells",
    "filter_log",
    "read_comparisons",
    "write_preferences",
]

"""What a watch writes and says."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..comparisons.atomic import atomic_file
from ..comparisons.count_store import Taken

__all__ = ["Outputs", "Status"]


@dataclass(frozen=True)
class Status:
    """How a watch stands.

    Attributes:
        votes: Votes counted, ever.
        taken: What came of them in this run.
        rate: Votes counted a second, of late.
        behind: Bytes that are there and not counted yet.
        users: Users in the last table.
        fitted: Votes that the last fit is made of; 0 without one.
        fit_age: Seconds since then.
        fitting: Whether a fit is under way.
        waiting: Name of a file to bytes at its end that are no whole row yet.
    """

    votes: int
    taken: Taken
    rate: float
    behind: int
    users: int
    fitted: int
    fit_age: float
    fitting: bool
    waiting: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Outputs:
    """Where results go."""

    out: str | os.PathLike[str] | None
    fit: str | os.PathLike[str] | None
    quarantine: str | os.PathLike[str] | None

    @property
    def places(self) -> list[str]:
        """Where the table and the fit are written, through links."""
        return [os.path.realpath(path) for path in (self.out, self.fit) if path is not None]

    def there(self, written: str | None) -> bool:
        """Whether there are outputs, all of them written before.

        Args:
            written: What the store remembers of the places it wrote to; a file of another store may be there.
        """
        return bool(self.places) and written == json.dumps(self.places) and all(map(os.path.exists, self.places))

    def write(self, frame: pd.DataFrame, about: dict[str, Any]) -> None:
        """Replace the table of users; `about` and the time go into the metadata of a Parquet file."""
        if self.out is None:
            return
        with atomic_file(self.out) as temporary:
            if temporary.suffix.lower() == ".csv":
                frame.to_csv(temporary, index=False)
                return
            table = pa.Table.from_pandas(frame, preserve_index=False)
            told = json.dumps({**about, "written": datetime.now(UTC).isoformat(timespec="seconds")})
            table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"earnest": told})
            pq.write_table(table, temporary, compression="zstd")

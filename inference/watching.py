"""Attentiveness kept current while votes arrive."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Literal

from ..comparisons.columns import STANDARD
from ..comparisons.count_store import CountStore
from ..comparisons.errors import EarnestError, InputError
from ..comparisons.growing import Folder
from ..comparisons.looks import Looks
from ..comparisons.outcomes import Outcomes, check_mapping
from ..comparisons.streams import Stream
from ..models.behavior import BehaviorModel, usual
from .outputs import Outputs, Status
from .results import Fit
from .watch_loop import Watch

__all__ = ["watch"]


def watch(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    model: BehaviorModel | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    fit: str | os.PathLike[str] | None = None,
    once: bool = False,
    every: float = 60.0,
    every_votes: int | None = None,
    outcomes: Outcomes = None,
    on_bad_rows: Literal["error", "quarantine"] = "quarantine",
    quarantine: str | os.PathLike[str] | None = None,
    seed: int = 0,
    stop: Event | None = None,
    progress: Callable[[Status], None] | None = None,
    note: Callable[[str], None] | None = None,
    **columns: str | None,
) -> Fit | None:
    """Count votes as they arrive, each once, and keep users' attentiveness current.

    Counts, and how far each file is read, change in one transaction: a run that is killed at any moment loses no vote
    and counts none twice when it is started again.

    Args:
        source: A folder of files that grow (JSONL, CSV) or are whole (Parquet), or "-" for JSON lines from standard
            input. A last line without its end waits. Files are rotated by renaming them. One that is cut, or replaced
            by another, is refused; an edit of what was counted in a file that has grown since is seen only when the
            watch starts again, since all of a file is compared then. A link is read under one name. Without ids of
            votes a copy of a file is refused, and so is another folder than the one that the store has votes of. From
            standard input a vote that is sent twice counts once only if `comparison` names its id.
        store: A DuckDB file for the counts, begun if it is not there.
        model: The declaration; by default that of the store, or for a new one Bradley-Terry with ties.
        out: Table of users to keep current, .parquet or .csv: user, comparisons, mean, sd, lower, upper. The Parquet
            file's metadata `earnest` says how many votes it is made of. Between fits, users who voted are scored at
            the last fit's globals; their intervals leave the globals' uncertainty out.
        fit: Folder to save each fit in.
        once: Count what is there, fit, and return.
        every: Seconds from one fit to the next at least; fits take half of the time at most.
        every_votes: New votes from one fit to the next at least.
        outcomes: What winners mean; see `read_comparisons`.
        on_bad_rows: "quarantine" sets rows that cannot be used aside in the store, with the reason; "error" stops.
        quarantine: A file to write these to as well.
        seed: Of the draws behind users' intervals.
        stop: Ends the watch when it is set, after the transaction at hand.
        progress: Called with the status several times a second.
        note: Called with sentences on what was guessed or found odd.
        **columns: Column names, as in `read_comparisons`.

    Returns:
        The last fit of this run, on all votes of the store; None without one.

    Raises:
        InputError: Columns cannot be found, a file has changed in what was counted, or a row cannot be used.
        EarnestError: The store belongs to another model, is in use, or something cannot be written; counts and tables
            are then as they were.

    Example:
        >>> fit = er.watch("votes/", "votes.duckdb", out="users.parquet", once=True)  # doctest: +SKIP
        >>> fit.attentiveness.head()  # doctest: +SKIP
    """
    for name in columns:
        if name not in STANDARD:
            raise EarnestError(f"watch: unknown option {name!r}; columns are {', '.join(STANDARD)}")
    if on_bad_rows not in ("error", "quarantine"):
        raise EarnestError(f"on_bad_rows={on_bad_rows!r}: expected 'error' or 'quarantine'")
    if outcomes is not None and not isinstance(outcomes, str):
        check_mapping(outcomes)
    if out is not None and Path(out).suffix.lower() not in (".parquet", ".csv"):
        raise EarnestError(f"cannot write {os.fspath(out)!r}: expected a name that ends in .parquet or .csv")
    if os.fspath(source) == "-" and sys.__stdin__ is None:  # the store would be opened as file 0, and read for votes
        raise InputError("standard input is closed; give it the votes, one JSON object a line, or name a folder")
    if not os.path.isfile(store) and model is None:
        model = usual(ties=True)
    with ExitStack() as stack:
        counts = stack.enter_context(CountStore(store, looks_of(model) if model else None, columns, outcomes))
        declared = model or BehaviorModel.from_toml(counts.looks.declaration)
        outputs = Outputs(out, fit, quarantine)
        running = Watch(
            source=_source(source, counts, outputs), label=os.fspath(source), store=counts, model=declared,
            outputs=outputs, strict=on_bad_rows == "error", every=every, every_votes=every_votes, seed=seed,
            stop=stop or Event(), progress=progress, note=note or (lambda text: None),
            worker=stack.enter_context(ThreadPoolExecutor(1, "earnest-fit")),
        )  # fmt: skip
        try:
            return running.run(once)
        finally:
            running.stop.set()  # a fit that is under way ends


def looks_of(model: BehaviorModel) -> Looks:
    """What a model looks at in a vote."""
    return Looks(model.to_toml(), model.context, model.preference.allows_ties, model.directed, model.chained)


def _source(source: str | os.PathLike[str], store: CountStore, outputs: Outputs) -> Folder | Stream:
    if os.fspath(source) == "-":
        return Stream(0, store.progress())
    path = Path(source)
    if not path.is_dir():
        raise InputError(f"{path}: is no folder; name a folder whose files are votes, or - for standard input")
    _same_folder(path, store)
    own = (store.path, f"{store.path}.wal", outputs.out, outputs.fit, outputs.quarantine)
    places = [Path(name).resolve() for name in own if name is not None]
    skip = frozenset(place.name for place in places if place.parent == path.resolve())
    return Folder(path, {name: state for name, state in store.progress().items() if name != "-"}, skip)


def _same_folder(path: Path, store: CountStore) -> None:
    """Refuse another folder than the store has votes of, where the same votes in other files would count again."""
    place, before = str(path.resolve()), store.recall("folder")
    read = {name for name in store.progress() if name != "-"}
    ids = store.reading is not None and "comparison" in store.reading.columns
    # A folder that was moved has the files that were read.
    if read and before not in (None, place) and not ids and not any((path / name).is_file() for name in read):
        raise InputError(
            f"{path}: the store {store.path} has the votes of {before}, and without ids the same votes from another "
            "folder would count twice; give this folder a store of its own, put its files into that folder, or begin "
            "a store with votes' ids (comparison=...)"
        )
    if place != before:
        store.keep("folder", place)

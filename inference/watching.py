"""Attentiveness kept current while votes arrive."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Literal

import pandas as pd

from ..comparisons.columns import STANDARD
from ..comparisons.context import TIMESTAMP
from ..comparisons.count_store import CountStore, Taken
from ..comparisons.errors import EarnestError, InputError
from ..comparisons.growing import Folder
from ..comparisons.looks import Looks
from ..comparisons.outcomes import Outcomes, check_mapping
from ..comparisons.streams import Stream
from ..models.behavior import BehaviorModel
from ..models.preference import BradleyTerry
from ..models.ties import Davidson
from .outputs import Outputs, Status
from .refitting import Warmth, merged, refit, rescore
from .results import Fit

__all__ = ["watch"]

_BUDGET = 1 << 22  # bytes of new rows in a transaction
_PAUSE = 0.25  # seconds from one look to the next, unless something is left
_REST = 3.0  # a rescoring is followed by a pause of so many times its length, and of as many seconds at least
_QUARANTINE_EVERY = 5.0
_RECENT = 10.0  # seconds over which the rate is taken


class _Stopped(Exception):
    """The watch is to end: a fit that is under way is let go of."""


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
            input. A last line without its end waits. From standard input a vote that is sent twice counts once only if
            `comparison` names its id.
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
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> (folder / "votes").mkdir()
        >>> line = '{"user": "ann", "model_a": "x", "model_b": "y", "winner": "model_a"}'
        >>> _ = (folder / "votes" / "monday.jsonl").write_text(line + chr(10))
        >>> found = watch(folder / "votes", folder / "votes.duckdb", once=True)  # doctest: +SKIP
        >>> found.attentiveness[["user", "comparisons"]]  # doctest: +SKIP
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
    if not os.path.isfile(store) and model is None:
        model = BehaviorModel(preference=BradleyTerry(ties=Davidson()))
    with ExitStack() as stack:
        counts = stack.enter_context(CountStore(store, looks_of(model) if model else None, columns, outcomes))
        declared = model or BehaviorModel.from_toml(counts.looks.declaration)
        outputs = Outputs(out, fit, quarantine)
        running = _Watch(
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
    own = (store.path, f"{store.path}.wal", outputs.out, outputs.fit, outputs.quarantine)
    skip = frozenset(Path(name).resolve() for name in own if name is not None)
    return Folder(path, {name: state for name, state in store.progress().items() if name != "-"}, skip)


@dataclass(frozen=True)
class _Done:
    """What a job in the background made: a table of users, and the fit that it rests on."""

    frame: pd.DataFrame
    fit: Fit
    warmth: Warmth
    seconds: float
    refitted: bool


@dataclass
class _Watch:
    """The state of `watch`."""

    source: Folder | Stream
    label: str
    store: CountStore
    model: BehaviorModel
    outputs: Outputs
    strict: bool
    every: float
    every_votes: int | None
    seed: int
    stop: Event
    progress: Callable[[Status], None] | None
    note: Callable[[str], None]
    worker: ThreadPoolExecutor
    taken: Taken = field(default_factory=Taken)
    recent: deque[tuple[float, int]] = field(default_factory=deque)
    last: _Done | None = None
    warmth: Warmth | None = None
    voted: set[str] = field(default_factory=set)
    job: Future[_Done] | None = None
    fitted_at: float = float("-inf")
    rested_until: float = 0.0
    quarantined_at: float = 0.0
    noted: set[str] = field(default_factory=set)

    def run(self, once: bool) -> Fit | None:
        """Until there is no more, or until it is stopped."""
        self.warmth = Warmth.from_json(self.store.recall("fit"))
        while not self.stop.is_set():
            looked = time.monotonic()
            more = self._take()
            self._set_aside(self.quarantined_at + _QUARANTINE_EVERY)
            if not once:
                self._tend()
            self._say()
            if not more and (once or getattr(self.source, "ended", False)):
                break
            if not self.source.behind and not once:
                self.stop.wait(max(0.0, looked + _PAUSE - time.monotonic()))
        return self._end()

    def _take(self) -> bool:
        """Count what is new; whether there was anything."""
        chunks = list(self.source.look(_BUDGET))
        self._odd()
        if not chunks:
            return False
        taken, users = self.store.take(chunks, self.label, self.strict)
        self.source.accept(chunks)
        self.voted.update(users)
        self.taken = self.taken.plus(taken)
        return True

    def _odd(self) -> None:
        """Say once what the reader should know."""
        reading, looks = self.store.reading, self.store.looks
        said = [f"{name}: is no JSONL, CSV or Parquet file and is left aside" for name in self.source.foreign]
        if reading is not None:
            said += reading.notes
            if isinstance(self.source, Stream) and "comparison" not in reading.columns:
                said.append(
                    "votes have no ids (comparison=...): one that is sent again, as by a producer that is started "
                    "anew, counts again"
                )
            if TIMESTAMP in looks.columns:
                said.append("the model looks at times, so that the store grows by a row a vote and fits take longer")
        for text in said:
            if text not in self.noted:
                self.noted.add(text)
                self.note(text)

    def _set_aside(self, due: float) -> None:
        path, [total] = self.outputs.quarantine, [self.store.totals.quarantined]
        if path is not None and total and self.taken.quarantined and time.monotonic() >= due:
            self.store.write_quarantine(path)
            self.quarantined_at = time.monotonic()

    def _tend(self) -> None:
        """Take in what the background made, and give it the next thing to do."""
        if self.job is not None:
            if not self.job.done():
                return
            self._harvest(self.job.result())
        now, votes = time.monotonic(), self.store.totals.votes
        fitted = self.warmth.votes if self.warmth is not None and (self.last or self.outputs.there) else 0
        new = votes - fitted
        if new and new >= (self.every_votes or 1) and now >= self.fitted_at + self.every and now >= self.rested_until:
            self.fitted_at = now
            self.voted.clear()
            self.job = self.worker.submit(self._refit)
        elif self.last is not None and self.voted and now >= self.rested_until and self.outputs.out is not None:
            users = sorted(self.voted)
            self.voted.clear()
            self.job = self.worker.submit(self._rescore, self.last, users)

    def _harvest(self, done: _Done) -> None:
        self.job, self.last = None, done
        now = time.monotonic()
        self.rested_until = now + (done.seconds if done.refitted else max(_REST, _REST * done.seconds))
        if done.refitted:
            self.warmth, self.fitted_at = done.warmth, now - done.seconds
            self.store.keep("fit", done.warmth.to_json())

    def _refit(self) -> _Done:
        start = time.monotonic()
        log = self.store.log()
        fit, warmth = refit(self.model, log, self.warmth, self.seed, self._unless_stopped)
        if self.outputs.fit is not None:
            fit.save(Path(self.outputs.fit))
        self._write(fit.attentiveness, warmth.votes, fit, warmth)
        return _Done(fit.attentiveness, fit, warmth, time.monotonic() - start, True)

    def _rescore(self, last: _Done, users: list[str]) -> _Done:
        start = time.monotonic()
        frame = merged(last.frame, rescore(last.fit, self.store.log(users)))
        self._write(frame, int(frame["comparisons"].sum()), last.fit, last.warmth)
        return _Done(frame, last.fit, last.warmth, time.monotonic() - start, False)

    def _write(self, frame: pd.DataFrame, votes: int, fit: Fit, warmth: Warmth) -> None:
        about = {"votes": votes, "fitted_votes": warmth.votes, "users": len(frame), "status": fit.status}
        self.outputs.write(frame, about)

    def _unless_stopped(self, *_: object) -> None:
        if self.stop.is_set():
            raise _Stopped

    def _end(self) -> Fit | None:
        """The last fit: where the source has ended, of everything."""
        self._set_aside(0.0)
        if self.job is not None:
            try:
                self._harvest(self.job.result())
            except _Stopped:
                return None if self.last is None else self.last.fit
        votes = self.store.totals.votes
        current = self.warmth is not None and self.warmth.votes == votes and (self.last or self.outputs.there)
        if not self.stop.is_set() and votes and not current:
            with suppress(_Stopped):
                self._harvest(self._refit())
        self._say()
        return None if self.last is None else self.last.fit

    def _say(self) -> None:
        if self.progress is None:
            return
        fitted = 0 if self.warmth is None else self.warmth.votes
        status = Status(
            votes=self.store.totals.votes,
            taken=self.taken,
            rate=self._rate(),
            behind=self.source.behind,
            users=0 if self.last is None else len(self.last.frame),
            fitted=fitted,
            fit_age=time.monotonic() - self.fitted_at,
            fitting=self.job is not None,
            waiting=dict(self.source.waiting),
        )
        self.progress(status)

    def _rate(self) -> float:
        """New votes a second, of late."""
        now = time.monotonic()
        self.recent.append((now, self.taken.votes))
        while now - self.recent[0][0] > _RECENT:
            self.recent.popleft()
        first, votes = self.recent[0]
        return (self.taken.votes - votes) / max(now - first, 1.0)

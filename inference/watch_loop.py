"""The loop behind `watch`: count what is new, fit in the background, write."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pandas as pd

from ..comparisons.context import TIMESTAMP
from ..comparisons.count_store import CountStore, Taken
from ..comparisons.files import COMPRESSIONS
from ..comparisons.growing import Folder
from ..comparisons.streams import Stream
from ..models.behavior import BehaviorModel
from .outputs import Outputs, Status
from .refitting import Warmth, merged, refit, rescore
from .results import Fit

__all__ = ["Watch"]

_BUDGET = 1 << 22  # bytes of new rows in a transaction
_PAUSE = 0.25  # seconds from one look to the next, unless something is left
_REST = 3.0  # a rescoring is followed by a pause of so many times its length, and of as many seconds at least
_QUARANTINE_EVERY = 5.0
_RECENT = 10.0  # seconds over which the rate is taken


class _Stopped(Exception):
    """The watch is to end: a fit that is under way is let go of."""


@dataclass(frozen=True)
class _Done:
    """What a job in the background made: a table of users, and the fit that it rests on."""

    frame: pd.DataFrame
    fit: Fit
    warmth: Warmth
    seconds: float
    refitted: bool


@dataclass
class Watch:
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
    began: float = field(default_factory=time.monotonic)
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
            if not more and (self.source.ended if isinstance(self.source, Stream) else once):
                break
            if not self.source.behind and not once:
                self.stop.wait(max(0.0, looked + _PAUSE - time.monotonic()))
        return self._end()

    def _take(self) -> bool:
        """Count what is new; whether there was anything."""
        if isinstance(self.source, Folder) and self.store.reading is not None:
            self.source.ids = "comparison" in self.store.reading.columns
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
        said = [f"{name}: {_strange(name)} and is left aside" for name in self.source.foreign]
        if isinstance(self.source, Folder):
            twins = self.source.twins.items()
            said += [f"{name}: is the same file as {own}, and is read under that name" for name, own in twins]
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
            if not self.job.done() or self.stop.is_set():
                return
            self._harvest(self.job.result())
        now, votes = time.monotonic(), self.store.totals.votes
        if self.source.behind and now < self.began + self.every:
            return  # counting what has piled up comes first
        fitted = self.warmth.votes if self.warmth is not None and (self.last or self._there) else 0
        new = votes - fitted
        if new and new >= (self.every_votes or 1) and now >= self.fitted_at + self.every and now >= self.rested_until:
            self.fitted_at = now
            self.voted.clear()
            self.job = self.worker.submit(self._refit)
        elif self.last is not None and self.voted and now >= self.rested_until and self.outputs.out is not None:
            users = sorted(self.voted)
            self.voted.clear()
            self.job = self.worker.submit(self._rescore, self.last, users)

    @property
    def _there(self) -> bool:
        return self.outputs.there(self.store.recall("outputs"))

    def _harvest(self, done: _Done) -> None:
        self.job, self.last = None, done
        now = time.monotonic()
        self.rested_until = now + (done.seconds if done.refitted else max(_REST, _REST * done.seconds))
        if done.refitted:
            self.warmth, self.fitted_at = done.warmth, now - done.seconds
            self.store.keep("fit", done.warmth.to_json())
            self.store.keep("outputs", json.dumps(self.outputs.places))

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
        current = self.warmth is not None and self.warmth.votes == votes and (self.last or self._there)
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


def _strange(name: str) -> str:
    if name.lower().endswith(tuple(COMPRESSIONS)):
        return "is compressed: a file that grows is read unpacked,"
    return "is no JSONL, CSV or Parquet file"

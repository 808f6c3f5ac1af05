"""What the command line says and how: results on stdout, progress on stderr, errors in one message."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .examples import EXAMPLES, FIRST_HOUR
from .wording import in_shell, wrapped

if TYPE_CHECKING:
    from threading import Event

    import pandas as pd

    from .comparisons import ComparisonLog
    from .diagnostics.agreement import Agreement
    from .diagnostics.planning import Plan
    from .diagnostics.thresholds import ThresholdCurve
    from .inference import Fit
    from .inference.outputs import Status

_WIDTH, _LEAST_NAME = 80, 12  # of a table, and of the names in its first column
_INTERRUPTED = 130  # as a shell reports a program that Ctrl-C ended


class Failure(click.ClickException):
    """A message for the user and exit code 2, without a traceback."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print the message on stderr."""
        click.echo(wrapped(in_shell(self.message), "earnest: ", "  "), file=file or sys.stderr)


class Verb(click.Command):
    """A click command whose help ends with examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them, each as it is typed."""
        examples = EXAMPLES.get(self.name or "", ())
        if examples:
            with formatter.section("Examples"):
                for example in examples:
                    formatter.write("".join(f"{'':{formatter.current_indent}}{line}\n" for line in example.split("\n")))
        super().format_epilog(ctx, formatter)


class Verbs(click.Group):
    """A click group whose verbs fail with one clear message and are listed in the order of use."""

    command_class = Verb

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A first hour in four lines, each as it is typed."""
        with formatter.section("Examples"):
            for example in FIRST_HOUR:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs, in the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; bad input and a full disk are messages, Ctrl-C is exit code 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("earnest: interrupted; outputs are as they were before", err=True)
            ctx.exit(_INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            place = f"{error.filename}: " if error.filename else ""
            raise Failure(f"{place}{error.strerror or error}") from error
        except Exception as error:
            from .comparisons.errors import EarnestError  # here, since it comes with DuckDB: `--help` answers at once

            if isinstance(error, EarnestError):
                raise Failure(str(error)) from error
            if "EARNEST_TRACEBACK" in os.environ:
                raise
            if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
                raise Failure(
                    "memory ran out (outputs are as they were); use a machine with more, close other programs, or take "
                    "fewer votes at once"
                ) from error
            raise Failure(
                f"an error of Earnest's own, {type(error).__name__}: {error} (outputs are as they were; "
                "EARNEST_TRACEBACK=1 shows where it happened)"
            ) from error


def keep_compiled_programs() -> None:
    """Let JAX keep its compiled programs in the user's cache folder, so that the next run need not compile them again.

    Must come before JAX is imported. A setting in the environment stands (JAX_ENABLE_COMPILATION_CACHE=false keeps
    nothing); where the folder cannot be made or written, nothing is kept.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or "JAX_ENABLE_COMPILATION_CACHE" in os.environ:
        return
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "earnest" / "jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: nobody's home is known
        return
    if not os.access(folder, os.W_OK):  # JAX would warn of every program
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C wait until the block has ended: JAX's compiled modules lose it, or abort, while they are imported."""
    from threading import current_thread, main_thread

    if current_thread() is not main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def working(task: str) -> Iterator[Callable[..., None]]:
    """Show that something goes on: a spinner with the seconds since its start, on a terminal's stderr only.

    Args:
        task: what goes on.

    Yields:
        A function that takes a few words on how far it is.
    """
    if not sys.stderr.isatty():
        yield lambda *words: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(task, total=None)
        last = 0.0

        def update(*words: object) -> None:
            nonlocal last
            if time.monotonic() - last > 0.1:
                last = time.monotonic()
                progress.update(bar, description=f"{task}: {' '.join(map(str, words))}")

        yield update


@contextmanager
def stopping() -> Iterator[Event]:
    """An event that Ctrl-C and SIGTERM set, so that work ends where it may; a second one interrupts."""
    from threading import Event, current_thread, main_thread

    stop = Event()
    if current_thread() is not main_thread():
        yield stop
        return

    def asked(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch_line(status: Status) -> str:
    """How a watch stands, in 79 characters at most.

    Example:
        >>> from earnest.inference.outputs import Status, Taken
        >>> print(watch_line(Status(12_345_678, Taken(600_000), 10_012.0, 1_200_000, 100_000, 12_000_000, 12.0, False)))
        12.3M votes, 10.0k/s, 1.2 MB behind, 100k users, fit of 12.0M, 12 s ago
    """
    behind = f"{_short(status.behind, ' ')}B behind" if status.behind else "up to date"
    parts = [f"{_short(status.votes)} votes", f"{_short(status.rate)}/s", behind]
    if status.fitted and status.users:
        parts += [f"{_short(status.users)} users", f"fit of {_short(status.fitted)}, {status.fit_age:.0f} s ago"]
    elif status.fitting:
        parts.append("first fit under way")
    return ", ".join(parts)[:79]


def watch_summary(status: Status, store: str) -> list[str]:
    """What a watch did, when it has ended."""
    from .comparisons.words import counted

    taken = status.taken
    lines = [f"{store}: {status.votes:,} votes, {taken.votes:,} of them new"]
    if taken.repeated:
        were = "was" if taken.repeated == 1 else "were"
        votes = counted(taken.repeated, "vote")
        lines.append(f"  note: {votes} had an id that was counted before, and {were} not counted again")
    if taken.quarantined:
        rows, are = counted(taken.quarantined, "row"), "is" if taken.quarantined == 1 else "are"
        lines.append(f"  note: {rows} cannot be used and {are} in the store with the reason")
    if status.waiting:
        names = ", ".join(f"{name} ({size:,} bytes)" for name, size in list(status.waiting.items())[:5])
        more = f" and {len(status.waiting) - 5} more" if len(status.waiting) > 5 else ""
        lines.append(f"  note: what is at the end of {names}{more} waits for the rest of its row")
    if status.fitted != status.votes and status.votes:
        lines.append(f"  note: the last fit is of {status.fitted:,} votes; it goes on from there")
    return lines


def _short(number: float, space: str = "") -> str:
    """A number in three digits."""
    for unit in ("", "k", "M", "G"):
        if number < 999.5 or unit == "G":
            break
        number /= 1000
    digits = 0 if not unit or number >= 99.95 else 1
    return f"{number:.{digits}f}{space}{unit}"


@contextmanager
def watching() -> Iterator[Callable[[Status], None]]:
    """A line that is kept current on a terminal's stderr; elsewhere one line whenever there is news, at most in 10 s.

    Yields:
        A function of the status of a watch.
    """
    last, told = 0.0, (-1, -1)

    def say(status: Status) -> None:
        nonlocal last, told
        news, pause = (status.votes, status.fitted), 0.2 if sys.stderr.isatty() else 10.0
        if time.monotonic() - last < pause or (news == told and not sys.stderr.isatty()):
            return
        last, told, line = time.monotonic(), news, watch_line(status)
        click.echo(f"\r{line:<79}" if sys.stderr.isatty() else line, err=True, nl=not sys.stderr.isatty())

    try:
        yield say
    finally:
        if sys.stderr.isatty() and last:
            click.echo(err=True)


@contextmanager
def stages(task: str) -> Iterator[Callable[[str, int, int], None]]:
    """Bars for work that names its stages, one bar for each chain; on a terminal's stderr only.

    Args:
        task: what goes on.

    Yields:
        A function of (stage, done, total); a total of 0 is unknown. Stages that begin alike up to the first comma share
        a bar. It may be called from several threads.
    """
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from threading import Lock

    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    lock, bars = Lock(), {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def update(stage: str, done: int, total: int) -> None:
            key = stage.partition(",")[0]
            with lock:
                if key not in bars:
                    bars[key] = progress.add_task(f"{task}: {stage}", total=total or None)
                progress.update(bars[key], description=f"{task}: {stage}", completed=done, total=total or None)

        yield update


def say_posterior(tree: Any, said: Sequence[str]) -> bool:
    """Print what was sampled and whether to believe it; True if R-hat is known and low, and nothing diverged.

    Args:
        tree: what `earnest.sample` returned.
        said: notes that were printed before.
    """
    from .diagnostics.convergence import convergence

    say(f"{tree.attrs['form_reason']}; {tree.attrs['chains_ran']}")
    say_notes([note for note in tree.attrs["notes"].split("\n") if note and note not in said])
    checked = convergence(tree)
    rows = []
    for row in checked.table.itertuples():
        rows.append([row.parameter, f"{row.mean:.3f}", f"{row.sd:.3f}", f"{row.lower:.3f} to {row.upper:.3f}",
                     f"{row.ess_bulk:,.0f}", f"{row.rhat:.3f}"])  # fmt: skip
    rows = _thirty(rows, checked.table["ess_bulk"], "with the fewest effective draws")
    click.echo(table(["parameter", "mean", "sd", "90 % interval", "effective draws", "R-hat"], rows))
    say(checked.verdict)
    return checked.good


def say_agreement(agreement: Agreement) -> None:
    """Print parameters, the users farthest apart, the thresholds at which most votes differ, and the verdict."""
    rows = []
    for row in agreement.parameters.itertuples():
        rows.append([row.parameter, f"{row.em:.3f}", f"{row.em_lower:.3f} to {row.em_upper:.3f}", f"{row.mean:.3f}",
                     f"{row.lower:.3f} to {row.upper:.3f}", f"{row.coverage:.0%}"])  # fmt: skip
    rows = _thirty(rows, agreement.parameters["coverage"], "whose EM interval holds least of the posterior")
    head = ["parameter", "EM", "90 % interval", "posterior mean", "90 % interval", "held by EM's"]
    click.echo(table(head, rows))
    rows = [
        [
            row.user[:40],
            f"{row.comparisons:,}",
            f"{row.em:.3f}",
            f"{row.mean:.3f}",
            f"{row.lower:.3f} to {row.upper:.3f}",
        ]
        for row in agreement.users.head(5).itertuples()
    ]
    click.echo("\nusers farthest apart\n" + table(["user", "votes", "EM", "posterior mean", "90 % interval"], rows))
    worst = agreement.decisions.sort_values("share_differ", ascending=False, kind="stable").head(3)
    rows = [
        [f"{row.threshold:.2f}", *(f"{n:,}" for n in row[2:4]), f"{row.labels_differ:,}", f"{row.share_differ:.1%}"]
        for row in worst[["threshold", "users_em", "users_posterior", "labels_differ", "share_differ"]].itertuples()
    ]
    head = ["threshold", "users kept, EM", "posterior", "votes that differ", "share"]
    click.echo("\nthresholds at which most votes differ\n" + table(head, rows))
    say(agreement.verdict)


def _thirty(rows: list[list[str]], by: pd.Series, which: str) -> list[list[str]]:
    """Of many parameters the thirty with the lowest value, in their order; said in a line that ends in `which`."""
    if len(rows) <= 30:
        return rows
    click.echo(f"(the 30 of {len(rows)} parameters {which})")
    return [rows[k] for k in sorted(by.fillna(float("-inf")).to_numpy().argsort()[:30])]  # unknown ones first


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first aligned left, the others right, in 80 characters.

    Where that is too narrow headers take two lines, and then names in the first column lose their middle.

    Example:
        >>> print(table(["name", "n"], [["a", "10"], ["bcdef", "9"]]))
        name    n
        a      10
        bcdef   9
    """
    heads, gaps = [list(headers)], 2 * (len(headers) - 1)
    bodies = [max(map(len, column), default=0) for column in zip(*rows, strict=True)] or [0] * len(headers)
    if sum(max(len(head), body) for head, body in zip(headers, bodies, strict=True)) + gaps > _WIDTH:
        heads = [list(part) for part in zip(*map(_two_lines, headers), strict=True)]
    widths = [max(body, *map(len, head)) for body, *head in zip(bodies, *heads, strict=True)]
    room = max(_WIDTH - gaps - sum(widths[1:]), _LEAST_NAME)
    rows = [[_shortened(row[0], room), *row[1:]] for row in rows]
    widths[0] = min(widths[0], room)
    lines = []
    for row in (*heads, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _two_lines(header: str) -> tuple[str, str]:
    """A header on two lines, broken where the longer one is shortest."""
    words = header.split(" ")
    breaks = [(" ".join(words[:k]), " ".join(words[k:])) for k in range(len(words))]
    return min(breaks, key=lambda parts: max(map(len, parts)))


def _shortened(name: str, room: int) -> str:
    """A name without its middle where it is too long."""
    if len(name) <= room:
        return name
    end = (room - 1) // 2
    return f"{name[: room - 1 - end]}…{name[len(name) - end :]}"


def plan_text(found: Plan) -> str:
    """Gain of the best cut and of weights over all labels as they are, by votes a user (rows) and gap (columns)."""
    by = found.table.set_index(["votes", "gap"])
    votes, gaps = (sorted(set(found.table[axis])) for axis in ("votes", "gap"))
    rows = []
    for n in votes:
        cells = []
        for gap in gaps:
            row = by.loc[(n, gap)]
            cells.append(" / ".join(f"{row[what] / row['unfiltered'] - 1:+.0%}" for what in ("filtered", "weighted")))
        rows.append([f"{n:g}", *cells])
    head = ["votes a user", *(f"gap {gap:.2f}" for gap in gaps)]
    return "gain of the best cut / of weights over every label as it is\n" + table(head, rows)


def say_notes(notes: Sequence[str], err: bool = False) -> None:
    """Print what was guessed, set aside or found odd."""
    for note in notes:
        click.echo(wrapped(in_shell(note), "  note: ", "    "), err=err)


def say(text: str, err: bool = False) -> None:
    """Print prose, in lines."""
    click.echo(wrapped(in_shell(text)), err=err)


def say_next(command: str) -> None:
    """Print the command to run next, whole: it is to be copied."""
    click.echo(f"next: earnest {command}")


def warn(text: str) -> None:
    """Print a warning on stderr."""
    click.echo(wrapped(in_shell(text), "earnest: warning: ", "  "), err=True)


def check_output(path: str | Path) -> None:
    """Refuse an output without a folder before the work starts, not after it.

    Raises:
        Failure: the folder that it should lie in does not exist.
    """
    parent = Path(path).absolute().parent
    if not parent.is_dir():
        raise Failure(f"cannot write {str(path)!r}: the folder {str(parent)!r} does not exist; create it first")


def check_log_output(path: str | Path) -> None:
    """As `check_output`, for a log: its ending must name a format.

    Raises:
        EarnestError: it does not.
    """
    from .comparisons.write import copy_options

    check_output(path)
    copy_options(path)


def say_fit(fitted: Fit, log: ComparisonLog) -> None:
    """Print what was learned, the parameters with few entries in full."""
    import numpy as np

    from .comparisons.words import counted

    click.echo(
        f"{fitted.status} after {fitted.iterations} iterations, objective {fitted.objective_trace[-1]:,.2f} nats"
    )
    if not fitted.converged:
        warn(f"EM stopped with the status {fitted.status!r}")
    say_notes([note for note in fitted.notes if note not in log.notes])
    rows = []
    for parameter in fitted.table.parameters:
        name = parameter.name
        values, errors = np.ravel(fitted.parameters[name]), np.ravel(fitted.standard_errors[name])
        entries = ["".join(f" {part}" for part in names) for names in fitted.table.entries(parameter)]
        if values.size > 12:
            top = np.argsort(-values)[:3]
            best = ", ".join(f"{entries[k].strip()} ({values[k]:+.2f})" for k in top)
            say(f"{name}: {values.size} entries, highest {best}")
            continue
        rows += [[f"{name}{e}", f"{v:.3f}", f"{s:.3f}"] for e, v, s in zip(entries, values, errors, strict=True)]
    if rows:
        click.echo(table(["parameter", "estimate", "s.e."], rows))
    means = fitted.attentiveness["mean"]
    low, middle, high = means.quantile([0.25, 0.5, 0.75])
    who = counted(len(means), "user")
    say(f"attentiveness of {who}: quarter below {low:.2f}, half {middle:.2f}, quarter above {high:.2f}")


def say_doubts(fitted: Fit) -> bool:
    """Warn where a fit's votes tell nothing of users; True if so."""
    from .inference.doubts import doubts_of_fit

    doubts = doubts_of_fit(fitted)
    if doubts:
        warn(doubts)
    return bool(doubts)


def curve_text(curve: ThresholdCurve, best: float, rows: int) -> str:
    """An even selection of the curve's rows, the recommended one among them and marked."""
    import numpy as np

    frame = curve.table.reset_index(drop=True)
    chosen = int((frame["threshold"] - best).abs().argmin())
    shown = sorted({*np.linspace(0, len(frame) - 1, min(rows, len(frame))).round().astype(int).tolist(), chosen})
    lines = []
    for index in shown:
        row = frame.iloc[index]
        mark = "  <-" if index == chosen else ""
        counts = [f"{int(row['users']):,}", f"{int(row['labels']):,}", f"{row['share']:.1%}", f"{row['precision']:.1%}"]
        lines.append([f"{row['threshold']:.4f}{mark}", *counts, f"{row['effective_labels']:,.0f}"])
    return table(["threshold", "users", "labels", "share", "attentiveness", "effective labels"], lines)

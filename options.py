"""What the verbs have in common: how votes are read, a model is declared, a fit is loaded, a threshold is meant."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import click.shell_completion

from .console import Failure, interrupts_wait, say, say_notes, working

if TYPE_CHECKING:
    from .comparisons import ComparisonLog
    from .diagnostics.thresholds import Recommendation, ThresholdCurve
    from .inference import Fit
    from .models import BehaviorModel

_COLUMNS = {
    "user": "who voted",
    "model_a": "the model shown first, on the left",
    "model_b": "the model shown second, on the right",
    "winner": "the outcome, as a word or as the winning model's name",
    "comparison": "a unique id of the vote",
    "item": "the pair of responses that was judged",
    "prompt": "the prompt: its text, or its id where prompts are a table",
    "response_a": "text of the first response",
    "response_b": "text of the second response",
    "category": "a category of the prompt",
    "timestamp": "when the vote was given",
    "gold": "the right answer of an attention check",
}

# For the shell's completion: it offers files and folders. Whether they exist is told in Earnest's own words.
A_FILE = click.Path()
votes_argument = click.argument("votes", nargs=-1, required=True, type=A_FILE)
fit_option = click.option(
    "--fit", "folder", required=True, type=A_FILE, metavar="FOLDER", help="Folder that `earnest fit` wrote."
)


def offering(*words: str, files: bool = False) -> Callable[..., list[click.shell_completion.CompletionItem]]:
    """What the shell offers for an option: words, and files where it takes them, too."""

    def complete(
        context: click.Context, option: click.Parameter, begun: str
    ) -> list[click.shell_completion.CompletionItem]:
        found = [click.shell_completion.CompletionItem(word) for word in words if word.startswith(begun)]
        return [*found, *(A_FILE.shell_complete(context, option, begun) if files else ())]

    return complete


def reading_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Options that say how a log is read, gathered in the verb's argument `reading`."""
    return _with_reading(verb, "error", "stops the run")


def watching_options(verb: Callable[..., None]) -> Callable[..., None]:
    """The same for a verb that goes on where it can: rows that cannot be used are set aside."""
    return _with_reading(verb, "quarantine", "ends the watch")


def columns_options(verb: Callable[..., None]) -> Callable[..., None]:
    """The same for a verb that looks at rows only, whatever becomes of them."""
    return _with_reading(verb)


def _with_reading(verb: Callable[..., None], usual: str | None = None, ends: str = "") -> Callable[..., None]:
    def gathered(**options: Any) -> None:
        columns = {name: options.pop(name) for name in _COLUMNS}
        pairs = [text.rpartition("=") for text in options.pop("outcome")]
        if any(not word or meaning not in ("model_a", "model_b", "tie") for word, _, meaning in pairs):
            raise click.BadParameter("expected WORD=model_a, WORD=model_b or WORD=tie", param_hint="--outcome")
        reading: dict[str, Any] = {
            "columns": {name: column for name, column in columns.items() if column is not None},
            "outcomes": {word: meaning for word, _, meaning in pairs} or None,
        } | {name: options.pop(name) for name in ("on_bad_rows", "quarantine") if name in options}
        verb(reading=reading, **options)

    gathered.__doc__ = verb.__doc__
    gathered.__name__ = verb.__name__
    outcome = "What a word in the winner column means; may be repeated."
    if usual is not None:
        quarantine = "Where rows set aside go, with the reason."
        bad_rows = f"A row that cannot be used {ends}, or is set aside and counted."
        gathered = click.option("--quarantine", type=A_FILE, metavar="FILE", help=quarantine)(gathered)
        choice = click.Choice(["error", "quarantine"])
        gathered = click.option("--on-bad-rows", type=choice, default=usual, show_default=True, help=bad_rows)(gathered)
    gathered = click.option("--outcome", multiple=True, metavar="WORD=OUTCOME", help=outcome)(gathered)
    for name, about in reversed(_COLUMNS.items()):
        option = "--" + name.replace("_", "-")
        gathered = click.option(option, name, metavar="COLUMN", help=f"Column with {about}.")(gathered)
    return gathered


def read_votes(
    votes: tuple[str, ...], reading: Mapping[str, Any], fitted: Fit | None = None, folder: str = "", quiet: bool = False
) -> ComparisonLog:
    """Read the log, with the columns that the fit remembers where the user names none and the log has them.

    What was read is said on standard error if `quiet`: standard output then holds nothing but JSON or CSV. What the
    fit's folder remembers of the command that made it holds where the user says nothing else.
    """
    from .comparisons.fields import available
    from .comparisons.sources import open_source

    source = votes[0] if len(votes) == 1 else list(votes)
    rest = {name: value for name, value in reading.items() if name != "columns"}
    with working("reading votes"):
        columns = dict(reading["columns"])
        if fitted is not None and fitted.columns and not columns:
            columns = _remembered(fitted.columns, available(open_source(source), fitted.columns.values()))
            rest["outcomes"] = rest.get("outcomes") or _remembered_words(fitted.outcomes)
        if fitted is not None and _is_default("on_bad_rows"):
            rest["on_bad_rows"] = remembered(folder, fitted).get("on_bad_rows", rest["on_bad_rows"])
        log = _read(source, votes, columns, rest)
        counts = sizes(log)
    say(f"read {log.source}: {counts}", err=quiet)
    say_notes([note for note in log.notes if fitted is None or REPEATS not in note], err=quiet)
    return log


def sizes(log: ComparisonLog) -> str:
    """How many votes of how many users on how many models."""
    from .comparisons.words import counted

    return f"{counted(len(log), 'vote')} of {counted(len(log.users), 'user')} on {len(log.models):,} models"


def _is_default(option: str) -> bool:
    """Whether an option of the running verb has its default, nothing having been said."""
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source(option) is click.core.ParameterSource.DEFAULT


_COMMAND = "command.json"


def remember(folder: str, fitted: Fit, votes: tuple[str, ...], reading: Mapping[str, Any]) -> None:
    """Keep beside a fit what its command said and a fit does not: the votes' files, what to do with bad rows."""
    told = {"fit": fitted.fingerprint, "votes": list(votes), "on_bad_rows": reading["on_bad_rows"]}
    from .comparisons.atomic import atomic_file

    with atomic_file(Path(folder) / _COMMAND) as temporary:
        Path(temporary).write_text(json.dumps(told, indent=1), encoding="utf-8")


def remembered(folder: str, fitted: Fit) -> dict[str, Any]:
    """What the command said that made a fit; empty where it was made otherwise, or is another fit by now."""
    with suppress(OSError, ValueError):
        told = json.loads((Path(folder) / _COMMAND).read_text(encoding="utf-8"))
        if isinstance(told, dict) and told.get("fit") == fitted.fingerprint:
            return told
    return {}


def votes_of(folder: str, fitted: Fit, votes: tuple[str, ...] = (), blank: str = "VOTES") -> str:
    """The votes for the next command, as they are typed; `blank` where they are unknown, or not where they were."""
    known = votes or remembered(folder, fitted).get("votes", ())
    return shlex.join(known) if known and all(glob(name) or Path(name).exists() for name in known) else blank


def _read(source: Any, votes: tuple[str, ...], columns: Mapping[str, str], rest: Mapping[str, Any]) -> ComparisonLog:
    """The log; where it cannot be read, the message ends with who would know."""
    from .comparisons import InputError, read_comparisons
    from .comparisons.sources import open_source

    try:
        given: dict[str, Any] = {**columns, **rest}
        return read_comparisons(source, **given)
    except InputError as error:
        open_source(source)  # what is not there, or is no table, is no case for a doctor
        raise InputError(f"{str(error).rstrip('.')}. Or see: earnest doctor {shlex.join(votes)}") from error


REPEATS = "an earlier row in every column"  # of a note that a fit has said already
_REQUIRED = ("user", "model_a", "model_b", "winner")


def _remembered(known: Mapping[str, str], present: Iterable[str]) -> dict[str, str]:
    """The columns of the log that was fitted, if this file has them; else none: a log that Earnest wrote has its names.

    Raises:
        Failure: the fit's log used a standard name for something else, so that the two cannot be told apart.
    """
    there = set(present)
    required = {name: known[name] for name in _REQUIRED if name in known}
    if not all(column in there for column in required.values()):
        return {}
    crossed = [(name, column) for name, column in required.items() if column != name and column in _REQUIRED]
    if crossed:
        name, column = crossed[0]
        raise Failure(
            f"the fit's log had its {name} in the column {column!r}; say whether this file has, too: name the columns "
            f"(--user, --model-a, --model-b, --winner)"
        )
    return {name: column for name, column in known.items() if column in there}


def _remembered_words(outcomes: Mapping[str, str] | str | None) -> dict[str, str] | str | None:
    """What the winner's words mean: as for the fit's log, and as in a log that Earnest wrote.

    Raises:
        Failure: a standard word meant something else in the fit's log.
    """
    if outcomes is None or isinstance(outcomes, str):
        return outcomes
    standard = {word: word for word in ("model_a", "model_b", "tie")}
    for word in standard:
        if outcomes.get(word, word) != word:
            raise Failure(f"in the fit's log the word {word!r} meant {outcomes[word]!r}; give --outcome for this file")
    return {**standard, **outcomes}


def default_model(log: ComparisonLog) -> BehaviorModel:
    """Beta attentiveness, Bradley-Terry preference, free casual outcome shares.

    Ties and gold answers where the log has them.
    """
    from .models import Gold
    from .models.behavior import usual

    ties = log.outcome_counts()["tie"]
    gold = Gold() if "gold" in log.columns else None
    why = f"ties by Davidson, since the log has {ties:,}" if ties else "no ties, since the log has none"
    answers = ", gold answers from the log" if gold else ""
    say(
        f"model: Beta attentiveness, BradleyTerry preference ({why}), PositionBias casual{answers} (change it with "
        "--model)"
    )
    return replace(usual(bool(ties)), gold=gold)


SUGGESTED = "suggested"


def model_for(log: ComparisonLog, declaration: str | None) -> BehaviorModel:
    """The model that a file declares, that `earnest doctor` suggests, or else the default one."""
    if declaration is None:
        return default_model(log)
    if declaration != SUGGESTED:
        return declared_model(declaration)
    from .diagnostics.doctor import doctor

    with working("looking at the votes"):
        found = doctor(log)
    say(f"model: as `earnest doctor` suggests, {found.facts['begin with']}")
    return found.model or default_model(log)


def declared_model(path: str) -> BehaviorModel:
    """The model that a TOML file declares."""
    from .models import BehaviorModel

    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: not a text in UTF-8 (byte {error.start}); expected a model in TOML") from error
    click.echo(f"model: as declared in {path}")
    return BehaviorModel.from_toml(text)


def load_fit(folder: str) -> Fit:
    """The fit in a folder."""
    with interrupts_wait():
        from .inference import load
    with working("loading the fit"):
        return load(folder)


def key_of(path: str | None) -> bytes | None:
    """The key of a report's hashed names: a file's bytes, without white space at its ends."""
    if path is None:
        return None
    key = Path(path).read_bytes().strip() if Path(path).is_file() else b""
    if not key:
        raise Failure(f"{path}: expected a file that holds a key, some bytes that nobody can guess")
    return key


def load_posterior(path: str) -> Any:
    """The posterior that `earnest sample` wrote."""
    with working("loading the posterior"):
        from xarray import open_datatree

        try:
            with open_datatree(path) as tree:
                return tree.load()
        except FileNotFoundError:
            raise Failure(f"{path}: no such file; expected what `earnest sample --out` wrote") from None
        except (OSError, ValueError) as error:
            why = str(error).splitlines()[0]
            raise Failure(f"{path}: not a NetCDF file ({why}); expected what `earnest sample` wrote") from error


def curve_of(source: Fit | Any, log: ComparisonLog | None = None) -> ThresholdCurve:
    """Effective labels against the threshold, of a fit or a posterior; by default over the votes that were fitted."""
    from .diagnostics.thresholds import thresholds

    with working("weighing thresholds"):
        return thresholds(source, log)


def threshold_of(text: str, fitted: Fit) -> float:
    """A number, or the recommendation of the fit's curve, said in a sentence."""
    if text == "recommended":
        best = curve_of(fitted).recommend()
        say(f"recommended threshold {best.threshold:.4f}: {best.reason}")
        return best.threshold
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise click.BadParameter(
            f"expected a number from 0 to 1 or 'recommended', got {text!r}", param_hint="--threshold"
        )
    return value


def after_threshold(curve: ThresholdCurve, best: Recommendation, folder: str, votes: str) -> str:
    """The command that a recommendation leads to."""
    fit = shlex.quote(folder)
    if curve.doubted:
        return f"doctor {votes}"
    if best.users == curve.users:  # nobody is to be left out: weights do the rest
        return f"export {votes} --fit {fit} --out preferences.jsonl"
    usual = best.criterion == "effective_labels" and curve.drawn is None
    level = "recommended" if usual else f"{best.threshold:.6g}"
    return f"filter {votes} --fit {fit} --threshold {level} --out kept.parquet"


def tables_for(log: ComparisonLog) -> str:
    """The options by which an export gets texts that a log has not."""
    there = {"response_a", "response_b"} <= set(log.columns)
    return "" if there else " --prompts PROMPTS.jsonl --responses RESPONSES.jsonl"

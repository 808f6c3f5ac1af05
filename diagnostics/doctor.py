"""A first look at a log: what it holds, what it can and cannot tell, and with which model to begin."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..comparisons.files import is_path
from ..comparisons.outcomes import Outcomes
from ..comparisons.words import counted
from ..inference.finding import Finding
from .doctor_counts import Holdings
from .doctor_findings import findings
from .doctor_findings_users import contrary
from .doctor_reading import Opened, check_named, open_log
from .doctor_unreadable import quoted, said, unreadable
from .doctor_words import as_html, as_text, facts_of, headline, numbers_of

if TYPE_CHECKING:
    from ..comparisons import ComparisonLog
    from ..models import BehaviorModel

__all__ = ["Diagnosis", "Finding", "doctor"]


@dataclass(frozen=True)
class Diagnosis:
    """What a log is good for. Printed, it fits 80 columns; in a notebook it is a card.

    Attributes:
        source: what the log is called.
        facts: what the log holds: name to value, in words.
        findings: what is wrong, missing or of use, the most severe first; see `Finding`.
        verdict: one or two sentences.
        model: the model to begin with; None where the log cannot be read.
        command: the command to run next; "" for a data frame that can be fitted (see `python`).
        python: the same in Python.
        columns: standard name to column, as they have to be named; empty where they are found without.
        outcomes: what the winner's words mean, where it has to be said.
        log: the log as it was read, or None.
        numbers: what the facts say, as numbers, for programs; empty where the log cannot be read.
        choices: commands of which one is right, where only the reader can know which; then `command` has blanks.
    """

    source: str
    facts: dict[str, str]
    findings: tuple[Finding, ...]
    verdict: str
    model: BehaviorModel | None
    command: str
    python: str
    columns: dict[str, str]
    outcomes: Outcomes = None
    log: ComparisonLog | None = field(default=None, repr=False, compare=False)
    numbers: dict[str, float | int | None] = field(default_factory=dict)
    choices: tuple[str, ...] = ()

    @property
    def can_tell(self) -> bool:
        """Whether the log can tell who attends, as far as can be seen without a fit."""
        return not any(finding.severity == "stop" for finding in self.findings)

    @property
    def codes(self) -> tuple[str, ...]:
        """Short names of what was found, notes left out."""
        return tuple(finding.code for finding in self.findings if finding.severity != "note")

    def __repr__(self) -> str:
        able = "can tell" if self.can_tell else "cannot tell"
        found = f" ({', '.join(self.codes)})" if self.codes else "; nothing to object to"
        return f"<Diagnosis: {self.source} {able} who attends{found}>"

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def doctor(source: Any, *, outcomes: Outcomes = None, **columns: str | None) -> Diagnosis:
    """Look at a log before anything is fitted.

    Counts go through the database, and no model is fitted: tests of whether votes depend on the models and whether
    users differ take seconds. Where the log cannot be read as it is, columns and words are guessed more boldly than
    reading does, and what was guessed is said.

    Args:
        source: a file, files, a data frame (see `read_comparisons`), or a log.
        outcomes: what the winner's values mean; see `read_comparisons`.
        **columns: names of columns, such as user="worker"; see `read_comparisons`.

    Returns:
        a `Diagnosis`: what the log holds, what speaks for and against it, the model and the command to go on with.

    Raises:
        InputError: there is nothing to read, or a column that was named does not exist.
        EarnestError: an option that is none, or a log on a cluster.

    Example:
        >>> import earnest as er
        >>> truth = er.BehaviorModel().simulate(users=200, comparisons_per_user=20, models=3, seed=1)
        >>> er.doctor(truth.log).can_tell
        True
    """
    opened = open_log(source, check_named(columns), outcomes)
    files = _files(source)
    if opened.log is None:
        return Diagnosis(**unreadable(opened, files))
    held = Holdings(opened.log)
    found = (*_of_reading(opened), *findings(held))
    model, why = _model(held)
    diagnosis = Diagnosis(
        source=opened.label,
        facts={**facts_of(held), "begin with": why},
        findings=found,
        verdict="",
        model=model,
        command="",
        python="",
        columns=opened.columns,
        outcomes=opened.outcomes,
        log=opened.log,
        numbers=numbers_of(held),
    )
    command, python = _next(diagnosis, held, files, opened)
    return replace(diagnosis, verdict=headline(diagnosis, held), command=command, python=python)


def _files(source: Any) -> list[str]:
    """Paths of a source, as they were given."""
    if is_path(source):
        return [str(path) for path in source] if isinstance(source, list | tuple) else [str(source)]
    recipe = getattr(source, "recipe", None)
    return [file.label for file in getattr(getattr(recipe, "source", None), "files", ())]


def _model(held: Holdings) -> tuple[BehaviorModel, str]:
    """The model to begin with, and what it is in words."""
    from ..models import CoinFlip, Davidson, Gold, TasteGroups
    from ..models.behavior import usual

    model = usual(held.ties > 0)
    if contrary(held):
        model = replace(model, preference=TasteGroups(2, ties=Davidson() if held.ties > 0 else None))
    if held.sides_fixed:
        model = replace(model, casual=CoinFlip())
    if held.gold is not None:
        model = replace(model, gold=Gold())
    ties = " with ties" if held.ties > 0 else ""
    gold = ", gold answers" if model.gold else ""
    parts = [type(part).__name__ for part in model.components]
    return model, f"{parts[0]} attentiveness, {parts[1]}{ties}, {parts[2]}{gold}"


def _of_reading(opened: Opened) -> list[Finding]:
    found = []
    if opened.guessed:
        found.append(
            Finding(
                "guessed",
                "warning",
                f"Guessed, so look twice: {'; '.join(opened.guessed)}.",
                "If that is right, the command below says it; if not, name columns and words in it.",
            )
        )
    if opened.bad:
        found.append(
            Finding(
                "bad_rows",
                "warning",
                f"{counted(opened.bad, 'row')} cannot be used. The first: {opened.why}".rstrip(". ") + ".",
                "The command below sets them aside in a file, with the reason.",
            )
        )
    return found


def _next(diagnosis: Diagnosis, held: Holdings, files: list[str], opened: Opened) -> tuple[str, str]:
    """The command to run next, in the shell and in Python."""
    if not diagnosis.can_tell:
        users = max(int(held.by_user["users"]), 100) if held.by_user["several"] >= 0.5 else 200
        votes = 20
        return f"earnest plan --users {users} --votes {votes}", f"er.plan(users={users}, votes={votes})"
    usual = _is_usual(diagnosis.model)
    model = "" if usual else " --model suggested"
    given = said(diagnosis.columns, diagnosis.outcomes)
    if opened.bad:
        given.append("--on-bad-rows quarantine")
    options = "".join(f" {option}" for option in given)
    python = "fit = er.fit_em(diagnosis.model, diagnosis.log)"
    return (f"earnest fit {quoted(files)}{options}{model} --out fit" if files else ""), python


def _is_usual(model: BehaviorModel | None) -> bool:
    """Whether `earnest fit` chooses this model by itself."""
    from ..models import BradleyTerry, PositionBias

    return model is None or (isinstance(model.preference, BradleyTerry) and isinstance(model.casual, PositionBias))

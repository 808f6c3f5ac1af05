"""What is wrong with a log, what it cannot tell, and what would help: a rule each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..comparisons.words import listed
from ..inference.doubts import FEW, few_users, no_signal
from ..inference.finding import Finding
from .doctor_counts import Holdings
from .doctor_findings_columns import of_columns
from .doctor_findings_users import of_users

__all__ = ["findings"]

_LEANS, _LEANS_MUCH = 0.05, 0.15


def findings(held: Holdings) -> list[Finding]:
    """Everything found in a log, the most severe first."""
    found = [finding for rule in _RULES for finding in rule(held)]
    if any(finding.severity == "stop" for finding in found):  # then nothing is exported for the time being
        found = [finding for finding in found if finding.code != "no_texts"]
    order = {"stop": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda finding: order[finding.severity])


def _few_users(held: Holdings) -> Iterator[Finding]:
    found = few_users(held.by_user["users"])
    if found is not None:
        yield found


def _ties(held: Holdings) -> Iterator[Finding]:
    if held.evidence.decided and held.ties > 0.8:
        yield Finding(
            "mostly_ties",
            "warning",
            f"{held.ties:.0%} of the votes are ties: only {held.evidence.decided:,.0f} decide anything, and an "
            "attentive user who finds the responses alike looks like one who always says tie.",
            "Compare models that lie further apart, or word the tie so that it is chosen less lightly.",
        )
    if held.both_bad:
        ties = held.outcomes["tie"]
        yield Finding(
            "both_bad",
            "note",
            f"{held.both_bad:,} of the {ties:,} ties say that both responses are bad; they count as ties.",
            "A vote says which of two responses is better, not how good either is; the words stay in the log.",
        )


def _signal(held: Holdings) -> Iterator[Finding]:
    found = no_signal(held.evidence)
    if found is not None and not (held.evidence.decided and held.sides_fixed):
        yield found


def _connected(held: Holdings) -> Iterator[Finding]:
    if len(held.islands) > 1:
        parts = "; ".join(listed(island, 4) for island in held.islands[:3])
        yield Finding(
            "islands",
            "warning",
            f"The models fall into {len(held.islands)} groups that were never compared with each "
            f"other: {parts}{'; ...' * (len(held.islands) > 3)}. Skills compare within a group only; across groups the "
            "prior decides.",
            "Have some models of each group compared, or fit the groups one by one.",
        )
    if len(held.pairs) == 1:
        tie = "" if held.ties else " and no ties"
        yield Finding(
            "one_pair",
            "warning",
            f"There is one pair of models{tie}: users can be ranked, but attentiveness on an "
            "absolute scale and the models' distance can hardly be told apart.",
            "Trust the order, cut by a share of the votes (earnest threshold FIT --criterion 'share>=0.5'); a third "
            "model or known answers would fix the scale.",
        )
    if held.sides_fixed:
        yield Finding(
            "fixed_sides",
            "warning",
            f"{max(held.fixed, held.fixed_for_users):.0%} of the votes show their pair in one order, the same for "
            f"{'all' if held.fixed >= held.fixed_for_users else 'a user'}: a better model and a favoured side look the "
            "same.",
            "Shuffle the sides. The suggested model takes careless users to toss a coin, which is an assumption.",
        )


def _sides(held: Holdings) -> Iterator[Finding]:
    told = held.evidence
    if told.decided < FEW or held.sides_fixed or told.left_share in (0.0, 1.0):  # the last is a stop of its own
        return
    lean = told.left_share - 0.5
    if abs(lean) > _LEANS and abs(lean) / (told.noise / told.decided) ** 0.5 > 5:
        side = "left" if lean > 0 else "right"
        yield Finding(
            "position_bias",
            "warning" if abs(lean) > _LEANS_MUCH else "note",
            f"The {side} side wins {0.5 + abs(lean):.0%} of the decided votes, whatever it holds.",
            "PositionBias, in the suggested model, takes that into account; shuffle the sides, and show both responses "
            "in full.",
        )


def _skills(held: Holdings) -> Iterator[Finding]:
    always, never = held.unbeaten
    if held.evidence.decided >= FEW and (always or never):
        said = [f"{listed(always, 3)} won every decided vote"] * bool(always)
        said += [f"{listed(never, 3)} lost every one"] * bool(never)
        yield Finding(
            "separation",
            "warning",
            f"{' and '.join(said)}: how much better or worse only the prior says.",
            "Read such a skill as 'at least'. Where everybody agrees, the votes show no carelessness either.",
        )


def _doubled(held: Holdings) -> Iterator[Finding]:
    ids = held.ids
    if held.multiple > 1:
        yield Finding(
            "duplicates",
            "warning",
            f"Every vote occurs {held.multiple} times, or a multiple of that: was a file read "
            "twice, or joined with another?",
            "Remove the copies, or name the votes' id (--comparison COLUMN).",
        )
    elif held.repeated > 0.005 * held.votes:
        yield Finding(
            "duplicates",
            "warning",
            f"{held.repeated:,} rows equal an earlier row in every column, texts and times "
            "included; each counts as a vote of its own.",
            "Remove the copies, or name the votes' id (--comparison COLUMN).",
        )
    elif ids is not None and ids[1] > 0.005 * held.votes:
        yield Finding(
            "duplicates",
            "warning",
            f"The column {ids[0]!r} repeats, {ids[1]:,} times within one user's votes: it is "
            "not the votes' id, or some votes are there twice.",
            "Remove the copies, or name the votes' id (--comparison COLUMN), and with it --on-bad-rows quarantine.",
        )


_RULES: tuple[Callable[[Holdings], Iterator[Finding]], ...] = (
    _few_users,
    _ties,
    _signal,
    of_users,
    _doubled,
    _connected,
    _sides,
    _skills,
    of_columns,
)

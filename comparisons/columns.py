"""Which column of a source is what: named by the caller, or guessed from the usual names."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import InputError

REQUIRED = ("user", "model_a", "model_b", "winner")
OPTIONAL = ("comparison", "item", "prompt", "response_a", "response_b", "category", "timestamp", "gold")
STANDARD = REQUIRED + OPTIONAL
RESERVED = ("row", *STANDARD)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


USUAL = {
    "user": _names(
        "user user_id userid judge judge_id worker worker_id workerid annotator annotator_id performer performer_id "
        "rater rater_id labeler labeler_id labeller voter voter_id evaluator evaluator_id participant participant_id "
        "respondent assessor assessor_id username user_name"
    ),
    "winner": _names("winner outcome result vote choice preference preferred label winner_model verdict"),
    "comparison": _names("comparison comparison_id vote_id judgment_id judgement_id battle_id question_id id"),
    "item": _names("item item_id pair pair_id"),
    "prompt": _names("prompt prompt_id prompt_text question instruction query"),
    "category": _names("category"),
    "timestamp": _names("timestamp tstamp time datetime created_at submitted_at"),
    "gold": _names("gold gold_outcome gold_winner gold_label"),
}
PAIRS = {
    ("model_a", "model_b"): (
        ("model_a", "model_b"),
        ("model_1", "model_2"),
        ("model1", "model2"),
        ("modela", "modelb"),
        ("model_left", "model_right"),
        ("left_model", "right_model"),
        ("left", "right"),  # before x and y: where a log has both, these are the names and those the ids
        ("model_x", "model_y"),
        ("player_a", "player_b"),
        ("system_a", "system_b"),
        ("system_1", "system_2"),
        ("a", "b"),
        # inside nested columns, their names joined
        ("model_a_name", "model_b_name"),
        ("response_a_model", "response_b_model"),
        ("responses_a_model", "responses_b_model"),
        ("responses_0_model", "responses_1_model"),
        ("a_model", "b_model"),
    ),
    ("response_a", "response_b"): (
        ("response_a", "response_b"),
        ("response_1", "response_2"),
        ("response_left", "response_right"),
        ("left_response", "right_response"),
        ("completion_a", "completion_b"),
        ("answer_a", "answer_b"),
        ("output_a", "output_b"),
        ("conversation_a", "conversation_b"),
        ("response_a_text", "response_b_text"),
        ("responses_a_text", "responses_b_text"),
        ("responses_0_text", "responses_1_text"),
    ),
}
_WHY = {
    "user": "who cast each vote: Earnest learns how attentively each user compares, so it must know whose is whose",
    "model_a": "the model that was shown first",
    "model_b": "the model that was shown second",
    "winner": "the outcome: model_a, model_b or tie, or the winning model's name",
}


@dataclass
class Columns:
    """Standard name to source column, which of them were guessed, and what is to be said about it."""

    columns: dict[str, str] = field(default_factory=dict)
    guessed: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def said(self, kept: Mapping[str, str]) -> list[str]:
        """The notes, led by which columns were guessed, of those that were `kept` after a look at the data."""
        renamed = [
            f"{standard} is read from the column {kept[standard]!r}"
            for standard in STANDARD
            if standard in self.guessed and standard in kept and kept[standard] != standard
        ]
        return renamed + self.notes


def choose_columns(
    label: str, available: list[str], named: Mapping[str, str | None], inner: tuple[str, ...] = (), strict: bool = True
) -> Columns:
    """Decide which column is what.

    A column that the caller named must exist. Otherwise the standard name itself is taken, or else the only one of
    the usual names, capitals aside. For a pair of models the first usual pair is taken and the others are mentioned.

    Args:
        label: What messages call the source.
        available: Its columns.
        named: Standard name to the column that the caller named.
        inner: Paths of fields inside nested columns, such as annotator.id, which go by the name annotator_id.
        strict: Whether all that a log must say has to be there.

    Raises:
        InputError: A named column does not exist, one column is named twice, or a required one is not found or not
            clear.
    """
    chosen = Columns()
    everything = [*available, *inner]
    for standard, name in named.items():
        if name is not None:
            chosen.columns[standard] = find_column(label, everything, standard, name)
    _check_distinct(label, chosen.columns)
    free = {**_joined(inner), **{name.lower(): name for name in available if name not in _objects(inner)}}
    free = {key: name for key, name in free.items() if name not in chosen.columns.values()}
    for pair, options in PAIRS.items():
        _guess_pair(chosen, free, pair, options)
    for standard, usual in USUAL.items():
        if standard not in chosen.columns:
            _guess(label, chosen, free, standard, usual)
    for standard in REQUIRED:
        if standard not in chosen.columns and strict:
            raise InputError(_not_found(label, everything, standard))
    return chosen


def _objects(inner: tuple[str, ...]) -> set[str]:
    """Columns of objects, which are neither names nor texts; lists may be conversations."""
    heads = (path.split(".", 2) for path in inner)
    return {head[0] for head in heads if not head[1].isdigit()}


def _joined(inner: tuple[str, ...]) -> dict[str, str]:
    """Name by which a field inside a nested column is known, to its path: the path joined, or its unique last part."""
    whole = {path.lower().replace(".", "_"): path for path in inner}
    last = [path.lower().rpartition(".")[2] for path in inner]
    told = {*USUAL["user"], *USUAL["winner"]}  # others, such as id or time, may be anything's
    parts = {name: path for name, path in zip(last, inner, strict=True) if last.count(name) == 1 and name in told}
    return {**parts, **whole}


def find_column(
    label: str,
    available: list[str],
    option: str,
    named: str | None,
    usual: tuple[str, ...] = (),
    listed: list[str] | None = None,
) -> str:
    """The column that the caller named with `option`, or else the first of the usual names that is there.

    Raises:
        InputError: There is no such column; the message has the nearest name.
    """
    if named is None:
        lower = {name.lower(): name for name in available}
        found = [lower[name] for name in usual if name in lower]
        if found:
            return found[0]
        raise InputError(
            f"{label}: none of the usual columns ({', '.join(usual)}) is there; name one with {option}=... "
            f"Columns: {_listed(listed or available)}"
        )
    if not isinstance(named, str):
        raise InputError(f"{option}={named!r}: expected the name of a column, a text")
    if named in available:
        return named
    close = difflib.get_close_matches(named.lower(), [column.lower() for column in available], n=1, cutoff=0.5)
    nearest = next((column for column in available if close and column.lower() == close[0]), None)
    hint = f"; did you mean {nearest!r}?" if nearest else "."
    raise InputError(
        f"{label}: there is no column {named!r} ({option}={named!r}){hint} Columns: {_listed(listed or available)}"
    )


def _check_distinct(label: str, columns: dict[str, str]) -> None:
    roles: dict[str, str] = {}
    for standard, name in columns.items():
        if name in roles:
            raise InputError(f"{label}: the column {name!r} is named both as {roles[name]} and as {standard}; name two")
        roles[name] = standard


def _take(chosen: Columns, free: dict[str, str], standard: str, key: str) -> None:
    chosen.columns[standard] = free.pop(key)
    chosen.guessed.add(standard)


def _guess_pair(
    chosen: Columns, free: dict[str, str], pair: tuple[str, str], options: tuple[tuple[str, str], ...]
) -> None:
    if any(standard in chosen.columns for standard in pair):
        for standard in pair:  # the other half is taken by its own name only
            if standard not in chosen.columns and standard in free:
                _take(chosen, free, standard, standard)
        return
    found = [option for option in options if option[0] in free and option[1] in free]
    if not found:
        return
    others = [" and ".join(repr(free[key]) for key in option) for option in found[1:]]
    for standard, key in zip(pair, found[0], strict=True):
        _take(chosen, free, standard, key)
    if others:
        chosen.notes.append(f"{pair[0]} and {pair[1]} could also be {', or '.join(others)}, which are carried through")


def _guess(label: str, chosen: Columns, free: dict[str, str], standard: str, usual: tuple[str, ...]) -> None:
    found = [key for key in usual if key in free]
    if not found:
        return
    if found[0] != standard and len(found) > 1:
        names = [free[key] for key in found]
        if standard in REQUIRED:
            raise InputError(
                f"{label}: {standard} could be any of the columns {_listed(names)}; say which, {standard}={names[0]!r}"
            )
        chosen.notes.append(f"{standard} could be any of {_listed(names)}: none is taken; name one with {standard}=")
        return
    _take(chosen, free, standard, found[0])


def _not_found(label: str, available: list[str], standard: str) -> str:
    if standard in USUAL:
        looked = ", ".join(USUAL[standard][:12])
    else:
        looked = ", ".join(" / ".join(option) for option in PAIRS["model_a", "model_b"])
    return (
        f"{label}: no {standard} column, which says {_WHY[standard]}. None of the usual names ({looked}, ...) is "
        f"there; name the column with {standard}=... Columns: {_listed(available)}"
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:30]))
    return shown + (f" and {len(names) - 30} more" if len(names) > 30 else "")

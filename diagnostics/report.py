"""One page to send: who attends, where to cut, and how far to trust it, in a file that needs nothing else."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comparisons.atomic import atomic_file
from ..comparisons.errors import EarnestError
from .agreement import compare
from .checks import predictive_check
from .identifiability import identifiability as identify
from .report_explorer import explorer
from .report_html import Part, join, page, tag
from .report_names import Discretion, called
from .report_parts import attention, learned, summary, user_table
from .report_trust import agreeing, checked, identified, made, trust
from .report_view import View, look, pack

if TYPE_CHECKING:
    from ..comparisons.log import ComparisonLog
    from ..inference import Fit

__all__ = ["report"]

_REPLICATED = 40_000_000  # votes in all replicates of the checks that are made here
_OURS = '<meta name="generator" content="Earnest '


def report(
    folder: str | Path,
    fit: Fit,
    trace: Any = None,
    log: ComparisonLog | None = None,
    *,
    ids: str = "plain",
    key: bytes | str | None = None,
    name: str = "report.html",
    identifiability: Any = None,
    checks: Any = None,
) -> Path:
    """Write a report: one HTML file that opens from disk, asks for nothing from the network and can be sent.

    Users and thresholds are the posterior's where `trace` holds draws of its users and `log` is given; else EM's, and
    the report says so. Its numbers at a threshold are those of `ThresholdCurve.at`.

    Args:
        folder: where the file goes (made if needed). An earlier report there is replaced, another file is not.
        fit: result of `fit_em`.
        trace: result of `sample`, of the same model and log.
        log: the log that was fitted.
        ids: "plain": users have their names. "hash": a keyed hash of them (HMAC-SHA256), the same in every report with
            the same key. "none": they are numbered by attentiveness. Without plain names no user's name, and no note
            that may hold one or a file's, is in the file; names of models are.
        key: for "hash"; None draws one that is not kept.
        name: of the file; ends in .html.
        identifiability: result of `identifiability(fit)`; None: made here, where there is something to identify. False
            leaves it out.
        checks: result of `predictive_check`; None: made here where there is a log and a population (label EM has none),
            of large logs with fewer replicates (20 at least). False leaves them out.

    Returns:
        The path of the file.

    Raises:
        EarnestError: fit, trace and log are not of one model and log; `ids`, `key` or `name` are not what they should
            be; or the file exists and is no report.

    Reference: model.md, section 8.
    """
    if not hasattr(fit, "attentiveness"):
        raise EarnestError(f"fit: expected a result of fit_em, got {type(fit).__name__}; report(folder, fit)")
    fit.check_users_known("report")
    target = _target(Path(folder), name)
    has_users = trace is not None and ("attentiveness" in trace.posterior or "users" in trace.children)
    agreement = compare(fit, trace) if has_users else None
    view, identifiability, checks = _judged(fit, trace, log, identifiability, checks)
    users = view.users["user"].astype(str).tolist()
    named = called(users, view.users["mean"].to_numpy(dtype=float), ids, key)
    names = {users[i]: shown for i, shown in zip(named.order, named.shown, strict=True)}
    gold = getattr(getattr(fit.model, "gold", None), "users", ())
    discretion = Discretion([*users, *gold], private=ids != "plain")
    only_ranking = _only_ranking(view, identifiability)
    parts: list[Part | None] = [
        summary(fit, view, trust(fit, agreement, only_ranking)),
        explorer(view, _warnings(view, bool(only_ranking))),
        user_table(named, pack(view, named), view),
        attention(fit, view),
        learned(fit, agreement),
        agreeing(fit, view, agreement, names),
        identified(identifiability, names, discretion),
        checked(checks, discretion),
        made(fit, view, trace, discretion),
    ]
    there = [part for part in parts if part is not None]
    links = tag("ul", *(tag("li", tag("a", part.title, href=f"#{part.name}")) for part in there))
    text = page({"main": join(part.markup for part in there), "navigation": links, "version": _version()})
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def _judged(
    fit: Fit, trace: Any, log: ComparisonLog | None, identifiability: Any, checks: Any
) -> tuple[View, Any, Any]:
    """Users and thresholds; identifiability and checks, None where there are none, made here where they are not given.

    All three take seconds where users are many, and are made at once.
    """
    with ThreadPoolExecutor(2) as pool:
        if identifiability is None and _has_scale(fit):
            identifiability = pool.submit(identify, fit)
        if checks is None and log is not None and fit.method == "marginal":
            replicates = int(np.clip(_REPLICATED // max(len(log), 1), 20, 200))
            checks = pool.submit(predictive_check, fit if trace is None else trace, log, replicates=replicates)
        judged = isinstance(identifiability, Future) or hasattr(identifiability, "scale")
        view = look(fit, trace, log, (lambda: _made(identifiability).scale) if judged else None)
    return view, _made(identifiability), _made(checks)


def _made(part: Any) -> Any:
    return part.result() if isinstance(part, Future) else part or None


def _has_scale(fit: Fit) -> bool:
    """Whether there is a population to be judged."""
    return fit.method == "marginal" and fit.table.size > 0 and not fit.model.attends(fit.counts.users).all()


def _target(folder: Path, name: str) -> Path:
    """The file to write.

    Raises:
        EarnestError: the folder is a file, the name is no file name that ends in .html, or a file of that name is not
            a report of ours.
    """
    if folder.exists() and not folder.is_dir():
        raise EarnestError(f"folder={str(folder)!r}: it is a file; give the folder that the report goes to")
    if Path(name).name != name or not name.endswith(".html"):
        raise EarnestError(f"name={name!r}: expected the name of a file that ends in .html, without a folder")
    target = folder / name
    if target.is_file():
        with target.open("rb") as file:
            if _OURS.encode() not in file.read(4096):
                raise EarnestError(f"{target}: it exists and is not a report of Earnest; move it, or give another name")
    return target


def _only_ranking(view: View, identifiability: Any) -> bool | None:
    """Whether only the ranking of users is identified; None where nobody has judged it."""
    if identifiability is not None:
        return bool(identifiability.only_ranking)
    return None if view.curve.scale is None else bool(view.best.warning)


def _warnings(view: View, only_ranking: bool) -> list[str]:
    """What to bear in mind before the threshold is trusted."""
    ranking = (
        "Only the ranking of the users is identified: cut by a share of users or labels, and do not read the "
        "threshold, nor the expected shares and effective labels, on an absolute scale."
    )
    return [*view.said, *([view.best.warning or ranking] if only_ranking else [])]


def _version() -> str:
    try:
        return version("earnest")
    except PackageNotFoundError:
        return "unknown"

"""A fit on disk: a folder that anyone can read, written whole or not at all.

    fit.toml                        format, declaration, parameters, status, notes, and the names of the other files
    arrays-<digest>.npz             users, counts, estimates on the free scale, trace
    attentiveness-<digest>.csv      the users' table, for people and other programs (a copy; it is not read back)

`fit.toml` names the others by their digest and is replaced last, in one rename: a reader sees the old fit or the new
one, never a mixture.
"""

from __future__ import annotations

import hashlib
import io
import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import tomli_w

from ..comparisons.atomic import atomic_file
from ..comparisons.cells import Cells, Counts
from ..comparisons.errors import EarnestError
from ..comparisons.names import as_names
from ..comparisons.schema import Schema
from ..comparisons.write import write_csv
from ..models.behavior import BehaviorModel
from .effects import Effects
from .results import Fit, Mode

__all__ = ["FORMAT", "load", "save"]

FORMAT = 1
_LONG = 5_000_000  # entries from which on they are not compressed, which would take longer than all else
_CONTENT = re.compile(r"arrays-[0-9a-f]{16}\.npz|attentiveness-[0-9a-f]{16}\.csv")
# A fit's files (and a report and what its command said beside them), and temporaries of a run that was killed while
# writing them.
_OURS = re.compile(r"\.?(fit\.toml|report\.html|command\.json|" + _CONTENT.pattern + r")(\..*)?")
_USER_COLUMNS = ("comparisons", "mean", "sd", "lower", "upper")


def save(fit: Fit, folder: str | Path) -> None:
    """Write a fit to a folder (made if needed; an earlier fit there is replaced).

    Raises:
        EarnestError: the path is a file, or a folder that holds something other than a fit.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise EarnestError(f"{folder}: a fit is saved as a folder, but this is a file")
    if folder.is_dir():
        foreign = sorted(entry.name for entry in folder.iterdir() if not _OURS.fullmatch(entry.name))
        if foreign:
            raise EarnestError(f"{folder}: not empty, and {foreign[0]!r} is not part of a fit; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    payload = _arrays(fit)
    digest = hashlib.sha256(payload).hexdigest()[:16]
    names = f"arrays-{digest}.npz", f"attentiveness-{digest}.csv"
    with atomic_file(folder / names[0]) as temporary:
        Path(temporary).write_bytes(payload)
    with atomic_file(folder / names[1]) as temporary:
        write_csv(pa.Table.from_pandas(fit.attentiveness, preserve_index=False), temporary)
    manifest = tomli_w.dumps(_manifest(fit, *names))
    with atomic_file(folder / "fit.toml") as temporary:
        Path(temporary).write_text(manifest, encoding="utf-8")
    for old in folder.iterdir():
        if _CONTENT.fullmatch(old.name) and old.name not in names:
            old.unlink(missing_ok=True)


def load(folder: str | Path) -> Fit:
    """Read a fit that `Fit.save` wrote.

    Args:
        folder: the folder that it was saved in.

    Returns:
        The fit, which goes on as the one that was saved: it scores, filters and is updated.

    Raises:
        EarnestError: not a fit, written by a newer version, or damaged; the message names the file.
    """
    folder = Path(folder)
    path = folder / "fit.toml"
    if not path.is_file():
        raise EarnestError(
            f"{folder}: no fit here (expected a folder with fit.toml, made by `earnest fit` or Fit.save)"
        )
    try:
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EarnestError(f"{path}: damaged: {error}; fit again") from None
    if manifest.get("format") != FORMAT:
        raise EarnestError(f"{path}: format {manifest.get('format')!r}; this version of Earnest reads format {FORMAT}")
    arrays_path = folder / str(manifest.get("arrays", ""))
    if not arrays_path.is_file():
        raise EarnestError(f"{path}: names the file {manifest.get('arrays')!r}, which is not there; fit again")
    payload = arrays_path.read_bytes()
    if f"arrays-{hashlib.sha256(payload).hexdigest()[:16]}.npz" != arrays_path.name:
        raise EarnestError(f"{arrays_path}: damaged (its content does not match its name); fit again")
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        try:
            fit = _assemble(manifest, dict(arrays))
            if fit.free.shape != (fit.table.size,) or fit.covariance.shape != (fit.table.size,) * 2:
                raise EarnestError("its declaration does not fit its arrays (was it edited?); fit again")
            return fit
        except KeyError as error:
            raise EarnestError(f"{path}: incomplete, {error} is missing; fit again") from None
        except EarnestError as error:
            raise EarnestError(f"{path}: {error}") from None
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            raise EarnestError(f"{path}: damaged: {error}; fit again") from None


def _arrays(fit: Fit) -> bytes:
    counts, frame = fit.counts, fit.attentiveness
    arrays: dict[str, Any] = {
        "free": fit.free,
        "centre": fit.centre,
        "spread": fit.spread,
        "covariance": fit.covariance,
        "objective_trace": fit.objective_trace,
        **_written(counts.users),
        "user": _narrow(counts.user),
        "cell": _narrow(counts.cell),
        "count": _narrow(counts.count),
        "cell_model_a": counts.cells.model_a,
        "cell_model_b": counts.cells.model_b,
        "cell_outcome": counts.cells.outcome,
        "pairs": np.asarray(fit.schema.pairs, dtype=np.int64).reshape(-1, 2),
        **({} if counts.multiplicity is None else {"multiplicity": counts.multiplicity}),
        **{f"context_{name}": np.asarray(column) for name, column in counts.cells.context.items()},
        **{f"user_{name}": frame[name].to_numpy() for name in _USER_COLUMNS},
        **_effects(fit),
    }
    buffer = io.BytesIO()
    (np.savez_compressed if len(counts.count) < _LONG else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def _narrow(array: np.ndarray) -> np.ndarray:
    """The same whole numbers in as few bytes as they need; other numbers as they are."""
    kind = np.min_scalar_type(int(array.max(initial=0)))
    small = array.astype(kind)
    return small if np.array_equal(small, array) else array


def _effects(fit: Fit) -> dict[str, np.ndarray]:
    if fit.effects is None:
        return {}
    names = {f"effects_{key}": value for key, value in _written(fit.effects.names).items()}
    return {**names, "effects_mean": fit.effects.mean, "effects_sd": fit.effects.sd}


def _read_effects(arrays: dict[str, np.ndarray]) -> Effects | None:
    if "effects_mean" not in arrays:
        return None
    names = _names({"users": arrays["effects_users"], "users_end": arrays["effects_users_end"]})
    return Effects(names, arrays["effects_mean"], arrays["effects_sd"])


def _written(users: Any) -> dict[str, np.ndarray]:
    """Names as UTF-8 one after the other, and where each ends: an array of texts would be as wide as the longest."""
    encoded = [name.encode("utf-8", "surrogatepass") for name in as_names(users)]
    ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
    return {"users": np.frombuffer(b"".join(encoded), dtype=np.uint8), "users_end": ends}


def _names(arrays: dict[str, np.ndarray]) -> np.ndarray:
    if "users_end" not in arrays:  # as it was written before
        return as_names(arrays["users"])
    text, ends = arrays["users"].tobytes(), arrays["users_end"].tolist()
    return as_names([text[a:b].decode("utf-8", "surrogatepass") for a, b in zip([0, *ends], ends, strict=False)])


def _manifest(fit: Fit, arrays: str, users: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "earnest": _own_version(),
        "arrays": arrays,
        "users": users,
        "method": fit.method,
        "objective": fit.objective,
        "status": fit.status,
        "iterations": fit.iterations,
        "objective_value": _plain(fit.objective_trace[-1]) if len(fit.objective_trace) else "nan",
        "level": fit.level,
        "seed": fit.seed,
        "user_prior": list(fit.user_prior),
        "fingerprint": fit.fingerprint,
        "notes": list(fit.notes),
        "models": list(fit.schema.models),
        "ties": fit.schema.ties,
        "categories": list(fit.schema.categories),
        "columns": dict(fit.columns),
        **({} if fit.outcomes is None else {"outcomes": fit.outcomes}),
        "parameters": {name: _plain(value) for name, value in fit.parameters.items()},
        "standard_errors": {name: _plain(value) for name, value in fit.standard_errors.items()},
        "modes": [
            {
                "objective": mode.objective,
                "rank_correlation": mode.rank_correlation,
                "attentive_share": mode.attentive_share,
                "starts": mode.starts,
                "parameters": {name: _plain(value) for name, value in mode.parameters.items()},
            }
            for mode in fit.modes
        ],
        "declaration": fit.model.to_toml(),
    }


def _plain(value: Any) -> Any:
    return np.asarray(value, dtype=float).tolist()


def _own_version() -> str:
    try:
        return version("earnest")
    except PackageNotFoundError:
        return "unknown"


def _assemble(manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> Fit:
    pairs = tuple((int(i), int(j)) for i, j in arrays["pairs"])
    schema = Schema(tuple(manifest["models"]), pairs, bool(manifest["ties"]), tuple(manifest["categories"]))
    context = {name[len("context_") :]: array for name, array in arrays.items() if name.startswith("context_")}
    cells = Cells(schema, arrays["cell_model_a"], arrays["cell_model_b"], arrays["cell_outcome"], context)
    users = _names(arrays)
    times = arrays.get("multiplicity")
    counts = Counts(
        users, cells, arrays["user"].astype(np.int64), arrays["cell"].astype(np.int64), arrays["count"].astype(float),
        times,
    )  # fmt: skip
    known_by = {"user": users} if times is None else {"pattern": users, "users": np.rint(times).astype(np.int64)}
    frame = pd.DataFrame({**known_by, **{name: arrays[f"user_{name}"] for name in _USER_COLUMNS}})
    modes = tuple(
        Mode(
            float(mode["objective"]),
            {name: np.asarray(value) for name, value in mode["parameters"].items()},
            float(mode["rank_correlation"]),
            float(mode["attentive_share"]),
            int(mode["starts"]),
        )
        for mode in manifest["modes"]
    )
    return Fit(
        model=BehaviorModel.from_toml(manifest["declaration"]),
        schema=schema,
        counts=counts,
        method=manifest["method"],
        objective=manifest["objective"],
        free=arrays["free"],
        covariance=arrays["covariance"],
        centre=arrays["centre"],
        spread=arrays["spread"],
        attentiveness=frame,
        objective_trace=arrays["objective_trace"],
        status=manifest["status"],
        iterations=int(manifest["iterations"]),
        modes=modes,
        level=float(manifest["level"]),
        columns=dict(manifest["columns"]),
        notes=tuple(manifest["notes"]),
        fingerprint=manifest["fingerprint"],
        user_prior=(float(manifest["user_prior"][0]), float(manifest["user_prior"][1])),
        seed=int(manifest["seed"]),
        outcomes=manifest.get("outcomes"),
        effects=_read_effects(arrays),
    )

"""What further columns of a log bear witness to: who judged the same responses, how long a vote took."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ..comparisons.sql import ident
from .doctor_counts import Holdings

__all__ = ["agreement_by_dwell", "agreement_on_items"]


def _due(held: Holdings) -> pa.Table:
    """(left, right, expected share of the left, how much of it is due to the models), one row a pair as shown."""
    v = held.evidence.votes
    expected, due = held.evidence.fitted
    cell = v.left * v.models + v.right
    size = np.maximum(np.bincount(cell, v.n, v.models**2), 1e-12)
    means = [np.bincount(cell, v.n * part, v.models**2) / size for part in (expected, due)]
    at, names = np.unique(cell), np.asarray(held.models, dtype=object)
    return pa.table(
        {
            "l": pa.array(names[at // v.models], pa.string()),
            "r": pa.array(names[at % v.models], pa.string()),
            "expected": means[0][at],
            "due": means[1][at],
        }
    )


def agreement_on_items(held: Holdings, column: str | None) -> tuple[int, float]:
    """Pairs of responses that several users judged, and the normal score of "they agree, beyond what the models say".

    Args:
        held: the log.
        column: names the pair of responses; None: the same prompt and the same models are taken for one.
    """
    key = (
        ident(column)
        if column
        else "prompt || chr(1) || least(model_a, model_b) || chr(1) || greatest(model_a, model_b)"
    )
    # A vote's departure from what its pair and sides let expect, signed by the alphabetically first model.
    table = held.log.query(
        f"SELECT sum(s) AS s, sum(s * s) AS q, sum(s * s * s * s) AS f FROM (SELECT {key} AS k, "
        "avg(CASE WHEN model_a < model_b THEN 1 ELSE -1 END * ((winner = 'model_a')::INT - expected)) AS s "
        "FROM log JOIN earnest_due ON model_a = l AND model_b = r WHERE winner <> 'tie' AND "
        f'{key} IS NOT NULL GROUP BY k, "user") GROUP BY k HAVING count(*) > 1',
        earnest_due=_due(held),
    )
    s, q, f = (np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=float) for name in ("s", "q", "f"))
    noise = float(np.sqrt(2 * np.maximum(q**2 - f, 0).sum()))
    return len(s), float((s**2 - q).sum() / noise) if noise > 1e-9 else 0.0


def agreement_by_dwell(held: Holdings, column: str) -> tuple[float, float, float]:
    """How often votes go with the better model in the fastest and in the slowest quarter, and the score of the step."""
    table = held.log.query(
        f"SELECT t, count(*) AS n, avg((winner = CASE WHEN due > 0 THEN 'model_a' ELSE 'model_b' END)::INT) AS p "
        f'FROM (SELECT winner, due, ntile(4) OVER (ORDER BY {ident(column)}, "row") AS t FROM log '
        "JOIN earnest_due ON model_a = l AND model_b = r "
        f"WHERE winner <> 'tie' AND due <> 0 AND {ident(column)} IS NOT NULL) GROUP BY t ORDER BY t",
        earnest_due=_due(held),
    )
    if table.num_rows < 4:
        return 0.5, 0.5, 0.0
    n, p = (np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=float) for name in ("n", "p"))
    noise = np.sqrt(p[0] * (1 - p[0]) / n[0] + p[3] * (1 - p[3]) / n[3])
    return float(p[0]), float(p[3]), float((p[3] - p[0]) / max(noise, 1e-9))

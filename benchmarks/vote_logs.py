"""Long vote logs for benchmarks, drawn without Earnest: who attends is known, and so is everybody's attentiveness.

    python benchmarks/vote_logs.py --votes 10_000_000 --models 4 --folder /tmp/logs    # a Parquet file and the truth

Attentiveness is Beta(2, 1.5); models have skills from -1 to 1, and a user who attends follows Bradley and Terry's
model with Davidson's ties; one who does not takes the left response (45 %), the right one (35 %) or says tie (20 %).
Users are a twentieth of the votes, and some are busier than others: the busiest of five million give a few thousand.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ALPHA, BETA, TIES, CASUAL = 2.0, 1.5, 0.4, (0.45, 0.35, 0.2)
WINNERS = pa.array(["model_a", "model_b", "tie"])
_CHUNK, _TAIL = 4_000_000, 1.5


@dataclass(frozen=True)
class VoteLog:
    """A log on disk.

    Attributes:
        path: the votes: user, model_a, model_b, winner.
        eta: true attentiveness by number of the user, (user,); the names are user_00000000 and so on.
        skill: (model,).
    """

    path: Path
    eta: np.ndarray
    skill: np.ndarray


def make(folder, votes, models=2, users=None, seed=0):
    """Write a log, or find it where it was written before."""
    users = users or max(votes // 20, 1)
    path = Path(folder) / f"votes_{votes}_{models}_{users}_{seed}.parquet"
    rng = np.random.default_rng(seed)
    eta, skill = rng.beta(ALPHA, BETA, users), np.linspace(1.0, -1.0, models)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, votes, eta, skill, rng)
    return VoteLog(path, eta, skill)


def _write(path, votes, eta, skill, rng):
    names = pa.array([f"user_{i:08d}" for i in range(len(eta))])
    models = pa.array([f"model_{i:03d}" for i in range(len(skill))])
    kind = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([("user", pa.string()), *((name, kind) for name in ("model_a", "model_b", "winner"))])
    temporary = path.with_suffix(".tmp")
    with pq.ParquetWriter(temporary, schema) as writer:
        for start in range(0, votes, _CHUNK):
            n = min(_CHUNK, votes - start)
            user = (len(eta) * rng.random(n) ** _TAIL).astype(np.int64)
            left = rng.integers(len(skill), size=n)
            right = (left + rng.integers(1, len(skill), size=n)) % len(skill)
            strength = np.exp(skill)[[left, right]]
            tie = TIES * np.sqrt(strength[0] * strength[1])
            attended = np.stack([*strength, tie]) / (strength.sum(0) + tie)
            chance = np.where(rng.random(n) < eta[user], attended, np.array(CASUAL)[:, None])
            u = rng.random(n)
            winner = (u > chance[0]).astype(np.int32) + (u > chance[0] + chance[1])
            columns = ((models, left), (models, right), (WINNERS, winner))
            coded = [pa.DictionaryArray.from_arrays(pa.array(c, pa.int32()), words) for words, c in columns]
            writer.write_table(pa.table([names.take(pa.array(user)), *coded], schema=schema), row_group_size=1_000_000)
    temporary.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=2)
    parser.add_argument("--users", type=int)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(make(options.folder, options.votes, options.models, options.users, options.seed).path)


if __name__ == "__main__":
    main()

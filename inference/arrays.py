"""Counts as JAX arrays, and the float64 scope in which everything here runs.

Two arrangements, chosen by the data. Where there are few distinct cells and no heavy user, counts are one dense matrix
(pattern, cell) and all patterns share quadrature nodes: the likelihood is a matrix product. Otherwise each pattern's
entries are cut into rows of a fixed width that remember their owner, and nodes follow each pattern's posterior. Sizes
are rounded up (padding has count 0 and multiplicity 0), so that logs of similar size share compiled code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any

import jax
import numpy as np

from ..comparisons.cells import Cells
from ..comparisons.patterns import Patterns
from ..comparisons.schema import Schema
from ..models.component import CellView
from ..models.namespace import jax_namespace

__all__ = [
    "DENSE_CELLS",
    "DENSE_SIZE",
    "JNP",
    "Dense",
    "Group",
    "Layout",
    "Sparse",
    "device_cells",
    "float64",
    "largest_size",
    "lay_out",
    "over_chunks",
]

JNP = jax_namespace()

# Entries or patterns in a chunk: bounds memory at about 32,768 entries x 96 nodes x 8 bytes = 25 MB.
_ENTRIES, _PATTERNS = 32768, 4096
DENSE_CELLS, DENSE_SIZE = 256, 128
"""Cells, and votes of a user, up to which counts are a matrix."""
# With few cells a matrix is quicker also at the four times as many nodes that busier users need.
_FEW_CELLS, _FINE_SIZE = 48, 4096
# Repeated comparisons are written out one by one while that makes no more than this many times the entries.
_WRITTEN_OUT = 1.25
_SHALLOW = 8  # rows of a pattern that count as few


def float64[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    """Run a function with 64-bit JAX arrays, without changing the caller's own JAX configuration."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return inside


_CELL_ARRAYS = ("model_a", "model_b", "outcome", "pair", "sign", "won_a", "tie")

jax.tree_util.register_pytree_node(
    CellView,
    lambda view: (
        (*(getattr(view, name) for name in _CELL_ARRAYS), *view.context.values()),
        (view.schema, tuple(view.context)),
    ),
    lambda aux, leaves: CellView(
        schema=aux[0],
        **dict(zip(_CELL_ARRAYS, leaves, strict=False)),
        context=dict(zip(aux[1], leaves[len(_CELL_ARRAYS) :], strict=True)),
    ),
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dense:
    """Patterns as a dense matrix. Leading axis: chunk.

    Attributes:
        count: comparisons of each cell, (chunk, pattern, cell).
        multiplicity: users who share the pattern, 0 where padded, (chunk, pattern).
    """

    count: Any
    multiplicity: Any


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["cell", "count", "owner", "multiplicity"],
    meta_fields=["single", "depth"],
)
@dataclass(frozen=True)
class Sparse:
    """Patterns as rows of entries; a pattern with many entries has several rows. Leading axis: chunk.

    Attributes:
        cell: index of each entry's cell, (chunk, row, width).
        count: comparisons of the entry, 0 where padded, (chunk, row, width).
        owner: index of the row's pattern in its chunk, rising, (chunk, row).
        multiplicity: users who share the pattern, 0 where padded, (chunk, pattern).
        single: whether every entry is one comparison (repeated ones have several entries), so that likelihoods are
            products without exponents.
        depth: where every pattern has few rows, how many at most; else 0.
    """

    cell: Any
    count: Any
    owner: Any
    multiplicity: Any
    single: bool
    depth: int = 0


Group = Dense | Sparse


@dataclass(frozen=True)
class Layout:
    """How patterns lie in a group's arrays.

    Attributes:
        slot: position chunk * patterns-a-chunk + pattern of each pattern, (pattern,).
        entry: position of each entry in the flattened `Sparse.cell`, (entry,); empty if dense.
    """

    slot: np.ndarray
    entry: np.ndarray

    def patterns(self, array: Any) -> np.ndarray:
        """(chunk, pattern, ...) -> (pattern, ...) in the patterns' own order."""
        array = np.asarray(array)
        return np.asarray(array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])[self.slot])

    def entries(self, array: Any) -> np.ndarray:
        """(chunk, row, width) -> (entry,) in the patterns' own order."""
        return np.asarray(np.asarray(array).reshape(-1)[self.entry])


def rounded(n: int, least: int = 8) -> int:
    """The next power of two, from 256 on the next of 4, 5, 6, 7 times one (less padding), at least `least`."""
    n = max(n, least)
    octave = 1 << (n - 1).bit_length()
    step = octave // 8 if n > 256 else octave
    return -(-n // step) * step


def lay_out(patterns: Patterns, n_cells: int, dense: bool | None = None) -> tuple[Group, Layout]:
    """Arrange patterns as arrays; `dense` None chooses by the data."""
    if dense is None:
        busiest = float(patterns.size.max(initial=0.0))
        dense = n_cells <= DENSE_CELLS and busiest <= DENSE_SIZE
        dense = dense or (n_cells <= _FEW_CELLS and busiest <= _FINE_SIZE)
    return _dense(patterns, rounded(n_cells, 16)) if dense else _sparse(patterns)


def _dense(patterns: Patterns, n_cells: int) -> tuple[Group, Layout]:
    n = len(patterns)
    chunks = rounded(-(-n // _PATTERNS), 1)
    height = min(rounded(-(-n // chunks)), _PATTERNS)
    count = np.zeros((chunks * height, n_cells))
    owner = np.repeat(np.arange(n), np.diff(patterns.indptr))
    count[owner, patterns.cell] = patterns.count
    multiplicity = np.zeros(chunks * height)
    multiplicity[:n] = patterns.multiplicity
    group = Dense(count.reshape(chunks, height, n_cells), multiplicity.reshape(chunks, height))
    return group, Layout(np.arange(n), np.zeros(0, dtype=np.int64))


def _sparse(patterns: Patterns) -> tuple[Group, Layout]:
    # How many slots each entry of the patterns takes.
    slots = np.maximum(patterns.count, 1).astype(np.int64)
    single = bool(slots.sum() <= _WRITTEN_OUT * len(slots) and np.all(patterns.count % 1 == 0))
    if not single:
        slots = np.ones_like(slots)
    first_slot = np.concatenate([[0], np.cumsum(slots)])
    lengths = np.diff(first_slot[patterns.indptr])
    n = len(lengths)
    width = min((8, 16, 32), key=lambda w: int((np.maximum(-(-lengths // w), 1) * w).sum()) + 4 * n)
    rows = np.maximum(-(-lengths // width), 1)
    chunk, height = _pack(rows, _ENTRIES // width)
    chunks = rounded(int(chunk.max(initial=0)) + 1, 1)
    first_pattern = np.searchsorted(chunk, np.arange(chunks))
    local = np.arange(n) - first_pattern[chunk]
    row_start = np.concatenate([[0], np.cumsum(rows)])
    first_row = row_start[np.minimum(first_pattern, n)]
    row_slot = chunk * height + row_start[:-1] - first_row[chunk]  # where a pattern's first row lies

    position = np.arange(first_slot[-1]) - np.repeat(first_slot[patterns.indptr[:-1]], lengths)
    entry = np.repeat(row_slot, lengths) * width + position
    cell = np.zeros(chunks * height * width, dtype=np.int32)
    count = np.zeros(chunks * height * width)
    cell[entry] = np.repeat(patterns.cell, slots)
    count[entry] = np.repeat(np.minimum(patterns.count, 1.0) if single else patterns.count, slots)
    tall = rounded(int(np.bincount(chunk, minlength=1).max()))
    # Padding rows belong to the chunk's last pattern, so that owners stay sorted.
    owner = np.full(chunks * height, tall - 1, dtype=np.int32)
    owner[np.repeat(row_slot, rows) + np.arange(rows.sum()) - np.repeat(row_start[:-1], rows)] = np.repeat(local, rows)
    slot = chunk * tall + local
    multiplicity = np.zeros(chunks * tall)
    multiplicity[slot] = patterns.multiplicity
    deepest = rounded(int(rows.max(initial=1)), 1)
    group = Sparse(
        cell.reshape(chunks, height, width),
        count.reshape(chunks, height, width),
        owner.reshape(chunks, height),
        multiplicity.reshape(chunks, tall),
        single,
        deepest if deepest <= _SHALLOW else 0,
    )
    return group, Layout(slot, entry[first_slot[:-1]])


def _pack(rows: np.ndarray, limit: int) -> tuple[np.ndarray, int]:
    """Chunk of each pattern so that no chunk has more rows than its height; patterns stay in order."""
    total = int(rows.sum())
    height = rounded(total) if total <= limit else max(limit, rounded(int(rows.max())))
    if total <= height:
        return np.zeros(len(rows), dtype=np.int64), height
    ends = np.cumsum(rows)
    chunk = np.zeros(len(rows), dtype=np.int64)
    start, number = 0, 0
    while start < len(rows):
        taken = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, taken + height, side="right"))
        chunk[start:stop] = number
        start, number = stop, number + 1
    return chunk, height


def largest_size(group: Group) -> float:
    """The most comparisons that one user gave."""
    rows = np.asarray(group.count).sum(-1)
    if isinstance(group, Dense):
        return float(rows.max())
    chunks, tall = group.multiplicity.shape
    pattern = np.asarray(group.owner) + np.arange(chunks)[:, None] * tall
    return float(np.bincount(pattern.ravel(), weights=rows.ravel()).max())


def device_cells(cells: Cells, schema: Schema | None = None) -> CellView:
    """View of the cells, padded to a rounded length by repeating the first cell (padding is given no weight)."""
    view = CellView.of(cells, schema)
    extra = rounded(len(view), 16) - len(view)

    def pad(array: np.ndarray) -> np.ndarray:
        array = np.asarray(array)
        filler = array[:1] if len(array) else np.zeros(1, dtype=array.dtype)
        return np.concatenate([array, np.repeat(filler, extra, axis=0)])

    padded: dict[str, Any] = {name: pad(getattr(view, name)) for name in _CELL_ARRAYS}
    return replace(view, **padded, context={name: pad(column) for name, column in view.context.items()})


def over_chunks(function: Callable[..., Any], *trees: Any) -> Any:
    """Apply a function to each chunk of some trees of arrays (leading axis), stacking the results."""
    if jax.tree.leaves(trees)[0].shape[0] == 1:
        out = function(*jax.tree.map(lambda a: a[0], trees))
        return jax.tree.map(lambda a: a[None], out)
    return jax.lax.map(lambda chunk: function(*chunk), trees)

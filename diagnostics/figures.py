"""How a figure looks and how it reaches the disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..comparisons.atomic import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by colour-blind readers. In grey, line styles and markers tell the rest.
BLUE, ORANGE, GREEN, VERMILION, SKY, INK, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#222222",
    "#8A8A8A",
)


@contextmanager
def style() -> Iterator[None]:
    """The house style, for the figures made inside the block and for nobody else's."""
    import matplotlib

    with matplotlib.rc_context(
        {
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "figure.dpi": 110,
            "font.size": 10,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "savefig.dpi": 160,
            "svg.fonttype": "none",
            "svg.hashsalt": "earnest",
        }
    ):
        yield


def new_figure(width: float = 6.4, height: float = 4.0, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure in house style that no window and no notebook state knows of.

    Args:
        width: inches.
        height: inches.
        columns: how many axes side by side.

    Returns:
        The figure and its axes, left to right.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def name_rows(axes: Axes, names: Sequence[str], fontsize: float = 10) -> np.ndarray:
    """Name the rows of a figure from the bottom up, without ticks; their heights, (row,)."""
    rows = np.arange(len(names))
    axes.set_yticks(rows, list(names), fontsize=fontsize)
    axes.tick_params(axis="y", length=0)
    return rows


def save_figure(figure: Figure, stem: str | Path) -> tuple[Path, Path]:
    """Write a figure as PNG (screens) and SVG (print), each whole or not at all.

    Args:
        figure: what to write.
        stem: path without a suffix; `figures/skills` gives `figures/skills.png` and `figures/skills.svg`.

    Returns:
        The two paths.

    Raises:
        OSError: the folder is missing or cannot be written to.
    """
    stem = Path(stem)
    paths = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    with style():
        for path, kind, about in zip(paths, ("png", "svg"), ({"Software": None}, {"Date": None}), strict=True):
            # Without a date and a version, the same figure is the same file.
            with atomic_file(path) as temporary:
                figure.savefig(temporary, format=kind, metadata=about)
    return paths

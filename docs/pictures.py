"""Draw the pictures of the site.

python docs/pictures.py            # all
python docs/pictures.py gallery    # by running docs/gallery.md: each picture is what the block before it returns
python docs/pictures.py concepts   # docs/concepts
"""

import ast
import contextlib
import os
import re
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.stats import binom

DOCS = Path(__file__).resolve().parent
INK, BLUE, ORANGE = "#222222", "#0072B2", "#C4600A"
NARROW = {"gallery/model_comparison.png": (4.2, 2.8)}  # in inches: else too small to be read on a phone
RIGHT = 0.75  # how often an attentive user takes the better model here


def gallery():
    """Run the blocks of the gallery in order; what the last line of one gives is drawn to the picture after it."""
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    (DOCS / "gallery").mkdir(exist_ok=True)
    names: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for code, picture in re.findall(r"```python\n(.*?)```(?:\s*!\[[^\]]*\]\(([^)]+)\))?", text, re.DOTALL):
            *first, last = ast.parse(code).body
            exec(compile(ast.Module(first, []), "gallery.md", "exec"), names)
            if not picture:
                exec(compile(ast.Module([last], []), "gallery.md", "exec"), names)
                continue
            drawn = eval(compile(ast.Expression(last.value), "gallery.md", "eval"), names)
            figure = np.ravel(drawn)[0].figure
            if picture in NARROW:
                narrow(figure, NARROW[picture])
            box = "tight" if picture in NARROW else None
            figure.savefig(DOCS / picture, dpi=110, bbox_inches=box, metadata={"Software": None})
            print(picture)


def narrow(figure, size):
    """Make a wide figure of one axes fit a phone: what stands beside each other goes below each other."""
    figure.set_layout_engine("none")
    figure.set_size_inches(size)
    (axes,) = figure.axes
    axes.set_position((0.0, 0.2, 0.62, 0.7))
    axes.set_xlabel(textwrap.fill(axes.get_xlabel(), 40))
    title = axes.get_title(loc="left")
    axes.set_title("", loc="left")
    axes.text(-0.3, 1.22, title, transform=axes.transAxes, weight="bold", fontsize=11)
    legend = axes.get_legend()
    legend.set_loc("upper center")
    legend.set_bbox_to_anchor((0.5, -0.42))


def canvas(height=2.6, **options):
    figure = Figure(figsize=(4.8, height), layout="constrained")  # as wide as a phone can still show it
    return figure, figure.subplots(**options)


def vote():
    """A vote as a tree of two throws."""
    figure, ax = canvas(height=2.9)
    ax.set(xlim=(0, 10), ylim=(0, 6.2))
    ax.axis("off")
    ax.text(5, 5.6, "one vote of user $u$", ha="center", weight="bold")
    for x, colour, chance, name in ((2.4, BLUE, r"$\eta_u$", "attended"), (7.6, ORANGE, r"$1-\eta_u$", "casual")):
        ax.annotate("", (x, 4.1), (5, 5.35), arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.6})
        ax.text((x + 5) / 2 + (-0.35 if x < 5 else 0.35), 4.95, chance, ha="right" if x < 5 else "left", color=colour)
        ax.text(x, 3.55, name, ha="center", color=colour, weight="bold")
    rows = ("better model", "other model"), ("left", "right")
    for x, colour, names, shares in ((2.4, BLUE, rows[0], (0.75, 0.25)), (7.6, ORANGE, rows[1], (0.6, 0.4))):
        for k, (name, share) in enumerate(zip(names, shares, strict=True)):
            ax.barh(2.3 - 1.5 * k, 2.6 * share, height=0.55, left=x - 1.3, color=colour, alpha=0.75)
            ax.text(x - 1.3, 2.75 - 1.5 * k, name, ha="left", fontsize=9)
            ax.text(x - 1.2 + 2.6 * share, 2.3 - 1.5 * k, f"{share:.0%}", va="center", fontsize=9)
    return figure


def votes():
    """Of 20 votes, how many for the better model?"""
    figure, ax = canvas()
    x = np.arange(21)
    for eta, colour, mark, name in (
        (1.0, BLUE, "o-", "always attends"), (0.5, INK, "^--", "every second time"),
        (0.0, ORANGE, "s-", "never attends"),
    ):  # fmt: skip
        ax.plot(x, binom.pmf(x, 20, eta * RIGHT + (1 - eta) / 2), mark, color=colour, ms=4, lw=1.2, label=name)
    ax.set(xlabel="votes for the better model, of 20", ylabel="probability", ylim=(0, None), xticks=range(0, 21, 5))
    ax.legend(loc="upper left", fontsize=9)
    return figure


def posterior():
    """What 70 % for the better model says after 5, 20 and 100 votes, attentiveness being uniform before."""
    figure, ax = canvas()
    eta = np.linspace(0.001, 0.999, 600)
    for n, colour, line in ((5, INK, ":"), (20, ORANGE, "--"), (100, BLUE, "-")):
        k = round(0.7 * n)
        right = eta * RIGHT + (1 - eta) / 2
        density = right**k * (1 - right) ** (n - k) / 0.5**n
        density /= density.sum() * (eta[1] - eta[0])
        ax.plot(eta, density, line, color=colour, lw=1.8, label=f"{k} of {n} votes")
    ax.set(xlabel="attentiveness", ylabel="density", ylim=(0, 4.2), xlim=(0, 1), yticks=[])
    ax.legend(loc="upper left", fontsize=9)
    return figure


def worth():
    """Effective labels of users whose attentiveness is uniform and known: N m^2 with N = 1 - t, m = (1 + t) / 2."""
    figure, ax = canvas()
    t = np.linspace(0, 1, 300)
    left, mean = 1 - t, (1 + t) / 2
    ax.plot(t, left, ":", color=INK, label="$N$, share of votes kept")
    ax.plot(t, mean, "--", color=ORANGE, label=r"$\bar m$, attended among them")
    ax.plot(t, left * mean**2, color=BLUE, lw=2, label=r"$N\bar m^2$, effective labels")
    ax.plot(1 / 3, 8 / 27, "D", color=BLUE)
    ax.annotate("best cut 1/3", (1 / 3, 8 / 27), (0.36, 0.1), color=BLUE)
    ax.set(xlabel="threshold on attentiveness", xlim=(0, 1), ylim=(0, 1.45), yticks=[0, 0.5, 1])
    ax.legend(loc="upper center", fontsize=8.5, ncols=1)
    return figure


def scale():
    """Two crowds with one mean share of votes for the better model."""
    figure, axes = canvas(height=2.4, ncols=2, sharey=True)
    for ax, eta, right, colour in ((axes[0], 1.0, 0.65, BLUE), (axes[1], 0.5, 0.8, ORANGE)):
        ax.bar([0, 1, 2], [eta, right, eta * right + (1 - eta) / 2], color=[colour, colour, INK], alpha=0.8, width=0.6)
        for x, value in enumerate((eta, right, eta * right + (1 - eta) / 2)):
            ax.text(x, value + 0.02, f"{value:.0%}", ha="center", fontsize=9)
        ax.set(xticks=[0, 1, 2], ylim=(0, 1.18), yticks=[])
        ax.set_xticklabels(["attend", "better,\nif attended", "better,\nseen"], fontsize=8.5)
    axes[0].set_title("all attend,\nweak preference", fontsize=9.5)
    axes[1].set_title("half attend,\nstrong preference", fontsize=9.5)
    return figure


def concepts():
    looks = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    for draw in (vote, votes, posterior, worth, scale):
        with rc_context(looks):
            draw().savefig(DOCS / "concepts" / f"{draw.__name__}.png", dpi=160, metadata={"Software": None})
        print(f"concepts/{draw.__name__}.png")


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    for part in sys.argv[1:] or ("gallery", "concepts"):
        {"gallery": gallery, "concepts": concepts}[part]()

"""Figures of docs/alignment.md, from the condensed findings."""

from __future__ import annotations

from alignment.world import REGISTERED

PRIMARY = REGISTERED["metrics"]["primary"]
_AXES = {
    "gap": "gap between the generators' strengths",
    "attentive": "share of attentive users",
    "votes": "votes a user (of 10,000 labels)",
    "labels": "labels (20 a user)",
    "population": "users",
}
# As many arms as lines can be told apart; the table has the rest.
_LINES = (
    ("oracle_soft", "true attentiveness as weights", "INK", ":"),
    ("soft", "soft weights", "GREEN", "-"),
    ("recommended", "recommended threshold", "BLUE", "-"),
    ("conservative", "conservative DPO", "ORANGE", (0, (4, 1, 1, 1))),
    ("random", "as many at random", "VERMILION", (0, (2, 1))),
)


def draw(found, folder):
    """Write every figure as PNG into the folder."""
    from earnest import plots

    (main,) = (at for at in found if at["sweep"] == "main")
    made = {"arms": arms(main), "threshold": threshold(main)}
    made |= {sweep: over([at for at in found if at["sweep"] == sweep], sweep) for sweep in _AXES}
    for name, figure in made.items():
        for path in plots.save_figure(figure, folder / f"alignment_{name}"):
            if path.suffix == ".svg":
                path.unlink()  # the page shows the PNG


def arms(main):
    """What each arm adds to the reward of all labels in the main world, as trained and at equal KL."""
    from earnest.diagnostics.figures import BLUE, GREY, name_rows, new_figure, style

    left_out = ("all", "robust", "random_half", "random_tenth")  # far off the scale at equal KL: the table has them
    names = [name for name in main["arms"] if not name.startswith("cut ") and name not in left_out][::-1]
    with style():
        figure, _ = new_figure(width=5.6, height=7.2)
        figure.clear()
        axes = figure.subplots(2, 1)  # one above the other: a phone is narrow
        for ax, metric, title in ((axes[0], PRIMARY, "As trained"), (axes[1], "reward_at_kl", "At equal KL")):
            for row, name in enumerate(names):
                _, mean, low, high = main["arms"][name][metric]
                ax.plot([low, high], [row, row], color=BLUE, linewidth=2)
                ax.plot(mean, row, "o", color=BLUE, markersize=6)
            ax.axvline(0, color=GREY, linewidth=1)
            ax.set_title(title)
            ax.set_xlabel("mean true reward added to that of all labels")
            name_rows(ax, [name.replace("_", " ") for name in names])
    return figure


def threshold(main):
    """Reward and effective labels over the grid of thresholds, and where the recommendations fell."""
    from earnest.diagnostics.figures import BLUE, GREEN, GREY, ORANGE, new_figure, style

    cuts = REGISTERED["arms"]["thresholds"]
    low, middle, high = main["threshold"]
    with style():
        figure, axes = new_figure(width=10.5, height=3.9, columns=3)
        for ax, metric, title in ((axes[0], PRIMARY, "As trained"), (axes[1], "reward_at_kl", "At equal KL")):
            mean, below, above = zip(*(main["arms"][f"cut {t:g}"][metric][1:] for t in cuts), strict=True)
            ax.fill_between(cuts, below, above, color=BLUE, alpha=0.2, linewidth=0)
            ax.plot(cuts, mean, color=BLUE, label="threshold (95 % interval)")
            ax.axhline(main["arms"]["soft"][metric][1], color=GREEN, linestyle=(0, (6, 2)), label="soft weights")
            ax.axhline(0, color=GREY, linewidth=1)
            ax.set_title(title)
        axes[0].set_ylabel("mean true reward added to that of all labels")
        axes[1].set_ylim(-0.01, 0.003)  # it falls far below
        axes[2].plot(cuts, [main["effective"][f"cut {t:g}"] for t in cuts], color=BLUE)
        axes[2].axhline(main["effective"]["all"], color=GREY, linewidth=1)
        axes[2].axhline(main["effective"]["soft"], color=GREEN, linestyle=(0, (6, 2)))
        axes[2].set_title("Effective labels")
        for ax in axes:
            ax.set_xlabel("threshold on attentiveness")
            ax.axvspan(low, high, color=ORANGE, alpha=0.2, linewidth=0, label="recommended, 80 % of worlds")
            ax.axvline(middle, color=ORANGE, linewidth=1.5)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def over(settings, sweep):
    """Reward of the arms over one sweep as trained, and what they add to all labels at equal KL."""
    from earnest.diagnostics import figures
    from earnest.diagnostics.figures import GREY, INK, new_figure, style

    x, named = list(range(len(settings))), sweep == "population"
    with style():
        figure, axes = new_figure(width=8.8, height=4.4, columns=2)
        shown = [("oracle_labels", "as if all attended", "INK", ":"), ("all", "every label", "GREY", "-"), *_LINES]
        for shift, (name, words, colour, line) in enumerate(shown):
            look = {"color": getattr(figures, colour), "linestyle": "none" if named else line, "markersize": 4,
                    "marker": "s" if shift < 2 else "o"}  # fmt: skip
            moved = [place + (0.09 * (shift - 3) if named else 0.0) for place in x]
            level = [at["arms"][name][PRIMARY][0] - at["reference"] for at in settings]
            axes[0].plot(moved, level, label=words, **look)
            if name in ("all", "oracle_labels"):
                continue
            mean, low, high = zip(*(at["arms"][name]["reward_at_kl"][1:] for at in settings), strict=True)
            moved = [place + 0.07 * (shift - 4) for place in x]
            axes[1].vlines(moved, low, high, color=look["color"], linewidth=1.5)
            axes[1].plot(moved, mean, **look)
        axes[1].axhline(0, color=GREY, linewidth=1)
        for ax in axes:
            ax.set_xticks(x, [str(at["value"]) for at in settings])
            ax.set_xlabel(_AXES[sweep])
            ax.spines["bottom"].set_color(INK)
        axes[0].set_title("As trained: above the reference")
        axes[1].set_title("At equal KL: added to all labels")
        axes[0].set_ylabel("mean true reward")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure

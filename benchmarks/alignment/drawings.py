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
    """What each arm adds to the reward of all labels in the main world, freely and at equal KL."""
    from earnest.diagnostics.figures import BLUE, GREY, name_rows, new_figure, style

    names = [name for name in main["arms"] if not name.startswith("cut ") and name not in ("all", "robust")][::-1]
    with style():
        figure, axes = new_figure(width=8.8, height=4.2, columns=2)
        for ax, metric, title in ((axes[0], PRIMARY, "Reward added to all labels'"),
                                  (axes[1], "reward_at_kl", "The same at equal KL")):  # fmt: skip
            for row, name in enumerate(names):
                _, mean, low, high = main["arms"][name][metric]
                ax.plot([low, high], [row, row], color=BLUE, linewidth=2)
                ax.plot(mean, row, "o", color=BLUE, markersize=6)
            ax.axvline(0, color=GREY, linewidth=1)
            ax.set_title(title)
            ax.set_xlabel("mean true reward")
        name_rows(axes[0], [name.replace("_", " ") for name in names])
        axes[1].set_yticks([])
    return figure


def threshold(main):
    """Reward and effective labels over the grid of thresholds, and where the recommendations fell."""
    from earnest.diagnostics.figures import BLUE, GREEN, GREY, ORANGE, new_figure, style

    cuts = REGISTERED["arms"]["thresholds"]
    gains = [main["arms"][f"cut {t:g}"][PRIMARY][1:] for t in cuts]
    labels = [main["effective"][f"cut {t:g}"] for t in cuts]
    low, middle, high = main["threshold"]
    with style():
        figure, axes = new_figure(width=8.8, height=4.0, columns=2)
        mean, below, above = zip(*gains, strict=True)
        axes[0].fill_between(cuts, below, above, color=BLUE, alpha=0.2, linewidth=0)
        axes[0].plot(cuts, mean, color=BLUE, label="threshold (95 % interval)")
        axes[0].axhline(main["arms"]["soft"][PRIMARY][1], color=GREEN, linestyle=(0, (6, 2)), label="soft weights")
        axes[0].axhline(0, color=GREY, linewidth=1)
        axes[0].set(xlabel="threshold on attentiveness", ylabel="reward added to all labels'")
        axes[0].set_title("What training gains")
        axes[1].plot(cuts, labels, color=BLUE)
        axes[1].axhline(main["effective"]["all"], color=GREY, linewidth=1)
        axes[1].axhline(main["effective"]["soft"], color=GREEN, linestyle=(0, (6, 2)))
        axes[1].set(xlabel="threshold on attentiveness", ylabel="effective labels (true attentiveness)")
        axes[1].set_title("What the theory counts")
        for ax in axes:
            ax.axvspan(low, high, color=ORANGE, alpha=0.2, linewidth=0, label="recommended, 80 % of worlds")
            ax.axvline(middle, color=ORANGE, linewidth=1.5)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def over(settings, sweep):
    """Reward of the arms over one sweep, and what they add to all labels."""
    from earnest.diagnostics import figures
    from earnest.diagnostics.figures import GREY, INK, new_figure, style

    x = list(range(len(settings)))
    with style():
        figure, axes = new_figure(width=8.8, height=4.4, columns=2)
        for name, words, style_of in (("oracle_labels", "as if all attended", ":"), ("all", "every label", "-")):
            colour = INK if name == "oracle_labels" else GREY
            axes[0].plot(x, [at["arms"][name][PRIMARY][0] - at["reference"] for at in settings], color=colour,
                         linestyle=style_of, marker="s", markersize=4, label=words)  # fmt: skip
        for shift, (name, words, colour, line) in enumerate(_LINES):
            colour = getattr(figures, colour)
            level = [at["arms"][name][PRIMARY][0] - at["reference"] for at in settings]
            axes[0].plot(x, level, color=colour, linestyle=line, marker="o", markersize=4, label=words)
            mean, low, high = zip(*(at["arms"][name][PRIMARY][1:] for at in settings), strict=True)
            at = [place + 0.08 * (shift - 2) for place in x]
            axes[1].vlines(at, low, high, color=colour, linewidth=1.5)
            axes[1].plot(at, mean, color=colour, linestyle=line, marker="o", markersize=4)
        axes[1].axhline(0, color=GREY, linewidth=1)
        for ax in axes:
            ax.set_xticks(x, [str(at["value"]) for at in settings])
            ax.set_xlabel(_AXES[sweep])
        axes[0].set_title("Reward above the reference's")
        axes[1].set_title("Added to every label as it is")
        axes[0].set_ylabel("mean true reward")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure

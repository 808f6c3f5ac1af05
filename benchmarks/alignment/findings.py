"""What the controlled experiment found: condensed, held against the registered claims, drawn.

    python benchmarks/alignment/findings.py --results tier_a.jsonl     # condense what tier_a.py measured
    python benchmarks/alignment/findings.py --docs docs                # tables and figures of docs/alignment.md

The first writes `found_a.json` beside this file (small enough to be kept with the code), the second reads it. Every
difference between arms is taken world by world; intervals are Student's t over seeds at the registered level.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from alignment.drawings import draw
from alignment.world import REGISTERED
from resumable import read

FOUND = Path(__file__).with_name("found_a.json")
PRIMARY = REGISTERED["metrics"]["primary"]
METRICS = (PRIMARY, *REGISTERED["metrics"]["secondary"])
JUDGED = {PRIMARY: "as trained", "reward_at_kl": "at equal KL"}  # the claims are judged by the first, and told by both
CUTS = tuple(f"cut {t:g}" for t in REGISTERED["arms"]["thresholds"])
PAIRS = (("recommended", "random"), ("soft", "best"), ("recommended", "best"), ("soft", "recommended"),
         ("posterior", "recommended"), ("oracle", "recommended"), ("oracle_soft", "soft"))  # fmt: skip


def interval(differences):
    """Mean of paired differences and its confidence interval, (mean, low, high), Student's t."""
    from scipy import stats

    mean, n = float(np.mean(differences)), len(differences)
    half = float(np.std(differences, ddof=1) / np.sqrt(n) * stats.t.ppf(0.5 + REGISTERED["level"] / 2, n - 1))
    return mean, mean - half, mean + half


def _told(differences):
    """The same, rounded to be kept."""
    return [round(value, 6) for value in interval(differences)]


def condensed(rows):
    """One entry a setting, in the order measured, from the lines of `tier_a.py`."""
    places = dict.fromkeys((row["sweep"], row["value"]) for row in rows)
    return [_setting([row for row in rows if (row["sweep"], row["value"]) == place]) for place in places]


def _setting(of):
    arms = list(of[0]["arms"])
    values = {
        name: {metric: np.array([row["arms"][name][metric] for row in of]) for metric in METRICS} for name in arms
    }
    best = {metric: max(CUTS, key=lambda name: values[name][metric].mean()) for metric in JUDGED}
    reference = np.array([row["reference"] for row in of])
    truth = np.array([row["effective"]["oracle"] / row["effective"]["all"] - 1 for row in of])
    pairs = {
        f"{one} - {other}": {
            metric: _told(values[one][metric] - values[best[metric] if other == "best" else other][metric])
            for metric in JUDGED
        }
        for one, other in PAIRS if one in values
    }  # fmt: skip
    return {
        "sweep": of[0]["sweep"], "value": of[0]["value"], "seeds": len(of), "best": best,
        "reference": round(float(reference.mean()), 6),
        "range": round(float((values["oracle_labels"][PRIMARY] - reference).mean()), 6),
        "advantage": round(float(np.mean([row["advantage"] for row in of])), 4),
        "threshold": [round(float(q), 3) for q in np.quantile([row["threshold"] for row in of], (0.1, 0.5, 0.9))],
        "kept": round(float(np.mean([row["kept"] for row in of])), 4),
        "could_gain": round(float(truth.mean()), 4),
        "not_converged": sum(row["status"] != "converged" for row in of),
        "effective": {
            name: round(float(np.mean([row["effective"][name] for row in of])), 1) for name in of[0]["effective"]
        },
        "arms": {
            name: {
                metric: [round(float(values[name][metric].mean()), 6),
                         *_told(values[name][metric] - values["all"][metric])]
                for metric in (METRICS if name not in CUTS else JUDGED)
            }
            for name in arms
        },
        "pairs": pairs,
    }  # fmt: skip


def verdicts(found, metric=PRIMARY):
    """The registered claims in each setting by one metric: {"sweep": …, "value": …, claim: (holds, figure)}."""
    claims, out = REGISTERED["claims"], []
    for at in found:
        mean, low, high = at["arms"]["recommended"][metric][1:]
        expected = at["could_gain"] >= claims["should_help"]
        harmless = low > -claims["harm"] * at["range"]
        by_chance = at["pairs"]["recommended - random"][metric]
        soft = at["pairs"]["soft - best"][metric]
        gain = at["arms"][at["best"][metric]][metric][0] - at["reference"]
        share = (at["arms"]["recommended"][metric][0] - at["reference"]) / gain
        out.append({
            "sweep": at["sweep"], "value": at["value"], "expected": expected,
            "recommended": (bool(low > 0 if expected else harmless), (mean, low, high)),
            "random": (by_chance[1] > 0, tuple(by_chance)),
            "soft": (soft[2] >= 0, tuple(soft)),
            "threshold": (share >= claims["threshold_theory"], share),
        })  # fmt: skip
    return out


def over_all(at, metric):
    """What the best cut adds to all votes, and the share of it that the recommended adds (None where it adds nothing).

    A share over the reference flatters every arm: most of the way from the reference is gone by all votes, too.
    """
    added, low, _ = at["arms"][at["best"][metric]][metric][1:]
    return added, at["arms"]["recommended"][metric][1] / added if low > 0 else None


def reached_by_all(at, metric):
    """Share of the best cut's reward above the reference that all votes reach without any cut."""
    best = at["arms"][at["best"][metric]][metric][0]
    return (at["arms"]["all"][metric][0] - at["reference"]) / (best - at["reference"])


def name_of(at):
    """A setting in words."""
    return "main world" if at["sweep"] == "main" else f"{at['sweep']} {at['value']}"


def markdown(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * (len(head) - 1),
                      *("| " + " | ".join(row) + " |" for row in rows)])  # fmt: skip


def _bounds(values):
    mean, low, high = values
    return f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"


def arms_table(found):
    """Every registered metric of every arm in the main world."""
    (main,) = (at for at in found if at["sweep"] == "main")
    rows = []
    for name, of in main["arms"].items():
        if name in CUTS and name not in main["best"].values():
            continue
        best_by = [words for metric, words in JUDGED.items() if main["best"][metric] == name]
        label = f"best {' and '.join(best_by)}: {name}" if name in CUTS else name.replace("_", " ")
        effective = main["effective"].get(name)
        rows.append([
            label, f"{of[PRIMARY][0]:.4f}", "" if name == "all" else _bounds(of[PRIMARY][1:]),
            "" if name == "all" else _bounds(of["reward_at_kl"][1:]),
            *(f"{of[metric][0]:.3f}" if metric in of else "" for metric in METRICS[2:]),
            f"{effective:,.0f}" if effective and name != "oracle_labels" else "",
        ])  # fmt: skip
    head = ["arm", "reward", "against all", "against all at equal KL", "win rate against the reference",
            "win rate against all", "KL, nats", "held-out pairs right", "effective labels"]  # fmt: skip
    return markdown(head, rows)


def claims_table(found, metric=PRIMARY):
    """The claims, setting by setting."""
    rows = []
    for at, told in zip(found, verdicts(found, metric), strict=True):
        mark = {True: "yes", False: "**no**"}
        held, values = told["recommended"]
        added, share = over_all(at, metric)
        rows.append([
            name_of(at), f"{at['advantage']:.3f}", f"{at['could_gain']:+.0%}",
            ("help: " if told["expected"] else "no harm: ") + f"{mark[held]}, {_bounds(values)}",
            f"{mark[told['random'][0]]}, {_bounds(told['random'][1])}",
            f"{mark[told['soft'][0]]}, {_bounds(told['soft'][1])}",
            f"{mark[told['threshold'][0]]}, {told['threshold'][1]:.1%} of {at['best'][metric]}",
            f"{reached_by_all(at, metric):.1%}",
            f"{added:+.4f}" + ("" if share is None else f", of which {share:.0%}"),
        ])  # fmt: skip
    head = ["setting", "advantage", "best true cut gains", "recommended against all", "recommended against random",
            "soft against the best cut", "above the reference, of the best cut's",
            "all votes reach", "the best cut adds to all, and the recommended"]  # fmt: skip
    return markdown(head, rows)


def planned_table(found):
    """What `earnest plan` says of each design against what the worlds held, in effective labels."""
    from scipy.special import logit

    from earnest import plan

    rows = []
    for at in found:
        design = _design(at)
        if design is None or at["advantage"] < 0.51:
            continue
        said = plan(gap=float(logit(at["advantage"])), **design).here
        cells = []
        for planned, arm in (("unfiltered", "all"), ("filtered", "recommended"), ("weighted", "soft")):
            cells.append(f"{said[planned]:,.0f} / {at['effective'][arm]:,.0f}")
        rows.append([name_of(at), f"{at['advantage']:.3f}", *cells])
    head = ["setting", "advantage", "every label: planned / found", "after the cut", "soft weights"]
    return markdown(head, rows)


def _design(at):
    """Arguments of `plan` for a setting, where its population is a Beta."""
    world = REGISTERED["world"]
    users, votes = world["users"], world["votes"]
    if at["sweep"] == "votes":
        users, votes = users * votes // at["value"], at["value"]
    elif at["sweep"] == "labels":
        users = at["value"] // votes
    elif at["sweep"] not in ("main", "gap"):
        return None
    beta = REGISTERED["populations"]["beta"]
    total = beta["alpha"] + beta["beta"]
    return {"users": users, "votes": votes, "attentive": beta["alpha"] / total, "concentration": total}


def put_tables(page, tables):
    """Put tables {name: text} between their marks in a page."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        start, end = f"<!-- made: {name} -->\n", "<!-- until here -->"
        before, found_start, rest = text.partition(start)
        _, found_end, after = rest.partition(end)
        if not (found_start and found_end):
            raise SystemExit(f"{page}: expected a line {start.strip()} and after it {end}")
        text = f"{before}{start}{table}\n{end}{after}"
    page.write_text(text, encoding="utf-8")


def written(found, folder):
    """Put tables between their marks in docs/alignment.md and draw the figures."""
    tables = {"arms": arms_table(found), "claims": claims_table(found), "planned": planned_table(found),
              "claims at equal KL": claims_table(found, "reward_at_kl")}  # fmt: skip
    put_tables(folder / "alignment.md", tables)
    draw(found, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="lines of tier_a.py, to be condensed")
    parser.add_argument("--docs", type=Path, help="folder with alignment.md")
    options = parser.parse_args()
    if options.results:
        lines = [json.dumps(at) for at in condensed(read(options.results))]
        FOUND.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    found = json.loads(FOUND.read_text(encoding="utf-8"))
    told = [claims_table(found, metric) for metric in JUDGED]
    print(arms_table(found), *told, planned_table(found), sep="\n\n")
    if options.docs:
        written(found, options.docs)


if __name__ == "__main__":
    main()

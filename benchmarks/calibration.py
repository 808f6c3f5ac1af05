"""Is the posterior the posterior? Simulation-based calibration of full Bayes, with controls that must fail.

    python benchmarks/calibration.py --results calibration.jsonl --figure calibration.png
    python benchmarks/calibration.py --part faults --results faults.jsonl --figure faults.png

The machinery is that of `earnest.calibrate`; here are the design and what came of it. One JSON line a replication; a
run that was stopped goes on where it ended. Without --results nothing is written.

One replication: parameters are drawn from the prior, a log from the generative story (each user's attentiveness, each
vote attended or not, attended ones decided by the preference, the others by the casual component), and NUTS samples the
NumPyro model of the declaration (marginal form). If model and sampler are right, the rank of each true value among L
independent posterior draws is uniform on 0 .. L (Talts et al. 2018, arXiv:1804.06788). Ranks of parameters alone cannot
tell the posterior from the prior, so the joint log-likelihood of the votes at the truth is ranked among that at the
draws as well (Modrak et al. 2023, arXiv:2211.02383).

What was fixed before any result was seen (replications from 10,000 on served to find run lengths):

Design         50 users x 8 votes on 3 models. Who is shown what was drawn once, so all logs have the same shape and
               one compilation serves them all.
Combinations   9, in which every two of attentiveness (Beta, Groups at 0 and 1, Groups with two free levels), preference
               (KnownAdvantage, PairAdvantage, BradleyTerry) and ties (none, Davidson, RaoKupper) meet exactly once (a
               Latin square), with PositionBias or CoinFlip so that each meets each of the others. Default priors.
Chain          one, from a point that knows nothing of the truth (see below); 500 iterations of warm-up, dense mass
               matrix, target acceptance 0.9; 1,000 draws, then 1,000 more until every ranked
               quantity has a bulk ESS of 200, at most 10,000. Thinned evenly to L = 99: with an ESS of 200 neighbours
               are then correlated by about exp(-4).
Ranked         every free scalar of every parameter (of two shares that sum to one only the first), after the
               component's own `canonical` order of labels; the joint log-likelihood; attentiveness of three users and
               its mean over all users, drawn given the thinned globals as `earnest.sample` draws it. Ties between
               truth and draws (levels of Groups) are broken at random.
Verdict        400 replications; the ECDF of the ranks at all 99 points inside simultaneous bands (Säilynoja, Bürkner
               and Vehtari 2022, Stat. Comput. 32), at the level 1 - 0.01 / (number of quantities of the combination).
               The pointwise level is simulated here for ranks; `arviz_stats.ecdf_utils`, which truncates counts like
               400 * (29 / 400) downwards, agrees to three digits (tests/inference/test_calibration.py).
Controls       must fall outside, on the logs of the main combination (Beta, BradleyTerry, Davidson, PositionBias):
               `wrong-casual` fits CoinFlip instead of PositionBias and `wrong-ties` leaves out the square root in
               Davidson's rule (log-odds twice too large), 200 replications each; `prior-returned` gives draws of the
               prior for the posterior, which the joint log-likelihood must catch.

Changed once, after the first full run, whose results are not mixed in: chains then started from one draw of the prior.
Eight combinations were inside, groups01-pair-raokupper-position was not (joint log-likelihood, 1.36 of the band): in 16
of 400 logs the chain had told the other story of where ties come from, casual users (tie_threshold near 1) or attentive
ones (near 5), with an ESS of 500 inside it. In the ten of them that were looked at EM finds both modes, the chain's 4
to 33 nats below the other, where the truth lay. Now the start is one of 4,000 draws of the prior, resampled by
likelihood, so that the mode is chosen about by its mass.

Faults (--part faults --replications 100): each model of benchmarks/faults.py, wrong in one place, on logs of the right
one (the main combination), by `earnest.calibrate` with its own seeds. How often so many of the 100 replications, chosen
at random, leave their bands; the farthest excursion in units of the band; and what is named:

    wrong-tie-term    20: 100 %                     5.8   the truth fits worse than the draws
    swapped-order     20: 100 %                    14.5   skills turned round (correlation with the truth -0.93)
    swapped-position  20: 100 %                    11.3   casual outcomes turned round
    prior-too-narrow  20:  96 %, 40: 100 %          2.7   skills too narrow, users too attentive
    prior-shifted     20:  53 %, 40: 90 %, 60: 100 %  2.0   alpha too high
    right             20:   2 %, 60:   1 %          0.75  (nothing)

So 60 replications notice all five, in one to three minutes each on two busy cores. The right model by `--method em`,
100 replications: not calibrated (skills 1.5 times the band); EM's 90 % intervals hold 81 % of the parameters on
average, 76 % of the skills, and 86 % of the users.

simuk.SBC fits (NUTS over a function whose `votes` default to None, because simuk leaves the argument out where it wants
prior predictive draws), but makes a new `MCMC` for each replication, which compiles anew (13 s each where this takes
0.2), and ranks functions of one parameter at a time, never the joint log-likelihood: so it is not used.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
from resumable import keep, read

from earnest.diagnostics.ecdf import RANKED as L
from earnest.diagnostics.ecdf import bands, ecdf, uniformity

USERS, VOTES, MODELS = 50, 8, ("model_1", "model_2", "model_3")
ENOUGH = 200  # bulk ESS of every ranked quantity
REPLICATIONS, CONTROL_REPLICATIONS = 400, 200
ERROR = 0.01  # chance that a right combination is called wrong
LOG_LIKELIHOOD = "joint log-likelihood"

COMBINATIONS = {
    "-".join(parts): parts
    for parts in (
        ("beta", "bt", "davidson", "position"),
        ("beta", "known", "raokupper", "position"),
        ("beta", "pair", "none", "coin"),
        ("groups01", "bt", "none", "position"),
        ("groups01", "known", "davidson", "coin"),
        ("groups01", "pair", "raokupper", "position"),
        ("groups2", "bt", "raokupper", "coin"),
        ("groups2", "known", "none", "coin"),
        ("groups2", "pair", "davidson", "position"),
    )
}
MAIN = "beta-bt-davidson-position"
CONTROLS = ("wrong-casual", "wrong-ties", "prior-returned")


def declare(parts):
    """The model of a combination."""
    import earnest as er

    attentiveness, preference, ties, casual = parts
    rule = {"none": lambda: None, "davidson": er.Davidson, "raokupper": er.RaoKupper, "rootless": _rootless}[ties]()
    return er.BehaviorModel(
        {"beta": er.Beta, "groups01": er.Groups, "groups2": lambda: er.Groups(2)}[attentiveness](),
        {
            "bt": lambda: er.BradleyTerry(ties=rule),
            "pair": lambda: er.PairAdvantage(ties=rule),
            "known": lambda: er.KnownAdvantage(0.7, stronger=MODELS, ties=rule),
        }[preference](),
        {"position": er.PositionBias, "coin": er.CoinFlip}[casual](),
    )


def _rootless():
    """Davidson's rule as one gets it wrong: Pr(a) : Pr(b) : Pr(tie) = exp(d) : exp(-d) : nu."""
    import earnest as er

    class Rootless(er.Davidson):
        def log_prob(self, xp, values, log_ratio, cells):
            return super().log_prob(xp, values, 2.0 * log_ratio, cells)

    return Rootless()


def fitted_parts(name):
    """What is fitted to the logs: the model that they came from, but for the controls."""
    attentiveness, preference, ties, casual = COMBINATIONS.get(name, COMBINATIONS[MAIN])
    ties = "rootless" if name == "wrong-ties" else ties
    return attentiveness, preference, ties, "coin" if name == "wrong-casual" else casual


class PriorReturned:
    """Draws of the prior in the place of the posterior: what ranks of parameters cannot notice."""

    def draws(self, told, votes, seed, rng):
        from earnest.diagnostics.calibration_machines import Draws

        prior = [self.table.sample_prior(rng) for _ in range(L)]
        values = {k: np.array([one[k] for one in prior]) for k in prior[0]}
        users = self.design.users
        return Draws(values, np.array([self.model.attentiveness.sample(rng, one, users) for one in prior]))


@lru_cache(maxsize=1)  # compiled programs of one combination at a time
def machine(name):
    from earnest.diagnostics.calibration_chains import Chain
    from earnest.diagnostics.calibration_logs import Design
    from earnest.diagnostics.calibration_machines import Machine

    kind = type("PriorReturned", (PriorReturned, Machine), {}) if name == "prior-returned" else Chain
    return kind(declare(fitted_parts(name)), Design(USERS, VOTES, len(MODELS)))


def one(name, number):
    """One replication: the ranks, and how the chain went, as JSON can hold it."""
    import jax

    from earnest.diagnostics.calibration_machines import replicate

    logs = name if name in COMBINATIONS else MAIN
    with jax.enable_x64(True):
        line = replicate(machine(name), declare(COMBINATIONS[logs]), [number, *logs.encode()])
    return {"combination": name, "replication": number,
            **{k: v for k, v in line.items() if k not in ("true", "mean")}}  # fmt: skip


def verdict(lines):
    """Rows of (quantity, largest deviation, its share of the band's width, inside or not) for one combination."""
    labels = list(lines[0]["ranks"])
    rows = []
    for label in labels:
        seen = uniformity(np.array([line["ranks"][label] for line in lines]), 1 - ERROR / len(labels))
        rows.append((label, seen.deviation, seen.excursion, seen.inside))
    return rows


def report(name, lines, out=sys.stdout):
    """Print the table; True if the combination is inside its bands, or the control outside."""
    say = lambda *parts: print(*parts, file=out)  # noqa: E731  # a short name for a long loop of prints
    rows = verdict(lines)
    control = name in CONTROLS
    what = f"control, must fall outside; {MAIN}" if control else "must lie inside"
    say(f"\n{name}: {len(lines)} replications ({what}); simultaneous level 1 - {ERROR:g} / {len(rows)}")
    say(f"{'quantity':<30}{'max deviation':>14}{'of the band':>13}")
    for label, off, share, inside in rows:
        say(f"{label:<30}{off:>+14.3f}{share:>13.2f}   {'ok' if inside else 'OUT'}")
    if "ess" in lines[0]:
        ess, draws = (np.array([line[k] for line in lines]) for k in ("ess", "draws"))
        bad = sum(line["divergences"] > 0 for line in lines)
        total = sum(line["divergences"] for line in lines)
        say(
            f"slowest quantity: median ESS {np.median(ess):.0f}, {np.mean(ess < ENOUGH):.1%} of chains below {ENOUGH} "
            f"(least {ess.min():.0f}); draws: mean {draws.mean():.0f}, most {draws.max()}"
        )
        say(f"divergences: {total} in {bad} of {len(lines)} chains ({total / draws.sum():.1e} a draw)")
    wall, cpu = (np.array([line[k] for line in lines]) for k in ("wall_s", "cpu_s"))
    minutes = f"{wall.sum() / 60:.1f} min ({cpu.sum() / 60:.1f} of processor time)"
    say(f"a replication: median {np.median(wall):.2f} s; all {minutes}")
    if name == "prior-returned":
        return not {label: inside for label, _, _, inside in rows}[LOG_LIKELIHOOD]
    return all(inside for *_, inside in rows) != control


def draw(results, path):
    """ECDF minus the diagonal of every quantity, a panel a combination, with its bands."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    columns = 3
    n_rows = -(-len(results) // columns)
    figure, axes = plt.subplots(
        n_rows, columns, figsize=(12, 2.9 * n_rows), sharex=True, squeeze=False, layout="constrained"
    )
    at = np.arange(1, L + 1) / (L + 1)
    for axis, (name, lines) in zip(axes.flat, results.items(), strict=False):
        rows = verdict(lines)
        lower, upper = bands(len(lines), 1 - ERROR / len(rows))
        axis.fill_between(at, lower - at, upper - at, color="0.88", lw=0)
        for label, _, _, inside in rows:
            off = ecdf([line["ranks"][label] for line in lines]) - at
            joint = label == LOG_LIKELIHOOD
            color = "#b2182b" if joint else "#d6604d" if not inside else "#4d4d4d"
            axis.plot(at, off, color=color, lw=1.8 if joint else 0.8, label=LOG_LIKELIHOOD if joint else None)
        outside = [label for label, _, _, inside in rows if not inside]
        kind = "control: " if name in CONTROLS else ""
        counted = f"{len(rows) - len(outside)} inside, {len(outside)} outside"
        axis.set_title(f"{kind}{name}, {len(lines)}\n{counted}", fontsize=9)
        reach = max(0.13, *(abs(off) * 1.1 for _, off, _, _ in rows))
        axis.set_ylim(-reach, reach)
        axis.axhline(0, color="0.6", lw=0.6)
    for axis in axes.flat[len(results) :]:
        axis.set_axis_off()
    for axis in axes[-1]:
        axis.set_xlabel("normalised rank of the truth")
    for axis in axes[:, 0]:
        axis.set_ylabel("ECDF minus uniform")
    axes[0, 0].legend(fontsize=8, loc="lower left", frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def run(name, replications=REPLICATIONS, path=None):
    """Results of replications 0, 1, ..., those of an earlier run taken from the file."""
    if name in ("wrong-casual", "wrong-ties"):
        replications = min(replications, CONTROL_REPLICATIONS)
    done = {
        line["replication"]: line
        for line in read(path)
        if line["combination"] == name and line["replication"] < replications
    }
    for number in range(replications):
        if number not in done:
            done[number] = keep(one(name, number), path)
    return [done[number] for number in sorted(done)]


def detected(calibration, size, samples=400):
    """How often so many of the replications, chosen at random, leave their bands."""
    rng, ranks = np.random.default_rng(size), calibration.ranks.to_numpy()
    lower, upper = bands(size, calibration.level)
    left = 0
    for _ in range(samples):
        some = ranks[rng.choice(len(ranks), size, replace=False)]
        left += any(np.any((seen := ecdf(column)) < lower) or np.any(seen > upper) for column in some.T)
    return left / samples


def faults(replications, path, figure, method="sample"):
    """Each fault against logs of the right model, and the right model itself; True if all is as it should be."""
    from faults import FAULTS, RIGHT

    from earnest.diagnostics.calibration import calibrate

    good = True
    for name, model in {"right": RIGHT, **FAULTS}.items():
        results = path.with_stem(f"{path.stem}-{name}") if path else None
        found = calibrate(model, truth=RIGHT, replications=replications, results=results, method=method)
        print(f"\n{name}, {method}: {found.verdict}")
        print(found.table.round(3).to_string(index=False))
        if found.coverage is not None:
            print(found.coverage.round(3).to_string(index=False))
        wall = found.runs["wall_s"]
        print(f"a replication: median {wall.median():.2f} s; all {wall.sum() / 60:.1f} min")
        sizes = [n for n in (20, 40, 60, 100, 150) if n < replications]
        print("outside its bands with n replications:", ", ".join(f"{n}: {detected(found, n):.0%}" for n in sizes))
        sys.stdout.flush()
        good &= found.good == (name == "right")
        if figure:
            from earnest.diagnostics.calibration_plots import calibration_ecdf
            from earnest.diagnostics.figures import save_figure

            axes = calibration_ecdf(found)
            save_figure(axes[0].figure, figure.with_name(f"{figure.stem}-{name}"))
    return good


def main():
    everything = (*COMBINATIONS, *CONTROLS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("combinations", "faults"), default="combinations")
    parser.add_argument("--method", choices=("sample", "em"), default="sample", help="of the part faults")
    parser.add_argument("--combination", choices=(*everything, "all"), default="all")
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    parser.add_argument("--results", type=Path, help="JSON lines, one a replication; continued if it exists")
    parser.add_argument("--figure", type=Path, help="PNG of the ECDFs in their bands")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if options.part == "faults":
        replications = min(options.replications, CONTROL_REPLICATIONS)
        sys.exit(0 if faults(replications, options.results, options.figure, options.method) else 1)
    names = everything if options.combination == "all" else (options.combination,)
    results, good = {}, True
    for name in names:
        results[name] = run(name, options.replications, options.results)
        good &= report(name, results[name])
        sys.stdout.flush()
    if options.figure:
        draw(results, options.figure)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

"""Is the posterior the posterior? Simulation-based calibration of full Bayes, with controls that must fail.

    python benchmarks/calibration.py --results calibration.jsonl --figure calibration.png

One JSON line a replication; a run that was stopped goes on where it ended. Without --results nothing is written.

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

simuk.SBC fits (NUTS over a function whose `votes` default to None, because simuk leaves the argument out where it wants
prior predictive draws), but makes a new `MCMC` for each replication, which compiles anew (13 s each where this takes
0.2), and ranks functions of one parameter at a time, never the joint log-likelihood: so it is not used.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
from resumable import keep, read

USERS, VOTES, MODELS = 50, 8, ("model_1", "model_2", "model_3")
L, WARMUP, DRAWS, LONGEST, ENOUGH = 99, 500, 1000, 10_000, 200
STARTS = 4000  # draws of the prior, of which the likelihood chooses one
REPLICATIONS, CONTROL_REPLICATIONS = 400, 200
ERROR = 0.01  # chance that a right combination is called wrong
RANKED_USERS = 3
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


def design():
    """Who is shown what: user, first and second model of every vote, drawn once."""
    rng = np.random.default_rng(2018)
    user = np.repeat(np.arange(USERS), VOTES)
    first = rng.integers(len(MODELS), size=len(user))
    return user, first, (first + rng.integers(1, len(MODELS), size=len(user))) % len(MODELS)


def tell(model, seed):
    """Parameters from the prior, attentiveness and outcomes of the design from the generative story."""
    from earnest.comparisons.cells import Cells
    from earnest.comparisons.schema import Schema
    from earnest.models.component import CellView

    rng = np.random.default_rng(seed)
    user, first, second = design()
    schema = Schema(MODELS, ((0, 1), (0, 2), (1, 2)), model.preference.allows_ties)
    values = model.table(schema).sample_prior(rng)
    eta = np.asarray(model.attentiveness.sample(rng, values, USERS), dtype=float)
    view = CellView.of(Cells(schema, first, second, np.zeros(len(user), dtype=int), {}))
    attended = rng.random(len(user)) < eta[user]
    outcome = np.where(attended, model.preference.sample(rng, values, view), model.casual.sample(rng, values, view))
    return values, eta, outcome


class Machine:
    """The NumPyro model of one declaration on the design, compiled once for all logs."""

    def __init__(self, model):
        import jax
        import jax.numpy as jnp
        import pandas as pd
        from numpyro.infer.hmc import hmc
        from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

        import earnest as er
        from earnest.inference.arrays import JNP
        from earnest.inference.compiled import Statement, prior_points, settle
        from earnest.inference.in_numpyro import numpyro_model
        from earnest.inference.integration import choose_pieces
        from earnest.inference.tally import tally

        user, first, second = design()
        names = np.array(MODELS)
        blank = {"user": [f"user_{u + 1:02d}" for u in user], "model_a": names[first], "model_b": names[second]}
        blank["winner"] = np.where(np.arange(len(user)) % 3, "model_a", "model_b")
        columns = {name: name for name in blank}
        settled = settle(model, er.read_comparisons(pd.DataFrame(blank), **columns))
        self.model, self.table, self.tally = settled.model, settled.table, tally(settled.counts, merge=False)
        if not self.tally.dense:
            raise ValueError("expected a table with a column for everything shown")
        pieces = choose_pieces(self.model, self.tally, prior_points(self.table))
        statement = Statement(self.model, self.table, self.tally, "marginal", pieces)
        native = numpyro_model(statement)

        def potential(votes):
            return lambda free: potential_energy(native, (votes,), {}, free)

        start, sample = hmc(potential_fn_gen=potential, algo="NUTS")

        def begin(votes, values, key):
            free = unconstrain_fn(native, (votes,), {}, values)
            return start(
                free, WARMUP, dense_mass=True, target_accept_prob=0.9, step_size=0.1, model_args=(votes,), rng_key=key
            )

        def piece(state, votes):
            def step(state, _):
                state = sample(state, (votes,), {})
                return state, (state.z, {"diverging": state.diverging, "n_steps": state.num_steps})

            state, (free, stats) = jax.lax.scan(step, state, None, length=WARMUP)
            return state, jax.vmap(lambda z: constrain_fn(native, (votes,), {}, z))(free), stats

        def log_likelihood(values, votes):
            def at(one):
                p, c = statement.probabilities(JNP, one)
                return jnp.sum(statement.log_marginal(JNP, p, c, statement.rules(JNP, one), votes))

            return jax.vmap(at)(values)

        self.begin, self.piece, self.log_likelihood = jax.jit(begin), jax.jit(piece), jax.jit(log_likelihood)

    def count(self, outcome):
        """Outcomes of the design as the model's own table of votes, (user, shown, outcome)."""
        user, first, second = design()
        n = self.tally.count.shape[2]
        left, right = self.tally.cells.model_a[::n], self.tally.cells.model_b[::n]
        shown = {(int(a), int(b)): slot for slot, (a, b) in enumerate(zip(left, right, strict=True))}
        votes = np.zeros(self.tally.count.shape)
        for u, a, b, y in zip(user, first, second, outcome, strict=True):
            if (a, b) in shown:
                votes[u, shown[a, b], y] += 1
            else:  # a model that does not look at the order has each pair in one order only
                votes[u, shown[b, a], (1, 0, 2)[y]] += 1
        return votes

    def start(self, votes, rng):
        """One of many draws of the prior, resampled by their likelihood."""
        draws = {p.name: p.prior.sample(rng, (STARTS, *self.table.shape(p))) for p in self.table.parameters}
        pieces = [{k: v[i : i + WARMUP] for k, v in draws.items()} for i in range(0, STARTS, WARMUP)]
        log_likelihood = np.concatenate([np.asarray(self.log_likelihood(piece, votes)) for piece in pieces])
        chosen = np.argmax(log_likelihood + rng.gumbel(size=STARTS))
        return {k: v[chosen] for k, v in draws.items()}

    def posterior(self, votes, seed):
        """Draws {parameter: (draw, ...)}, ranked quantities of them {label: (draw,)}, and how the chain went."""
        import jax
        from arviz_stats.base import array_stats

        rng = np.random.default_rng([*seed, 1])
        values = self.start(votes, rng)
        state = self.begin(votes, values, jax.random.key(int(rng.integers(2**31))))
        state, _, warm = self.piece(state, votes)
        parts, stats = [], []
        while True:
            for _ in range(DRAWS // WARMUP):
                state, drawn, stat = self.piece(state, votes)
                parts.append(jax.tree.map(np.asarray, drawn))
                stats.append(jax.tree.map(np.asarray, stat))
            drawn = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            quantities = self.quantities(drawn)
            quantities[LOG_LIKELIHOOD] = np.concatenate([np.asarray(self.log_likelihood(p, votes)) for p in parts])
            ess = {k: float(array_stats.ess(x[None], chain_axis=0, draw_axis=1)) for k, x in quantities.items()}
            slowest = min(ess, key=ess.get)
            n = len(quantities[slowest])
            if ess[slowest] >= ENOUGH or n >= LONGEST:
                break
        went = {
            "draws": n, "ess": round(ess[slowest], 1), "slowest": slowest,
            "divergences": int(sum(s["diverging"].sum() for s in stats)),
            "steps": round(float(np.mean([s["n_steps"].mean() for s in stats])), 1),
            "warmup_steps": round(float(np.asarray(warm["n_steps"]).mean()), 1),
        }  # fmt: skip
        return drawn, quantities, went

    def quantities(self, values):
        """{label: (draw,)} of every free scalar, labels of groups in their canonical order."""
        from earnest.models.supports import Simplex

        n = len(next(iter(values.values())))
        each = [self.model.attentiveness.canonical({k: v[i] for k, v in values.items()}) for i in range(n)]
        out = {}
        for parameter in self.table.parameters:
            rows = np.array([one[parameter.name] for one in each]).reshape(n, -1)
            two_shares = isinstance(parameter.support, Simplex) and rows.shape[1] == 2
            for i in range(1 if two_shares else rows.shape[1]):
                label = parameter.name if rows.shape[1] == 1 else f"{parameter.name}[{i}]"
                out[label] = rows[:, i]
        return out

    def attentiveness(self, values, votes, rng):
        """Attentiveness of every user drawn given each draw of the globals, (draw, user)."""
        from earnest.comparisons.cells import Cells, Counts
        from earnest.inference.users_given import users_given

        view, n = self.tally.cells, self.tally.count.shape[2]
        user, slot, y = np.nonzero(votes)
        cells = Cells(self.tally.schema, view.model_a, view.model_b, view.outcome, {})
        counts = Counts(self.tally.users, cells, user, slot * n + y, votes[user, slot, y])
        uniforms = rng.random((len(next(iter(values.values()))), USERS))
        pieces = users_given(self.model, counts, values, lambda first, n: uniforms[first : first + n])
        return np.concatenate([piece.attentiveness for piece in pieces])


@lru_cache(maxsize=1)  # compiled programs of one combination at a time
def machine(name):
    return Machine(declare(fitted_parts(name)))


def one(name, number):
    """One replication: the ranks, and how the chain went, as JSON can hold it."""
    import jax

    with jax.enable_x64(True):
        return _one(name, number)


def _one(name, number):
    logs = name if name in COMBINATIONS else MAIN
    seed = [number, *logs.encode()]
    truth, eta, outcome = tell(declare(COMBINATIONS[logs]), [*seed, 0])
    fitted = machine(name)
    votes = fitted.count(outcome)
    rng = np.random.default_rng([*seed, 2])
    start = time.perf_counter(), time.process_time()
    if name == "prior-returned":
        prior = [fitted.table.sample_prior(rng) for _ in range(L)]
        values = {k: np.array([one[k] for one in prior]) for k in prior[0]}
        drawn_eta = np.array([fitted.model.attentiveness.sample(rng, one, USERS) for one in prior])
        went = {}
    else:
        values, _, went = fitted.posterior(votes, seed)
        kept = np.rint(np.linspace(0, went["draws"], L + 1)[1:]).astype(int) - 1
        values = {k: v[kept] for k, v in values.items()}
        drawn_eta = fitted.attentiveness(values, votes, rng)
    true = {p.name: truth[p.name] for p in fitted.table.parameters}
    both = {k: np.concatenate([v, true[k][None]]) for k, v in values.items()}
    ranked = fitted.quantities(both)
    ranked[LOG_LIKELIHOOD] = np.asarray(fitted.log_likelihood(both, votes))
    all_eta = np.concatenate([drawn_eta, eta[None]])
    ranked.update({f"attentiveness[{u}]": all_eta[:, u] for u in range(RANKED_USERS)})
    ranked["attentiveness, mean of users"] = all_eta.mean(1)
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    ranks = {label: rank(x[-1], x[:-1], rng) for label, x in ranked.items()}
    return {"combination": name, "replication": number, "ranks": ranks, **went,
            "wall_s": round(wall, 3), "cpu_s": round(cpu, 3)}  # fmt: skip


def rank(true, draws, rng):
    """Number of draws below the truth, ties broken at random."""
    return int((draws < true).sum() + rng.integers((draws == true).sum() + 1))


@lru_cache
def _narrowest(n, size=100_000):
    """Of many samples of n uniform ranks: how far in the binomial tail the ECDF comes at its worst point, sorted."""
    from scipy import stats

    rng = np.random.default_rng(2022)
    count, at = np.arange(n + 1)[:, None], np.arange(1, L + 1) / (L + 1)
    tail = np.minimum(stats.binom.cdf(count, n, at), stats.binom.sf(count - 1, n, at))
    worst = []
    for _ in range(size // 1000):
        below = rng.multinomial(n, np.full(L + 1, 1 / (L + 1)), size=1000).cumsum(1)[:, :-1]
        worst.append(tail[below, np.arange(L)].min(1))
    return np.sort(np.concatenate(worst))


def bands(n, level):
    """Simultaneous bands of the ECDF of n ranks at k / (L + 1), k = 1 .. L: (lower, upper), (L,) each."""
    from scipy import stats

    tail = np.quantile(_narrowest(n), 1 - level)
    at = np.arange(1, L + 1) / (L + 1)
    return stats.binom.ppf(tail, n, at) / n, stats.binom.isf(tail, n, at) / n


def ecdf(ranks):
    """Share of ranks below k, k = 1 .. L, (L,)."""
    return np.searchsorted(np.sort(ranks), np.arange(1, L + 1)) / len(ranks)


def verdict(lines):
    """Rows of (quantity, largest deviation, its share of the band's width, inside or not) for one combination."""
    labels = list(lines[0]["ranks"])
    lower, upper = bands(len(lines), 1 - ERROR / len(labels))
    at, rows = np.arange(1, L + 1) / (L + 1), []
    for label in labels:
        seen = ecdf([line["ranks"][label] for line in lines])
        off = seen - at
        # Where a bound is 0 or 1 nothing can cross it.
        above, below = np.where(upper < 1, off / (upper - at), 0), np.where(lower > 0, off / (lower - at), 0)
        share = np.max(np.where(off >= 0, above, below))
        inside = bool(np.all((lower <= seen) & (seen <= upper)))
        rows.append((label, float(off[np.argmax(np.abs(off))]), float(share), inside))
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


def main():
    everything = (*COMBINATIONS, *CONTROLS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--combination", choices=(*everything, "all"), default="all")
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    parser.add_argument("--results", type=Path, help="JSON lines, one a replication; continued if it exists")
    parser.add_argument("--figure", type=Path, help="PNG of the ECDFs in their bands")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
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

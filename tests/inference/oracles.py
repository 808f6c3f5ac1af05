"""What the inference must give, computed another way: plain Python, NumPy, SciPy and mpmath; nothing of Earnest.

Formulas are written out from the papers (Bradley and Terry 1952, Davidson 1970, Rao and Kupper 1967) and from the
definition of the behavioural model, one comparison at a time or one polynomial at a time.
"""

from itertools import product
from math import exp, log, sqrt

import mpmath
import numpy as np
from scipy import optimize, special, stats

# ---------------------------------------------------------------------------------------------- outcomes


def tie_rule_probabilities(rule, strength_ratio, values):
    """(first wins, second wins, tie) for a ratio of strengths s."""
    s = strength_ratio
    if rule == "none":
        return np.array([s / (s + 1), 1 / (s + 1)])
    if rule == "davidson":
        weights = np.array([s, 1.0, float(values["tie_strength"]) * sqrt(s)])
        return weights / weights.sum()
    theta = float(values["tie_threshold"])
    first, second = s / (s + theta), 1 / (1 + theta * s)
    return np.array([first, second, 1 - first - second])


def ratio_from_odds(rule, odds, values):
    """Ratio of strengths that has these odds among decided outcomes."""
    if rule != "rao_kupper":
        return odds
    theta = float(values["tie_threshold"])
    return ((odds - 1) + sqrt((odds - 1) ** 2 + 4 * theta**2 * odds)) / (2 * theta)


def preference_probabilities(kind, rule, values, a, b, pairs, order=(), mu=0.7):
    """P of every outcome when model a is shown first and b second (indices)."""
    if kind == "skill":
        ratio = exp(values["skill"][a] - values["skill"][b])
    elif kind == "pair":
        win = values["advantage"][pairs.index((min(a, b), max(a, b)))]
        win = win if a < b else 1 - win
        ratio = ratio_from_odds(rule, win / (1 - win), values)
    else:
        win = mu if order.index(a) < order.index(b) else 1 - mu
        ratio = ratio_from_odds(rule, win / (1 - win), values)
    return tie_rule_probabilities(rule, ratio, values)


def casual_probabilities(kind, values, n_outcomes):
    """C of every outcome."""
    return np.full(n_outcomes, 1 / n_outcomes) if kind == "coin" else np.asarray(values["casual_outcome"], dtype=float)


# ---------------------------------------------------------------------------------------------- one user, exactly


def log_coefficients(p, c, n):
    """Log of the coefficients e_s of prod_c (P_c t + C_c)^n_c, s = 0..sum(n)."""
    total = np.zeros(1)
    with np.errstate(divide="ignore"):
        for p_c, c_c, n_c in zip(p, c, n, strict=True):
            s = np.arange(n_c + 1)
            power = special.gammaln(n_c + 1) - special.gammaln(s + 1) - special.gammaln(n_c - s + 1)
            power = power + special.xlogy(s, p_c) + special.xlogy(n_c - s, c_c)
            out = np.full(len(total) + n_c, -np.inf)
            short, long = (power, total) if len(power) < len(total) else (total, power)
            for j, value in enumerate(short):
                out[j : j + len(long)] = np.logaddexp(out[j : j + len(long)], value + long)
            total = out
    return total


class ExactUser:
    """The posterior of a user as a finite mixture of Betas."""

    def __init__(self, p, c, n, alpha, beta):
        n = [int(x) for x in n]
        size = sum(n)
        s = np.arange(size + 1)
        self.a, self.b = alpha + s, beta + size - s
        log_terms = log_coefficients(p, c, n) + special.betaln(self.a, self.b)
        self.log_marginal = special.logsumexp(log_terms) - special.betaln(alpha, beta)
        self.weight = np.exp(log_terms - special.logsumexp(log_terms))
        means = self.a / (self.a + self.b)
        self.mean = float(self.weight @ means)
        within = means * (1 - means) / (self.a + self.b + 1)
        self.sd = sqrt(float(self.weight @ (within + (means - self.mean) ** 2)))

    def cdf(self, x):
        """Distribution function of attentiveness."""
        return float(self.weight @ special.betainc(self.a, self.b, x))


def quadrature_user(p, c, n, alpha, beta):
    """Mean and sd of a user with any number of comparisons: mpmath.quad on the logit scale, in the log domain."""
    with mpmath.workdps(25):
        p, c, n = ([mpmath.mpf(float(x)) for x in column] for column in (p, c, n))
        alpha, beta = mpmath.mpf(alpha), mpmath.mpf(beta)

        def log_density(x):
            log_eta = -mpmath.log1p(mpmath.exp(-x)) if x > 0 else x - mpmath.log1p(mpmath.exp(x))
            eta, rest = mpmath.exp(log_eta), mpmath.exp(log_eta - x)
            total = alpha * log_eta + beta * (log_eta - x)
            return total + sum(k * mpmath.log(eta * a + rest * b) for a, b, k in zip(p, c, n, strict=True))

        def slope(x):
            eta = 1 / (1 + mpmath.exp(-x))
            rest = 1 / (1 + mpmath.exp(x))
            likelihood = sum(k * (a - b) / (eta * a + rest * b) for a, b, k in zip(p, c, n, strict=True))
            return alpha * rest - beta * eta + eta * rest * likelihood

        low, high = mpmath.mpf(-3000), mpmath.mpf(3000)
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) > 0 else (low, middle)
        mode = (low + high) / 2
        peak = log_density(mode)
        ends = []
        for side in (-1, 1):
            distance = mpmath.mpf("1e-5")
            while peak - log_density(mode + side * distance) < 80:
                distance *= 1.3
            ends.append(distance)
        # Break points follow the density's scale, which differs between the sides by orders of magnitude.
        share = [mpmath.mpf(x) for x in ("0.003", "0.01", "0.03", "0.08", "0.15", "0.3", "0.6", "1")]
        points = [mode - ends[0] * f for f in reversed(share)] + [mode] + [mode + ends[1] * f for f in share]

        density = {}  # every moment asks at the same points

        def weight(x):
            if x not in density:
                density[x] = mpmath.exp(log_density(x) - peak)
            return density[x]

        def moment(function):
            return mpmath.quad(lambda x: weight(x) * function(x), points, maxdegree=4)

        total = moment(lambda x: 1)
        mean = moment(lambda x: 1 / (1 + mpmath.exp(-x))) / total
        variance = moment(lambda x: (1 / (1 + mpmath.exp(-x)) - mean) ** 2) / total
        return float(mean), float(mpmath.sqrt(variance))


# ---------------------------------------------------------------------------------------------- a whole log


def log_prior(values, alpha_beta=True):
    """Log-density of the default priors on the constrained scale, by SciPy."""
    total = 0.0
    for name, value in values.items():
        value = np.asarray(value, dtype=float)
        if name in ("attentiveness_alpha", "attentiveness_beta"):
            total += stats.lognorm.logpdf(value, 1.0) if alpha_beta else 0.0
        elif name == "skill":
            # Normal(0, 2) given that they sum to zero: the density of n - 1 independent ones on that plane.
            total += stats.norm.logpdf(value, scale=2.0).sum() - stats.norm.logpdf(0.0, scale=2.0)
        elif name == "advantage":
            total += stats.beta.logpdf(value, 2, 2).sum()
        elif name == "tie_strength":
            total += stats.lognorm.logpdf(value, 1.0)
        elif name == "tie_threshold":
            total += stats.lognorm.logpdf(value - 1.0, 1.0)
        elif name in ("casual_outcome", "attentiveness_weight"):
            total += stats.dirichlet.logpdf(value / value.sum(), np.full(len(value), 2.0))
        elif name == "attentiveness_level":
            total += stats.beta.logpdf(value, 2, 2).sum()
        else:
            raise AssertionError(name)
    return float(total)


class Votes:
    """Votes as rows of indices (user, first, second, outcome), and the model in the oracle's own words."""

    def __init__(self, rows, n_models, kind, rule, casual, levels=None, order=(), mu=0.7):
        self.rows = np.asarray(rows, dtype=int).reshape(-1, 4)
        self.n_users = int(self.rows[:, 0].max()) + 1
        self.n_models, self.kind, self.rule, self.casual = n_models, kind, rule, casual
        self.levels, self.order, self.mu = levels, order, mu
        self.n_outcomes = 2 if rule == "none" else 3
        met = {(min(a, b), max(a, b)) for _, a, b, _ in self.rows.tolist()}
        self.pairs = sorted(met)

    def probabilities(self, values):
        """(P, C) of every vote."""
        table = {}
        for a, b in product(range(self.n_models), repeat=2):
            if (min(a, b), max(a, b)) in self.pairs:
                table[a, b] = preference_probabilities(
                    self.kind, self.rule, values, a, b, self.pairs, self.order, self.mu
                )
        casual = casual_probabilities(self.casual, values, self.n_outcomes)
        p = np.array([table[a, b][y] for _, a, b, y in self.rows.tolist()])
        return p, casual[self.rows[:, 3]]

    def population(self, values, nodes=60):
        """Nodes eta_k and log-weights: Gauss-Jacobi for a Beta population (exact up to 119 votes), or the levels."""
        if self.levels is not None or "attentiveness_weight" in values or "attentiveness_level" in values:
            levels = self.levels if self.levels is not None else values["attentiveness_level"]
            weight = values.get("attentiveness_weight", np.ones(1))
            return np.asarray(levels, dtype=float), np.log(np.asarray(weight, dtype=float))
        x, w = special.roots_jacobi(
            nodes, float(values["attentiveness_beta"]) - 1, float(values["attentiveness_alpha"]) - 1
        )
        return (x + 1) / 2, np.log(w) - np.log(w.sum())

    def user_log_likelihoods(self, values):
        """log L_u and the log-posterior weights of the nodes."""
        p, c = self.probabilities(values)
        eta, log_w = self.population(values)
        with np.errstate(divide="ignore"):
            per_vote = np.log(p[:, None] * eta + c[:, None] * (1 - eta))
        joint = np.tile(log_w, (self.n_users, 1))
        np.add.at(joint, self.rows[:, 0], per_vote)
        log_l = special.logsumexp(joint, axis=1)
        return log_l, joint - log_l[:, None], eta

    def objective(self, values, prior=True):
        """Marginal log-likelihood, plus the log prior."""
        return float(self.user_log_likelihoods(values)[0].sum()) + (log_prior(values) if prior else 0.0)

    def means(self, values):
        """(mean, sd) of every user's attentiveness."""
        _, log_weight, eta = self.user_log_likelihoods(values)
        weight = np.exp(log_weight)
        mean = weight @ eta
        return mean, np.sqrt((weight * (eta - mean[:, None]) ** 2).sum(1))

    def label_objective(self, values, eta, prior=True, user_prior=(1.0, 1.0)):
        """The likelihood with a free attentiveness for every user."""
        p, c = self.probabilities(values)
        own = eta[self.rows[:, 0]]
        with np.errstate(divide="ignore"):
            total = float(np.log(own * p + (1 - own) * c).sum())
            a, b = user_prior
            total += float((special.xlogy(a - 1, eta) + special.xlog1py(b - 1, -eta)).sum())
        return total + (log_prior(values) if prior else 0.0)

    def textbook_label_em(self, values, iterations=20000):
        """The iteration of the paper at known P and C: r = eta P / (eta P + (1 - eta) C), eta = mean r."""
        p, c = self.probabilities(values)
        user = self.rows[:, 0]
        n = np.bincount(user, minlength=self.n_users)
        eta = np.full(self.n_users, 0.5)
        for _ in range(iterations):
            r = eta[user] * p / (eta[user] * p + (1 - eta[user]) * c)
            eta = np.bincount(user, weights=r, minlength=self.n_users) / n
        return eta

    def best_label_attentiveness(self, values, user_prior=(1.0, 1.0)):
        """Each user's best attentiveness at fixed globals, by a bounded one-dimensional search."""
        p, c = self.probabilities(values)
        best = []
        for u in range(self.n_users):
            mine = self.rows[:, 0] == u

            def loss(x, mine=mine):
                return -(
                    np.log(x * p[mine] + (1 - x) * c[mine]).sum()
                    + (user_prior[0] - 1) * log(max(x, 1e-300))
                    + (user_prior[1] - 1) * log(max(1 - x, 1e-300))
                )

            found = optimize.minimize_scalar(loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-12})
            ends = {0.0: np.inf, 1.0: np.inf} if user_prior != (1.0, 1.0) else {e: loss(e) for e in (0.0, 1.0)}
            candidates = {float(found.x): float(found.fun), **ends}
            best.append(min(candidates, key=candidates.get))
        return np.array(best)


# ---------------------------------------------------------------------------------------------- optimisation


class Coordinates:
    """The oracle's own unconstrained coordinates: differences from the last skill, logs, logits, log-ratios."""

    def __init__(self, values):
        self.shapes = {name: np.shape(value) for name, value in values.items()}

    def free(self, values):
        parts = []
        for name, value in values.items():
            value = np.asarray(value, dtype=float)
            if name == "skill":
                parts.append(value[:-1] - value[-1])
            elif name in ("casual_outcome", "attentiveness_weight"):
                parts.append(np.log(value[:-1] / value[-1]))
            elif name in ("advantage", "attentiveness_level"):
                parts.append(special.logit(value))
            else:
                parts.append(np.atleast_1d(np.log(value - (1.0 if name == "tie_threshold" else 0.0))))
        return np.concatenate(parts) if parts else np.zeros(0)

    def values(self, free):
        out, start = {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape)) - (name in ("skill", "casual_outcome", "attentiveness_weight"))
            part = np.asarray(free[start : start + size])
            start += size
            if name == "skill":
                full = np.append(part, 0.0)
                out[name] = full - full.mean()
            elif name in ("casual_outcome", "attentiveness_weight"):
                full = np.append(part, 0.0)
                out[name] = np.exp(full - special.logsumexp(full))
            elif name in ("advantage", "attentiveness_level"):
                out[name] = special.expit(part)
            else:
                out[name] = np.exp(part).reshape(shape) + (1.0 if name == "tie_threshold" else 0.0)
        return out


def maximise(objective, start, tolerance=1e-13):
    """L-BFGS on numerical gradients (central differences); the maximiser and the maximum."""

    def loss(z):
        return -objective(z)

    def slope(z):
        return numerical_gradient(loss, z)

    bounds = [(-6.0, 6.0)] * len(start)
    result = optimize.minimize(
        loss, start, jac=slope, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": 3000, "maxfun": 20000, "ftol": tolerance, "gtol": 1e-8, "maxcor": 20},
    )  # fmt: skip
    return result.x, -float(result.fun)


def numerical_gradient(function, z, step=1e-5):
    z = np.asarray(z, dtype=float)
    out = np.zeros_like(z)
    for i in range(len(z)):
        move = np.zeros_like(z)
        move[i] = step
        out[i] = (8 * (function(z + move) - function(z - move)) - (function(z + 2 * move) - function(z - 2 * move))) / (
            12 * step
        )
    return out


def numerical_hessian(function, z, step=1e-3):
    z = np.asarray(z, dtype=float)
    out = np.zeros((len(z), len(z)))
    for i in range(len(z)):
        move = np.zeros_like(z)
        move[i] = step
        out[i] = (numerical_gradient(function, z + move, 1e-4) - numerical_gradient(function, z - move, 1e-4)) / (
            2 * step
        )
    return 0.5 * (out + out.T)

"""3 users x 4 comparisons: the posterior by numerical integration over all globals, and what the samplers say."""

import runpy
from pathlib import Path

import arviz_stats
import numpy as np
import pytest
from scipy import special, stats

import earnest as er

_here = Path(__file__)
_logs = runpy.run_path(str(_here.with_name("logs.py")))
_oracles = _logs["oracles"]

# x is the stronger one: a user who mostly sides with it, one who does not care, one against it.
CHOSEN = {"ann": "xxxx", "bob": "xyxy", "cid": "yyxy"}
N, MU = 4, 0.95  # of so few votes each must say much
ROWS = [
    (user, *(("x", "y") if i % 2 else ("y", "x")), "model_a" if (model == "x") == bool(i % 2) else "model_b")
    for user, chosen in CHOSEN.items()
    for i, model in enumerate(chosen)
]
LOG = _logs["log_of"](ROWS)
BETA = er.BehaviorModel(er.Beta(), er.KnownAdvantage(MU, stronger=("x", "y")), er.CoinFlip())
GROUPS = er.BehaviorModel(er.Groups((0.1, 0.9)), er.PairAdvantage(), er.CoinFlip())
DRAWS = {"chains": 4, "draws": 3000, "tune": 400, "seed": 11, "init": "prior", "predictive": 0}


def moments(weight, **quantities):
    """{name: (mean, sd)} under weights on a grid."""
    weight = weight / weight.sum()
    out = {}
    for name, (mean, square) in quantities.items():
        first = (weight * mean).sum()
        out[name] = float(first), float(np.sqrt((weight * square).sum() - first**2))
    return out


@pytest.fixture(scope="module")
def exact_beta():
    """Trapezoidal rule over (log alpha, log beta); a user is a finite mixture of Betas at every point."""
    log_shape = np.linspace(-9.0, 9.0, 361)
    log_a, log_b = np.meshgrid(log_shape, log_shape, indexing="ij")
    a, b = np.exp(log_a)[..., None], np.exp(log_b)[..., None]
    log_density = stats.norm.logpdf(log_a) + stats.norm.logpdf(log_b)
    s = np.arange(N + 1)
    users = {}
    for user, chosen in CHOSEN.items():
        wins = chosen.count("x")
        e = _oracles["log_coefficients"]([MU, 1 - MU], [0.5, 0.5], [wins, N - wins])
        terms = e + special.betaln(a + s, b + N - s) - special.betaln(a, b)
        log_l = special.logsumexp(terms, axis=-1)
        mixture = np.exp(terms - log_l[..., None])
        mean = (a + s) / (a + b + N)
        square = mean * (a + s + 1) / (a + b + N + 1)
        users[user] = (mixture * mean).sum(-1), (mixture * square).sum(-1)
        log_density = log_density + log_l
    a, b = a[..., 0], b[..., 0]
    weight = np.exp(log_density - log_density.max())
    assert weight[[0, -1]].max() < 1e-9
    assert weight[:, [0, -1]].max() < 1e-9
    return moments(weight, attentiveness_alpha=(a, a**2), attentiveness_beta=(b, b**2), **users)


@pytest.fixture(scope="module")
def exact_groups():
    """Gauss-Legendre over the advantage and the share of the attentive: a polynomial, so exact."""
    x, w = np.polynomial.legendre.leggauss(40)
    x, w = (x + 1) / 2, w / 2
    advantage, share = np.meshgrid(x, x, indexing="ij")
    weight = np.outer(w, w) * stats.beta.pdf(advantage, 2, 2) * stats.beta.pdf(share, 2, 2)
    users = {}
    for user, chosen in CHOSEN.items():
        wins = chosen.count("x")
        level = {eta: (eta * advantage + (1 - eta) / 2) ** wins * (eta * (1 - advantage) + (1 - eta) / 2) ** (N - wins)
                 for eta in (0.1, 0.9)}  # fmt: skip
        likelihood = (1 - share) * level[0.1] + share * level[0.9]
        attentive = share * level[0.9] / likelihood
        users[user] = 0.1 + 0.8 * attentive, 0.01 + 0.8 * attentive
        weight = weight * likelihood
    return moments(weight, advantage=(advantage, advantage**2), attentiveness_weight=(share, share**2), **users)


def found(tree):
    """{name: draws (chain, draw)}; of a simplex the last share, of users each by name."""
    posterior = tree["posterior"]
    out = {}
    for name, values in posterior.data_vars.items():
        if name == "attentiveness":
            out |= {user: values.sel(user=user).to_numpy() for user in CHOSEN}
        else:
            out[name] = values.to_numpy().reshape(*values.shape[:2], -1)[..., -1]
    return out


def agree(draws, exact):
    """Mean and sd of every quantity within 6 Monte-Carlo standard errors, and those small enough to mean something."""
    assert set(draws) == set(exact)
    for name, (mean, sd) in exact.items():
        values = draws[name]
        assert float(arviz_stats.rhat(values)) < 1.02, name
        for what, value, truth in (("mean", values.mean(), mean), ("sd", values.std(), sd)):
            error = float(arviz_stats.mcse(values, method=what))
            assert abs(value - truth) < 6 * error, f"{name}: {what} {value:.5f}, exact {truth:.5f}, MCSE {error:.5f}"
        assert float(arviz_stats.mcse(values, method="mean")) < 0.08 * sd, name


@pytest.mark.parametrize("latent", ["marginal", "explicit"])
@pytest.mark.parametrize("backend", ["numpyro", "pymc"])
def test_a_continuous_population(backend, latent, exact_beta):
    tree = er.sample(BETA, LOG, backend=backend, latent=latent, target_accept=0.95, **DRAWS)
    assert tree.attrs["form"] == latent
    draws = found(tree)
    agree(draws, exact_beta)
    # Negative control: another user's exact answer.
    with pytest.raises(AssertionError):
        agree({**draws, "ann": draws["cid"]}, exact_beta)


@pytest.mark.parametrize("backend", ["numpyro", pytest.param("pymc", marks=pytest.mark.long)])
def test_a_finite_population(backend, exact_groups):
    """The explicit form sums finite latents out too: it is the same program."""
    tree = er.sample(GROUPS, LOG, backend=backend, latent="explicit", **DRAWS)
    assert tree.attrs["form"] == "marginal"
    agree(found(tree), exact_groups)

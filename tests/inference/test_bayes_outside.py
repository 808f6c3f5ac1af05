"""Components defined here, outside the package: sampled in both backends and both forms with no edit elsewhere."""

import runpy
from dataclasses import dataclass, field
from pathlib import Path

import arviz_stats
import numpy as np
import pytest
from scipy import stats

import earnest as er

_logs = runpy.run_path(str(Path(__file__).with_name("logs.py")))


@dataclass(frozen=True)
class LongestName(er.Casual):
    """Careless users pick the model with the longer name, with probability `longer_name` (a tie never)."""

    prior: er.priors.Prior = field(default_factory=lambda: er.priors.Beta(8.0, 2.0))

    def parameters(self, schema):
        return (er.Parameter("longer_name", self.prior),)

    def log_prob(self, xp, values, cells):
        length = np.array([len(name) for name in cells.schema.models])
        longer = xp.stack(list(np.sign(length[:, None] - length).ravel()))[cells.model_a * len(length) + cells.model_b]
        wins = 0.5 + longer * (values["longer_name"] - 0.5)
        return xp.where(cells.won_a, xp.log(wins), xp.log1p(-wins))


@dataclass(frozen=True)
class LogitNormalOutside(er.Attentiveness):
    """logit(eta) ~ Normal(loc, scale): continuous, without Gauss quadrature of its own."""

    def parameters(self, schema):
        return (
            er.Parameter("attentiveness_loc", er.priors.Normal(0.0, 1.5)),
            er.Parameter("attentiveness_scale", er.priors.HalfNormal(2.0)),
        )

    def latents(self, schema):
        return er.Continuous()

    def log_weights(self, xp, values, latent):
        scale = values["attentiveness_scale"]
        return -0.5 * ((latent - values["attentiveness_loc"]) / scale) ** 2 - xp.log(scale) - 0.5 * np.log(2 * np.pi)

    def sample(self, rng, values, size):
        return 1 / (1 + np.exp(-rng.normal(values["attentiveness_loc"], values["attentiveness_scale"], size)))


MODEL = er.BehaviorModel(LogitNormalOutside(), er.BradleyTerry(), LongestName())
TRUE = {
    "skill": [1.2, -1.2],
    "longer_name": 0.9,
    "attentiveness_loc": 0.5,
    "attentiveness_scale": 1.5,
}
SETTINGS = {"chains": 2, "tune": 300, "seed": 4, "predictive": 5}


@pytest.fixture(scope="module")
def truth():
    # The strong model has the shorter name.
    return MODEL.simulate(users=30, comparisons_per_user=10, models=["ada", "lovelace"], seed=8, parameters=TRUE)


@pytest.fixture(scope="module")
def reference(truth):
    """The posterior by another road: importance sampling from the prior, users by Gauss-Hermite, all in NumPy."""
    rng = np.random.default_rng(0)
    n = 400_000
    skill = rng.normal(0, 2.0 / np.sqrt(2), n)  # of the first model; the second's is minus that
    longer = rng.beta(8, 2, n)
    loc, scale = rng.normal(0, 1.5, n), np.abs(rng.normal(0, 2.0, n))
    frame = _logs["frame_of"](truth.log)
    # All that matters of a vote: whether "ada", the stronger, was chosen.
    chosen = np.where(frame["winner"] == "model_a", frame["model_a"], frame["model_b"]) == "ada"
    wins = np.bincount(np.unique(frame["user"], return_inverse=True)[1], weights=chosen).astype(int)
    x, w = np.polynomial.hermite_e.hermegauss(40)
    eta = 1 / (1 + np.exp(-(loc[:, None] + scale[:, None] * x)))
    p = 1 / (1 + np.exp(-2 * skill))[:, None]
    m = eta * p + (1 - eta) * (1 - longer)[:, None]
    log_l = np.zeros(n)
    for k, users in zip(*np.unique(wins, return_counts=True), strict=True):
        log_l += users * np.log((m**k * (1 - m) ** (10 - k)) @ (w / w.sum()))
    weight = np.exp(log_l - log_l.max())
    weight /= weight.sum()
    size = 1 / (weight**2).sum()
    assert size > 2000
    out = {}
    for name, value in {
        "skill": skill,
        "longer_name": longer,
        "attentiveness_loc": loc,
        "attentiveness_scale": scale,
    }.items():
        mean = weight @ value
        sd = np.sqrt(weight @ (value - mean) ** 2)
        out[name] = mean, sd, sd / np.sqrt(size)
    return out


# Each road compiles for long: the ordinary run goes one way by either backend and either form.
@pytest.mark.parametrize(
    ("backend", "latent"),
    [
        ("numpyro", "marginal"),
        ("pymc", "explicit"),
        pytest.param("numpyro", "explicit", marks=pytest.mark.long),
        pytest.param("pymc", "marginal", marks=pytest.mark.long),
    ],
)
def test_it_is_sampled(truth, reference, backend, latent):
    # The explicit form has a funnel where the scale is small: it takes more draws to say as much.
    draws = 400 if latent == "marginal" else 1500
    tree = er.sample(MODEL, truth.log, backend=backend, latent=latent, draws=draws, target_accept=0.95, **SETTINGS)
    assert tree.attrs["form"] == latent
    assert er.BehaviorModel.from_toml(tree.attrs["declaration"]) == MODEL
    posterior = tree["posterior"]
    for name, (mean, sd, error) in reference.items():
        draws = posterior[name].to_numpy()
        draws = draws[..., 0] if name == "skill" else draws
        mcse = float(arviz_stats.mcse(draws, method="mean"))
        assert mcse < 0.2 * sd, name
        allowed = 6 * np.hypot(mcse, error)
        assert abs(draws.mean() - mean) < allowed, (name, draws.mean(), mean, mcse)
        assert allowed < 1.5 * sd, name
    eta = truth.attentiveness["attentiveness"].to_numpy()
    assert list(posterior["user"].to_numpy()) == list(truth.attentiveness["user"])
    assert stats.spearmanr(posterior["attentiveness"].mean(("chain", "draw")), eta).statistic > 0.5
    assert tree["log_likelihood"]["votes"].dims == ("chain", "draw", "user")
    assert tree["posterior_predictive"]["votes"].sizes["draw"] == 5

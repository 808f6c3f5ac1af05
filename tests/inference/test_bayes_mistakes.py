"""What cannot be sampled is refused before anything compiles, in words that name the argument and the remedy."""

import runpy
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import pytest

import earnest as er
from earnest.comparisons.errors import EarnestError, InputError

log_of = runpy.run_path(str(Path(__file__).with_name("logs.py")))["log_of"]
VOTES = [("ann", "x", "y", "model_a"), ("ann", "y", "x", "model_b"), ("bob", "x", "y", "model_b")]
LOG = log_of(VOTES)
TIED = log_of([*VOTES, ("bob", "y", "x", "tie")])
MODEL = er.BehaviorModel()

SETTINGS = {
    "backend": ({"backend": "stan"}, ["backend='stan'", "'numpyro' or 'pymc'"]),
    "latent": ({"latent": "both"}, ["latent='both'", "'auto' or 'marginal' or 'explicit'"]),
    "init": ({"init": "random"}, ["init='random'", "'modes' or 'prior'"]),
    "keep_users": ({"keep_users": "all"}, ["keep_users='all'", "'summary'"]),
    "no draws": ({"draws": 0}, ["draws=0", "whole number, 4 or more"]),
    "half a draw": ({"draws": 100.5}, ["draws=100.5", "whole number"]),
    "no chain": ({"chains": 0}, ["chains=0", "whole number, 1 or more"]),
    "chains in words": ({"chains": "four"}, ["chains='four'", "whole number"]),
    "true as a number": ({"tune": True}, ["tune=True", "whole number, 20 or more"]),
    "negative seed": ({"seed": -1}, ["seed=-1", "whole number, 0 or more"]),
    "target_accept": ({"target_accept": 1.0}, ["target_accept=1.0", "between 0 and 1"]),
    "target_accept in words": ({"target_accept": "high"}, ["target_accept='high'", "between 0 and 1"]),
    "predictive": ({"predictive": -1}, ["predictive=-1", "whole number, 0 or more"]),
}


@pytest.fixture(autouse=True)
def quickly():
    """No answer may take as long as a compilation."""
    start = time.process_time()
    yield
    assert time.process_time() - start < 2.0


def refused(words, *args, error=EarnestError, **settings):
    with pytest.raises(error) as caught:
        er.sample(*args, **settings)
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize("case", list(SETTINGS))
def test_settings(case):
    settings, words = SETTINGS[case]
    refused(words, MODEL, LOG, **settings)


def test_an_unknown_setting_is_not_swallowed():
    with pytest.raises(TypeError, match="warmup"):
        er.sample(MODEL, LOG, warmup=10)


def test_a_model_that_is_none():
    refused(["model=", "expected a BehaviorModel"], "bradley-terry", LOG)
    refused(["model=", "expected a BehaviorModel"], er.BehaviorModel, LOG)


def test_a_log_that_is_none():
    refused(["log:", "expected a log from read_comparisons", "DataFrame"], MODEL, pd.DataFrame(VOTES))
    refused(["log:", "expected a log from read_comparisons", "NoneType"], MODEL, None)


def test_a_log_without_comparisons(monkeypatch):
    """Reading refuses it; and should a log turn out to have none later, sampling does."""
    with pytest.raises(InputError, match="no rows"):
        log_of([])
    count = er.BehaviorModel.count

    def emptied(self, log, schema=None):
        counts = count(self, log, schema)
        return replace(
            counts, users=counts.users[:0], user=counts.user[:0], cell=counts.cell[:0], count=counts.count[:0]
        )

    monkeypatch.setattr(er.BehaviorModel, "count", emptied)
    refused(["no comparisons", "no users"], MODEL, LOG, init="prior", error=InputError)


def test_ties_under_a_model_without():
    refused(["tie", "Davidson"], MODEL, TIED, error=InputError)
    for native in (er.to_numpyro, er.to_pymc):
        with pytest.raises(InputError, match="Davidson"):
            native(MODEL, TIED)


def test_priors_outside_the_support():
    for make, words in (
        (lambda: er.Beta(alpha_prior=er.priors.Normal()), ["alpha_prior", "not inside"]),
        (lambda: er.PairAdvantage(prior=er.priors.LogNormal()), ["prior", "not inside"]),
        (lambda: er.PositionBias(prior=er.priors.Normal()), ["prior", "not inside"]),
    ):
        with pytest.raises(EarnestError) as caught:
            make()
        for word in words:
            assert word in str(caught.value)


@dataclass(frozen=True)
class Cauchy(er.priors.Prior):
    """A prior that no backend was told about."""

    scale: float = 1.0

    @property
    def support(self):
        return er.priors.HalfNormal().support

    def log_prob(self, xp, value):
        return xp.sum(-xp.log1p((value / self.scale) ** 2))

    def sample(self, rng, shape):
        return abs(self.scale * rng.standard_cauchy(shape))


@dataclass(frozen=True)
class Hasty(er.Casual):
    """A casual component with that prior."""

    prior: er.priors.Prior = field(default_factory=Cauchy)

    def parameters(self, schema):
        return (er.Parameter("haste", self.prior),)

    def log_prob(self, xp, values, cells):
        return xp.where(cells.won_a, -xp.log1p(values["haste"]), xp.log(values["haste"]) - xp.log1p(values["haste"]))


@pytest.mark.parametrize("native", ["to_numpyro", "to_pymc"])
def test_a_prior_without_counterpart_names_those_that_have_one(native):
    import numpyro

    def build():
        built = getattr(er, native)(er.BehaviorModel(casual=Hasty()), LOG)
        numpyro.handlers.trace(numpyro.handlers.seed(built, 0)).get_trace()  # NumPyro's says nothing before it is run

    with pytest.raises(EarnestError) as caught:
        build()
    for word in ("'haste'", "Cauchy", "HalfNormal", "LogNormal"):
        assert word in str(caught.value)


@pytest.mark.parametrize("backend", ["numpyro", "pymc"])
def test_a_prior_without_counterpart_is_refused_before_em(backend):
    stages = []
    with pytest.raises(EarnestError, match="'haste'.*Cauchy"):
        er.sample(er.BehaviorModel(casual=Hasty()), LOG, backend=backend, progress=lambda *said: stages.append(said))
    assert stages == []


def test_single_precision_is_refused():
    import numpyro

    built = er.to_numpyro(MODEL, LOG)
    with pytest.raises(EarnestError, match="32-bit.*enable_x64"):
        numpyro.handlers.trace(numpyro.handlers.seed(built, 0)).get_trace()


def test_more_explicit_draws_than_memory_holds():
    refused(["latent='explicit'", "GiB", "latent='marginal'"], MODEL, LOG, latent="explicit", draws=100_000_000)


def test_a_fit_of_another_model_or_log():
    class Other:
        method, objective, model, fingerprint = "marginal", "map", er.BehaviorModel(casual=er.CoinFlip()), "else"

    refused(["fit:", "another model or another log", "leave it out"], MODEL, LOG, fit=Other())

    class Label(Other):
        method = "label"

    refused(["fit:", "method='marginal'"], MODEL, LOG, fit=Label())


@pytest.mark.parametrize("native", ["to_numpyro", "to_pymc"])
def test_native_models_name_their_forms(native):
    with pytest.raises(EarnestError, match="latent='auto': expected 'marginal' or 'explicit'"):
        getattr(er, native)(MODEL, LOG, latent="auto")


def test_no_backend_is_even_imported():
    """In a fresh process: mistakes are answered before NumPyro, PyMC or their compilers are loaded."""
    code = f"""
        import sys
        import pandas as pd
        import earnest as er
        log = er.read_comparisons(pd.DataFrame({[*VOTES, ("bob", "y", "x", "tie")]!r},
                                               columns=["user", "model_a", "model_b", "winner"]))
        for settings in ({{"backend": "stan"}}, {{"draws": 0}}, {{}}, {{"backend": "pymc"}}):
            try:
                er.sample(er.BehaviorModel(), log, **settings)
            except ValueError as error:
                print(str(error)[:60])
            else:
                raise SystemExit("sampled")
        print(sorted({{"numpyro", "pymc", "nutpie", "pytensor"}} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(done.stdout.splitlines()) == 5

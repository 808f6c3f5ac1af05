"""`earnest sample`: the posterior in a file, and what is said of it."""

import arviz
import pytest

SHORT = ("--draws", 60, "--tune", 60, "--chains", 2)


@pytest.fixture(scope="module")
def sampled(earnest, votes, tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "posterior.nc"
    return out, earnest("sample", votes, "--out", out, *SHORT, "--seed", 3)


def test_it_writes_what_arviz_reads(sampled):
    out, result = sampled
    tree = arviz.from_netcdf(out)
    assert tree.posterior.sizes["chain"] == 2
    assert tree.posterior.sizes["user"] == 40
    assert list(tree.posterior["model"].to_numpy()) == ["model_1", "model_2", "model_3"]
    assert tree.attrs["seed"] == 3
    assert str(out) in result.output
    assert not [path for path in out.parent.iterdir() if path != out]  # no temporary is left


def test_it_says_form_convergence_and_parameters(sampled):
    said = sampled[1].output
    for words in ("ms an effective draw", "skill[model_1]", "R-hat", "diverged", "effective draws"):
        assert words in said


def test_strict_fails_where_chains_disagree(earnest, votes, tmp_path):
    # Ten iterations from the prior cannot have converged.
    short = ("--draws", 10, "--tune", 20, "--chains", 3, "--init", "prior", "--strict")
    result = earnest("sample", votes, "--out", tmp_path / "posterior.nc", *short, code=1)
    assert "did not converge" in result.stderr
    assert (tmp_path / "posterior.nc").is_file()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--out", "posterior.csv"), "'posterior.csv'"),
        (("--out", "posterior.nc", "--backend", "stan"), "'stan'"),
        (("--out", "posterior.nc", "--draws", "0"), "--draws"),
        (("--out", "posterior.nc", "--latent", "hidden"), "'hidden'"),
        (("--out", "no/posterior.nc"), "'no/posterior.nc'"),
    ],
)
def test_mistakes_are_named_before_the_work(earnest, votes, words, named):
    result = earnest("sample", votes, *words, code=2)
    assert named in result.stderr
    assert "read" not in result.stdout

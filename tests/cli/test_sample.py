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


def test_compare_holds_em_against_it(earnest, votes, sampled, tmp_path):
    earnest("fit", votes, "--out", tmp_path / "fit")
    said = earnest("compare", tmp_path / "fit", sampled[0]).stdout
    for words in ("skill[model_1]", "users farthest apart", "votes that differ", "rank correlation", "90 % interval"):
        assert words in said
    users = earnest("compare", tmp_path / "fit", sampled[0], "--csv", "users").stdout.splitlines()
    head = [line for line in users if line.startswith("user,comparisons,em,")]
    assert len(head) == 1
    assert len(users) - users.index(head[0]) == 41


def test_compare_names_a_posterior_that_is_none(earnest, votes, tmp_path):
    earnest("fit", votes, "--out", tmp_path / "fit")
    assert "no such file" in earnest("compare", tmp_path / "fit", tmp_path / "none.nc", code=2).stderr
    (tmp_path / "some.nc").write_text("no posterior")
    result = earnest("compare", tmp_path / "fit", tmp_path / "some.nc", code=2)
    assert "some.nc: not a NetCDF file" in result.stderr
    assert "Traceback" not in result.stderr


def test_threshold_of_a_posterior_has_bands(earnest, votes, sampled, fitted):
    import json

    told = json.loads(earnest("threshold", fitted, votes, "--posterior", sampled[0], "--json").stdout)
    low, high = told["recommendation"]["interval"]
    assert 0 <= low <= high <= 1
    assert {"threshold", "precision_lower", "effective_labels_upper"} <= set(told["bands"][0])
    said = earnest("threshold", fitted, votes, "--posterior", sampled[0]).stdout
    assert "Over the posterior the best threshold lies between" in said
    plain = json.loads(earnest("threshold", fitted, votes, "--json").stdout)
    assert plain["bands"] is None
    assert plain["recommendation"]["interval"] is None
    wrong = earnest("threshold", fitted, "--posterior", sampled[0], code=2).stderr
    assert "--posterior needs the VOTES" in wrong

"""Declarations survive TOML in every combination; mistakes in them are named."""

import runpy
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import earnest as er

_built = runpy.run_path(str(Path(__file__).with_name("combinations.py")))
ALL = _built["ALL"]
P = er.priors

UNUSUAL = [
    er.BehaviorModel(
        er.Beta(alpha_prior=P.HalfNormal(2.5), beta_prior=P.LogNormal(0.1, 0.30000000000000004)),
        er.BradleyTerry(ties=er.Davidson(prior=P.LogNormal(-1, 2)), prior=P.ZeroSumNormal(0.7)),
        er.PositionBias(prior=P.Dirichlet(1)),
    ),
    er.BehaviorModel(
        er.Groups((0.1, 1 / 3, 0.9), weight_prior=P.Dirichlet(5.5)),
        er.PairAdvantage(ties=er.RaoKupper(prior=P.LogNormal(0.5, 0.5, lower=1.0)), prior=P.Beta(3, 1.25)),
        er.CoinFlip(),
    ),
    er.BehaviorModel(
        er.Groups(3, level_prior=P.Beta(1, 1)),
        er.KnownAdvantage(0.9, stronger=('quo"ted', "\u00e9\u4e2d\U0001f600", "new\nline")),
        er.CoinFlip(),
    ),
]


@pytest.mark.parametrize("model", [*ALL.values(), *UNUSUAL], ids=[*ALL, "priors", "groups", "names"])
def test_toml_gives_the_same_model_back(model):
    text = model.to_toml()
    again = er.BehaviorModel.from_toml(text)
    assert again == model
    assert hash(again) == hash(model)
    assert again.to_toml() == text
    assert set(tomllib.loads(text)) == {"format", "attentiveness", "preference", "casual"}


def test_what_is_left_out_is_the_default():
    assert er.BehaviorModel.from_toml("") == er.BehaviorModel()
    text = '[preference]\ncomponent = "BradleyTerry"\n[preference.ties]\ncomponent = "Davidson"\n'
    assert er.BehaviorModel.from_toml(text) == er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))


BAD = {
    "unknown component": (
        '[preference]\ncomponent = "BradleyTery"',
        r"\[preference\].*BradleyTery.*did you mean 'BradleyTerry'",
    ),
    "unknown setting": (
        '[preference]\ncomponent = "BradleyTerry"\ntie = 3',
        r"\[preference\].*'tie'.*did you mean 'ties'",
    ),
    "unknown distribution": (
        '[preference]\ncomponent = "BradleyTerry"\nprior = { distribution = "Cauchy" }',
        r"\[preference.prior\].*'Cauchy'.*ZeroSumNormal",
    ),
    "unknown setting of a distribution": (
        '[casual]\ncomponent = "PositionBias"\nprior = { distribution = "Dirichlet", alpha = 1.0 }',
        r"\[casual.prior\].*'alpha'.*concentration",
    ),
    "impossible setting of a distribution": (
        '[casual]\ncomponent = "PositionBias"\nprior = { distribution = "Dirichlet", concentration = -1.0 }',
        r"\[casual.*concentration=-1.0",
    ),
    "unknown table": ('[preferences]\ncomponent = "BradleyTerry"', r"\[preferences\].*\[preference\]"),
    "no table": ("preference = 3", r"\[preference\].*component"),
    "no component": ("[preference]\nmu = 0.7", r"\[preference\].*component"),
    "wrong role": ('[casual]\ncomponent = "BradleyTerry"', r"casual.*expected a Casual.*BradleyTerry"),
    "impossible value": ('[preference]\ncomponent = "KnownAdvantage"\nmu = 0.4', r"\[preference\].*mu=0.4"),
    "impossible level": (
        '[attentiveness]\ncomponent = "Groups"\nlevels = [0.0, 2.0]',
        r"\[attentiveness\].*2.0.*\[0, 1\]",
    ),
    "word for a number": ('[preference]\ncomponent = "KnownAdvantage"\nmu = "high"', r"\[preference\].*high"),
    "level without a list": ('[attentiveness]\ncomponent = "Groups"\nlevels = 0.5', r"\[attentiveness\].*0.5"),
    "ties that are no rule": ('[preference]\ncomponent = "BradleyTerry"\nties = 3', r"\[preference\].*ties"),
    "another component as a tie rule": (
        '[preference]\ncomponent = "BradleyTerry"\nties = { component = "CoinFlip" }',
        r"\[preference\].*ties.*CoinFlip",
    ),
    "number for a prior": ('[attentiveness]\ncomponent = "Beta"\nalpha_prior = 1.0', r"\[attentiveness\].*alpha_prior"),
    "a base class": ('[attentiveness]\ncomponent = "Attentiveness"', r"\[attentiveness\].*Attentiveness"),
    "newer format": ("format = 2", "format 2"),
    "not TOML": ("preference: BradleyTerry", "not valid TOML"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_in_a_declaration_are_named(case):
    text, message = BAD[case]
    with pytest.raises(er.EarnestError, match=f"(?s){message}"):
        er.BehaviorModel.from_toml(text)


def test_a_component_must_fit_its_role_and_be_an_instance():
    with pytest.raises(er.EarnestError, match=r"attentiveness=.*Attentiveness component.*Beta \(the class: call it\)"):
        er.BehaviorModel(er.Beta)
    with pytest.raises(er.EarnestError, match=r"preference=.*Preference component.*CoinFlip"):
        er.BehaviorModel(preference=er.CoinFlip())
    with pytest.raises(er.EarnestError, match=r"casual=.*Casual component.*None"):
        er.BehaviorModel(casual=None)


@pytest.mark.parametrize("ties", [er.Davidson, "davidson", er.CoinFlip(), 3], ids=["class", "word", "other", "number"])
@pytest.mark.parametrize("kind", [er.BradleyTerry, er.PairAdvantage, er.KnownAdvantage])
def test_a_tie_rule_must_be_a_tie_rule(kind, ties):
    with pytest.raises(er.EarnestError, match="ties"):
        kind(ties=ties)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: er.Beta(alpha_prior=3), "alpha_prior"),
        (lambda: er.Beta(beta_prior=P.LogNormal), "beta_prior"),
        (lambda: er.Beta(alpha_prior=P.Normal()), "alpha_prior"),
        (lambda: er.Beta(alpha_prior=P.LogNormal(lower=-3.0)), "alpha_prior"),
        (lambda: er.PositionBias(prior=P.Beta()), "prior"),
        (lambda: er.PairAdvantage(prior=P.HalfNormal()), "prior"),
        (lambda: er.Davidson(prior=P.Normal()), "prior"),
        (lambda: er.RaoKupper(prior=P.LogNormal()), "prior"),
        (lambda: er.Groups(2, level_prior=P.LogNormal()), "level_prior"),
    ],
    ids=["number", "class", "real", "lower", "vector", "beyond_one", "negative_ties", "ties_below_one", "levels"],
)
def test_a_prior_must_be_a_prior_on_the_parameters_own_scale(build, name):
    with pytest.raises(er.EarnestError, match=name):
        build()


def test_settings_that_make_no_sense():
    for levels in (0, -1, (), (0.5, 0.5), (0.0, float("nan")), (-0.1,), 0.5, "01"):
        with pytest.raises(er.EarnestError, match="Groups"):
            er.Groups(levels)
    for mu in (0.4, 1.0, float("nan"), "0.7"):
        with pytest.raises(er.EarnestError, match="KnownAdvantage"):
            er.KnownAdvantage(mu)
    for scale in (0.0, -1.0, float("inf"), float("nan"), "1", True):
        with pytest.raises(er.EarnestError, match=r"Normal\(scale="):
            P.Normal(0.0, scale)


def test_lists_are_taken_as_tuples():
    assert hash(er.Groups([0.0, 1.0])) == hash(er.Groups((0.0, 1.0)))
    assert hash(er.KnownAdvantage(0.7, ["b", "a"])) == hash(er.KnownAdvantage(0.7, ("b", "a")))


def test_two_components_may_not_share_a_parameter():
    class Echo(er.Casual):
        def parameters(self, schema):
            return (er.Parameter("skill", P.Normal()),)

    model = er.BehaviorModel(casual=Echo())
    with pytest.raises(er.EarnestError, match="two components declare the parameter 'skill'"):
        model.table(_built["schema"](False))


def test_a_setting_declared_anew_is_still_checked_and_still_names_its_columns():
    @dataclass(frozen=True)
    class Habitual(er.PositionBias):
        by_category: bool = True

    @dataclass(frozen=True)
    class Wordy(er.LengthBias):
        difference: str = "words"

    @dataclass(frozen=True)
    class Odd(er.BradleyTerry):
        prior: er.priors.Prior = field(default_factory=er.priors.Beta)

    assert Habitual().context == ("category",)
    assert Wordy().context == Wordy().columns == ("words",)
    with pytest.raises(er.EarnestError, match="True or False"):
        Habitual(by_category="no")
    with pytest.raises(er.EarnestError, match="not inside"):
        Odd()

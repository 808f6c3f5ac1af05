"""Every public name says what it takes, gives and raises, in which shapes and units, and from where its mathematics is.

The rules are of form; what is true is for the other tests.
"""

import dataclasses
import inspect
import re

import pytest

import earnest as er

from .pages import PAGES, text_of

# Results and handles, made by a call; what their attributes hold is under "Attributes:".
RESULTS = {name for name in er.__all__ if inspect.isclass(getattr(er, name))
           and dataclasses.is_dataclass(getattr(er, name))} - {"Parameter"}  # fmt: skip
ARRAY = re.compile(r"\bndarray\b|\bArray\b")
SHAPE = re.compile(r"\([a-z0-9_]+(, [a-z0-9_]+)*,?\)|axes as|the shape of")
SOURCED = {  # names with mathematics of their own
    "fit_em", "sample", "to_numpyro", "to_pymc", "thresholds", "identifiability", "calibrate", "sensitivity", "loo",
    "compare_models", "predictive_check", "plan", "compare", "sweep", "BradleyTerry", "Thurstone", "Davidson", "RaoKupper", "Drift",
    "TasteGroups", "ItemEffect", "Speedster", "RewardGap", "Beta", "LogitNormal", "Groups", "Nonparametric", "Signed",
    "KnownAdvantage", "PairAdvantage", "CoinFlip", "PositionBias", "LengthBias", "Habit", "Partisan", "SampleAttention",
    "Gold", "BehaviorModel", "write_preferences",
}  # fmt: skip
# Arguments of hooks that mean the same everywhere; docs/reference/components.md says what.
HOOKS = {"schema", "xp", "values", "cells", "latent", "counts", "weights", "attended", "casual", "log_p", "log_c",
         "users", "statistics", "kind", "rng", "size", "prior"}  # fmt: skip
SOURCE = re.compile(r"model\.md|arXiv|\(\d{4}\)|\b(19|20)\d\d\b")


def functions():
    """Every public function, and every public method, property or class method that a public class defines itself."""
    for name in er.__all__:
        thing = getattr(er, name)
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.ismodule(thing):
            for inner in thing.__all__:
                if inspect.isfunction(getattr(thing, inner)):
                    yield f"{name}.{inner}", getattr(thing, inner)
        elif inspect.isclass(thing):
            for inner, made in vars(thing).items():
                made = (
                    made.fget if isinstance(made, property) else getattr(made, "__func__", getattr(made, "func", made))
                )
                if not inner.startswith("_") and inspect.isfunction(made):
                    yield f"{name}.{inner}", made


FUNCTIONS = dict(functions())


def said(thing):
    return inspect.getdoc(inspect.unwrap(thing)) or ""


def section(text, name):
    found = re.search(rf"^{name}:\n((?:[ ]+.*\n?|\n)+)", text, re.MULTILINE)
    return found[1] if found else ""


def documented(text, name):
    """The names that a section explains."""
    out = set()
    for names in re.findall(r"^ {4}([*\w]+(?:, [*\w]+)*): ", section(text, name), re.MULTILINE):
        out |= {word.strip("* ") for word in names.split(",")}
    return out


def inherited(name):
    """Whether a method fills a hook, or a class attribute, that a base documents."""
    owner, _, method = name.partition(".")
    bases = getattr(er, owner).__mro__[1:] if inspect.isclass(getattr(er, owner)) else ()
    told = [vars(base).get(method) for base in bases]
    hook = any((inspect.isfunction(made) or isinstance(made, property)) and made.__doc__ for made in told)
    return hook or any(method in documented(said(base), "Class attributes") for base in bases)


@pytest.mark.parametrize("name", er.__all__)
def test_every_public_name_says_what_it_is(name):
    text = said(getattr(er, name))
    assert text.split("\n")[0].rstrip().endswith((".", "?"))
    assert len(text) > 25


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_says_what_it_takes_gives_and_raises(name):
    function = FUNCTIONS[name]
    text = said(function)
    if not text and inherited(name):
        return
    assert text, "no docstring"
    own = [p for p in inspect.signature(function).parameters.values() if p.name not in ("self", "cls")]
    told = documented(text, "Args")
    method = "." in name and not name.startswith(("plots.", "priors."))
    if told or not method:  # of a method with one argument or two a sentence may be enough
        missing = {p.name for p in own} - told
        assert not missing, f"Args: {missing}"
        assert not told - {p.name for p in own}, "arguments that are not there"
    elif len(own) > 2 and not inherited(name):
        assert {p.name for p in own} <= HOOKS, "Args: none explained"
    if not method and inspect.signature(function).return_annotation not in ("None", None):
        assert "Returns:" in text, "Returns"
    source = inspect.getsource(inspect.unwrap(function))
    if re.search(r"^\s+raise EarnestError|^\s+raise InputError", source, re.MULTILINE):
        owner = said(getattr(er, name.partition(".")[0])) if inherited(name) else ""
        assert "Raises:" in text + owner or re.search(r"error|raise|refuse", text, re.IGNORECASE), "Raises"


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_a_result_explains_its_attributes(name):
    kind = getattr(er, name)
    fields = {field.name for field in dataclasses.fields(kind) if not field.name.startswith("_") and field.repr}
    text = said(kind)
    told = documented(text, "Attributes") | documented(text, "Args")
    if fields and not told and len(fields) <= 2:
        told = {field for field in fields if re.search(rf"`{field}`", text)}
    assert not fields - told, sorted(fields - told)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_arrays_have_a_shape(name):
    function = FUNCTIONS[name]
    gives = str(inspect.signature(function).return_annotation)
    if ARRAY.search(gives) and not inherited(name):
        assert SHAPE.search(said(function)), gives


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_arrays_of_results_have_a_shape(name):
    kind = getattr(er, name)
    lines = re.split(r"\n(?= {4}\S)", section(said(kind), "Attributes"))
    for field in dataclasses.fields(kind):
        if ARRAY.search(str(field.type)) and "dict" not in str(field.type) and not field.name.startswith("_"):
            told = [line for line in lines if re.match(rf" *(\w+, )*{field.name}\b", line)]
            assert told, field.name
            assert SHAPE.search(told[0]) or re.search(r"one (row|entry|a)|after each|row a", told[0]), told


@pytest.mark.parametrize("name", sorted(SOURCED))
def test_mathematics_has_a_source(name):
    assert SOURCE.search(said(getattr(er, name))), "no reference"


def test_what_hooks_are_given_is_explained():
    told = set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.*?)\|", text_of("docs/reference/components.md"), re.M)))
    )
    assert told >= HOOKS


def test_the_reference_has_every_public_name():
    pages = [text_of(page) for page in PAGES if page.startswith("docs/reference/")]
    there = set(re.findall(r"^\.\. auto(?:function|class):: (?:earnest\.)?(\w+)", "\n".join(pages), re.MULTILINE))
    modules = {"plots", "priors"}  # as a whole, by automodule
    assert there >= set(er.__all__) - modules
    for module in modules:
        assert f".. automodule:: {getattr(er, module).__name__}" in "\n".join(pages)


def test_the_rules_find_what_is_missing():
    def bare(model, log):
        """Do it.

        Args:
            model: the model.
        """

    assert documented(said(bare), "Args") == {"model"}
    assert not SOURCE.search("Do it.")
    assert not SHAPE.search("an array of numbers")
    assert SHAPE.search("weights, (user, node)")

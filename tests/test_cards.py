"""What objects say of themselves: one line at the prompt, a card in a notebook."""

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import earnest as er
from earnest.comparisons.markup import bars, card, line

WICKED = "<script>alert('x')</script>"


class _Page(HTMLParser):
    """Whether every element is closed, the elements there are, and the text."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], set(), []

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        if tag not in ("rect", "circle", "polyline"):
            self.open.append(tag)
        assert not any(name in ("src", "href") or name.startswith("on") for name, _ in attributes)

    def handle_startendtag(self, tag, attributes):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _page(shown: str) -> _Page:
    page = _Page()
    page.feed(shown)
    assert page.open == []
    assert not page.seen & {"script", "b-evil", "img"}
    return page


@pytest.fixture(scope="module")
def log():
    names = [WICKED, "bee", "cat"]
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    frame = model.simulate(users=40, comparisons_per_user=10, models=names, seed=2).log.to_arrow().to_pandas()
    return er.read_comparisons(frame.rename(columns={"user": "worker"}).assign(**{"<img>": 1}))


@pytest.fixture(scope="module")
def fit(log):
    return er.fit_em(er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson())), log)


def test_a_log_shows_what_it_holds_and_what_it_was_read_from(log):
    text = "".join(_page(log._repr_html_()).text)
    for told in ("400:", "tie ", WICKED, "user from 'worker'", "<img>"):
        assert told in text


def test_a_fit_shows_users_and_models(fit):
    page = _page(fit._repr_html_())
    text = "".join(page.text)
    assert {"svg", "rect", "table"} <= page.seen
    assert f"skill {WICKED}" in text
    assert f"{fit.parameters['tie_strength']:.3f}" in text
    assert "converged" in text


def test_a_curve_shows_its_cuts_and_marks_the_best(fit):
    curve = er.thresholds(fit)
    best = curve.recommend()
    page = _page(curve._repr_html_())
    text = "".join(page.text)
    assert f"{best.threshold:.3f} (best)" in text
    assert f"{best.effective_labels:,.0f}" in text
    assert {"polyline", "circle"} <= page.seen
    assert f"{best.threshold:.3f}" in repr(curve)
    assert len(repr(curve)) <= 110
    assert f"<Recommendation: threshold {best.threshold:.4f}, {best.users:,} users" in repr(best)
    assert len(repr(best)) <= 110
    shown = "".join(_page(best._repr_html_()).text)
    assert f"{best.threshold:.4f}" in shown
    assert best.warning in shown
    assert shown.count(best.warning) <= 1 or not best.warning


def test_what_no_threshold_can_mend_is_said_wherever_one_is_shown(fit):
    """A fit of tossed coins looks like any other, but for this; of a log that tells, nothing of the kind is said."""
    rng = np.random.default_rng(0)
    frame = fit.model.simulate(users=60, comparisons_per_user=20, models=3, seed=2).log.to_arrow().to_pandas()
    coins = er.fit_em(
        fit.model, er.read_comparisons(frame.assign(winner=rng.choice(["model_a", "model_b"], len(frame))))
    )
    told = er.BehaviorModel().simulate(200, 20, models=["a", "b", "c"], seed=1).log
    good = er.fit_em(er.BehaviorModel(), told)
    for source, doubted in ((coins, True), (good, False)):
        curve = er.thresholds(source)
        for thing in (source, curve, curve.recommend(), curve.recommend("share>=0.5")):
            page = "".join(_page(thing._repr_html_()).text)
            assert ("Trust neither threshold nor ranking" in page) == doubted
            assert ("trust neither" in repr(thing)) == doubted


def test_a_model_is_shown_as_it_was_declared():
    model = er.BehaviorModel(
        er.Signed(), er.BradleyTerry(ties=er.Davidson(), by_category=True), er.CoinFlip(), gold=er.Gold(users=["a"])
    )
    said = repr(model)
    assert len(repr(er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson())))) <= 100
    names = {name: getattr(er, name) for name in er.__all__}
    assert eval(said, names) == model  # it is the call that makes it
    assert "prior" not in said  # and nothing that was not set
    steep = er.BehaviorModel(er.Beta(alpha_prior=er.priors.LogNormal(0.0, 3.0)))
    assert "alpha_prior=LogNormal(scale=3.0)" in repr(steep) or "alpha_prior=LogNormal(loc=0.0, scale=3.0)" in repr(
        steep
    )
    text = "".join(_page(model._repr_html_()).text)
    assert "Signed()" in text
    assert "category, gold" in text


@pytest.mark.parametrize("option", [{"method": "label"}, {"objective": "ml"}])
def test_every_kind_of_fit_has_a_card(log, option):
    fit = er.fit_em(er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson())), log, **option)
    _page(fit._repr_html_())
    _page(er.thresholds(fit)._repr_html_())
    assert "nan" not in fit._repr_html_()


def test_fits_of_signed_users_and_of_many_models_have_cards():
    model = er.BehaviorModel(er.Signed())
    log = model.simulate(users=30, comparisons_per_user=20, models=15, seed=3).log
    text = "".join(_page(er.fit_em(model, log)._repr_html_()).text)
    assert "attentiveness -1" in text
    assert "... 11 more ..." in text


def test_lines_at_the_prompt_are_short(fit, log):
    truth = er.BehaviorModel().simulate(users=20, comparisons_per_user=5, models=2, seed=1)
    for thing in (truth, fit.modes[0], fit, log, er.doctor(truth.log)):
        assert repr(thing).startswith("<")
        assert len(repr(thing)) < 200
    assert er.plan().verdict in repr(er.plan())


def test_pictures_of_nothing_are_pictures():
    for picture in (bars([0.0, 0.0], "none", ("0", "1")), line([0.5], [0.0], 0, "one", ("0", "1"))):
        page = _page(card("x", {}, picture))
        assert "nan" not in picture
        assert "svg" in page.seen


def test_cards_need_no_colour_of_their_own(fit, log):
    for thing in (fit, log, er.thresholds(fit), er.doctor(pd.DataFrame(log.to_arrow().to_pandas()))):
        shown = thing._repr_html_()
        assert "#" not in shown.replace("&#x27;", "")  # neither black on black nor white on white
        assert "currentColor" in shown
    assert np.isfinite(fit.free).all()

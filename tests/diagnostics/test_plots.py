"""The figures: what they show is what the fit says, for two models or sixty, with and without intervals."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import earnest as er
from earnest.comparisons.errors import EarnestError
from earnest.diagnostics import plots


def _fit(n_models=4, n_users=50, density=True):
    """A stand-in with the names of a fit: a figure needs nothing more."""
    rng = np.random.default_rng(0)
    skill = rng.normal(size=n_models)
    half = np.full(n_models, 0.3)
    mean = rng.beta(2, 1, size=n_users)
    return SimpleNamespace(
        attentiveness=pd.DataFrame({"user": [f"u{k}" for k in range(n_users)], "mean": mean}),
        parameters={"skill": skill, "attentiveness_alpha": np.float64(2.0)},
        dims={"skill": ("model",), "attentiveness_alpha": ()},
        coords={"model": [f"model {k}" for k in range(n_models)]},
        intervals=lambda level: {"skill": np.stack([skill - half, skill + half])},
        population_density=lambda grid: 2 * grid if density else None,
        objective_trace=-100 + 50 * (1 - 0.5 ** np.arange(20)),
        status="converged",
        iterations=19,
        check_users_known=lambda what: None,
    )


def _curve():
    threshold = np.linspace(0, 1, 21)
    effective = 100 * (1 - (threshold - 0.3) ** 2)
    best = SimpleNamespace(threshold=0.3, effective_labels=100.0, interval=None)
    return SimpleNamespace(
        table=pd.DataFrame({"threshold": threshold, "lowest_kept": threshold, "effective_labels": effective}),
        recommend=lambda criterion="effective_labels": best,
        soft_weights=112.0,
        soft_weights_leave_one_out=110.0,
        unfiltered=91.0,
        bands=None,
    )


def test_every_user_stands_in_the_histogram():
    axes = plots.attentiveness(_fit(n_users=73))
    assert sum(patch.get_height() for patch in axes.patches) == 73
    assert "73 users" in axes.get_legend_handles_labels()[1][1]


def test_a_population_without_a_density_leaves_the_histogram_alone():
    assert not plots.attentiveness(_fit(density=False)).lines


def test_a_density_that_is_infinite_at_the_ends_does_not_flatten_the_histogram():
    fit = _fit()
    fit.population_density = lambda grid: 0.05 * grid**-0.95
    axes = plots.attentiveness(fit)
    assert axes.get_ylim()[1] < 3 * max(patch.get_height() for patch in axes.patches)


@pytest.mark.parametrize("n_models", [2, 59])
def test_models_are_sorted_and_named(n_models):
    fit = _fit(n_models=n_models)
    axes = plots.parameter_intervals(fit)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == [f"model {k}" for k in np.argsort(fit.parameters["skill"])]
    axes.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.get_yticklabels()]
    assert not any(lower.overlaps(upper) for lower, upper in pairwise(boxes))


def test_an_estimate_without_an_interval_is_shown_as_such():
    fit = _fit()
    fit.intervals = lambda level: {"skill": np.stack([[np.nan, -1, -1, -1], [np.nan, 1, 1, 1]])}
    assert "no interval" in " ".join(plots.parameter_intervals(fit).get_legend_handles_labels()[1])


def test_an_unknown_parameter_is_refused_with_the_known_ones():
    with pytest.raises(EarnestError, match="no parameter 'skil' .* it has: skill"):
        plots.parameter_intervals(_fit(), "skil")


def test_the_recommendation_is_marked_on_the_curve():
    axes = plots.threshold_curve(_curve())
    marked = next(line for line in axes.lines if line.get_marker() == "D")
    assert (marked.get_xdata()[0], marked.get_ydata()[0]) == (0.3, 100.0)


def test_the_curve_is_the_one_of_the_users_at_or_above():
    truth = er.BehaviorModel().simulate(users=8, comparisons_per_user=6, models=2, seed=2)
    fit = er.fit_em(er.BehaviorModel(), truth.log)
    curve = er.thresholds(fit)
    (line, *_) = plots.threshold_curve(curve).lines
    x, y = line.get_data()
    for cut in np.linspace(0.0, fit.attentiveness["mean"].max(), 50):
        kept = fit.attentiveness.query("mean >= @cut")
        shown = y[np.searchsorted(x, cut, side="left")]
        assert shown == pytest.approx(6 * kept["mean"].sum() ** 2 / len(kept))


def test_the_trace_shows_each_iteration_and_a_falling_gap():
    left, right = plots.em_trace(_fit())
    assert len(left.lines[0].get_xdata()) == 20
    assert np.all(np.diff(right.lines[0].get_ydata()) < 0)


def test_a_trace_of_one_value_is_drawn():
    fit = _fit()
    fit.objective_trace = np.array([-3.0])
    assert "nothing to gain" in plots.em_trace(fit)[1].texts[0].get_text()


def test_axes_that_are_passed_in_are_drawn_on_and_returned():
    _, (first, second, third, fourth, fifth) = plots.new_figure(columns=5)
    assert plots.attentiveness(_fit(), first) is first
    assert plots.parameter_intervals(_fit(), ax=second) is second
    assert plots.threshold_curve(_curve(), third) is third
    assert tuple(plots.em_trace(_fit(), (fourth, fifth))) == (fourth, fifth)


def test_a_figure_is_written_twice_and_the_same_each_time(tmp_path):
    def write():
        paths = plots.save_figure(plots.threshold_curve(_curve()).figure, tmp_path / "curve.v1")
        return {path.name: path.read_bytes() for path in paths}

    first = write()
    assert set(first) == {"curve.v1.png", "curve.v1.svg"}
    assert first == write()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(first)


def test_users_stand_with_their_intervals_in_order():
    fit = _fit(n_users=50)
    fit.level = 0.9
    fit.attentiveness = fit.attentiveness.assign(
        comparisons=10, lower=fit.attentiveness["mean"] - 0.05, upper=fit.attentiveness["mean"] + 0.05
    )
    axes = plots.user_intervals(fit, 7)
    at = axes.lines[0].get_xdata()
    assert len(at) == 7
    assert (np.diff(at) >= 0).all()
    assert at[0] == fit.attentiveness["mean"].min()
    assert "(7 of 50)" in axes.get_title(loc="left")
    named = plots.user_intervals(fit, ["u3", "u11"])
    assert {label.get_text() for label in named.get_yticklabels()} == {"u3 (10)", "u11 (10)"}
    with pytest.raises(EarnestError, match="knows no user 'nobody'"):
        plots.user_intervals(fit, ["nobody"])


def test_directions_are_drawn_with_what_is_left():
    rows = pd.DataFrame(
        {"information": [0.5, 99.0], "remaining": [2 / 3, 0.01], "meaning": ["alpha", "skill (mean 1)"]}
    )
    axes = plots.open_directions(SimpleNamespace(directions=rows))
    assert sorted(patch.get_width() for patch in axes.patches) == [0.01, 2 / 3]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["skill", "alpha"]  # the least known on top

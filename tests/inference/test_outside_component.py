"""A casual component defined here, outside the package, in 15 lines: everything works with it."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import earnest as er


@dataclass(frozen=True)
class LongerName(er.Casual):
    """Careless users pick the model with the longer name, with probability `longer_name` (a tie never)."""

    prior: er.priors.Prior = field(default_factory=lambda: er.priors.Beta(8.0, 2.0))

    def parameters(self, schema):
        return (er.Parameter("longer_name", self.prior),)

    def log_prob(self, xp, values, cells):
        length = np.array([len(name) for name in cells.schema.models])
        longer = xp.stack(list(np.sign(length[:, None] - length).ravel()))[cells.model_a * len(length) + cells.model_b]
        wins = 0.5 + longer * (values["longer_name"] - 0.5)
        return xp.where(cells.won_a, xp.log(wins), xp.log1p(-wins))


MODELS = ["ada", "grace-hopper", "lovelace"]
TRUE = {
    "skill": [1.5, -1.5, 0.0],  # ada < lovelace < grace-hopper in length: the strong one has the short name
    "longer_name": 0.95,
    "attentiveness_alpha": 0.8,
    "attentiveness_beta": 0.8,
}


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    model = er.BehaviorModel(casual=LongerName())
    truth = model.simulate(users=150, comparisons_per_user=20, models=MODELS, seed=6, parameters=TRUE)
    fit = er.fit_em(model, truth.log)
    folder = tmp_path_factory.mktemp("outside") / "fit"
    fit.save(folder)
    return truth, fit, er.load(folder)


def test_the_class_is_fifteen_lines():
    from inspect import getsource

    body = [line for line in getsource(LongerName).splitlines() if line.strip() and '"""' not in line]
    assert len(body) <= 15


def test_it_is_simulated_and_fitted(story):
    truth, fit, _ = story
    assert fit.status == "converged"
    error = fit.standard_errors["longer_name"]
    assert abs(fit.parameters["longer_name"] - 0.95) < 4 * error
    assert error < 0.1
    eta = truth.attentiveness["attentiveness"].to_numpy()
    assert np.corrcoef(fit.attentiveness["mean"], eta)[0, 1] > 0.8
    # Nobody is told what the right model is worth: a coin flip in its place explains the votes much worse.
    wrong = er.fit_em(er.BehaviorModel(casual=er.CoinFlip()), truth.log)
    assert fit.objective_trace[-1] > wrong.objective_trace[-1] + 50


def test_it_is_saved_and_loaded(story):
    _, fit, again = story
    assert again.model == fit.model
    assert isinstance(again.model.casual, LongerName)
    assert er.BehaviorModel.from_toml(fit.model.to_toml()) == fit.model
    np.testing.assert_array_equal(again.free, fit.free)


def test_it_is_thresholded_filtered_and_weighted(story, tmp_path):
    truth, _, fit = story
    advice = er.thresholds(fit, truth.log).recommend()
    assert 0 < advice.users < 150
    kept = er.filter_log(truth.log, fit, threshold=advice.threshold)
    assert len(kept.users) == advice.users
    eta = truth.attentiveness.set_index("user")["attentiveness"]
    assert eta[list(kept.users)].mean() > eta.mean() + 0.1
    assert fit.responsibilities(truth.log).shape == (3000,)
    attended = fit.responsibilities(truth.log)
    assert attended[truth.attended].mean() > attended[~truth.attended].mean() + 0.15

"""Gold users and gold answers: the likelihood by another quadrature, EM by another optimiser, both samplers."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats

import earnest as er
from earnest.inference.compiled import settle
from earnest.models.namespace import NUMPY

ERROR = 0.1
GOLD = er.Gold(users=("gus",), error=ERROR)
MODEL = er.BehaviorModel(preference=er.PairAdvantage(), casual=er.CoinFlip(), gold=GOLD)


def made(seed=0, users=25, votes=10, sides=True):
    """Votes on one pair, some with a known answer, of ordinary users and of the gold user gus."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(users):
        eta = 1.0 if i == 0 else rng.random()
        for _ in range(votes):
            first, second = rng.permutation(["a", "b"]) if sides else ("a", "b")
            gold = rng.choice([None, "model_a", "model_b"], p=[0.6, 0.2, 0.2])
            attends = rng.random() < eta
            better = "model_a" if first == "a" else "model_b"
            right = gold or (better if rng.random() < 0.8 else {"model_a": "model_b"}.get(better, "model_a"))
            winner = right if attends else rng.choice(["model_a", "model_b"])
            rows.append(("gus" if i == 0 else f"u{i}", first, second, winner, gold))
    return pd.DataFrame(rows, columns=["user", "model_a", "model_b", "winner", "gold"])


def log_of(frame):
    return er.read_comparisons(frame, gold="gold")


def exact(frame, alpha, beta, advantage):
    """Log-likelihood by the story, a user at a time: SciPy's Gauss-Jacobi rule."""
    total = 0.0
    for user, votes in frame.groupby("user"):
        p = []
        for vote in votes.itertuples():
            if isinstance(vote.gold, str):
                p.append(1 - ERROR if vote.winner == vote.gold else ERROR)
            else:
                won = vote.model_a if vote.winner == "model_a" else vote.model_b
                p.append(advantage if won == "a" else 1 - advantage)
        p = np.array(p)
        if user == "gus":
            total += np.log(p).sum()
            continue
        # A user's likelihood is a polynomial in eta, on which Gauss-Jacobi quadrature is exact.
        at, weight = special.roots_jacobi(len(p), beta - 1, alpha - 1)
        t = (at[:, None] + 1) / 2
        total += np.log(weight @ np.prod(t * p + (1 - t) / 2, axis=1) / weight.sum())
    return total


@pytest.fixture(scope="module")
def frame():
    return made()


@pytest.mark.parametrize("sides", [True, False], ids=["both orders", "one order"])
def test_the_likelihood_is_the_story(sides):
    """CoinFlip and PairAdvantage look at no order, so comparisons are turned, and gold answers with them."""
    frame = made(seed=3, users=5, sides=sides)
    settled = settle(MODEL, log_of(frame))
    at = {"attentiveness_alpha": np.array(1.3), "attentiveness_beta": np.array(0.8), "advantage": np.array([0.7])}
    statement = settled.statement("marginal")
    prior = settled.table.log_prior(NUMPY, at)
    np.testing.assert_allclose(statement.log_density(NUMPY, at) - prior, exact(frame, 1.3, 0.8, 0.7), rtol=1e-9)


def test_em_finds_the_best(frame):
    """Nelder-Mead on the likelihood told above."""
    fit = er.fit_em(MODEL, log_of(frame), objective="ml")

    def lost(z):
        alpha, beta = np.exp(np.clip(z[:2], -5, 5))  # SciPy's rule overflows far out
        return -exact(frame, alpha, beta, 1 / (1 + np.exp(-z[2])))

    start = [0.1, 0.1, 1.0]
    best = optimize.minimize(lost, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10})
    assert fit.converged
    np.testing.assert_allclose(fit.objective_trace[-1], -best.fun, atol=1e-6)
    np.testing.assert_allclose(fit.parameters["advantage"], 1 / (1 + np.exp(-best.x[2])), atol=1e-3)
    share = np.exp(best.x[0]) / (np.exp(best.x[0]) + np.exp(best.x[1]))
    alpha, beta = fit.parameters["attentiveness_alpha"], fit.parameters["attentiveness_beta"]
    np.testing.assert_allclose(alpha / (alpha + beta), share, atol=1e-3)


def test_a_gold_user_attends(frame):
    log = log_of(frame)
    fit = er.fit_em(MODEL, log)
    users = fit.attentiveness.set_index("user")
    assert tuple(users.loc["gus", ["mean", "sd", "lower", "upper"]]) == (1.0, 0.0, 1.0, 1.0)
    assert (users.drop("gus")["mean"] < 1).all()
    labels = fit.label_table(log)
    assert (labels.loc[labels["user"] == "gus", ["weight", "responsibility"]] == 1).all(axis=None)
    assert np.isfinite(fit.responsibilities(log)).all()
    assert er.thresholds(fit).table["users"].iloc[-1] == 1  # who has more than anybody
    without = er.fit_em(er.BehaviorModel(MODEL.attentiveness, MODEL.preference, MODEL.casual), log)
    assert without.attentiveness.set_index("user").loc["gus", "mean"] < 0.99
    assert any("gold answers, which the model does not look at" in note for note in without.notes)


def test_label_em_too(frame):
    fit = er.fit_em(MODEL, log_of(frame), method="label")
    assert fit.converged
    assert fit.attentiveness.set_index("user").loc["gus", "mean"] == 1.0


@pytest.mark.parametrize("latent", ["marginal", "explicit"])
def test_both_backends_state_it(frame, latent):
    from jax import enable_x64
    from numpyro.infer.util import log_density

    frame = frame[frame["user"].isin(["gus", "u1", "u2"])]
    log = log_of(frame)
    at = {"attentiveness_alpha": np.array(1.3), "attentiveness_beta": np.array(0.8), "advantage": np.array([0.7])}
    prior = settle(MODEL, log).table.log_prior(NUMPY, at)
    eta = np.array([0.5, 0.3, 0.8])  # gus's own is of no account
    if latent == "explicit":
        at["attentiveness_logit"] = np.log(eta) - np.log1p(-eta)
        density = stats.beta(1.3, 0.8).logpdf(eta).sum() + np.log(eta * (1 - eta)).sum()
        wanted = prior + density
        for user, a in zip(("gus", "u1", "u2"), (1.0, *eta[1:]), strict=True):
            for vote in frame[frame["user"] == user].itertuples():
                won = vote.model_a if vote.winner == "model_a" else vote.model_b
                p = 0.7 if won == "a" else 0.3
                p = (1 - ERROR if vote.winner == vote.gold else ERROR) if isinstance(vote.gold, str) else p
                wanted += np.log(a * p + (1 - a) / 2)
    else:
        wanted = prior + exact(frame, 1.3, 0.8, 0.7)
    with enable_x64(True):
        numpyro_model = er.to_numpyro(MODEL, log, latent)
        np.testing.assert_allclose(float(log_density(numpyro_model, (), {}, at)[0]), wanted, rtol=1e-9)
    native = er.to_pymc(MODEL, log, latent)
    free = {native.rvs_to_values[rv].name: rv for rv in native.free_RVs}
    given = {
        name: np.asarray(at[rv.name])
        if native.rvs_to_transforms[rv] is None
        else native.rvs_to_transforms[rv].forward(at[rv.name], *rv.owner.inputs).eval()
        for name, rv in free.items()
    }
    np.testing.assert_allclose(native.compile_logp(jacobian=False)(given), wanted, rtol=1e-9)


def test_a_posterior_knows_them(frame):
    for latent in ("marginal", "explicit"):
        tree = er.sample(MODEL, log_of(frame), latent=latent, chains=1, draws=20, tune=40, predictive=2)
        drawn = tree.posterior["attentiveness"]
        assert (drawn.sel(user="gus") == 1).all()
        assert ((drawn.drop_sel(user="gus") > 0) & (drawn.drop_sel(user="gus") < 1)).all()
        assert er.BehaviorModel.from_toml(tree.attrs["declaration"]).gold == GOLD


def test_saved_scored_and_exported(frame, tmp_path):
    log = log_of(frame)
    fit = er.fit_em(MODEL, log)
    fit.save(tmp_path / "fit")
    again = er.load(tmp_path / "fit")
    assert again.model == fit.model
    pd.testing.assert_frame_equal(again.label_table(log), fit.label_table(log))
    other = er.read_comparisons(frame.drop(columns="gold").assign(user="new"))
    assert len(fit.score(other)) == 1  # a log without gold answers has none
    summary = er.write_preferences(
        er.read_comparisons(frame.assign(prompt="p", response_a="x", response_b="y"), gold="gold"),
        tmp_path / "out.jsonl",
        fit,
    )
    assert summary.written == len(frame)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"users": "gus"}, r"Gold\(users='gus'\): expected a list"),
        ({"users": 5}, r"Gold\(users=5\): expected a list"),
        ({"answers": 1}, r"Gold\(answers=1\): expected True or False"),
        ({"error": 0.0}, r"Gold\(error=0.0\): expected a number above 0"),
        ({"error": 0.5}, r"below 0.5"),
    ],
)
def test_settings_are_checked(settings, words):
    with pytest.raises(er.EarnestError, match=words):
        er.Gold(**settings)


def test_a_declaration_holds_them():
    assert er.BehaviorModel.from_toml(MODEL.to_toml()) == MODEL
    with pytest.raises(er.EarnestError, match=r"\[gold\]: Gold has no setting 'user'; did you mean 'users'"):
        er.BehaviorModel.from_toml('[gold]\nuser = ["a"]\n')
    with pytest.raises(er.EarnestError, match="expected earnest.Gold"):
        er.BehaviorModel(gold=("gus",))


def test_simulated_gold_users_attend():
    truth = er.BehaviorModel(gold=er.Gold(users=("user_03",))).simulate(10, 30, 2, seed=1)
    eta = truth.attentiveness.set_index("user")["attentiveness"]
    assert eta["user_03"] == 1
    assert truth.attended[np.asarray(truth.log.to_arrow()["user"]) == "user_03"].all()
    fit = er.fit_em(er.BehaviorModel(gold=er.Gold(users=("user_03", "nobody"))), truth.log)
    assert any("1 of 2 gold users gave no votes here, 'nobody'" in note for note in fit.notes)


def test_a_right_answer_that_cannot_be_given():
    frame = made(users=4)
    frame.loc[7, "gold"] = "tie"
    with pytest.raises(er.InputError, match=r"row 8.*column 'gold'.*the right answer is a tie, as of 1 comparisons"):
        er.fit_em(MODEL, log_of(frame))


def test_known_answers_tell_nothing_of_the_models():
    """Which model is stronger is read off the votes, not off attention checks that all have the other answer."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{i}", "A", "B", "model_a" if rng.random() < 0.7 else "model_b", None) for i in range(30) for _ in range(10)
    ]
    rows += [(f"u{i}", "A", "B", "model_b", "model_b") for i in range(30) for _ in range(15)]
    log = log_of(pd.DataFrame(rows, columns=["user", "model_a", "model_b", "winner", "gold"]))
    fit = er.fit_em(er.BehaviorModel(er.Beta(), er.KnownAdvantage(0.75), er.CoinFlip(), er.Gold()), log)
    assert fit.model.preference.stronger == ("A", "B")


def test_to_miss_a_known_answer_is_no_taste():
    from earnest.diagnostics.users_apart import contrarians

    frame = made(seed=2, users=20)
    checks = [("u1", "a", "b", "model_b", "model_a")] * 12
    log = log_of(pd.concat([frame, pd.DataFrame(checks, columns=frame.columns)]))
    found = contrarians(er.fit_em(MODEL, log)).set_index("user")
    assert found.loc["u1", "probability"] < 0.5
    assert found.loc["gus", "log_bayes_factor"] == 0


def test_where_all_users_are_gold_nothing_is_said_of_a_population():
    model = er.BehaviorModel(er.Beta(), er.PairAdvantage(), er.CoinFlip(), er.Gold(users=["u1", "u2", "gus"]))
    frame = made(users=3)
    fit = er.fit_em(model, log_of(frame))
    with pytest.raises(er.EarnestError, match="every user is a gold user"):
        er.identifiability(fit)
    assert not er.thresholds(fit).recommend().warning

"""The controlled alignment experiment: losses, their optimum, the world of votes."""

import jax
import numpy as np
import pytest
from alignment import dpo
from alignment.tier_a import Judge, best_cut, effective, one
from alignment.world import REGISTERED, Setting, build, settings
from scipy import optimize, special


def test_the_tabular_optimum_is_the_closed_form():
    """Votes of all pairs as Bradley-Terry says of a reward r: DPO's optimum is reference times exp(r / beta)."""
    rng = np.random.default_rng(0)
    reward, log_reference, beta = rng.normal(size=6), np.log(rng.dirichlet(np.ones(6))), 0.3
    chosen, rejected = (part.ravel() for part in np.meshgrid(range(6), range(6), indexing="ij"))
    difference = np.eye(6)[chosen] - np.eye(6)[rejected]
    votes = special.expit(reward[chosen] - reward[rejected]) * (chosen != rejected)
    with jax.enable_x64(True):
        found = dpo.optimum(difference, votes, np.zeros(36), beta, 1e4)
        policy = np.exp(dpo.log_policy(found, np.eye(6)[None], log_reference[None]))[0]
    wanted = special.softmax(log_reference + reward / beta)
    np.testing.assert_allclose(policy, wanted, atol=1e-6)  # asked 1e-3


@pytest.mark.parametrize("kind", dpo.KINDS)
def test_the_optimum_is_that_of_another_optimiser(kind):
    rng = np.random.default_rng(1)
    difference, weight, noise = rng.normal(size=(200, 3)), rng.uniform(size=200), rng.uniform(0, 0.3, size=200)
    difference[:, 0] += 0.4

    def total(z):
        m = difference @ z
        right, wrong = np.logaddexp(0, -m), np.logaddexp(0, m)
        row = {"dpo": right, "conservative": (1 - noise) * right + noise * wrong,
               "robust": ((1 - noise) * right - noise * wrong) / (1 - 2 * noise)}[kind]  # fmt: skip
        return weight @ row + 0.5 * z @ z / 4.0

    other = optimize.minimize(total, np.zeros(3), tol=1e-12).x
    with jax.enable_x64(True):
        np.testing.assert_allclose(dpo.optimum(difference, weight, noise, 0.5, 2.0, kind=kind), other / 0.5, atol=1e-5)


def test_robust_is_unbiased_and_conservative_is_not():
    """Labels flipped with probability e: the expected robust loss is that of the true labels."""
    margin, noise = np.linspace(-3, 3, 7), 0.2
    with jax.enable_x64(True):
        for kind, same in (("robust", True), ("conservative", False)):
            expected = (1 - noise) * dpo.loss(kind, margin, noise) + noise * dpo.loss(kind, -margin, noise)
            assert np.allclose(expected, dpo.loss("dpo", margin), atol=1e-12) == same


def test_a_weight_of_two_is_a_row_twice():
    rng = np.random.default_rng(2)
    difference = rng.normal(size=(30, 3))
    weight = np.where(np.arange(30) < 10, 2.0, 1.0)
    twice = np.concatenate([difference, difference[:10]])
    with jax.enable_x64(True):
        once = dpo.optimum(difference, weight, np.zeros(30), 1.0, 5.0)
        again = dpo.optimum(twice, np.ones(40), np.zeros(40), 1.0, 5.0)
    np.testing.assert_allclose(once, again, atol=1e-8)


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match="hinge"):
        dpo.loss("hinge", 1.0)


def test_the_world_is_what_is_registered():
    world = build(Setting(users=400, votes=20), 900)
    strong = (world.votes["model_a"] == "strong").to_numpy()
    merit = world.first @ world.reward, world.second @ world.reward
    higher = np.where(strong, *merit) - np.where(strong, *reversed(merit))
    assert 0.4 < higher.mean() < 1.2  # the stronger generator's responses are worth more
    assert strong.mean() == pytest.approx(0.5, abs=0.02)
    careless = world.eta < 0.05
    left = (world.votes["winner"] == "model_a").to_numpy()
    assert left[careless].mean() == pytest.approx(REGISTERED["world"]["side"], abs=0.05)
    # Who attends follows Bradley-Terry in the reward: the slope of a logistic regression is the steepness.
    difference = merit[0] - merit[1]
    slope = optimize.minimize_scalar(
        lambda b: np.logaddexp(0, -b * np.where(world.attended_first, difference, -difference)).sum(), (0.1, 3.0)
    ).x
    assert slope == pytest.approx(REGISTERED["world"]["steepness"], rel=0.1)


def test_without_a_gap_the_generators_are_alike():
    world = build(Setting(gap=0.0, users=400), 901)
    wins = np.mean((world.votes["model_a"] == "strong").to_numpy() == world.attended_first)
    assert wins == pytest.approx(0.5, abs=0.02)


def test_populations_differ_in_users_only():
    plain, other = build(Setting(users=50), 902), build(Setting(users=50, population="groups"), 902)
    np.testing.assert_array_equal(plain.first, other.first)
    np.testing.assert_array_equal(plain.attended_first, other.attended_first)
    assert (build(Setting(users=300, population="contrary"), 903).eta < 0).mean() == pytest.approx(0.1, abs=0.05)


def test_every_registered_point_is_a_setting():
    points = settings()
    assert len(points) == 1 + sum(len(values) for values in REGISTERED["sweeps"].values())
    assert points[("labels", 30000)].users == 1500
    assert points[("votes", 80)].users * 80 == 10_000


def test_effective_labels_and_the_best_cut():
    eta = np.array([0.9, 0.9, 0.0, 0.0])
    assert effective(eta, np.ones(4)) == pytest.approx(4 * 0.45**2)
    assert effective(eta, eta) == pytest.approx(2 * 0.81)  # soft weights: the sum of eta^2
    assert 0.0 < best_cut(eta) <= 0.9


def test_a_judge_knows_the_true_reward():
    world = build(Setting(users=20, votes=5), 904)
    judge = Judge(world)
    assert judge.win(judge.base, judge.base) == pytest.approx(0.5)
    assert judge.kl(np.zeros(len(world.reward))) == pytest.approx(0.0, abs=1e-6)
    along, across = 2.0 * world.reward, np.roll(world.reward, 1)
    assert judge.reward(judge.policy(along)) > judge.reward(judge.base) + 0.3
    assert judge.reward_at(along, 0.2) > judge.reward_at(across, 0.2)
    half = judge.policy(0.5 * along)
    assert judge.reward_at(along, judge.kl(0.5 * along)) == pytest.approx(judge.reward(half), abs=1e-3)


def test_one_world_goes_through_every_arm():
    row = one("check", 0, Setting(users=60, votes=15), 905)
    wanted = {*REGISTERED["arms"]["every"], *(f"cut {t:g}" for t in REGISTERED["arms"]["thresholds"])}
    assert set(row["arms"]) == wanted
    assert all(np.isfinite(list(told.values())).all() for told in row["arms"].values())
    assert row["arms"]["oracle_labels"]["reward"] > row["reference"]
    assert row["arms"]["all"]["win_all"] == pytest.approx(0.5)

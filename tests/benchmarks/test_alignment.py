"""The controlled alignment experiment: losses, their optimum, the world of votes."""

import json

import jax
import numpy as np
import pytest
from alignment import dpo, findings
from alignment.tier_a import Judge, again, best_cut, earlier, effective, one
from alignment.world import REGISTERED, Setting, build, settings
from scipy import optimize, special, stats


def test_the_tabular_optimum_is_the_closed_form():
    """Votes of all pairs as Bradley-Terry says of a reward r: DPO's optimum is reference times exp(r / beta)."""
    rng = np.random.default_rng(0)
    reward, log_reference, beta = rng.normal(size=6), np.log(rng.dirichlet(np.ones(6))), 0.3
    chosen, rejected = (part.ravel() for part in np.meshgrid(range(6), range(6), indexing="ij"))
    difference = np.eye(6)[chosen] - np.eye(6)[rejected]
    votes = special.expit(reward[chosen] - reward[rejected]) * (chosen != rejected)
    with jax.enable_x64(True):
        found, slope = dpo.optimum(difference, votes, np.zeros(36), beta, 1e4)
    assert float(slope) < 1e-9
    with jax.enable_x64(True):
        policy = np.exp(dpo.log_policy(found, np.eye(6)[None], log_reference[None]))[0]
    wanted = special.softmax(log_reference + reward / beta)
    np.testing.assert_allclose(policy, wanted, atol=1e-6)  # asked 1e-3


@pytest.mark.parametrize("kind", dpo.KINDS)
def test_the_optimum_is_that_of_another_optimiser(kind):
    rng = np.random.default_rng(1)
    difference, weight, noise = rng.normal(size=(200, 3)), rng.uniform(size=200), rng.uniform(0, 0.3, size=200)
    attended = rng.uniform(0.2, 1.0, size=200)
    noise = noise * (1 - attended)
    difference[:, 0] += 0.4

    def total(z):
        m = difference @ z
        right, wrong = np.logaddexp(0, -m), np.logaddexp(0, m)
        row = {"dpo": right, "conservative": (1 - noise) * right + noise * wrong,
               "robust": ((1 - noise) * right - noise * wrong) / (1 - 2 * noise),
               "by_side": right + noise / attended * (right - wrong)}[kind]  # fmt: skip
        return weight @ row + 0.5 * z @ z / 4.0

    other = optimize.minimize(total, np.zeros(3), tol=1e-12).x
    with jax.enable_x64(True):
        found = dpo.optimum(difference, weight, noise, 0.5, 2.0, kind=kind, attended=attended)[0]
    np.testing.assert_allclose(found, other / 0.5, atol=1e-5)


def test_robust_is_unbiased_and_conservative_is_not():
    """Labels flipped with probability e: the expected robust loss is that of the true labels."""
    margin, noise = np.linspace(-3, 3, 7), 0.2
    with jax.enable_x64(True):
        for kind, same in (("robust", True), ("conservative", False)):
            expected = (1 - noise) * dpo.loss(kind, margin, noise) + noise * dpo.loss(kind, -margin, noise)
            assert np.allclose(expected, dpo.loss("dpo", margin), atol=1e-12) == same


def test_flips_that_depend_on_the_side_need_the_loss_for_them():
    """A response on the left or on the right is the better one; who slips takes the left one in 7 of 10 votes."""
    attended, takes = 0.4, {"left": 0.7, "right": 0.3}
    margin = np.linspace(-3, 3, 7)  # of the response on the left
    with jax.enable_x64(True):
        for better, other in (("left", "right"), ("right", "left")):
            toward = margin if better == "left" else -margin
            right = attended + (1 - attended) * takes[better]  # probability that the better one is chosen
            slips = [(1 - attended) * takes[side] for side in (other, better)]  # against the label seen
            found = {
                kind: right * dpo.loss(kind, toward, slips[0], attended)
                + (1 - right) * dpo.loss(kind, -toward, slips[1], attended)
                for kind in ("by_side", "robust")
            }
            np.testing.assert_allclose(found["by_side"], dpo.loss("dpo", toward), atol=1e-12)
            assert np.abs(found["robust"] - dpo.loss("dpo", toward)).max() > 0.05
        even = dpo.loss("by_side", margin, 0.2, 0.6), dpo.loss("robust", margin, 0.2)
    np.testing.assert_allclose(*even, atol=1e-12)


def test_a_weight_of_two_is_a_row_twice():
    rng = np.random.default_rng(2)
    difference = rng.normal(size=(30, 3))
    weight = np.where(np.arange(30) < 10, 2.0, 1.0)
    twice = np.concatenate([difference, difference[:10]])
    with jax.enable_x64(True):
        once, _ = dpo.optimum(difference, weight, np.zeros(30), 1.0, 5.0)
        again, _ = dpo.optimum(twice, np.ones(40), np.zeros(40), 1.0, 5.0)
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
    wanted = {
        *REGISTERED["arms"]["every"], *REGISTERED["added"]["every"],
        *(f"cut {t:g}" for t in REGISTERED["arms"]["thresholds"]),
    }  # fmt: skip
    assert set(row["arms"]) == wanted
    assert all(np.isfinite(list(told.values())).all() for told in row["arms"].values())
    assert row["arms"]["oracle_labels"]["reward"] > row["reference"]
    assert row["arms"]["all"]["win_all"] == pytest.approx(0.5)
    assert max(row["slope"][name] for name in ("all", "recommended", "soft", "conservative")) < 1e-6


def test_a_world_that_two_sweeps_share_is_run_once(tmp_path):
    main = {
        "sweep": "main",
        "value": "",
        "seed": 4,
        "arms": {"all": 1, "posterior": 2, "random_half": 3},
        "made_by": "-",
    }
    kept = again([main], "gap", 1.0, settings()[("gap", 1.0)], 4)
    assert (kept["sweep"], kept["value"], kept["arms"]) == ("gap", 1.0, {"all": 1})
    assert again([main], "gap", 2.0, settings()[("gap", 2.0)], 4) is None
    assert again([main], "gap", 1.0, settings()[("gap", 1.0)], 5) is None
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps(main) + "\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="another registered"):
        earlier(path)


def lines(seeds, shift):
    """Lines of a made-up run: an arm's reward is its own number plus the seed's noise, the same for all arms."""
    rng = np.random.default_rng(0)
    arms = {"all": 0.5, "random": 0.49, "recommended": 0.6 + shift, "soft": 0.7, "conservative": 0.5, "oracle": 0.8,
            "oracle_soft": 0.82, "oracle_labels": 1.0, **{name: 0.55 for name in findings.CUTS}, "cut 0.5": 0.65}  # fmt: skip
    out = []
    for seed in range(seeds):
        common, own = rng.normal(), rng.normal(scale=0.01, size=len(arms))
        told = {
            name: dict.fromkeys(findings.METRICS, value + common + error)
            for (name, value), error in zip(arms.items(), own, strict=True)
        }
        out.append({"sweep": "main", "value": "", "seed": seed, "arms": told, "reference": common, "advantage": 0.7,
                    "threshold": 0.3, "kept": 0.8, "status": "converged", "effective": {"all": 100.0, "oracle": 120.0,
                    "recommended": 110.0, "soft": 115.0}})  # fmt: skip
    return out


def test_findings_are_paired_and_judged_as_registered():
    [at] = findings.condensed(lines(30, 0.0))
    differences = [row["arms"]["recommended"]["reward"] - row["arms"]["all"]["reward"] for row in lines(30, 0.0)]
    by_scipy = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert at["arms"]["recommended"]["reward"][2:] == pytest.approx(list(by_scipy), abs=1e-5)
    assert at["best"]["reward"] == "cut 0.5"
    [told] = findings.verdicts([at])
    assert told["expected"]  # the true attentiveness gains 20 %
    assert [told[claim][0] for claim in ("recommended", "random", "soft")] == [True] * 3
    assert told["threshold"] == (False, pytest.approx(0.6 / 0.65, abs=0.01))
    [at] = findings.condensed(lines(30, -0.3))  # worse than all labels
    assert not findings.verdicts([at])[0]["recommended"][0]


def test_what_is_kept_with_the_code_is_the_registered_run():
    found = json.loads(findings.FOUND.read_text(encoding="utf-8"))
    assert {(at["sweep"], at["value"]) for at in found} == set(settings())
    assert {at["seeds"] for at in found} == {REGISTERED["seeds"]}


def test_the_page_shows_what_was_found(root):
    found = json.loads(findings.FOUND.read_text(encoding="utf-8"))
    page = (root / "docs" / "alignment.md").read_text(encoding="utf-8")
    for table in (findings.arms_table(found), findings.claims_table(found), findings.planned_table(found)):
        assert table in page


def test_the_page_says_what_the_real_model_s_run_found(root):
    from alignment import tier_b

    rows = tier_b.read(tier_b.FOUND)
    assert len(rows) == 1 + 3 * 5  # the base, and every arm of three seeds
    page = (root / "docs" / "alignment.md").read_text(encoding="utf-8")
    for table in tier_b.tables(rows).values():
        assert table in page

"""Tier B in small: a model of two layers and made-up generators, through the real trainer; nothing of size is loaded."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

pytestmark = [pytest.mark.alignment, pytest.mark.filterwarnings("ignore::FutureWarning")]  # of TRL and transformers

GOOD, BAD = ["good", "great", "happy"], ["bad", "awful", "sad"]
WORDS = [*GOOD, *BAD, "we", "saw", "it", "and", "was", "the", "hotel", "museum", "cafe", "shop", "lamp", "book"]


@pytest.fixture(scope="module")
def tier_b():
    from alignment import tier_b

    return tier_b


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *("\u2581" + word for word in WORDS)])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    plain.normalizer = normalizers.Replace(",", "")
    plain.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    plain.decoder = decoders.Sequence([decoders.Replace("\u2581", " ")])
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


@pytest.fixture(scope="module")
def network():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=3 + len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=1,
        )
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def small(tier_b):
    """The registration with few prompts, users and steps."""
    of = copy.deepcopy(tier_b.REGISTERED)
    of["prompts"] = {"openings": ["we saw {topic} and it was", "{topic} was"], "train": ["the hotel", "the museum", "the book"],
                     "held_out": ["the cafe", "the shop", "the lamp"]}  # fmt: skip
    of["generation"] |= {"longest": 4, "batch": 4}
    of["world"] |= {"users": 20, "votes": 10}
    of["lora"] |= {"layers_to_transform": [1]}
    of["evaluation"] |= {"samples": 2, "kl_prompts": 4, "batch": 4}
    of["dpo"] |= {"warmup_steps": 0, "learning_rate": 1e-2}
    of["arms"] |= {"steps": 2}
    return of


def speak(prompts, seed):
    """The two generators: all good words, all bad words."""
    rng = np.random.default_rng(seed)
    return ["".join(" " + word for word in rng.choice((GOOD, BAD)[seed[1]], 3)) for _ in prompts]


@pytest.fixture(scope="module")
def shown(tier_b, small, tmp_path_factory):
    return tier_b.pairs(small, tmp_path_factory.mktemp("cache"), speak)


@pytest.fixture(scope="module")
def lines(tier_b, small, network, tokenizer, shown, tmp_path_factory):
    """(file, lines) of a whole run in small, on a seed that is not registered."""
    path = tmp_path_factory.mktemp("run") / "results.jsonl"
    return path, tier_b.run(small, network, tokenizer, shown, path, seeds=[1000])


def test_every_arm_goes_through_the_trainer(tier_b, small, lines):
    path, rows = lines
    assert [row["arm"] for row in rows] == ["base", *small["arms"]["every"]]
    assert {row["status"] for row in rows} == {"done"}
    by = {row["arm"]: row for row in rows}
    assert by["random"]["rows"] == by["recommended"]["rows"] <= by["all"]["rows"] == by["soft"]["rows"] == 200
    assert all(row["steps"] == 2 and row["kl"] > 0 and np.isfinite(row["loss"]) for row in rows[1:])
    assert by["all"]["loss"] != by["soft"]["loss"]
    assert np.shape(by["all"]["rewards"]) == (6, 2)
    assert path.stat().st_size < 6000


def test_a_second_call_does_nothing_and_a_killed_one_goes_on(tier_b, small, network, tokenizer, shown, lines, tmp_path):
    path, rows = lines
    before = path.read_bytes()
    assert tier_b.run(small, network, tokenizer, shown, path, seeds=[1000]) == rows
    assert path.read_bytes() == before
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(before[:-40])  # killed in the last line
    again = tier_b.run(small, network, tokenizer, shown, cut, seeds=[1000])
    last, wanted = ({k: v for k, v in row.items() if "seconds" not in k} for row in (again[-1], rows[-1]))
    assert last == wanted  # the same arm again, to the last digit
    whole = [line for line in cut.read_text().splitlines() if line.endswith("}")]
    assert [json.loads(line)["arm"] for line in whole] == [row["arm"] for row in rows]


def test_the_export_goes_in_as_it_is(tier_b, small, shown, tmp_path, monkeypatch, network, tokenizer):
    import trl

    votes = tier_b.simulate(small["world"], shown, 1000)
    exports = tier_b.Exports(votes, tmp_path, 1000)
    given = []
    init = trl.DPOTrainer.__init__

    def spied(self, *args, **named):
        given.append(named["train_dataset"])
        init(self, *args, **named)

    monkeypatch.setattr(trl.DPOTrainer, "__init__", spied)
    for arm in ("all", "recommended"):
        tier_b.train(network, tokenizer, exports.dataset(arm), arm, 1, small, 1000)
        file = [json.loads(line) for line in exports.path[arm].read_text().splitlines()]
        assert given[-1].to_list() == file
    oracle = exports.dataset("oracle").to_pandas()
    kept, left = (votes.eta[at] for at in (exports.rows["oracle"], np.delete(np.arange(200), exports.rows["oracle"])))
    assert left.max() < kept.min()
    assert list(oracle["comparison"]) == [str(at) for at in exports.rows["oracle"]]


def test_training_leaves_the_base_as_it_is_and_repeats(tier_b, small, shown, network, tokenizer, tmp_path):
    exports = tier_b.Exports(tier_b.simulate(small["world"], shown, 1000), tmp_path, 1000)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second = (
        tier_b.train(network, tokenizer, exports.dataset("all"), "all", 2, small, 1000)[0] for _ in range(2)
    )
    assert all((network.state_dict()[name] == value).all() for name, value in before.items())
    changed = [name for name, value in first.state_dict().items() if not (value == before[name]).all()]
    assert changed
    assert all(".1." in name for name in changed)  # only the layer that the adapter is on
    assert all((second.state_dict()[name] == value).all() for name, value in first.state_dict().items())


def test_the_kl_is_zero_at_the_base_and_that_of_its_definition(tier_b, network, tokenizer):
    import torch
    from alignment.language import write

    prompts = ["the hotel was", "we saw the museum and it was"]
    same = write(network, tokenizer, prompts, 0, 3, network)
    np.testing.assert_allclose(same.kl, 0, atol=1e-6)
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.lm_head.weight += 0.5 * torch.randn(
            other.lm_head.weight.shape, generator=torch.Generator().manual_seed(1)
        )
    # Of one token's response: the sum over the vocabulary, by hand and without padding.
    told = write(other, tokenizer, prompts, 0, 1, network)
    for prompt, kl in zip(prompts, told.kl, strict=True):
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        with torch.no_grad():
            p, q = (torch.log_softmax(model(input_ids=ids).logits[0, -1], -1) for model in (other, network))
        assert kl == pytest.approx(float((p.exp() * (p - q)).sum()), abs=1e-5)
    # Of responses of two tokens: over all first tokens and all second ones.
    start = tokenizer("the hotel was")["input_ids"]
    firsts = torch.arange(network.config.vocab_size)
    at = torch.cat([torch.tensor([start]).expand(len(firsts), -1), firsts[:, None]], 1)
    with torch.no_grad():
        p, q = (torch.log_softmax(model(input_ids=at).logits[:, -2:].double(), -1) for model in (other, network))
    first, second = (p.exp() * (p - q)).sum(-1).T
    wanted = float(first[0] + (p[0, 0].exp() * second)[firsts != tokenizer.eos_token_id].sum())
    many = write(other, tokenizer, ["the hotel was"] * 2000, 0, 2, network).kl
    assert many.mean() == pytest.approx(wanted, abs=5 * many.std() / np.sqrt(2000))
    assert many.std() > 0


def test_pairs_are_kept_and_twice_the_same_is_left_out(tier_b, small, tmp_path):
    calls = []

    def counted(prompts, seed):
        calls.append(len(prompts))
        return speak(prompts, seed) if len(calls) > 2 else [" same"] * len(prompts)

    first = tier_b.pairs(small, tmp_path, counted)
    assert len(first) == 2  # the first batch of four is twice the same text
    assert len(calls) == 4
    files = sorted(tmp_path.glob("*/*"))
    pd.testing.assert_frame_equal(tier_b.pairs(small, tmp_path, None), first)  # nothing is generated again
    files[0].unlink()
    assert len(tier_b.pairs(small, tmp_path, speak)) == 6  # only the missing batch is
    with pytest.raises(TypeError):  # another registration does not find these
        tier_b.pairs(small | {"generation": small["generation"] | {"seed": 1}}, tmp_path, None)


def test_users_who_attend_follow_the_reward(tier_b, small, shown):
    world = small["world"] | {"users": 500, "alpha": 1e4, "beta": 1e-3}
    votes = tier_b.simulate(world, shown, 1000)
    took_strong = (
        np.where(votes.table["winner"] == "model_a", votes.table["model_a"], votes.table["model_b"]) == "strong"
    )
    assert took_strong.mean() == pytest.approx(votes.advantage, abs=0.02)
    even = shown.assign(weak_reward=shown["strong_reward"])  # equal rewards: a fair coin, the votes stay
    tossed = tier_b.simulate(world, even, 1000).table
    assert len(tossed) == 5000
    assert (tossed["winner"] == "model_a").mean() == pytest.approx(0.5, abs=0.03)
    careless = tier_b.simulate(world | {"alpha": 1e-3, "beta": 1e4}, shown, 1000).table
    assert (careless["winner"] == "model_a").mean() == pytest.approx(world["side"], abs=0.03)
    assert careless.groupby("user").size().eq(world["votes"]).all()


def test_the_reward_reads_prompt_and_response():
    from alignment.language import Scorer, openings
    from alignment.tier_b import REGISTERED

    up, down, none, turned = Scorer()(
        ["It was", "It was", "It was", "It was not"], [" wonderful.", " awful.", " a table.", " good."]
    )
    assert up > 0.5
    assert down < -0.4
    assert none == 0
    assert turned < 0
    for names in ("train", "held_out"):
        prompts = openings(REGISTERED["prompts"], names)
        assert len(set(prompts)) == len(prompts)
        assert not Scorer()(prompts, [""] * len(prompts)).any()
    assert not set(REGISTERED["prompts"]["train"]) & set(REGISTERED["prompts"]["held_out"])


def made(seed, arm, rewards):
    return {"seed": seed, "arm": arm, "status": "done", "reward": float(np.mean(rewards)), "rewards": np.asarray(rewards).tolist(),
            "kl": 1.0, "tokens": 3.0, "distinct": 1.0}  # fmt: skip


def test_the_table_is_that_of_scipy(tier_b):
    rng = np.random.default_rng(0)
    base = rng.normal(size=(30, 2))
    arms = {
        (seed, arm): rng.normal(shift, 1, (30, 2)) for seed in range(3) for arm, shift in (("all", 0), ("soft", 0.5))
    }
    rows = [made(None, "base", base), *(made(seed, arm, value) for (seed, arm), value in arms.items())]
    rows.append({"seed": 0, "arm": "oracle", "status": "diverged"})
    told = tier_b.table(rows).set_index("arm")
    difference = np.array([arms[s, "soft"] - arms[s, "all"] for s in range(3)])
    openings = stats.ttest_1samp(difference.mean((0, 2)), 0).confidence_interval(0.95)
    seeds = stats.ttest_1samp(difference.mean((1, 2)), 0).confidence_interval(0.95)
    found = told.loc["soft"]
    np.testing.assert_allclose(
        found[["gain", "openings_low", "openings_high", "seeds_low", "seeds_high"]].astype(float),
        [difference.mean(), *openings, *seeds],
    )
    against = stats.ttest_1samp(np.mean([base - arms[s, "all"] for s in range(3)], 0).mean(1), 0).confidence_interval()
    np.testing.assert_allclose(told.loc["base", ["openings_low", "openings_high"]].astype(float), against)
    # A win rate is Mann and Whitney's statistic over the number of pairs, opening by opening.
    u = [stats.mannwhitneyu(arms[s, "soft"][i], base[i]).statistic / 4 for s in range(3) for i in range(30)]
    assert told.loc["soft", "win_base"] == pytest.approx(np.mean(u))
    assert told.loc["all", "win_all"] == 0.5
    assert "oracle" not in told.index
    said = tier_b.verdicts(rows, tier_b.REGISTERED).set_index("claim")["said"]
    assert said["oracle - all"] == "not there yet"
    assert said["soft - all"] == ("shown" if seeds.low > 0 else "hinted" if openings.low > 0 else "not shown")


def test_weights_that_are_not_there_are_asked_for():
    from alignment.language import load, weights_file

    with pytest.raises(FileNotFoundError, match="no_such_package.*tier_b.py says"):
        weights_file("no_such_package", "model.gguf")
    with pytest.raises(FileNotFoundError, match="no model.gguf in an installed package json"):
        weights_file("json", "model.gguf")
    with pytest.raises(ValueError, match="SHA-256"):
        load({"package": "json", "file": "__init__.py", "sha256": "0"})

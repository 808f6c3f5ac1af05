"""The hand-over to TRL, in an environment of its own (`make test-alignment`): a model of two layers, never downloaded."""

import math

import numpy as np
import pytest

import earnest as er

pytestmark = [pytest.mark.alignment, pytest.mark.filterwarnings("ignore::FutureWarning")]  # of TRL and transformers

WORDS = [f"word{i}" for i in range(40)]


@pytest.fixture(scope="module")
def trl():
    import trl

    return trl


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def network(seed=0):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=43, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=1,
        )
    )  # fmt: skip


def rows(n, seed=0):
    rng = np.random.default_rng(seed)

    def text(length):
        return " ".join(rng.choice(WORDS, length))

    return {"prompt": [text(4) for _ in range(n)], "chosen": [" " + text(3) for _ in range(n)],
            "rejected": [" " + text(5) for _ in range(n)]}  # fmt: skip


def arguments(folder, **changed):
    from trl import DPOConfig

    usual = {
        "report_to": "none", "output_dir": str(folder), "max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "beta": 0.5,
        "use_cpu": True, "bf16": False, "logging_steps": 1, "save_strategy": "no",
        "lr_scheduler_type": "constant", "activation_checkpointing": False, "seed": 3, "disable_tqdm": True,
    }  # fmt: skip
    return DPOConfig(**{**usual, **changed})


def trained(kind, data, tokenizer, folder, changed=None, **others):
    """Losses of the steps and weights of the model after them."""
    from datasets import Dataset

    model = network()
    trainer = kind(
        model, ref_model=network(1), args=arguments(folder, **(changed or {})),
        train_dataset=Dataset.from_dict(data), processing_class=tokenizer, **others,
    )  # fmt: skip
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return losses, np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])


@pytest.fixture(scope="module")
def weighted():
    from earnest.weighted_dpo import WeightedDPOTrainer

    return WeightedDPOTrainer


def test_with_weights_of_one_it_is_the_stock_trainer(trl, weighted, tokenizer, tmp_path):
    stock = trained(trl.DPOTrainer, rows(8), tokenizer, tmp_path)
    ours = trained(weighted, rows(8), tokenizer, tmp_path)
    ones = trained(weighted, {**rows(8), "weight": [1.0] * 8}, tokenizer, tmp_path)
    for other in (ours, ones):
        np.testing.assert_allclose(other[0], stock[0], rtol=1e-6)
        np.testing.assert_allclose(other[1], stock[1], atol=1e-6)
    start = np.concatenate([p.detach().numpy().ravel() for p in network().parameters()])
    assert np.abs(stock[1] - start).max() > 1e-3  # it has learned something at all


@pytest.mark.parametrize("kind", ["robust"])
def test_one_flip_rate_for_all_is_the_stock_label_smoothing(trl, weighted, tokenizer, tmp_path, kind):
    stock = trained(trl.DPOTrainer, rows(8), tokenizer, tmp_path, {"loss_type": [kind], "label_smoothing": 0.2})
    ours = trained(weighted, {**rows(8), "label_noise": [0.2] * 8}, tokenizer, tmp_path, noise=kind)
    np.testing.assert_allclose(ours[0], stock[0], rtol=1e-6)
    np.testing.assert_allclose(ours[1], stock[1], atol=1e-6)


def test_a_weight_of_two_is_a_row_twice(weighted, tokenizer, tmp_path):
    data = rows(3)
    twice = {name: [*values, values[0]] for name, values in data.items()}
    # Whole batches, plain gradient steps: the order of rows does not matter, nor the size of a step.
    plain = {"optim": "sgd", "learning_rate": 1.0}
    once = trained(weighted, {**data, "weight": [2.0, 1.0, 1.0]}, tokenizer, tmp_path,
                   {**plain, "per_device_train_batch_size": 3})  # fmt: skip
    again = trained(weighted, twice, tokenizer, tmp_path, {**plain, "per_device_train_batch_size": 4})
    np.testing.assert_allclose(once[0], again[0], rtol=1e-5)
    np.testing.assert_allclose(once[1], again[1], atol=1e-5)
    # And it is not the same as without the weight.
    without = trained(weighted, data, tokenizer, tmp_path, {**plain, "per_device_train_batch_size": 3})
    assert np.abs(once[1] - without[1]).max() > 1e-4


def test_a_weight_of_zero_is_no_row(weighted, tokenizer, tmp_path):
    data, plain = rows(4), {"optim": "sgd", "learning_rate": 1.0}
    none = trained(weighted, {**data, "weight": [1.0, 1.0, 1.0, 0.0]}, tokenizer, tmp_path, plain)
    fewer = {name: values[:3] for name, values in data.items()}
    gone = trained(weighted, fewer, tokenizer, tmp_path, {**plain, "per_device_train_batch_size": 3})
    np.testing.assert_allclose(none[1], gone[1], atol=1e-5)


def test_the_loss_is_that_of_tier_a_and_of_trl(trl, weighted, tokenizer, tmp_path):
    """Tier A's losses at the very log-probabilities that TRL computes, to 1e-6."""
    import torch
    from alignment import dpo
    from datasets import Dataset

    data = {**rows(4), "label_noise": [0.1, 0.2, 0.3, 0.4], "weight": [0.5, 1.0, 2.0, 0.1],
            "attended": [0.9, 0.5, 0.4, 0.2]}  # fmt: skip
    for kind in (None, "conservative", "robust", "by_side"):
        named = {"attentiveness_column": "attended", "weight_column": "weight"} if kind == "by_side" else {}
        trainer = weighted(
            network(), ref_model=network(1), args=arguments(tmp_path), train_dataset=Dataset.from_dict(data),
            processing_class=tokenizer, noise=kind, **named,
        )  # fmt: skip
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
        with torch.no_grad():
            loss = float(trainer._compute_loss(trainer.model, batch, False))
            policy = trainer.compute_ref_log_probs(trainer.model, batch)
            reference = trainer.compute_ref_log_probs(trainer.ref_model, batch)
        margin = dpo.margins(0.5, *(part.numpy() for part in (*policy, *reference)))
        each = dpo.loss(kind or "dpo", margin, np.array(data["label_noise"]), np.array(data["attended"]))
        weight = np.array(data["weight"])
        assert loss == pytest.approx(float((weight * each).mean() / weight.mean()), abs=1e-6)
    stock = trl.DPOTrainer(
        network(), ref_model=network(1), args=arguments(tmp_path), train_dataset=Dataset.from_dict(rows(4)),
        processing_class=tokenizer,
    )  # fmt: skip
    batch = stock.data_collator([stock.train_dataset[i] for i in range(4)])
    with torch.no_grad():
        assert float(stock._compute_loss(stock.model, batch, False)) == pytest.approx(
            float(dpo.loss("dpo", margin).mean()), abs=1e-6
        )


def test_adapters_train_and_the_reference_is_the_model_without_them(weighted, tokenizer, tmp_path):
    from datasets import Dataset
    from peft import LoraConfig

    trainer = weighted(
        network(), args=arguments(tmp_path), train_dataset=Dataset.from_dict({**rows(8), "weight": [0.5] * 8}),
        processing_class=tokenizer, peft_config=LoraConfig(r=2, target_modules=["q_proj", "v_proj"]),
    )  # fmt: skip
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)  # the adapter begins at nothing
    assert {"rewards/accuracies", "rewards/margins"} <= set(first)


def test_the_export_goes_unchanged_into_the_stock_trainer(trl, weighted, tokenizer, tmp_path):
    from datasets import load_dataset

    truth = er.BehaviorModel().simulate(30, 10, 2, seed=1)
    frame = truth.log.to_arrow().to_pandas()
    texts = rows(len(frame), 5)
    frame = frame.assign(prompt=texts["prompt"], response_a=texts["chosen"], response_b=texts["rejected"])
    log = er.read_comparisons(frame)
    fit = er.fit_em(er.BehaviorModel(), log)
    er.write_preferences(log, tmp_path / "preferences.jsonl", fit, noise="clip")
    data = load_dataset("json", data_files=str(tmp_path / "preferences.jsonl"), split="train", cache_dir=str(tmp_path))
    kinds = [{}, {"noise": "robust"}, {"noise": "by_side"}]
    for kind, others in ((trl.DPOTrainer, {}), *((weighted, chosen) for chosen in kinds)):
        trainer = kind(network(), ref_model=network(1), args=arguments(tmp_path), train_dataset=data,
                       processing_class=tokenizer, **others)  # fmt: skip
        trainer.train()
        assert trainer.state.global_step == 2
        assert all(np.isfinite(row["loss"]) for row in trainer.state.log_history if "loss" in row)


@pytest.mark.parametrize(
    ("changed", "others", "said"),
    [
        ({"weight": [1.0, -1.0]}, {}, "row 1 of the data: weight is -1.0"),
        ({"weight": [1.0, float("nan")]}, {}, "row 1 of the data: weight is nan"),
        ({"weight": [0.0, 0.0]}, {}, "nothing to train on"),
        ({}, {"noise": "robust"}, "no column 'label_noise'"),
        ({"label_noise": [0.1, 0.5]}, {"noise": "robust"}, "row 1 of the data: label_noise is 0.5.*clip"),
        ({"label_noise": [0.1, 0.49999999]}, {"noise": "robust"}, "row 1 of the data: label_noise is 0.49999999.*clip"),
        ({"label_noise": [0.1, None]}, {"noise": "robust"}, "row 1 of the data: label_noise is None"),
        ({}, {"weight_column": "wieght"}, "no column 'wieght'"),
        ({"label_noise": [0.1, 0.2]}, {"noise": "by_side"}, "no column 'weight'"),
        (
            {"label_noise": [0.1, 0.2], "weight": [0.9, 2.0]},
            {"noise": "by_side"},
            "row 1 of the data: weight is 2 and label_noise 0.2, together above 1.*weight_column",
        ),
        (
            {"label_noise": [0.1, 0.2], "weight": [0.9, 0.01]},
            {"noise": "by_side"},
            "row 1 of the data: of attentiveness 0.01 .*for 100 average rows.*weight_column='weight'",
        ),
        ({"label_noise": [0.1, 0.5]}, {"noise": "soft"}, "'conservative', 'robust' or 'by_side'"),
    ],
)
def test_what_cannot_be_trained_on_is_named(weighted, tokenizer, tmp_path, changed, others, said):
    from datasets import Dataset

    from earnest.comparisons.errors import EarnestError

    with pytest.raises(EarnestError, match=said):
        weighted(network(), ref_model=network(1), args=arguments(tmp_path), train_dataset=Dataset.from_dict({**rows(2), **changed}),
                 processing_class=tokenizer, **others)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"loss_type": ["ipo"]}, "sigmoid"),
        ({"loss_weights": [2.0]}, r"loss_weights=\[2.0\] has no effect here.*learning_rate"),
        ({"label_smoothing": 0.1}, "label_smoothing=0.1 has no effect here.*noise='conservative'"),
    ],
)
def test_settings_that_the_loss_does_not_have_are_refused(weighted, tokenizer, tmp_path, changed, said):
    from datasets import Dataset

    from earnest.comparisons.errors import EarnestError

    with pytest.raises(EarnestError, match=said):
        weighted(network(), ref_model=network(1), args=arguments(tmp_path, **changed), train_dataset=Dataset.from_dict(rows(2)),
                 processing_class=tokenizer)  # fmt: skip


def test_data_that_stream_are_refused(weighted, tokenizer, tmp_path):
    from datasets import Dataset

    from earnest.comparisons.errors import EarnestError

    whole = Dataset.from_dict(rows(4))
    for given, name in (
        ({"train_dataset": whole.to_iterable_dataset()}, "train_dataset"),
        ({"train_dataset": whole, "eval_dataset": {"one": whole, "two": whole.to_iterable_dataset()}}, "eval_dataset"),
    ):
        with pytest.raises(EarnestError, match=rf"{name}=\.\.\.\): expected a `datasets.Dataset`, got IterableDataset"):
            weighted(network(), ref_model=network(1), args=arguments(tmp_path), processing_class=tokenizer, **given)


def sides(attended, other):
    """One response taken by users who do not attend with probability `other`, or the other one: their two rows."""
    one, two = (1 - attended) * (1 - other), (1 - attended) * other
    return [two, one]  # label_noise of a row that chose the one, and of one that chose the other


@pytest.mark.parametrize(("attended", "other"), [(0.3, 0.9), (0.3, 0.5), (0.05, 0.35), (1.0, 0.7)])
def test_by_side_is_unbiased_whatever_side_careless_users_prefer(weighted, tokenizer, tmp_path, attended, other):
    """Every label that may be seen, times its probability: the expected loss is that of clean labels."""
    from datasets import Dataset

    clean = np.array([0.8, 0.2])
    noise = np.array(sides(attended, other))
    seen = attended * clean + noise[::-1]
    assert seen.sum() == pytest.approx(1.0)
    text = rows(1)
    both = {"prompt": text["prompt"] * 2, "chosen": text["chosen"] + text["rejected"],
            "rejected": text["rejected"] + text["chosen"]}  # fmt: skip

    def expected(chance, **others):
        trainer = weighted(
            network(), ref_model=network(1), args=arguments(tmp_path, beta=5.0), processing_class=tokenizer,
            train_dataset=Dataset.from_dict(
                {**both, "chance": chance, "label_noise": noise, "weight": [attended] * 2}
            ), weight_column="chance", **others,
        )  # fmt: skip
        return trainer.evaluate(trainer.train_dataset)["eval_loss"]

    truth = expected(clean)
    assert expected(seen, noise="by_side") == pytest.approx(truth, rel=2e-5)
    plain = expected(seen)
    assert (attended == 1) == (plain == pytest.approx(truth, rel=1e-4))
    if max(noise) < 0.5:
        robust = expected(seen, noise="robust")
        assert (other == 0.5 or attended == 1) == (robust == pytest.approx(truth, rel=1e-4))


def test_by_side_is_robust_where_flips_have_none(weighted, tokenizer, tmp_path):
    noise = [0.1, 0.2, 0.3, 0.4, 0.45, 0.0, 0.05, 0.25]
    attended = [1 - 2 * e for e in noise]
    data = {**rows(8), "label_noise": noise, "attended": attended}
    robust = trained(weighted, data, tokenizer, tmp_path, noise="robust")
    ours = trained(weighted, data, tokenizer, tmp_path, noise="by_side", attentiveness_column="attended")
    np.testing.assert_allclose(ours[0], robust[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], robust[1], atol=1e-5)


def test_by_side_counts_rows_alike_unless_told(weighted, tokenizer, tmp_path):
    """Where rows count by their attentiveness nothing is divided: rows of nearly none are welcome."""
    from datasets import Dataset

    data = {**rows(4), "label_noise": [0.2, 0.5, 0.95, 0.1], "weight": [0.6, 0.4, 1e-9, 0.0]}
    trainer = weighted(network(), ref_model=network(1), args=arguments(tmp_path), train_dataset=Dataset.from_dict(data),
                       processing_class=tokenizer, noise="by_side", weight_column="weight")  # fmt: skip
    np.testing.assert_allclose(trainer.train_dataset["earnest_weight"], [4.0, 4.0, 4.0, 0.0])
    assert np.isfinite(trainer.evaluate(trainer.train_dataset)["eval_loss"])
    fewer = {name: values[:2] for name, values in data.items()}
    trainer = weighted(network(), ref_model=network(1), args=arguments(tmp_path), train_dataset=Dataset.from_dict(fewer),
                       processing_class=tokenizer, noise="by_side")  # fmt: skip
    np.testing.assert_allclose(trainer.train_dataset["earnest_weight"], [1 / 0.6, 1 / 0.4])


@pytest.mark.parametrize("precompute", [False, True])
def test_other_data_are_evaluated_alike(weighted, tokenizer, tmp_path, precompute):
    """Raw or prepared, given at first or later; over the mean weight of their own."""
    from datasets import Dataset

    data = {**rows(8), "weight": [1.0] * 8, "label_noise": [0.2] * 8}
    other = Dataset.from_dict({**rows(4, 7), "weight": [10.0, 20.0, 30.0, 0.0], "label_noise": [0.1, 0.2, 0.3, 0.4]})
    tenth = other.remove_columns("weight").add_column("weight", [1.0, 2.0, 3.0, 0.0])
    trainer = weighted(
        network(), ref_model=network(1), args=arguments(tmp_path, precompute_ref_log_probs=precompute, eval_strategy="steps", eval_steps=2),
        train_dataset=Dataset.from_dict(data), eval_dataset={"one": other, "two": tenth}, processing_class=tokenizer, noise="robust",
    )  # fmt: skip
    trainer.train()
    told = {
        name: row[name]
        for row in trainer.state.log_history
        for name in ("eval_one_loss", "eval_two_loss")
        if name in row
    }
    assert told["eval_two_loss"] == pytest.approx(told["eval_one_loss"], rel=1e-6)
    prepared = [] if precompute else [trainer.eval_dataset["one"]]  # TRL does not precompute twice
    for again in (other, tenth, *prepared):
        assert trainer.evaluate(again)["eval_loss"] == pytest.approx(told["eval_one_loss"], rel=1e-6)
    both = trainer.evaluate({"a": other, "b": tenth})
    assert both["eval_a_loss"] == pytest.approx(both["eval_b_loss"], rel=1e-6)

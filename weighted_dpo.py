"""DPO that counts each preference for what it is worth: TRL's trainer with a weight and a flip rate a row.

`earnest.write_preferences` writes `weight` and `label_noise` beside prompt, chosen and rejected; the stock `DPOTrainer`
trains on such a file and leaves them out. Needs the extra `earnest[alignment]`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from .comparisons.errors import EarnestError

try:
    import torch
    import torch.nn.functional as functional
    from datasets import Dataset
    from trl import DPOTrainer
except ImportError as error:
    raise ImportError(
        "earnest.weighted_dpo needs torch, transformers, trl and peft: pip install 'earnest[alignment]'"
    ) from error

__all__ = ["WeightedDPOTrainer"]

_OWN = ("earnest_weight", "earnest_noise", "earnest_attended")
_MOST = 50.0
"""Average rows that one row may count for; the export's clipped `label_noise` has the same limit."""


class WeightedDPOTrainer(DPOTrainer):  # type: ignore[misc]  # TRL has no types here
    """`DPOTrainer` whose loss is that of each row times its weight, mended for its flip rate if so wanted.

    With v the row's weight, m its margin, beta times the difference of the two log-ratios, l(m) = -log sigmoid(m), e
    its `label_noise` and w its attentiveness without this very label:

        noise=None            v l(m)
        noise="conservative"  v [(1 - e) l(m) + e l(-m)]
        noise="robust"        v [(1 - e) l(m) - e l(-m)] / (1 - 2 e)
        noise="by_side"       v [(w + e) l(m) - e l(-m)] / w

    over the mean weight of the data set, so that a weight of 2 is a row that stands there twice and the size of a step
    does not change with the weights' unit. With weights of 1 and without noise it is the stock trainer.

    "robust" is unbiased where a flip is as likely from either side. "by_side" is so, too, where users who do not attend
    lean to a side (first or second, longer or shorter): the other response is then chosen by a slip with probability
    e, this one with 1 - w - e. Both alike, 1 - 2 e = w, it is "robust". It needs the export's `label_noise` as it is
    (written with noise="keep") and the export's `weight` as w, and so counts rows alike unless `weight_column` says
    otherwise. Rows of small w then count much, 1 / w, and say little: most is learned where each counts w^2 (a column
    of your own), and where it counts w nothing is divided.

    Args:
        model, ref_model, args, others: as `DPOTrainer` takes them; the loss must be "sigmoid". Data sets are
            `datasets.Dataset`, for evaluation also several by name.
        noise: what is done with each row's flip rate e.
        weight_column: column of v. None: `weight` where there is one, else 1; under "by_side" 1.
        noise_column: column of e.
        attentiveness_column: column of w, under "by_side"; the export's `attentiveness` is not it: that has seen this
            label.

    Raises:
        EarnestError: another loss, a missing column, a weight below 0, all weights 0, a flip rate outside [0, 1)
            (below 1/2 for "robust"); under "by_side" w and e that cannot be of one row (w + e above 1), and a row that
            counts for more than 50 average ones: nothing is clipped in silence, for that would bias.

    Reference: Rafailov et al. (2023), arXiv 2305.18290; Chowdhury et al. (2024), arXiv 2403.00409; Natarajan et al.
        (2013), NIPS 26, lemma 1 (by side).
    """

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: Any = None,
        *,
        noise: Literal["conservative", "robust", "by_side"] | None = None,
        weight_column: str | None = None,
        noise_column: str = "label_noise",
        attentiveness_column: str = "weight",
        **others: Any,
    ) -> None:
        if noise not in (None, "conservative", "robust", "by_side"):
            raise EarnestError(f"noise={noise!r}: expected None, 'conservative', 'robust' or 'by_side'")
        self._noise = noise
        self._named = (weight_column, noise_column, attentiveness_column)
        _check_kind("train_dataset", others.get("train_dataset"))
        several = others.get("eval_dataset")
        for data in several.values() if isinstance(several, dict) else [several]:
            _check_kind("eval_dataset", data)
        super().__init__(model, ref_model, args, **others)
        if list(self.loss_types) != ["sigmoid"] or self.f_divergence_type != "reverse_kl" or self.use_weighting:
            raise EarnestError(
                "WeightedDPOTrainer: expected loss_type='sigmoid' with reverse KL and without WPO weights"
            )
        if list(self.loss_weights) != [1.0]:
            raise EarnestError(
                f"WeightedDPOTrainer: loss_weights={self.loss_weights!r} has no effect here; leave it out (a factor on "
                "the whole loss is one on learning_rate)"
            )
        if self.label_smoothing:
            raise EarnestError(
                f"WeightedDPOTrainer: label_smoothing={self.label_smoothing!r} has no effect here; leave it out and "
                "give each row's flip rate: noise='conservative' or 'robust' with a column label_noise"
            )
        if self.ld_alpha is not None or self.aux_loss_enabled or self._is_vision_dataset:
            raise EarnestError("WeightedDPOTrainer: ld_alpha, router losses and images are not supported")
        self.data_collator = _Collator(self.data_collator)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        # Every data set comes through here, those of __init__ and those given to evaluate.
        _check_kind(dataset_name, dataset)
        own = _with_own(dataset, self._noise, *self._named)
        return super()._prepare_dataset(own, processing_class, args, dataset_name)

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        return super().compute_ref_log_probs(model, {k: v for k, v in inputs.items() if k not in _OWN})

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns = list(dict.fromkeys([*self._signature_columns, *_OWN]))

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        rest = dict(inputs)
        weight, noise, attended = (rest.pop(name) for name in _OWN)
        chosen, rejected = self._log_ratios(model, rest)
        loss = (weight * _rows(self._noise, self.beta * (chosen - rejected), noise, attended)).mean()
        self._tell(self.beta * chosen.detach(), self.beta * rejected.detach(), inputs)
        if not return_outputs:
            return loss
        with torch.no_grad():
            outputs = model(input_ids=rest["input_ids"], attention_mask=rest["attention_mask"])
        return loss, outputs

    def _log_ratios(self, model: Any, inputs: dict[str, Any]) -> tuple[Any, Any]:
        """Log policy / reference of the chosen and of the rejected responses, (row,) each."""
        mask = inputs["completion_mask"]
        labels = inputs["input_ids"].masked_fill(mask == 0, -100)
        kept = {name: inputs[name] for name in ("input_ids", "attention_mask")} | {"use_cache": False}
        outputs = model(**kept, labels=labels, fused_lm_head=True)
        policy = outputs.log_probs[:, -(mask.shape[1] - 1) :].sum(dim=1).chunk(2, dim=0)
        if "ref_chosen_logps" in inputs:
            reference = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        else:
            # Without a reference model of its own the reference is the model without its adapter.
            reference = self.compute_ref_log_probs(self.model if self.ref_model is None else self.ref_model, inputs)
        return policy[0] - reference[0], policy[1] - reference[1]

    def _tell(self, chosen: Any, rejected: Any, inputs: dict[str, Any]) -> None:
        """The metrics that DPO is watched by."""
        told = self._metrics["train" if self.model.training else "eval"]
        each = {"rewards/chosen": chosen, "rewards/rejected": rejected, "rewards/margins": chosen - rejected,
                "rewards/accuracies": (chosen > rejected).float()}  # fmt: skip
        for name, values in each.items():
            told[name].append(self.accelerator.gather(values).mean().item())
        if self.model.training:
            self._total_train_tokens += int(self.accelerator.gather(inputs["attention_mask"].sum()).sum().item())
        told["num_tokens"] = [self._total_train_tokens]


def _rows(kind: str | None, margin: Any, noise: Any, attended: Any) -> Any:
    """Loss of each row, (row,); by side times `attended`, which the row's weight is divided by instead."""
    right, wrong = -functional.logsigmoid(margin), -functional.logsigmoid(-margin)
    if kind == "conservative":
        return (1 - noise) * right + noise * wrong
    if kind == "robust":
        return ((1 - noise) * right - noise * wrong) / (1 - 2 * noise)
    if kind == "by_side":
        return (attended + noise) * right - noise * wrong
    return right


class _Collator:
    """A collator that hands on weights, flip rates and attentiveness."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        out = dict(self.inner(rows))
        for name in _OWN:
            out[name] = torch.tensor([float(row[name]) for row in rows])
        return out


def _check_kind(name: str, data: Any) -> None:
    if data is not None and not isinstance(data, Dataset):
        raise EarnestError(
            f"WeightedDPOTrainer({name}=...): expected a `datasets.Dataset`, got {type(data).__name__}; weights are "
            "over their mean, so the data must be there as a whole (load_dataset(..., split='train', streaming=False))"
        )


def _with_own(
    data: Any, noise: str | None, weight_column: str | None, noise_column: str, attentiveness_column: str
) -> Any:  # fmt: skip
    """The data with the columns that the loss looks at, checked; weights are over their mean."""
    n, by_side = len(data), noise == "by_side"
    ones = np.ones(n)
    name = "weight" if weight_column is None and not by_side and "weight" in data.column_names else weight_column
    weight = ones if name is None else _numbers(data, name, 0.0, np.inf)
    # The loss is in float32: there 0.49999999 is a half.
    rate = 0 * ones if noise is None else _numbers(data, noise_column, 0.0, 0.5 if noise == "robust" else 1.0)
    if n and not weight.sum() > 0:
        raise EarnestError(f"every {name} of the data is 0: nothing to train on")
    attended = _numbers(data, attentiveness_column, 0.0, np.inf) if by_side else ones
    counted = weight / weight.mean()
    if by_side:
        if (apart := attended + rate > 1 + 1e-6).any():
            row = int(np.argmax(apart))
            raise EarnestError(
                f"row {row} of the data: {attentiveness_column} is {attended[row]:g} and {noise_column} {rate[row]:g}, "
                "together above 1; noise='by_side' needs weight and label_noise as write_preferences wrote them. Other "
                "weights go into weight_column"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            counted = np.where(weight > 0, counted / attended, 0.0)
        if (heavy := counted > _MOST * (1 + 1e-6)).any():
            row = int(np.argmax(heavy))
            raise EarnestError(
                f"row {row} of the data: of attentiveness {attended[row]:g} ({attentiveness_column}) it would count "
                f"for {counted[row]:,.0f} average rows, and {_MOST:g} are the most; {heavy.sum():,} rows are like "
                f"that. Leave them out, or count rows by their attentiveness: weight_column={attentiveness_column!r}"
            )
    data = data.remove_columns([own for own in _OWN if own in data.column_names])
    for own, values in zip(_OWN, (counted, rate, attended), strict=True):
        data = data.add_column(own, values.tolist())
    return data


def _numbers(data: Any, name: str, low: float, high: float) -> np.ndarray:
    """A column of numbers in [low, high), also when rounded to float32, (row,)."""
    if name not in data.column_names:
        raise EarnestError(f"the data have no column {name!r}; they have {data.column_names}")
    values = list(data[name])
    for row, value in enumerate(values):
        right = isinstance(value, int | float) and not isinstance(value, bool) and value >= low
        with np.errstate(over="ignore"):
            right = right and bool(np.float32(value) < high)
        if not right:
            remedy = "; write_preferences(noise='clip') keeps robust DPO's below" if high == 0.5 else ""
            raise EarnestError(
                f"row {row} of the data: {name} is {value!r}; expected a number of {low:g} or more and below {high:g}"
                f"{remedy}"
            )
    return np.array(values, dtype=float)

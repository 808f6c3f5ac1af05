"""DPO that counts each preference for what it is worth: TRL's trainer with a weight and a flip rate a row.

`earnest.write_preferences` writes `weight` and `label_noise` beside prompt, chosen and rejected; the stock `DPOTrainer`
trains on such a file and leaves them out. Needs the extra `earnest[alignment]`.
"""

from __future__ import annotations

from typing import Any, Literal

from .comparisons.errors import EarnestError

try:
    import torch
    import torch.nn.functional as functional
    from trl import DPOTrainer
except ImportError as error:
    raise ImportError(
        "earnest.weighted_dpo needs torch, transformers, trl and peft: pip install 'earnest[alignment]'"
    ) from error

__all__ = ["WeightedDPOTrainer"]

_OWN = ("weight", "label_noise")


class WeightedDPOTrainer(DPOTrainer):  # type: ignore[misc]  # TRL has no types here
    """`DPOTrainer` whose loss is that of each row times its `weight`, smoothed by its `label_noise` if so wanted.

    With m the row's margin, beta times the difference of the two log-ratios, and l(m) = -log sigmoid(m):

        noise=None            w l(m)
        noise="conservative"  w [(1 - e) l(m) + e l(-m)]
        noise="robust"        w [(1 - e) l(m) - e l(-m)] / (1 - 2 e)

    over the mean weight of the training set, so that a weight of 2 is a row that stands there twice and the size of a
    step does not change with the weights' unit. With weights of 1 and without noise it is the stock trainer.

    Args:
        model, ref_model, args, **others: as `DPOTrainer` takes them; the loss must be "sigmoid".
        noise: what is done with each row's flip rate e.
        weight_column, noise_column: columns of the data; a missing weight column counts 1.

    Raises:
        EarnestError: another loss, a weight below 0, all weights 0, a missing noise column, a flip rate outside [0, 1)
            (below 1/2 for "robust"); numbers that are none.

    Reference: Rafailov et al. (2023), arXiv 2305.18290; Chowdhury et al. (2024), arXiv 2403.00409.
    """

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: Any = None,
        *,
        noise: Literal["conservative", "robust"] | None = None,
        weight_column: str = "weight",
        noise_column: str = "label_noise",
        **others: Any,
    ) -> None:
        if noise not in (None, "conservative", "robust"):
            raise EarnestError(f"noise={noise!r}: expected None, 'conservative' or 'robust'")
        self._noise = noise
        for name in ("train_dataset", "eval_dataset"):
            if others.get(name) is None:
                continue
            if not hasattr(others[name], "column_names") or isinstance(others[name].column_names, dict):
                raise EarnestError(f"WeightedDPOTrainer({name}=...): expected one `datasets.Dataset`")
            others[name] = _with_own(others[name], noise, weight_column, noise_column)
        super().__init__(model, ref_model, args, **others)
        if list(self.loss_types) != ["sigmoid"] or self.f_divergence_type != "reverse_kl" or self.use_weighting:
            raise EarnestError(
                "WeightedDPOTrainer: expected loss_type='sigmoid' with reverse KL and without WPO weights"
            )
        if self.ld_alpha is not None or self.aux_loss_enabled or self._is_vision_dataset:
            raise EarnestError("WeightedDPOTrainer: ld_alpha, router losses and images are not supported")
        weights = torch.as_tensor(self.train_dataset["weight"], dtype=torch.float64)
        self._mean_weight = float(weights.mean())
        self.data_collator = _Collator(self.data_collator)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns = list(dict.fromkeys([*self._signature_columns, *_OWN]))

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        rest = dict(inputs)
        weight, noise = (rest.pop(name) for name in _OWN)
        chosen, rejected = self._log_ratios(model, rest)
        margin = self.beta * (chosen - rejected)
        right, wrong = -functional.logsigmoid(margin), -functional.logsigmoid(-margin)
        if self._noise == "conservative":
            rows = (1 - noise) * right + noise * wrong
        elif self._noise == "robust":
            rows = ((1 - noise) * right - noise * wrong) / (1 - 2 * noise)
        else:
            rows = right
        loss = (weight * rows).mean() / self._mean_weight
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


class _Collator:
    """A collator that hands on weights and flip rates."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        out = dict(self.inner(rows))
        for name in _OWN:
            out[name] = torch.tensor([float(row[name]) for row in rows])
        return out


def _with_own(data: Any, noise: str | None, weight_column: str, noise_column: str) -> Any:
    """The data with columns `weight` and `label_noise`, checked."""
    n = len(data)
    present = data.column_names
    weight = list(data[weight_column]) if weight_column in present else [1.0] * n
    if noise is not None and noise_column not in present:
        raise EarnestError(
            f"the data have no column {noise_column!r}, which noise={noise!r} needs; they have {present}"
        )
    rate = list(data[noise_column]) if noise is not None else [0.0] * n
    most = 0.5 if noise == "robust" else 1.0
    for name, values, low, high in ((weight_column, weight, 0.0, float("inf")), (noise_column, rate, 0.0, most)):
        for row, value in enumerate(values):
            if not isinstance(value, int | float) or not low <= value < high:
                raise EarnestError(
                    f"row {row} of the data: {name} is {value!r}; expected a number of {low:g} or more and below "
                    f"{high:g}" + ("; write_preferences(noise='clip') keeps robust DPO's below" if most < 1 else "")
                )
    if n and sum(weight) == 0:
        raise EarnestError(f"every {weight_column} of the data is 0: nothing to train on")
    data = data.remove_columns([name for name in _OWN if name in present])
    return data.add_column("weight", [float(w) for w in weight]).add_column("label_noise", [float(e) for e in rate])

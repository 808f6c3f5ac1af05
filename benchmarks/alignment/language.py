"""The language model of tier B: where it lies, what it writes, how positive that is, how far it is from its base."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything lies in packages; nothing is to be looked for elsewhere
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

REMEDY = "install what the docstring of benchmarks/alignment/tier_b.py says (make alignment-benchmark does)"


@dataclass(frozen=True)
class Written:
    """What a policy wrote to prompts.

    Attributes:
        texts: the responses, each beginning as it follows its prompt, (prompt,).
        tokens: tokens of each response, its end-of-text included, (prompt,).
        kl: of the policy to the base at the contexts of each response, summed over its tokens, (prompt,), nats; None
            where no base was given.
    """

    texts: list[str]
    tokens: np.ndarray
    kl: np.ndarray | None


def weights_file(package, name):
    """Path of the weights inside an installed package, which is not imported (its own dependencies are not needed).

    Raises:
        FileNotFoundError: the package is not there, or has no such file; the message says what to install.
    """
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (path := Path(folder) / name).is_file():
            return path
    raise FileNotFoundError(f"no {name} in an installed package {package}; {REMEDY}")


def load(model):
    """(model, tokenizer) of the registered weights, in float32 on the GPU if there is one.

    Args:
        model: the table `model` of the registration: package, file, sha256.

    Raises:
        FileNotFoundError: see `weights_file`.
        ValueError: the weights are not the registered ones.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = weights_file(model["package"], model["file"])
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != model["sha256"]:
        raise ValueError(f"{path.name}: SHA-256 is {found}, registered is {model['sha256']}; {REMEDY}")
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    read = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the weights are plain float32 now, and nothing shall treat them otherwise
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    network.load_state_dict(read.state_dict())
    network.tie_weights()
    return network.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


def write(network, tokenizer, prompts, seed, longest, base=None, temperature=1.0):
    """Sample a response to each prompt, no token ruled out; at temperature 1 that is the policy itself.

    The KL (at temperature 1) is exact at each token given what was written before it: a sum over the vocabulary, not
    one draw's log-ratio. It is an unbiased estimate of the KL of whole responses, and 0 where the policies are one.

    Args:
        network: the policy.
        tokenizer: of both models.
        prompts: texts, (prompt,); one batch.
        seed: of the draws.
        longest: tokens after which a response is cut.
        base: the policy to measure the KL to.
        temperature: of the draws.
    """
    import torch

    given = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left").to(network.device)
    ids, mask = given["input_ids"], given["attention_mask"]
    torch.manual_seed(seed)
    with torch.inference_mode():
        out = network.generate(
            input_ids=ids, attention_mask=mask, do_sample=True, temperature=temperature, top_k=0, top_p=1.0,
            max_new_tokens=longest, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
            repetition_penalty=1.0, output_logits=base is not None, return_dict_in_generate=True,
        )  # fmt: skip
        new = out.sequences[:, ids.shape[1] :]
        ended = (new == tokenizer.eos_token_id).int().cumsum(1)
        counts = (ended - (new == tokenizer.eos_token_id).int()) == 0  # up to the end-of-text and with it
        kl = None if base is None else _kl(base, out, torch.cat([mask, counts.to(mask.dtype)], 1), counts)
    texts = [
        tokenizer.decode(row[kept], skip_special_tokens=True) for row, kept in zip(new.cpu(), counts.cpu(), strict=True)
    ]
    return Written(texts, counts.sum(1).cpu().numpy(), None if kl is None else kl.cpu().numpy())


def _kl(base, out, mask, counts):
    """KL of what `generate` told to the base, summed over the tokens that count, (prompt,), nats."""
    import torch

    steps = counts.shape[1]
    place = (mask.cumsum(1) - 1).clamp(min=0)
    told = base(
        input_ids=out.sequences, attention_mask=mask, position_ids=place, logits_to_keep=steps + 1, use_cache=False
    ).logits[:, :-1]
    total = torch.zeros(len(counts), dtype=torch.float64, device=counts.device)
    for step in range(steps):  # a step at a time: the vocabulary is large
        policy = torch.log_softmax(out.logits[step].float(), -1)
        reference = torch.log_softmax(told[:, step].float(), -1)
        total += ((policy.exp() * (policy - reference)).sum(-1) * counts[:, step]).double()
    return total


def write_all(network, tokenizer, prompts, seed, longest, size, temperature=1.0):
    """`write` in batches of `size`, each with a seed of its own."""
    parts = [
        write(network, tokenizer, prompts[at : at + size], seed + at, longest, temperature=temperature)
        for at in range(0, len(prompts), size)
    ]
    return Written(
        [text for part in parts for text in part.texts], np.concatenate([part.tokens for part in parts]), None
    )


def kl_to(base, network, tokenizer, prompts, seed, longest, size):
    """KL of a policy to its base at each of the prompts, (prompt,), nats a response; see `write`."""
    return np.concatenate([
        write(network, tokenizer, prompts[at : at + size], seed + at, longest, base).kl
        for at in range(0, len(prompts), size)
    ])  # fmt: skip


class Scorer:
    """How positive a text is: VADER's compound score, -1 to 1, of prompt and response together."""

    def __init__(self):
        try:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ImportError as error:
            raise ImportError(f"the reward needs vaderSentiment; {REMEDY}") from error
        self._of = SentimentIntensityAnalyzer().polarity_scores

    def __call__(self, prompts, responses):
        """Rewards, (prompt,)."""
        return np.array([self._of(p + r)["compound"] for p, r in zip(prompts, responses, strict=True)])


def openings(prompts, topics):
    """Every opening with every topic of a table of prompts, (opening x topic,)."""
    return [opening.format(topic=topic) for opening in prompts["openings"] for topic in prompts[topics]]

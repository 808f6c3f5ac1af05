"""What Axolotl's DPO strategies make of what `write_preferences` wrote, after its documentation and code.

`chat_template.default` (axolotl-ai-cloud/axolotl, `docs/rlhf.qmd` and `prompt_strategies/dpo/chat_template.py`): the prompt
is the field of messages, or a text by the user; a response is a text, a message, or the last of a list of messages.
"""

import json

import pytest

from earnest.comparisons import read_comparisons, write_preferences

ROLES = {"user", "assistant", "system", "tool"}


def template(messages):
    """A chat template."""
    assert all(message["role"] in ROLES and isinstance(message["content"], str) for message in messages)
    return "".join(f"<{message['role']}>{message['content']}</>" for message in messages)


def axolotl(row, field_messages="prompt", field_chosen="chosen", field_rejected="rejected"):
    """Prompt, chosen and rejected as they are trained on."""
    messages = row[field_messages]
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]

    def last(response):
        if isinstance(response, str):
            return {"role": "assistant", "content": response}
        return response if isinstance(response, dict) else response[-1]

    return tuple(template(part) for part in (messages, [last(row[field_chosen])], [last(row[field_rejected])]))


def talk(*turns):
    return [
        {"role": role, "content": text}
        for pair in turns
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def exported(folder, votes):
    path = folder / "votes.jsonl"
    path.write_text("".join(json.dumps(vote) + "\n" for vote in votes), encoding="utf-8")
    write_preferences(read_comparisons(path), folder / "out.jsonl")
    return [json.loads(line) for line in (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]


VOTE = {"user": "ann", "model_a": "x", "model_b": "y", "winner": "model_b"}


def test_texts(tmp_path):
    [row] = exported(tmp_path, [{**VOTE, "prompt": "Why? é", "response_a": "a", "response_b": "b"}])
    assert axolotl(row) == ("<user>Why? é</>", "<assistant>b</>", "<assistant>a</>")


@pytest.mark.parametrize("above", [(), (("Hello", "Hi."),)])
def test_conversations_that_part_at_the_last_answer(tmp_path, above):
    sides = {f"response_{side}": talk(*above, ("Why?", side)) for side in "ab"}
    [row] = exported(tmp_path, [{**VOTE, **sides}])
    prompt, chosen, rejected = axolotl(row)
    assert prompt + chosen == template(sides["response_b"])
    assert prompt + rejected == template(sides["response_a"])


def test_of_conversations_that_part_before_axolotl_sees_only_the_last_answer(tmp_path):
    sides = {f"response_{side}": talk(("Why?", f"{side}1"), ("So?", f"{side}2")) for side in "ab"}
    [row] = exported(tmp_path, [{**VOTE, **sides}])
    prompt, chosen, _ = axolotl(row)
    assert prompt + chosen != template(sides["response_b"])  # which the page on exports says, with what to do
    assert len(row["chosen"]) > 1
    assert template(row["prompt"]) + template(row["chosen"]) == template(sides["response_b"])  # as TRL reads it

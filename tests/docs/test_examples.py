"""Every block of code on every page runs, from top to bottom of the page."""

import json

import pandas as pd
import pytest
import yaml

import earnest as er

from .pages import PAGES, blocks, commands, python, run_command, run_python

# Blocks that show what is printed or written elsewhere: no language, nothing to run.
SHOWN = {"", "none", "text", "stan", "yaml", "toml", "json", "{toctree}", "{eval-rst}", "{earnest-help}"}
ELSEWHERE = {"docs/cluster.md": "tests/spark"}  # the whole page
RUN = [page for page in PAGES if page != "README.md" and page not in ELSEWHERE and blocks(page)]


@pytest.fixture(scope="session")
def votes(tmp_path_factory):
    """A log with texts, as files of several forms."""
    folder = tmp_path_factory.mktemp("votes")
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    crowd = {"attentiveness_alpha": 0.7, "attentiveness_beta": 0.7}
    # as in the gallery, so that one compilation serves all pages
    log = model.simulate(users=120, comparisons_per_user=15, models=4, seed=3, parameters=crowd, texts=True).log
    for suffix in ("csv", "parquet"):
        log.write(folder / f"votes.{suffix}")
    return folder


@pytest.fixture
def here(votes, tmp_path, monkeypatch):
    for path in votes.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", RUN)
@pytest.mark.filterwarnings("default:.*chains:UserWarning")
def test_the_blocks_of_a_page_run_in_order(page, here):
    names = {"__name__": "page"}
    for block in blocks(page):
        if block.runs:
            continue
        if block.title:
            (here / block.title).write_text(block.code, encoding="utf-8")
        elif block.language == "python":
            run_python(block, page, names)
        else:
            for line in commands(block):
                run_command(line)


def test_no_block_is_left_out():
    for page in PAGES:
        for block in blocks(page):
            assert block.language in {"python", "sh", *SHOWN}, f"{page}:{block.line}: {block.language}"
            assert not block.runs or block.runs == "alignment", f"{page}:{block.line}"
        text = "".join(block.code for block in blocks(page))
        assert not [line for line in text.splitlines() if line.startswith("```")], page


def test_the_commands_of_the_readme(here):
    log = er.read_comparisons(here / "votes.csv").to_arrow().to_pandas()
    prompts = log["prompt"].drop_duplicates().reset_index(drop=True)
    key = {text: f"p{k}" for k, text in enumerate(prompts)}
    told = pd.concat(
        [log[["prompt", "model_a", "response_a"]].set_axis(["prompt", "model", "response"], axis=1),
         log[["prompt", "model_b", "response_b"]].set_axis(["prompt", "model", "response"], axis=1)]
    ).drop_duplicates(["prompt", "model"])  # fmt: skip
    told["prompt"] = told["prompt"].map(key)
    told.to_json("results.jsonl", orient="records", lines=True)
    pd.DataFrame({"id": prompts.map(key), "text": prompts}).to_json("prompts.jsonl", orient="records", lines=True)
    votes = log.rename(columns={"user": "worker", "model_a": "left", "model_b": "right"})
    votes["prompt"] = votes["prompt"].map(key)
    votes[["worker", "left", "right", "winner", "prompt"]].to_csv("votes.csv", index=False)
    (here / "votes").mkdir()
    votes[["worker", "left", "right", "winner"]].to_csv("votes/monday.csv", index=False)
    for block in blocks("README.md"):
        for line in commands(block) if block.language == "sh" else ():
            run_command(line)
    assert (here / "preferences.jsonl").is_file()
    assert (here / "report.html").is_file()


def _read(page, title):
    (block,) = (block for block in blocks(page) if block.title == title)
    return yaml.safe_load(block.code)["datasets"][0]


def _rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_axolotl_finds_its_fields(here):
    page = "docs/howto/axolotl.md"
    names = {}
    for block in python(page):
        run_python(block, page, names)
    kind = _read(page, "texts.yml")["type"]
    rows = _rows(here / "kept.jsonl")
    assert rows
    for field in ("prompt", "chosen", "rejected"):
        assert all(kind[f"{field}_format"].format(**{field: row[kind[f"field_{field}"]]}) for row in rows)

    def said(question, answer):
        return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]

    frame = er.read_comparisons("votes.csv").to_arrow().to_pandas()
    for side in ("response_a", "response_b"):
        frame[side] = [said(*pair) for pair in zip(frame["prompt"], frame[side], strict=True)]
    log = er.read_comparisons(frame.drop(columns="prompt"))
    er.write_preferences(log, "talks.jsonl", names["fit"])
    data = _read(page, "conversations.yml")
    for row in _rows(here / "talks.jsonl"):
        assert [message["role"] for message in row[data["field_messages"]]] == ["user"]
        for field in ("chosen", "rejected"):
            assert row[data[f"field_{field}"]][-1]["role"] == "assistant"

"""The blocks of docs/howto/trl.md that need TRL, with a model that is never downloaded."""

import runpy
from functools import partial
from pathlib import Path

import pytest

import earnest as er

ROOT = Path(__file__).resolve().parents[2]
pages = runpy.run_path(str(ROOT / "tests" / "docs" / "pages.py"))
tiny = runpy.run_path(str(Path(__file__).with_name("test_trainer.py")))

pytestmark = [pytest.mark.alignment, pytest.mark.filterwarnings("ignore::FutureWarning")]

PAGE = "docs/howto/trl.md"
tokenizer = tiny["tokenizer"]


@pytest.fixture
def here(tmp_path, monkeypatch, tokenizer):
    import trl

    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    model.simulate(users=40, comparisons_per_user=10, models=3, texts=True, seed=5).log.write(tmp_path / "votes.csv")
    monkeypatch.chdir(tmp_path)
    tiny["network"]().save_pretrained("your/model")  # a folder here, so nothing is asked for elsewhere
    tokenizer.save_pretrained("your/model")
    short = {"report_to": "none", "max_steps": 2, "use_cpu": True, "bf16": False, "save_strategy": "no",
             "activation_checkpointing": False, "disable_tqdm": True}  # fmt: skip
    monkeypatch.setattr(trl, "DPOConfig", partial(trl.DPOConfig, **short))
    return tmp_path


def test_the_blocks_run_from_votes_to_a_trained_model(here):
    names = {"__name__": "page"}
    for block in pages["blocks"](PAGE):
        if block.language == "python":
            pages["run_python"](block, PAGE, names)
            if "trainer" in names:
                assert names["trainer"].state.global_step == 2
    assert type(names["trainer"]).__name__ == "WeightedDPOTrainer"

"""The errors on the page are those that are raised, word for word."""

import runpy
from pathlib import Path

import pytest

from earnest.comparisons import EarnestError

_MADE = runpy.run_path(str(Path(__file__).with_name("mistakes.py")))
MISTAKES = _MADE["MISTAKES"]
SHOWN = {name: text for _, name, text in _MADE["SHOWN"].findall(_MADE["PAGE"].read_text(encoding="utf-8"))}


def test_the_page_shows_all_of_them_and_no_others():
    assert set(SHOWN) == set(MISTAKES)
    assert len(SHOWN) >= 20


@pytest.mark.parametrize("name", sorted(MISTAKES))
def test_an_error_says_what_the_page_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EarnestError) as caught:
        MISTAKES[name]()
    said = " ".join(str(caught.value).split())
    assert said == " ".join(SHOWN[name].split()), "python tests/docs/mistakes.py writes it into the page"

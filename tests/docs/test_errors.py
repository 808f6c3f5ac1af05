"""The errors on the page are those that are raised, word for word."""

import re
import runpy
from pathlib import Path

import pytest

from earnest.comparisons import EarnestError

from .pages import text_of

MISTAKES = runpy.run_path(str(Path(__file__).with_name("mistakes.py")))["MISTAKES"]
SHOWN = dict(re.findall(r"<!-- error: (\w+) -->\n```text\n(.*?)```", text_of("docs/errors.md"), re.DOTALL))


def test_the_page_shows_all_of_them_and_no_others():
    assert set(SHOWN) == set(MISTAKES)
    assert len(SHOWN) >= 20


@pytest.mark.parametrize("name", sorted(MISTAKES))
def test_an_error_says_what_the_page_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EarnestError) as caught:
        MISTAKES[name]()
    assert " ".join(str(caught.value).split()) == " ".join(SHOWN[name].split())

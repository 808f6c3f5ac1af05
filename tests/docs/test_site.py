"""What `make docs` checks is checked: dead links, the network, figures that are not shown."""

import re
import runpy
from types import SimpleNamespace

import pandas as pd
import pytest

import earnest as er

from .pages import PAGES, ROOT, python, text_of

PAGE = '<html><head><link rel="stylesheet" href="look.css"></head><body><h1 id="top">Top</h1>{}</body></html>'


@pytest.fixture
def links():
    return runpy.run_path(str(ROOT / "docs" / "site" / "links.py"))


@pytest.fixture
def site(tmp_path):
    def write(body):
        (tmp_path / "look.css").write_text("")
        (tmp_path / "other.html").write_text(PAGE.format('<p id="here">there</p>'))
        (tmp_path / "index.html").write_text(PAGE.format(body))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ('<a href="other.html#here">fine</a><a href="#top">fine</a><a href="https://example.org">out</a>', None),
        ('<a href="mother.html">gone</a>', "mother.html is not there"),
        ('<a href="other.html#nowhere">gone</a>', "other.html#nowhere has no such place"),
        ('<a href="#bottom">gone</a>', "#bottom has no such place"),
        ('<img src="gone.png">', "gone.png is not there"),
        ('<script src="https://example.org/a.js"></script>', "loads https://example.org/a.js from the network"),
    ],
)
def test_dead_links_and_the_network_are_noticed(links, site, body, wrong):
    found = links["faults"](links["read"](site(body)))
    assert [text.removeprefix("index.html: ").removeprefix("index.html ") for text in found] == (
        [wrong] if wrong else []
    )


def test_links_that_lead_outside_are_listed(links, site):
    pages = links["read"](site('<a href="https://example.org">out</a><a href="other.html">in</a>'))
    assert links["external"](pages) == {"https://example.org": ["index"]}


def test_the_gallery_shows_every_figure():
    shown = re.findall(r"er\.plots\.(\w+)\(.*\n```\n\n!\[[^\]]+\]\((gallery/\w+\.png)\)", text_of("docs/gallery.md"))
    assert {name for name, _ in shown} == set(er.plots.__all__) - {"save_figure"}
    for name, picture in shown:
        assert picture == f"gallery/{name}.png"
        assert 5_000 < (ROOT / "docs" / picture).stat().st_size < 160_000
    assert any("save_figure" in block.code for block in python("docs/gallery.md"))


def test_labels_of_open_directions_are_not_cut_in_a_number():
    entries = [f"skill[model_{k}] from 0.{k}1 to 0.{k}2" for k in range(1, 9)]
    rows = pd.DataFrame({"remaining": [0.5, 0.4], "meaning": [", ".join(entries), "haste from 0.1 to 0.2 (mean ...)"]})
    axes = er.plots.open_directions(SimpleNamespace(directions=rows))
    short, long = (" ".join(label.get_text().split()) for label in axes.get_yticklabels())
    assert short == "haste from 0.1 to 0.2"
    *kept, last = long.split(", ")
    assert kept == entries[: len(kept)]
    assert last == "..."


def test_the_stan_program_on_the_page_is_the_one_that_was_run():
    page = text_of("docs/comparison.md")
    program = (ROOT / "benchmarks" / "by_hand.stan").read_text(encoding="utf-8")
    assert f"```stan\n{program}```" in page
    lines = [line for line in program.splitlines() if line.strip() and not line.strip().startswith("//")]
    assert f"is {len(lines)} lines of Stan" in page


@pytest.mark.parametrize("page", PAGES)
def test_no_line_of_a_paragraph_becomes_an_item_of_a_list(page):
    text = re.sub(r"^(```+).*?^\1", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    item = re.compile(r"(\d+[.)]|[-*+]) ")
    for paragraph in re.split(r"\n\s*\n", text):
        first, *more = paragraph.strip().splitlines() or [""]
        if not item.match(first):  # else it is a list
            assert not [line for line in more if re.match(r"\s*\d+[.)] ", line)], paragraph


def test_no_page_is_left_out_of_the_contents():
    home = text_of("docs/index.md") + text_of("docs/reference/index.md").replace("\n", "\nreference/")
    for path in sorted((ROOT / "docs").rglob("*.md")):
        name = path.relative_to(ROOT / "docs").with_suffix("").as_posix()
        assert name == "index" or re.search(rf"^{name}$", home, re.MULTILINE), name

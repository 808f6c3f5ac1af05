"""The blocks of a page of Markdown, in order, and what runs them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
_FENCED = r"(?:^<!-- runs: (?P<runs>\w+) -->\n)?^(?P<ticks>```+)(?P<info>[^\n]*)\n(?P<code>.*?)^(?P=ticks)$"
_INDENTED = r"(?:(?<=\n\n)(?P<lines>(?: {4}(?:earnest|make|python|pip) [^\n]*\n)(?: {4}[^\n]*\n)*))"
_BLOCK = re.compile(f"{_FENCED}|{_INDENTED}", re.MULTILINE | re.DOTALL)
_PLACEHOLDER = {"earnest watch": "--once", "earnest sample": "--draws 50 --tune 100 --chains 2"}


@dataclass(frozen=True)
class Block:
    """A block of code.

    `language` is what its fence says ("sh" where lines are only indented); `title` the file that it shows
    ("title=votes.csv"); `runs` where it runs if not in the usual environment ("<!-- runs: alignment -->" above it).
    """

    language: str
    title: str
    runs: str
    code: str
    line: int


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page):
    """All blocks of a page, from top to bottom."""
    text, out = text_of(page), []
    for found in _BLOCK.finditer(text):
        code = found["lines"] or found["code"]
        language, _, more = (found["info"] or "").strip().partition(" ")
        title = more.removeprefix("title=") if more.startswith("title=") else ""
        line = text.count("\n", 0, text.index(code, found.start())) + 1
        out.append(Block("sh" if found["lines"] else language, title, found["runs"] or "", code, line))
    return out


def python(page, runs=""):
    """The blocks of Python that run in an environment."""
    return [block for block in blocks(page) if block.language == "python" and block.runs == runs]


def commands(block):
    """The lines of a block of shell, without comments."""
    lines = [re.sub(r"\s+# .*", "", line).strip() for line in block.code.replace("\\\n", " ").splitlines()]
    return [line for line in lines if re.match(r"(earnest|make|python|pip) ", line)]


def run_python(block, page, names):
    """Run a block in the namespace of its page, as lines of that page."""
    exec(compile("\n" * (block.line - 1) + block.code, page, "exec"), names)


def run_command(line):
    """Run a line of `earnest` here; of the others, what they name must be there."""
    program, *words = shlex.split(line)
    if program == "earnest":
        from earnest.cli import main

        for start, more in _PLACEHOLDER.items():  # what would go on for ever, or for long
            if line.startswith(start) and more not in line:
                words += more.split()
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, f"{line}\n{done.output}"
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[0] in targets, line
    elif program == "python":
        source = (ROOT / words[0]).read_text(encoding="utf-8")
        missing = [word for word in words[1:] if word.startswith("--") and f'"{word}"' not in source]
        assert not missing, f"{line}: {missing}"
    else:
        assert words[0] == "install", line

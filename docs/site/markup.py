"""What the pages ask of Sphinx beyond its own: the command line's help, names that share a line, the front door."""

import re
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

DOOR = """<!doctype html>
<meta charset="utf-8"><title>Earnest</title><meta http-equiv="refresh" content="0; url=docs/index.html">
<a href="docs/index.html">Earnest</a>
"""


class Help(SphinxDirective):
    """What `earnest` and each of its verbs say of themselves."""

    def run(self):
        import click

        from earnest.cli import main

        out = []
        top = click.Context(main, info_name="earnest")
        for name in ("", *main.list_commands(top)):
            command = main.get_command(top, name) if name else main
            context = click.Context(command, parent=top, info_name=name) if name else top
            context.max_content_width = context.terminal_width = 88
            title = f"earnest {name}".strip()
            section = nodes.section(ids=[nodes.make_id(title)])
            section += nodes.title("", title)
            section += nodes.literal_block("", command.get_help(context), language="none")
            out.append(section)
        return out


def _names_that_share_a_line(app, what, name, obj, options, lines):
    # "alpha, beta: shapes" would be read as a beta of the type alpha
    lines[:] = [line.replace("model.md", ":doc:`model.md </docs/model>`") for line in lines]
    lines[:] = [re.sub(r"^( +\w+(?:, \w+)+): ", lambda found: found[0].replace(", ", ","), line) for line in lines]


_SECTION = re.compile(r" *(Args|Attributes|Class attributes|Returns|Raises|Yields|Example|Examples|Note|Notes):")


def _formulas_and_code(app, what, name, obj, options, lines):
    # an indented block after a paragraph is shown as it stands; as it is, it would be read as a quotation
    out, hanging = [], ""
    for line in lines:
        reference = re.match(r" *(?=Reference: )", line)
        hanging = reference[0] + " " if reference else hanging if line.startswith(hanging) else ""
        if hanging and not reference:  # a reference of several lines is one paragraph
            line = hanging[:-1] + line.strip()
        if len(out) > 1 and line.strip() and not out[-1].strip():
            before = next((text for text in reversed(out) if text.strip()), "")
            deeper = len(line) - len(line.lstrip()) > len(before) - len(before.lstrip())
            if deeper and not _SECTION.fullmatch(before) and not before.rstrip().endswith("::"):
                out += [f"{' ' * (len(before) - len(before.lstrip()))}::", ""]
        out.append(line)
    lines[:] = out


_AS_WRITTEN = {}


def _before(app, what, name, obj, options, lines):
    _AS_WRITTEN[name] = list(lines)


def _after(app, what, name, obj, options, lines):
    # "order of the axes: ..." on a property would be read as its type
    written = _AS_WRITTEN.pop(name)
    if what == "property" and not any(line.strip() in ("Returns:", "Raises:", "Args:") for line in written):
        lines[:] = written


def _name_pictures(app, tree):
    """A picture that a notebook made is named by the heading that it stands under, for those who do not see it."""
    for picture in tree.findall(nodes.image):
        if picture.get("alt"):
            continue
        around = picture.parent
        while around is not None and not isinstance(around, nodes.section):
            around = around.parent
        if around is not None:
            picture["alt"] = "Figure: " + next(around.findall(nodes.title)).astext()


def _door(app, error):
    if error is None and app.builder.name == "html":
        (Path(app.outdir) / "index.html").write_text(DOOR, encoding="utf-8")


def setup(app):
    app.add_directive("earnest-help", Help)
    app.connect("autodoc-process-docstring", _names_that_share_a_line, priority=100)
    app.connect("autodoc-process-docstring", _formulas_and_code, priority=100)
    app.connect("autodoc-process-docstring", _before, priority=200)  # Sphinx's own are at 500
    app.connect("autodoc-process-docstring", _after, priority=900)
    app.connect("doctree-read", _name_pictures)
    app.connect("build-finished", _door)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

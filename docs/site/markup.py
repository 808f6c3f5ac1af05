"""What the pages ask of Sphinx beyond its own: the command line's help, the front door, pages that may be missing."""

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
            section += nodes.literal_block("", command.get_help(context), language="text")
            out.append(section)
        return out


def _named_ahead(app, page, source):
    """Leave out of the table of contents what is not written yet."""
    if page == app.config.root_doc:
        lines = source[0].splitlines()
        source[0] = "\n".join(
            line for line in lines if line != "exports" or (Path(app.srcdir) / "docs/exports.md").exists()
        )


def _door(app, error):
    if error is None and app.builder.name == "html":
        (Path(app.outdir) / "index.html").write_text(DOOR, encoding="utf-8")


def setup(app):
    app.add_directive("earnest-help", Help)
    app.connect("source-read", _named_ahead)
    app.connect("build-finished", _door)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

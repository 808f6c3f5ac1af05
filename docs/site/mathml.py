"""Mathematics as MathML, which browsers draw themselves, in a font that lies in the site: nothing from the network."""

import base64
import io
import re
from importlib.resources import files
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

# What formulas are made of: Latin, Greek, arrows, operators, accents, brackets, the italic letters of mathematics.
USED = "20-7E,B1,B7,D7,300-338,370-3FF,2010-2044,2061,2190-2194,2200-22FF,2308-230B,27E8-27E9,1D434-1D467,1D6FC-1D71B"


# Of a name of a function before its argument: "function application" and a thin space, which browsers do not put there.
_APPLIED = re.compile(r"(<mi>(?:log|exp|max|min|logit)</mi>)(?=<m(?:i|n|sub|sup|subsup|over)\b)")
_APPLICATION = '<mo>&#x2061;</mo><mspace width="0.17em"/>'


def mathml(formula, display):
    """A formula as MathML, with a space between the name of a function and an argument without brackets."""
    return _APPLIED.sub(rf"\1{_APPLICATION}", convert(formula, display=display))


def _inline(self, node):
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(self, node):
    self.body.append(f'<div class="math">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def _font(app, error):
    """Write the font into a style sheet: some browsers load no font from another folder of the disk."""
    if error is not None or app.builder.name != "html":
        return
    from fontTools import subset

    options = subset.Options(layout_features=["ssty"], notdef_outline=True)
    font = subset.load_font(str(files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"), options)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=subset.parse_unicodes(USED))
    chosen.subset(font)
    out = io.BytesIO()
    font.save(out)
    data = base64.b64encode(out.getvalue()).decode()
    rule = f'@font-face {{ font-family: "Site Math"; src: url("data:font/ttf;base64,{data}"); }}\n'
    (Path(app.outdir) / "_static" / "math.css").write_text(
        rule + 'math { font-family: "Site Math", math; font-size: 1.08em; }\n', encoding="utf-8"
    )


def _wanted(app, page, template, context, tree):
    if "<math" in context.get("body", ""):
        app.add_css_file("math.css")


def setup(app):
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("html-page-context", _wanted)
    app.connect("build-finished", _font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The site of the documentation: `make docs` builds it into docs/_build/html."""

import re

from docutils import nodes
from docutils.utils.math import latex2mathml

from digideep import __version__

project = "Digideep"
release = __version__
html_title = "Digideep"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
smartquotes_action = "D"  # dashes only: tables hold JSON
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_math_renderer = "mathml"

myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "off"  # the notebook shows what tests/test_notebook.py runs
myst_heading_anchors = 3  # links to headings, as code hosts make them

autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "none"  # the docstrings say types, shapes and ranges

# Files beside docs/ have a page here that includes them. Links to them are right on a code host as they stand.
_BESIDE = {
    "benchmarks/RESULTS.md": "/results.md",
    "benchmarks/LEARNING.md": "/evidence.md",
    "CONTRIBUTING.md": "/contributing.md",
    "CHANGELOG.md": "/changes.md",
}


def _redirect(app, docname, source):
    """Lead links out of docs/ to the pages of the site."""
    source[0] = re.sub(
        r"\]\((?:\.\./)+([\w/]+\.md)", lambda match: f"]({_BESIDE.get(match[1], match[0][2:])}", source[0]
    )


def _plain_docstring(app, what, name, obj, options, lines):
    """Show backquotes of docstrings as code and everything else as it stands: they are prose, not reStructuredText."""
    for index, line in enumerate(lines):
        parts = line.split("`")
        if len(parts) % 2:
            text = [re.sub(r"([*|]|_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
            code = [f"``{part}``\\ " for part in parts[1::2]]  # the space ends the code, and is not shown
            lines[index] = "".join(part for pair in zip(text, [*code, ""], strict=True) for part in pair)


# docutils writes a hat with an index as limits, with the index below the letter.
_HAT = re.compile(r'<munderover>\s*(<mi>\w</mi>)\s*(<(m[in])>\w</\3>)\s*(<mo stretchy="false">.</mo>)\s*</munderover>')


def _equation(display):
    """Return a visitor that writes an equation as MathML, which browsers draw without a script from elsewhere."""

    def visit(translator, node):
        mathml = str(latex2mathml.tex2mathml(node.astext(), as_block=display))
        mathml = _HAT.sub(r"<msub><mover>\1\4</mover>\2</msub>", mathml)
        # Without a mathematical font, accents lie on their letters.
        translator.body.append(mathml.replace('accent="true"', "").replace("ˉ", "¯"))
        raise nodes.SkipNode

    return visit


def setup(app):
    app.connect("source-read", _redirect)
    app.connect("autodoc-process-docstring", _plain_docstring, priority=100)  # before napoleon reads the sections
    app.add_html_math_renderer("mathml", (_equation(False), None), (_equation(True), None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

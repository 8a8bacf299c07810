"""How the documentation is built: `make docs`."""

import re

from memorax import __version__

project = "memorax"
author = "The memorax authors"
project_copyright = "The memorax authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "memorax"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)(\w?)")


def literal_code(app, what, name, obj, options, lines):
    """Docstrings write code as Markdown does, in single backticks; reStructuredText wants two."""
    text = _CODE.sub(lambda match: f"``{match[1]}``" + (rf"\ {match[2]}" if match[2] else ""), "\n".join(lines))
    lines[:] = text.split("\n")


def setup(app):
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", literal_code)

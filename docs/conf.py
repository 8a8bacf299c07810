"""How the documentation is built: `make docs`."""

import re
import textwrap

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

autoclass_content = "both"  # constructors describe their arguments
autodoc_default_options = {"members": True, "special-members": "__call__"}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 100  # longer ones get a line for each argument
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Source"]

_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)(\w?)")


_SOURCE = re.compile(r"^Source: ((?:.+\n?)+)", re.MULTILINE)


def source_section(app, what, name, obj, options, lines):
    """A source in a single paragraph becomes a section, as sources in paragraphs of their own are."""
    text = _SOURCE.sub(lambda match: "Source:\n" + textwrap.indent(match[1], "    "), "\n".join(lines))
    lines[:] = text.split("\n")


def literal_code(app, what, name, obj, options, lines):
    """Docstrings write code as Markdown does, in single backticks; reStructuredText wants two."""
    text = _CODE.sub(lambda match: f"``{match[1]}``" + (rf"\ {match[2]}" if match[2] else ""), "\n".join(lines))
    lines[:] = text.split("\n")


# Flax gives every module these two; they are the same everywhere and say nothing about the module.
_OF_FLAX = re.compile(r"(, )?parent: [^=]*= <flax\.linen\.module\._Sentinel object[^>]*>, name: str \| None = None")
_FUNCTION = re.compile(r"<function ([\w.]+?)(?:\.<locals>\.\w+)?(?: at 0x\w+)?>")
_OBJECT = re.compile(r"<[\w.]+ object(?: at 0x\w+)?>")


def readable_defaults(app, what, name, obj, options, signature, returns):
    """Leave out what every Flax module has, and write defaults that are functions by their names."""
    if signature is None:
        return None
    signature = _OBJECT.sub("...", _FUNCTION.sub(r"\1", _OF_FLAX.sub("", signature)))
    return signature, returns


def setup(app):
    """Sphinx calls this."""
    # Both before napoleon, which looks for sections, and for colons outside of code.
    app.connect("autodoc-process-docstring", source_section, priority=400)
    app.connect("autodoc-process-docstring", literal_code, priority=400)
    app.connect("autodoc-process-signature", readable_defaults)

"""Every source is a section of its docstring: authors and year, title, address."""

import ast
import re
from pathlib import Path

import pytest

import memorax

PACKAGE = Path(memorax.__file__).parent
FILES = sorted(path for room in ("networks", "lox") for path in (PACKAGE / room).rglob("*.py"))
SOURCE = re.compile(r"""^[^"]+ (?:19|20)\d\d, "[^"]+",? .*https://\S+""")


def sources(text: str) -> list[str]:
    """The sections `Source:` of a module's docstrings, lines joined."""
    nodes = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef))
    docs = [doc for node in nodes if (doc := ast.get_docstring(node))]
    sections = [re.search(r"^Source:\n((?:    .*\n?)+)", doc, re.MULTILINE) for doc in docs]
    return [" ".join(section[1].split()) for section in sections if section]


def test_sources_have_one_form():
    found = {f"{p.relative_to(PACKAGE)}": [s for s in sources(p.read_text()) if not SOURCE.match(s)] for p in FILES}
    found["networks/sequence_models/mlp.py"] = []  # the control, which no paper has invented
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_no_source_is_written_in_a_sentence():
    assert [p.name for p in FILES if re.search(r"Source: \S", p.read_text())] == []


@pytest.mark.parametrize("text", ["A et al. 2020, https://x.org", "A 2020, 'T', https://x.org", "A 2020, T."])
def test_other_forms_are_found(text):
    assert sources(f'def f():\n    """F.\n\n    Source:\n        {text}\n    """\n') == [text]
    assert not SOURCE.match(text)

"""Pages are taken apart into programs, and what is wrong with a program's types is found."""

import pytest
from tests.typing.check_pages import errors, is_known, pages, program

PAGE = "# Page\n\n```python\nx = 1\n```\n\nwords\n\n```bash\nls\n```\n\n```python\ny = x\n```\n"


def test_lines_keep_their_numbers():
    lines = program(PAGE).splitlines()
    assert (lines[3], lines[13]) == ("x = 1", "y = x")
    assert [line for line in lines if line] == ["x = 1", "y = x"]


def test_pages_without_programs_are_left_out():
    assert program("# Page\n\n```bash\nls\n```\n") == ""


def test_the_pages_are_found():
    assert {"README.md", "memory-models.md", "ppo.md"} <= {page.name for page in pages()}


def test_known_errors_belong_to_their_page():
    assert is_known('docs_getting_started:44: Cannot access attribute "n" for class "Space"')
    assert not is_known('docs_networks:44: Cannot access attribute "n" for class "Space"')


@pytest.mark.slow
def test_wrong_types_are_found():
    pytest.importorskip("basedpyright", reason="basedpyright is not installed; it comes with the extra `lint`")
    good = "from memorax.networks import LRUCell\n\ncell = LRUCell(features=64)\n"
    bad = {
        "unknown": good.replace("features", "feature"),
        "kind": good.replace("64", "'wide'"),
        "logs": "from memorax import lox\n\ndef f(x: int) -> str: ...\n\nout, logs = lox.spool(f)(3)\nout + 1\n",
    }
    found = errors({"good": good, **bad})
    assert {line.split(":")[0] for line in found} == set(bad)
    assert 'kind:3: Argument of type "Literal[\'wide\']" cannot be assigned to parameter "features"' in "\n".join(found)

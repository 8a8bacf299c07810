"""Files and functions that fit into a head."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "memorax").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
LIMITS = {
    "src/memorax/algorithms": 200,
    "src/memorax/environments/memory": 220,
    "src/memorax/networks/sequence_models": 200,
}
"""Lines of a file in folders that hold a thing a file; elsewhere 300."""
MAX_FUNCTION = 50
MAX_NESTING = 4
BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.FunctionDef, ast.AsyncFunctionDef)


def file_limit(path: Path) -> int:
    if path.is_relative_to(ROOT / "tests"):
        return 500
    return LIMITS.get(path.parent.relative_to(ROOT).as_posix(), 300)


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body, its docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def long_functions(source: str) -> list[str]:
    functions = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return [f"{f.name} (line {f.lineno}): {length(f)} lines" for f in functions if length(f) > MAX_FUNCTION]


def depth(node: ast.AST) -> int:
    """How many blocks stand inside each other; `elif` does not count as a level."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, depth(child) + (isinstance(child, BLOCKS) and not is_elif))
    return deepest


def deep_functions(source: str) -> list[str]:
    functions = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return [f"{f.name} (line {f.lineno}): {depth(f)} levels" for f in functions if depth(f) > MAX_NESTING]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES + TESTS + BENCHMARKS, ids=relative)
def test_file_fits(path):
    lines = len(path.read_text().splitlines())
    assert lines <= file_limit(path), f"{relative(path)} has {lines} lines; the limit is {file_limit(path)}"


@pytest.mark.parametrize("path", SOURCES + BENCHMARKS, ids=relative)
def test_functions_fit(path):
    assert not long_functions(path.read_text())
    assert not deep_functions(path.read_text())


def test_tight_limits_are_those_of_folders():
    assert [folder for folder in LIMITS if not (ROOT / folder).is_dir()] == []
    assert file_limit(ROOT / "src/memorax/environments/memory/t_maze.py") == 220


def test_a_long_function_is_found():
    body = "\n".join("    x = 1" for _ in range(MAX_FUNCTION))
    assert not long_functions(f'def f():\n    """Short.\n\n    {"words " * 9}\n    """\n{body}\n')
    assert long_functions(f"def f():\n{body}\n    x = 2\n") == [f"f (line 1): {MAX_FUNCTION + 1} lines"]


def test_deep_nesting_is_found():
    def nest(levels):
        blocks = "\n".join("    " * (i + 1) + "if x:" for i in range(levels))
        return f"def f(x):\n{blocks}\n{'    ' * (levels + 1)}pass\n"

    assert not deep_functions(nest(MAX_NESTING))
    assert deep_functions(nest(MAX_NESTING + 1))
    chain = "def f(x):\n    if x == 1:\n        pass\n" + "".join(
        f"    elif x == {i}:\n        pass\n" for i in range(2, 9)
    )
    assert not deep_functions(chain)

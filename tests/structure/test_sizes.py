"""Files and functions that fit into a head."""

import ast
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "memorax").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
LIMITS = {"src/memorax/algorithms": 220, "src/memorax/environments/memory": 220}
"""Lines of a file in folders whose files are read from top to bottom."""
SOURCE_LIMIT, TEST_LIMIT = 300, 500
"""Lines of any other file."""
MAX_FUNCTION = 50
MAX_NESTING = 4
BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.FunctionDef, ast.AsyncFunctionDef)


def file_limit(path: Path) -> int:
    if path.is_relative_to(ROOT / "tests"):
        return TEST_LIMIT
    return LIMITS.get(path.parent.relative_to(ROOT).as_posix(), SOURCE_LIMIT)


def long_files(paths: Iterable[Path]) -> list[str]:
    lengths = ((path, len(path.read_text().splitlines())) for path in paths)
    return [
        f"{relative(path)}: {lines} lines, at most {file_limit(path)}"
        for path, lines in lengths
        if lines > file_limit(path)
    ]


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


def functions_in(paths: Iterable[Path], check: Callable[[str], list[str]]) -> list[str]:
    return [f"{relative(path)}: {found}" for path in paths for found in check(path.read_text())]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_fit():
    assert long_files(SOURCES + TESTS + BENCHMARKS) == []


def test_functions_fit():
    assert functions_in(SOURCES + BENCHMARKS, long_functions) == []


def test_functions_are_flat():
    assert functions_in(SOURCES + BENCHMARKS, deep_functions) == []


def test_a_long_file_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    limits = {"tests/a.py": TEST_LIMIT, "src/memorax/b.py": SOURCE_LIMIT, "src/memorax/algorithms/c.py": 220}
    for name, limit in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n" * limit)
    paths = [tmp_path / name for name in limits]
    assert long_files(paths) == []
    for path in paths:
        path.write_text(path.read_text() + "x = 2\n")
    assert long_files(paths) == [f"{name}: {limit + 1} lines, at most {limit}" for name, limit in limits.items()]


def test_tight_limits_are_those_of_folders():
    assert [folder for folder in LIMITS if not (ROOT / folder).is_dir()] == []


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

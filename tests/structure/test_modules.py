"""What the package's files are called, what they say of themselves, and what they import while loading."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "memorax"
SOURCES = sorted(PACKAGE.rglob("*.py"))
LATE = {"flashbax", "gymnasium", "gymnax", "matplotlib", "orbax", "tensorboard", "trackio", "wandb"}
"""Imported when used; `import memorax.<room>` must not pay for them."""
OWN_ROOM = (
    PACKAGE / "buffers" / "types.py",
    PACKAGE / "environments" / "adapters",
    PACKAGE / "experiment" / "loggers",
)
"""Files that are themselves imported only when used, and may import their library at the top."""


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_while_loading(tree: ast.Module) -> set[str]:
    """The libraries named by imports that run when the module is loaded."""
    found: set[str] = set()
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
        pending.extend(ast.iter_child_nodes(node))
    return found


def undocumented(tree: ast.Module) -> list[str]:
    """Public modules, classes, functions and methods that say nothing of themselves."""
    missing = [] if ast.get_docstring(tree) or not tree.body else ["the module"]
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

    def visit(scope: ast.Module | ast.ClassDef, prefix: str) -> None:
        for node in scope.body:
            if not isinstance(node, definitions) or node.name.startswith("_"):
                continue
            decorators = {ast.unparse(d).split(".")[-1] for d in node.decorator_list}
            if not ast.get_docstring(node) and not decorators & {"overload", "override", "setter"}:
                missing.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node, f"{prefix}{node.name}.")

    visit(tree, "")
    return missing


def test_every_public_name_is_documented():
    missing = [f"{relative(path)}: {name}" for path in SOURCES for name in undocumented(ast.parse(path.read_text()))]
    assert missing == []


def test_a_missing_docstring_is_found():
    source = '"""Module."""\ndef f(): ...\nclass A:\n    """A."""\n    def g(self): ...\n    def _h(self): ...\n'
    assert undocumented(ast.parse(source)) == ["f", "A.g"]
    assert undocumented(ast.parse("x = 1")) == ["the module"]


def test_optional_libraries_are_imported_when_used():
    others = [path for path in SOURCES if not any(path.is_relative_to(room) for room in OWN_ROOM)]
    loaded = {relative(path): imported_while_loading(ast.parse(path.read_text())) & LATE for path in others}
    assert {path: libraries for path, libraries in loaded.items() if libraries} == {}


@pytest.mark.parametrize(
    ("source", "libraries"),
    [
        ("import matplotlib.pyplot as plt", {"matplotlib"}),
        ("from orbax import checkpoint", {"orbax"}),
        ("try:\n    import wandb\nexcept ImportError:\n    wandb = None", {"wandb"}),
        ("class A:\n    import gymnax", {"gymnax"}),
        ("def f():\n    import gymnax", set()),
        ("if TYPE_CHECKING:\n    import gymnax", set()),
        ("from . import wandb", set()),
    ],
)
def test_an_early_import_is_found(source, libraries):
    assert imported_while_loading(ast.parse(source)) == libraries


def test_there_is_no_utils():
    vague = {"utils", "util", "helpers", "misc", "common"}
    assert [relative(p) for p in PACKAGE.rglob("*") if p.stem.strip("_") in vague] == []


def test_every_folder_is_a_package():
    # A folder without `__init__.py` still imports, but the contracts of who imports whom do not see it.
    folders = {path.parent for path in SOURCES}
    assert [relative(f) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


def test_types_are_shipped():
    assert (PACKAGE / "py.typed").exists()

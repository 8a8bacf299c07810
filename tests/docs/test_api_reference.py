"""The API reference has every public name of every public package, and nothing that is not there."""

import ast
import importlib
import inspect
import pkgutil
import re
import typing
from pathlib import Path

import pytest

import memorax

FOLDER = Path(__file__).parents[2] / "docs" / "api"
ENTRY = re.compile(r"^\.\. (?P<kind>currentmodule|auto\w+|py:data):: (?P<name>[\w.]+)$", re.MULTILINE)
HIDDEN = re.compile(r"memorax\.(cli|__main__)(\.|$)|\.parts(\.|$)")
"""The command line is no Python interface, and mechanisms that siblings share are not public."""
MODULES = ["memorax.core.types", "memorax.core.devices", "memorax.core.distributions", "memorax.networks.architectures"]
"""Public modules that no package takes its names from; all that they define is public."""
PARTLY_PUBLIC = re.compile(r"memorax\.(kernels\.\w+|core\.registry)")
"""Modules of which the reference has what users need."""
OF_FLAX = {"parent", "name"}


def packages() -> list[str]:
    found = [package.name for package in pkgutil.walk_packages(memorax.__path__, "memorax.") if package.ispkg]
    return ["memorax", *(name for name in found if not HIDDEN.search(name))]


def written_in(module) -> list[str]:
    """The names that a module without `__all__` makes public: what it defines, and what it imports as itself."""
    names = []
    for node in ast.parse(Path(module.__file__).read_text()).body:
        if isinstance(node, ast.ImportFrom):
            names += [alias.asname for alias in node.names if alias.asname == alias.name]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in names if not isinstance(getattr(module, name), typing.TypeVar)]


def public_names(module_name: str) -> list[str]:
    module = importlib.import_module(module_name)
    names = getattr(module, "__all__", None) or written_in(module)
    return [name for name in names if not name.startswith("_")]


def entries(text: str) -> list[tuple[str, str]]:
    """What a page documents, as `(module, name)`."""
    found, module = [], ""
    for match in ENTRY.finditer(text):
        if match["kind"] == "currentmodule":
            module = match["name"]
        else:
            found.append((module, match["name"]))
    return found


ENTRIES = [entry for page in sorted(FOLDER.glob("*.md")) for entry in entries(page.read_text())]


def missing(module_name: str, documented: list[tuple[str, str]]) -> list[str]:
    """The public names that no page has, under this module's name or as the same object under another's."""
    module = importlib.import_module(module_name)
    objects = [getattr(importlib.import_module(home), name, None) for home, name in documented]
    return [
        name
        for name in public_names(module_name)
        if (module_name, name) not in documented
        and not inspect.ismodule(getattr(module, name))
        and not any(getattr(module, name) is documented_object for documented_object in objects)
    ]


@pytest.mark.parametrize("module", [*packages(), *MODULES])
def test_every_public_name_is_in_the_reference(module):
    assert missing(module, ENTRIES) == []


def test_no_name_is_in_the_reference_twice():
    assert sorted(set(ENTRIES)) == sorted(ENTRIES)


def test_the_reference_has_public_names_only():
    listed = {module: public_names(module) for module in [*packages(), *MODULES]}
    for module, name in ENTRIES:
        public = public_names(module) if PARTLY_PUBLIC.fullmatch(module) else listed[module]
        assert name in public, f"{module}.{name}"


def parameters(cls: type) -> set[str]:
    """The arguments of a class that are its own: not those that Flax gives every module."""
    try:
        own = inspect.signature(cls).parameters.values()
    except ValueError:  # a class without a signature of its own, an exception say
        return set()
    return {p.name for p in own if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} - OF_FLAX


def described(cls: type) -> set[str]:
    """The arguments that are described where a reader looks: in a docstring, or in a string under the field.

    A cell also takes the fields of its configuration as keywords; they are described there.
    """
    names = set()
    configuration = getattr(cls, "configuration", None)
    for parent in (*cls.__mro__, *(configuration.__mro__ if configuration else ())):
        if parent.__module__.startswith("memorax"):
            docstrings = f"{parent.__doc__}\n{parent.__init__.__doc__}"
            names |= set(re.findall(r"^\s*(\w+)(?: \([^)]*\))?: ", docstrings, re.MULTILINE))
            names |= set(re.findall(r"`(\w+)` is", str(parent.__init__.__doc__)))
            names |= fields_with_strings(parent)
    return names | ({"config"} if configuration else set())


def fields_with_strings(cls: type) -> set[str]:
    (tree,) = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(cls))))
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__
    ]
    return {
        field.target.id
        for field, below in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


def classes() -> list[type]:
    objects = (getattr(importlib.import_module(module), name, None) for module, name in ENTRIES)
    return [thing for thing in objects if inspect.isclass(thing) and thing.__module__.startswith("memorax")]


def test_every_argument_of_every_constructor_is_described():
    undocumented = {cls.__qualname__: sorted(parameters(cls) - described(cls)) for cls in classes()}
    assert {name: arguments for name, arguments in undocumented.items() if arguments} == {}


def test_everything_in_the_reference_has_a_docstring():
    bare = []
    for module, name in ENTRIES:
        thing = getattr(importlib.import_module(module), name, None)
        doc = vars(thing).get("__doc__") if inspect.isclass(thing) else getattr(thing, "__doc__", None)
        if (inspect.isclass(thing) or inspect.isroutine(thing)) and (not doc or doc.startswith(f"{name}(")):
            bare.append(f"{module}.{name}")
    assert bare == []


def test_a_forgotten_name_is_found():
    assert missing("memorax.lox", [entry for entry in ENTRIES if entry != ("memorax.lox", "tap")]) == ["tap"]

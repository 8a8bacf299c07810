"""The help of options, from the strings below the fields of a dataclass."""

import ast
import copy
import dataclasses
import inspect
import itertools
import textwrap
from types import MappingProxyType
from typing import Any


def describe_fields(cls: Any) -> None:
    """Give each field of a dataclass the string below it as its help, in one line.

    tyro, left to find these strings itself, ends a line of the help wherever one of the source ends.

    Args:
        cls: The dataclass, one that nobody else uses; its fields are replaced.
    """
    texts = _texts(cls)
    fields = {name: copy.copy(field) for name, field in cls.__dataclass_fields__.items()}
    for name in fields.keys() & texts.keys():
        fields[name].metadata = MappingProxyType({**fields[name].metadata, "help": texts[name]})
    cls.__dataclass_fields__ = fields


def _texts(cls: type) -> dict[str, str]:
    """The string below each field of a dataclass, and of those that it extends."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):  # made by a program, or typed into an interpreter
            continue
        (definition,) = ast.parse(textwrap.dedent(source)).body
        if not isinstance(definition, ast.ClassDef):
            continue
        for field, below in itertools.pairwise(definition.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found

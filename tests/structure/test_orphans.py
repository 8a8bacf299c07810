"""A file in a room of siblings that registers nothing is found by name."""

import functools
import importlib.util
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def algorithms() -> list[Callable]:
    from memorax.algorithms import ALGORITHMS

    return [ALGORITHMS.get(name)[0] for name in ALGORITHMS]


def memory_models() -> list[Callable]:
    from memorax.networks.sequence_models import MODELS

    return [MODELS.get(name).build for name in MODELS]


def memory_tasks() -> list[Callable]:
    from memorax.environments import ENVIRONMENTS

    return [ENVIRONMENTS.get(name).factory for name in ENVIRONMENTS if name.startswith("memory::")]


ROOMS = {
    "memorax.algorithms": algorithms,
    "memorax.networks.sequence_models": memory_models,
    "memorax.environments.memory": memory_tasks,
}


def home(entry: Any) -> str:
    """The module that an entry is written in."""
    while isinstance(entry, functools.partial):
        entry = entry.func
    return entry.__module__


def shared(room: str) -> set[str]:
    """The modules and folders that siblings may import: what they are made of, and nothing to register."""
    pairs = (pair.split(" -> ") for contract in CONTRACTS for pair in contract.get("ignore_imports", []))
    parts = {imported.removeprefix(f"{room}.") for importer, imported in pairs if importer.startswith(f"{room}.*")}
    return {f"{room}.{part.split('.')[0]}" for part in parts}


def orphans(room: str, folder: Path, entries: Iterable[Any]) -> list[str]:
    modules = {f"{room}.{p.stem}" for p in folder.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    return sorted(modules - {f"{room}.__init__"} - shared(room) - {home(entry) for entry in entries})


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_registers_something(room):
    if importlib.util.find_spec(room.rpartition(".")[0]) is None or importlib.util.find_spec(room) is None:
        pytest.skip(f"{room} is not built yet")
    folder = ROOT / "src" / Path(*room.split("."))
    assert orphans(room, folder, ROOMS[room]()) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_forgotten_file_is_found(room, tmp_path):
    for name in ("__init__.py", "known.py", "forgotten.py", *(f"{m.rpartition('.')[2]}.py" for m in shared(room))):
        (tmp_path / name).touch()

    def known(): ...

    known.__module__ = f"{room}.known"
    assert orphans(room, tmp_path, [functools.partial(known)]) == [f"{room}.forgotten"]

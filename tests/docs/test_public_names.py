"""What `import memorax` offers: every promised name, at no cost, visible to type checkers and to completion."""

import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import memorax

PACKAGE = Path(memorax.__file__).parent
PROMISED = {
    *("PPO", "MAPPO", "GradientPPO", "DQN", "R2D2", "PQN", "SAC", "StreamAC"),
    *("PPOConfig", "MAPPOConfig", "GradientPPOConfig", "DQNConfig", "R2D2Config", "PQNConfig", "SACConfig"),
    *("StreamACConfig", "make", "register", "Network", "FeatureExtractor", "MLP", "CNN", "RNN", "Memoroid", "heads"),
    *("lox", "train", "testing"),
}
HIDDEN = {"__main__", "cli"}
"""Subpackages that are no part of the Python interface: the command line."""
NEW_MODULES = """
import json, sys
before = set(sys.modules)
import memorax
dir(memorax)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def subpackages() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(memorax.__path__)} - HIDDEN


def test_importing_the_package_loads_nothing_else():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", NEW_MODULES]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=60)
    new = [name for name in json.loads(run.stdout) if name.partition(".")[0] not in sys.stdlib_module_names]
    assert new == ["memorax"]


def test_every_promised_name_is_there():
    assert set(memorax.__all__) >= PROMISED | subpackages()
    assert set(dir(memorax)) >= set(memorax.__all__)


@pytest.mark.parametrize("name", memorax.__all__)
def test_a_public_name_is_what_its_subpackage_calls_so(name):
    value = getattr(memorax, name)
    if name in subpackages():
        assert value is importlib.import_module(f"memorax.{name}")
    elif name != "__version__":
        home = importlib.import_module(f"memorax.{memorax._HOMES[name]}")
        assert value is getattr(home, name)
        assert name in getattr(home, "__all__", dir(home))


def test_importing_everything_gives_every_name():
    namespace = {}
    exec("from memorax import *", namespace)
    assert set(namespace) >= set(memorax.__all__)


def test_type_checkers_see_every_name():
    (block,) = [node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    imports = {alias.name for statement in block.body for alias in statement.names}
    assert imports == set(memorax.__all__) - {"__version__"}


@pytest.mark.parametrize(("wrong", "near"), [("PP0", "PPO"), ("ppo", "PPO"), ("tain", "train"), ("network", "Network")])
def test_a_misspelt_name_is_answered_with_near_ones(wrong, near):
    with pytest.raises(AttributeError, match=rf"module `memorax` has no attribute `{wrong}`; nearest: .*\b{near}\b"):
        getattr(memorax, wrong)

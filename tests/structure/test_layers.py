"""Each contract about who imports whom is kept by the package, and broken by the violation it is meant for."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="import-linter is not installed; it comes with the extra `test`")

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "pyproject.toml"
CONTRACTS = {c["id"]: c["name"] for c in tomllib.loads(CONFIG.read_text())["tool"]["importlinter"]["contracts"]}

HOUSE = [
    "__main__.py",
    "acting/vector_env.py",
    "algorithms/dqn.py",
    "algorithms/ppo.py",
    "buffers/episode.py",
    "cli.py",
    "core/types.py",
    "environments/adapters/foreign.py",
    "environments/adapters/gymnax.py",
    "environments/adapters/navix.py",
    "environments/memory/repeat_first.py",
    "environments/memory/parts/task.py",
    "environments/memory/tmaze.py",
    "environments/protocol.py",
    "environments/wrappers/base.py",
    "environments/wrappers/sticky.py",
    "environments/wrappers/time_limit.py",
    "experiment/plots.py",
    "kernels/scan.py",
    "learning/unroll.py",
    "lox.py",
    "networks/mlp.py",
    "networks/sequence_models/parts/base.py",
    "networks/sequence_models/lru.py",
    "networks/sequence_models/s5.py",
    "objectives/returns.py",
]

VIOLATIONS = [  # (file, what it imports, the contract that this breaks)
    ("core/types.py", "memorax.kernels.scan", "rooms"),
    ("lox.py", "memorax.networks.mlp", "rooms"),
    ("kernels/scan.py", "memorax.networks.mlp", "rooms"),
    ("networks/mlp.py", "memorax.environments.protocol", "rooms"),
    ("environments/protocol.py", "memorax.objectives.returns", "rooms"),
    ("objectives/returns.py", "memorax.buffers.episode", "rooms"),
    ("buffers/episode.py", "memorax.acting.vector_env", "rooms"),
    ("acting/vector_env.py", "memorax.learning.unroll", "rooms"),
    ("learning/unroll.py", "memorax.algorithms.ppo", "rooms"),
    ("algorithms/ppo.py", "memorax.experiment.plots", "rooms"),
    ("experiment/plots.py", "memorax.cli", "rooms"),
    ("utils.py", "memorax.core.types", "rooms"),
    ("algorithms/dqn.py", "memorax.algorithms.ppo", "algorithms"),
    ("networks/sequence_models/lru.py", "memorax.networks.sequence_models.s5", "memory-models"),
    ("networks/sequence_models/parts/base.py", "memorax.networks.sequence_models.s5", "memory-models"),
    ("environments/memory/tmaze.py", "memorax.environments.memory.repeat_first", "memory-tasks"),
    ("environments/adapters/navix.py", "memorax.environments.adapters.gymnax", "adapters"),
    ("environments/wrappers/sticky.py", "memorax.environments.wrappers.time_limit", "wrappers"),
    ("environments/protocol.py", "gymnax", "libraries"),
    ("algorithms/ppo.py", "matplotlib.pyplot", "libraries"),
    ("acting/vector_env.py", "wandb", "libraries"),
    ("core/types.py", "orbax.checkpoint", "libraries"),
    ("acting/vector_env.py", "rich.progress", "libraries"),
]

ALLOWED = [
    ("environments/adapters/gymnax.py", "gymnax"),
    ("experiment/plots.py", "matplotlib.pyplot"),
    ("environments/adapters/navix.py", "memorax.environments.adapters.foreign"),
    ("environments/memory/tmaze.py", "memorax.environments.memory.parts.task"),
    ("environments/wrappers/sticky.py", "memorax.environments.wrappers.base"),
    ("networks/sequence_models/lru.py", "memorax.networks.sequence_models.parts.base"),
    ("core/types.py", "memorax.lox"),
    ("algorithms/ppo.py", "memorax.networks.mlp"),
]


def build(root: Path, imports: list[tuple[str, str]]) -> Path:
    """A small house with the rooms of the real one, and these imports in it."""
    package = root / "memorax"
    for name in HOUSE:
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for folder in [package, *(f for f in package.rglob("*") if f.is_dir())]:
        (folder / "__init__.py").touch()
    for name, imported in imports:
        (package / name).write_text(f"import {imported}\n")
    return root


def broken(source: Path) -> set[str]:
    """The contracts of the project that the package under `source` breaks."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-cache", "--config", str(CONFIG)]
    environment = {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200"}
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=source, env=environment, timeout=60)
    verdicts = {i for i, name in CONTRACTS.items() if f"{name} BROKEN" in run.stdout}
    kept = {i for i, name in CONTRACTS.items() if f"{name} KEPT" in run.stdout}
    assert verdicts | kept == set(CONTRACTS), run.stdout + run.stderr
    return verdicts


def test_the_package_keeps_every_contract():
    assert broken(ROOT / "src") == set()


def test_what_is_allowed_is_kept(tmp_path):
    assert broken(build(tmp_path, ALLOWED)) == set()


@pytest.mark.parametrize(("file", "imported", "contract"), VIOLATIONS)
def test_a_violation_is_found(tmp_path, file, imported, contract):
    assert broken(build(tmp_path, [(file, imported)])) == {contract}


def test_every_contract_has_a_violation():
    assert {contract for _, _, contract in VIOLATIONS} == set(CONTRACTS)

"""Loading the package brings nothing that is not used."""

import json
import os
import subprocess
import sys

ROOMS = ["memorax.lox", "memorax.algorithms", "memorax.buffers", "memorax.environments", "memorax.networks"]
LATE = {"flashbax", "gymnasium", "gymnax", "matplotlib", "orbax", "pandas", "rich", "scipy.stats", "torch", "wandb"}

LOAD = """
import json, sys
import jax, flax, flax.linen
before = set(sys.modules)
for room in {rooms}:
    __import__(room)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def load(rooms: list[str]) -> list[str]:
    """The modules that come with some rooms beside those of JAX and Flax."""
    code = LOAD.format(rooms=rooms)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_importing_brings_nothing_unused():
    assert set(load(["memorax", *ROOMS])) & LATE == set()


def test_the_package_alone_brings_only_itself():
    assert load(["memorax"]) == ["memorax"]


def test_an_unused_library_is_found():
    assert "matplotlib" in load(["matplotlib"])

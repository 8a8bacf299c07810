"""Loading the package is cheap and brings nothing that is not used."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

ROOMS = ["memorax.lox", "memorax.algorithms", "memorax.buffers", "memorax.environments", "memorax.networks"]
LATE = ["flashbax", "gymnasium", "gymnax", "matplotlib", "orbax", "pandas", "rich", "scipy.stats", "torch", "wandb"]
ALLOWED_SECONDS = 1.0

MEASURE = """
import json, sys, time
import jax, flax, flax.linen
start = time.perf_counter()
before = set(sys.modules)
for room in {rooms}:
    __import__(room)
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "new": sorted(set(sys.modules) - before)}}))
"""


def load(rooms: list[str]) -> dict:
    code = MEASURE.format(rooms=rooms)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def rooms() -> list[str]:
    return ["memorax", *(room for room in ROOMS if importlib.util.find_spec(room))]


@pytest.fixture(scope="module")
def loaded(rooms) -> dict:
    return load(rooms)


def test_importing_takes_at_most_a_second(rooms, loaded):
    seconds = loaded["seconds"]
    for _ in range(2):  # a busy machine is not a slow package: the best of three counts
        if seconds > ALLOWED_SECONDS:
            seconds = min(seconds, load(rooms)["seconds"])
    assert seconds <= ALLOWED_SECONDS


@pytest.mark.parametrize("library", LATE)
def test_importing_brings_nothing_unused(loaded, library):
    assert library not in loaded["new"]


def test_the_package_alone_brings_only_itself():
    assert load(["memorax"])["new"] == ["memorax"]

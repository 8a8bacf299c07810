"""A benchmark whose process is killed, and one whose policies play in longer tasks, with agents that really learn."""

import json
import os
import signal
import subprocess
import sys

import pytest
from tests.cli import test_kill_and_resume
from tests.cli.test_kill_and_resume import finish, metrics, wait_for_step

PART = ["length", "--tasks", "MemoryChain length=10", "--methods", "gru", "--seeds", "2", "--steps", "65_536"]
CELL = "gru-memory-MemoryChain-length=10"


def start(folder, cache):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-W", "error", "-m", "memorax", "benchmark", *PART, "--out", str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_benchmark_that_is_killed_goes_on_where_it_was(tmp_path, tmp_path_factory, monkeypatch):
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(test_kill_and_resume, "PATIENCE", 900.0)
    code, said, errors = finish(start(tmp_path / "straight", cache))
    assert code == 0, errors
    assert "1 of 1 runs are finished" in said
    process = start(tmp_path / "killed", cache)
    (tmp_path / "killed" / CELL).mkdir(parents=True, exist_ok=True)
    wait_for_step(tmp_path / "killed" / CELL, 32_768, process)
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    code, said, errors = finish(start(tmp_path / "killed", cache))
    assert code == 0, errors
    straight, killed = (
        json.loads((tmp_path / x / "results.json").read_text())["results"] for x in ("straight", "killed")
    )
    timed = ("seconds", "steps_per_second")
    assert [{k: v for k, v in r.items() if k not in timed} for r in straight] == [
        {k: v for k, v in r.items() if k not in timed} for r in killed
    ]
    assert metrics(tmp_path / "straight" / CELL) == metrics(tmp_path / "killed" / CELL)
    (gru,) = killed
    lengths = [str(10 * factor) for factor in (1, 2, 3, 5, 10, 20, 30, 100)]
    assert list(gru["horizons"]) == lengths
    assert all(set(gru["horizons"][x]["returns"]) == {"0", "1"} for x in lengths)
    assert all(-1 <= value <= 1 for x in lengths for value in gru["horizons"][x]["returns"].values())
    table = (tmp_path / "killed" / "table.md").read_text()
    assert "Trained in MemoryChain length=10, tested at other lengths" in table

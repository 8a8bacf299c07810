"""A run that is killed at any moment and resumed ends exactly like one that nothing disturbed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

from memorax.experiment.loggers import read_rows
from memorax.experiment.run import checkpoint

OPTIONS = [
    "ppo",
    *("--env", "memory::RepeatPreviousEasy"),
    *("--features", "7"),
    *("--num-envs", "4"),
    *("--num-steps", "16"),
    *("--num-minibatches", "2"),
    *("--update-epochs", "1"),
    *("--seeds", "2"),
    *("--steps", "256_000"),
    *("--log-every", "6_400"),
    *("--checkpoint-every", "12_800"),
]
REPLAY = [
    *("--features", "7"),
    *("--num-envs", "4"),
    *("--train-frequency", "8"),
    *("--batch-size", "4"),
    *("--sequence-length", "6"),
    *("--burn-in-length", "1"),
    *("--buffer-size", "40_000"),
    *("--warmup", "2_000"),
    *("--seeds", "2"),
    *("--steps", "128_000"),
    *("--log-every", "3_200"),
    *("--checkpoint-every", "6_400"),
]
TASKS = {"dqn": "memory::MemoryChain", "r2d2": "memory::MemoryChain", "sac": "memory::PositionOnlyPendulumEasy"}
PATIENCE = 900.0
"""Seconds to wait for a process on a machine that is busy with something else."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where the processes share what they compile."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def straight(tmp_path_factory, cache):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    assert finish(start(folder, cache))[0] == 0
    return folder


def start(folder, cache, *, options=OPTIONS, resume=False):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    options = ["--resume"] if resume else options
    command = [sys.executable, "-W", "error", "-m", "memorax", "train", *options, "--out", str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def wait_for_step(folder, step, process):
    """Wait until the metrics of a step are there."""
    path = folder / "metrics.jsonl"
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        rows = read_rows(path) if path.exists() else []
        if rows and rows[-1]["step"] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"the run ended or hung before step {step}: {finish(process)}")


def kill(process):
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL, "it was over before it was killed"


def metrics(folder):
    rows = read_rows(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


def arrays(folder):
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(checkpoint.newest(folder / "checkpoints"))


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def assert_same(a, b):
    assert metrics(a) == metrics(b)
    ours, theirs = arrays(a), arrays(b)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name, strict=True)


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_killed_stopped_and_resumed_equals_undisturbed(straight, cache, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, cache)
    wait_for_step(folder, 32_000, process)
    time.sleep(random.uniform(0.0, 0.3))
    kill(process)
    assert checkpoint.newest(folder / "checkpoints") is not None

    process = start(folder, cache, resume=True)
    wait_for_step(folder, 128_000, process)
    process.send_signal(signal.SIGTERM)
    code, out, err = finish(process)
    assert (code, err) == (128 + signal.SIGTERM, "")
    last = metrics(folder)[-1]["step"]
    assert out.splitlines()[-1] == (
        f"stopped and saved at step {last:,}; resume with: memorax train --resume --out {folder}"
    )
    assert int(checkpoint.newest(folder / "checkpoints").name) == last

    code, out, err = finish(start(folder, cache, resume=True))
    assert (code, err) == (0, "")
    assert f"resuming from step {last:,}" in out
    assert_same(straight, folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
@pytest.mark.parametrize("attempt", range(8))
def test_killed_at_a_random_moment(straight, cache, tmp_path, attempt):
    """From before the folder is there until after the summary is written."""
    folder, begin = tmp_path / "run", time.monotonic()
    assert finish(start(tmp_path / "timed", cache))[0] == 0
    duration = time.monotonic() - begin
    for _ in range(3):
        process = start(folder, cache, resume=(folder / "config.json").exists())
        time.sleep(random.uniform(0.0, duration))
        process.kill()
        finish(process)
    assert finish(start(folder, cache, resume=(folder / "config.json").exists()))[0] == 0
    assert_same(straight, folder)
    shutil.rmtree(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
@pytest.mark.parametrize("algorithm", TASKS)
def test_a_replay_survives_a_kill(algorithm, cache, tmp_path):
    """Killed once while the replay still fills, and once when it has begun to forget."""
    options = [algorithm, "--env", TASKS[algorithm], *REPLAY]
    straight, folder = tmp_path / "straight", tmp_path / "run"
    assert finish(start(straight, cache, options=options))[0] == 0
    process = start(folder, cache, options=options)
    wait_for_step(folder, 6_400, process)
    kill(process)
    process = start(folder, cache, resume=True)
    wait_for_step(folder, 64_000, process)
    time.sleep(random.uniform(0.0, 0.1))
    kill(process)
    code, out, err = finish(start(folder, cache, resume=True))
    assert (code, err) == (0, "")
    assert "resuming from step" in out
    assert_same(straight, folder)
    assert arrays(straight)["buffer/experience/reward"].shape == (2, 4, 10_000)

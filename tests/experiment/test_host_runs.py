"""Runs in environments that run in Python."""

import contextlib
import dataclasses
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from memorax.algorithms import PPOConfig
from memorax.environments import HostEnvironmentError
from memorax.experiment import RunConfig, evaluate, load, train
from memorax.experiment.loggers import read_rows
from memorax.experiment.run import checkpoint
from memorax.experiment.run.session import Session

TOYS = "tests.environments.host.toys"
UPDATE = 2 * 8


def config(env: str = f"{TOYS}:Recall", steps: int = 6 * UPDATE, **options: Any) -> RunConfig:
    small = PPOConfig(num_envs=2, num_steps=8, num_minibatches=1, update_epochs=1)
    return RunConfig(
        algorithm="ppo",
        env=env,
        env_options=options,
        steps=steps,
        seeds=2,
        features=8,
        log_every=2 * UPDATE,
        checkpoint_every=2 * UPDATE,
        hyperparameters=small,
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run that nobody changes."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    train(config(length=3), folder)
    return folder


def test_a_run_is_trained_resumed_evaluated_and_loaded(plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "run")
    rows = read_rows(folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [2 * UPDATE] * 2 + [4 * UPDATE] * 2 + [6 * UPDATE] * 2
    assert all(row["episode/length"] == 3.0 for row in rows)
    outcome = train(config(length=3, steps=8 * UPDATE), folder, resume=True)
    assert outcome.step == 8 * UPDATE
    assert len(read_rows(folder / "metrics.jsonl")) == 8
    result = evaluate(folder, episodes=5)
    assert result["episodes"] == [5, 5]
    assert result["length"]["per_seed"] == {"0": 3.0, "1": 3.0}
    policy = load(folder)
    action, memory = policy.predict(np.zeros((4, 2), np.float32))
    assert action.shape == (4,)
    policy.predict(np.zeros((4, 2), np.float32), memory, reward=0.0)
    assert policy.env.name == "Recall"


def test_a_run_is_evaluated_while_it_trains(plain, tmp_path):
    folder = tmp_path / "run"
    evaluated = {"eval_every": 2 * UPDATE, "eval_episodes": 3, "eval_env_options": {"length": 2}}
    train(dataclasses.replace(config(length=3), **evaluated), folder)
    rows = read_rows(folder / "metrics.jsonl")
    assert [row["eval/length"] for row in rows] == [2.0] * 6
    assert [row["eval/episodes"] for row in rows] == [3] * 6
    assert [row["eval/sampled_episodes"] for row in rows] == [3] * 6
    # Training is what it is without evaluation.
    for row, other in zip(rows, read_rows(plain / "metrics.jsonl"), strict=True):
        assert {k: v for k, v in row.items() if "eval/" not in k and "time/" not in k}.items() <= other.items()


def test_what_was_learned_is_restored(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    states: list[Any] = []
    close = Session.close
    monkeypatch.setattr(Session, "close", lambda self: (states.append(jax.device_get(self.state)), close(self))[1])
    train(config(), folder)
    train(config(), folder, resume=True)
    before, after = states
    jax.tree.map(np.testing.assert_array_equal, before.learner, after.learner)


def test_a_failing_environment_ends_the_run_with_a_checkpoint(tmp_path):
    folder = tmp_path / "run"
    broken = config(f"{TOYS}:Breaking", after=3 * 8 + 1)
    wanted = (
        r"environment Breaking failed in step 25 \(RuntimeError: the robot fell over\); saved at step 48, resume with"
    )
    with pytest.raises(HostEnvironmentError, match=wanted):
        train(broken, folder)
    assert [row["step"] for row in read_rows(folder / "metrics.jsonl")] == [2 * UPDATE] * 2 + [3 * UPDATE] * 2
    assert int(checkpoint.newest(folder / "checkpoints").name) == 3 * UPDATE
    assert train(broken, folder, resume=True).step == 6 * UPDATE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*ERROR")  # Gymnasium shows the traceback of the process
@pytest.mark.parametrize("options", [{"after": 1000}, {"after": 25}, {"after": 25, "kill": True}], ids=str)
def test_no_process_is_left_behind_by_success_or_error(tmp_path, options):
    """Nor is what was learned lost with a process."""
    run, fails = config(f"{TOYS}:breaking_apart", **options), options["after"] == 25
    wanted = "environment Robot failed in step 25 .*saved at step 48"
    with pytest.raises(HostEnvironmentError, match=wanted) if fails else contextlib.nullcontext() as error:
        train(run, tmp_path / "run")
    assert ("exit code -9" in str(error and error.value)) == options.get("kill", False)
    assert int(checkpoint.newest(tmp_path / "run" / "checkpoints").name) == (3 if fails else 6) * UPDATE
    assert multiprocessing.active_children() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_process_is_left_behind_by_a_signal(tmp_path, number):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "memorax", "train", "ppo", "--env", "gymnasium::CartPole-v1", "--env-options"]
    command += ["processes=true", "--steps", "100_000_000", "--num-envs", "4", "--num-steps", "8", "--seeds", "1"]
    command += ["--features", "8", "--log-every", "32", "--out", str(folder)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        until = time.monotonic() + 200
        while not read_rows_or_none(folder) and time.monotonic() < until and process.poll() is None:
            time.sleep(0.2)
        assert len(members(process.pid)) > 4
        # From the keyboard SIGINT reaches all processes, SIGTERM is sent to one.
        (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output.decode()
    assert b"stopped and saved at step" in output
    assert checkpoint.newest(folder / "checkpoints") is not None
    until = time.monotonic() + 20  # Python's own helper of its processes notices a moment later that it is alone
    while members(process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not members(process.pid)


def read_rows_or_none(folder: Path) -> list[Any]:
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def members(session: int) -> list[int]:
    """Processes of a session that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(own) == session and state != "Z":
            found.append(int(path.parent.name))
    return found

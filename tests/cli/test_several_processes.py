"""Two processes with two devices each, connected over loopback, train what one process with four devices trains."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from memorax.experiment.loggers import read_rows
from memorax.experiment.run import checkpoint
from memorax.experiment.run.hosts import connect

pytestmark = pytest.mark.slow

OPTIONS = [
    "ppo",
    *("--features", "7"),
    *("--num-envs", "8"),
    *("--num-steps", "16"),
    *("--num-minibatches", "2"),
    *("--update-epochs", "1"),
    *("--seeds", "2"),
    *("--log-every", "1280"),
    *("--checkpoint-every", "2560"),
    *("--eval-every", "2560"),
    *("--eval-episodes", "4"),
]
PATIENCE = 240.0
"""Seconds to wait for a process on a machine that is busy with something else."""


def start(folder, devices, *options):
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    command = [sys.executable, "-m", "memorax", "train", *OPTIONS, "--out", str(folder), *options]
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def pair(folder, *options):
    """Start two processes; the first one leads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ("--coordinator", f"127.0.0.1:{port}", "--num-processes", "2")
    return [start(folder, 2, *where, "--process-id", str(i), *options) for i in range(2)]


def finish(processes, patience=PATIENCE):
    """Wait for all; their exit codes and what they said."""
    try:
        said = [process.communicate(timeout=patience) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], [out for out, _ in said], [error for _, error in said]


def wait_for_rows(folder, processes, steps):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if any(process.poll() is not None for process in processes):
            raise AssertionError(finish(processes))
        path = folder / "metrics.jsonl"
        if path.exists() and any(row["step"] >= steps for row in read_rows(path)):
            return
        time.sleep(0.1)
    raise AssertionError("nothing was trained in time")


def metrics(folder):
    rows = read_rows(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


def assert_close(found, wanted):
    assert [row.keys() for row in found] == [row.keys() for row in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        for name, value in mine.items():
            np.testing.assert_allclose(value, theirs[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run of one process with four devices."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    codes, _, errors = finish([start(folder, 4, "--steps", "7680", "--devices", "4")])
    assert codes == [0], errors
    return folder


def test_two_processes_train_what_one_does_and_it_resumes_in_one(alone, tmp_path):
    codes, said, errors = finish(pair(tmp_path / "run", "--steps", "5120"))
    assert codes == [0, 0], errors
    assert "mean return" in said[0]
    assert not [line for line in said[1].splitlines() if not line.startswith("[Gloo]")]
    assert_close(metrics(tmp_path / "run"), metrics(alone)[:8])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["step"] == 5120
    codes, _, errors = finish([start(tmp_path / "run", 4, "--steps", "7680", "--devices", "4", "--resume")])
    assert codes == [0], errors
    assert_close(metrics(tmp_path / "run"), metrics(alone))


def test_a_signal_to_one_stops_all_and_they_resume(alone, tmp_path):
    processes = pair(tmp_path / "run", "--steps", "768_000")
    wait_for_rows(tmp_path / "run", processes, 1280)
    processes[1].send_signal(signal.SIGTERM)
    codes, said, errors = finish(processes)
    assert codes == [128 + signal.SIGTERM] * 2, errors
    assert "stopped and saved at step" in said[0]
    step = int(checkpoint.newest(tmp_path / "run" / "checkpoints").name)
    assert metrics(tmp_path / "run")[-1]["step"] == step
    more = step + 1280
    codes, _, errors = finish(pair(tmp_path / "run", "--resume", "--steps", str(more)))
    assert codes == [0, 0], errors
    same = [row for row in metrics(tmp_path / "run") if row["step"] <= 7680]
    assert_close(same, [row for row in metrics(alone) if row["step"] <= more])


@pytest.mark.parametrize("lost", [0, 1])
def test_when_one_is_lost_the_other_ends_and_they_resume(lost, alone, tmp_path):
    processes = pair(tmp_path / "run", "--steps", "768_000")
    wait_for_rows(tmp_path / "run", processes, 3840)
    processes[lost].kill()
    began = time.monotonic()
    code = processes[1 - lost].wait(60)
    assert code not in {0, None}
    assert time.monotonic() - began < 60
    _, _, errors = finish(processes)
    assert errors[1 - lost]
    step = int(checkpoint.newest(tmp_path / "run" / "checkpoints").name)
    codes, _, errors = finish(pair(tmp_path / "run", "--resume", "--steps", str(step + 1280)))
    assert codes == [0, 0], errors
    same = [row for row in metrics(tmp_path / "run") if row["step"] <= 7680]
    assert_close(same, [row for row in metrics(alone) if row["step"] <= step + 1280])


def test_a_request_that_is_refused_ends_all(tmp_path):
    codes, _, errors = finish(pair(tmp_path / "run", "--steps", "5120", "--num-envs", "7"))
    assert codes[0] == 2
    assert codes[1] != 0
    assert "must divide" in errors[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("here:1", None, 0), "`coordinator`, `process_id` and `num_processes` must be given together, got none of"),
        (("here:1", 2, 2), "`process_id` must be at most 1, got 2"),
        (("here", 2, 1), "`coordinator` must be HOST:PORT, got here"),
        ((None, None, None), "`distributed` must be started by SLURM, Open MPI or in Kubernetes"),
    ],
)
def test_a_connection_that_cannot_be_made_is_refused(arguments, error):
    with pytest.raises(ValueError, match=error):
        connect(*arguments)

"""Sweeps in processes of their own, for tests that kill them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from memorax.experiment.loggers import read_rows

OPTIONS = [
    *("--env", "memory::RepeatPreviousEasy"),
    *("--model", "mlp"),
    *("--features", "7"),
    *("--num-envs", "4"),
    *("--num-steps", "16"),
    *("--num-minibatches", "2"),
    *("--update-epochs", "1"),
    *("--seeds", "1"),
    *("--log-every", "640"),
    *("--checkpoint-every", "6_400"),
    *("--space", "learning_rate=log_uniform:1e-4,1e-2", "gamma=uniform:0.9,0.999"),
    *("--fresh-seeds", "2"),
]
"""A small run; how many steps it has is up to the test."""
PATIENCE = 600.0
"""Seconds to wait for a process on a machine that is busy with something else."""


def start(folder, *options, resume=False):
    """Start a sweep."""
    command = [sys.executable, "-m", "memorax", "sweep", *([] if resume else OPTIONS), *options, "--out", str(folder)]
    command += ["--resume"] if resume else []
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    """Wait for its end; gives exit code and output."""
    try:
        out, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        raise AssertionError(f"it was not over after {PATIENCE} seconds: {out}") from None
    return process.returncode, out


def sweep(folder, *options, resume=False):
    """Run a sweep to its end."""
    code, out = finish(start(folder, *options, resume=resume))
    assert code == 0, out
    return out


def wait_for_metrics(folder, process, step=1):
    """Wait until a trial has metrics of a step, and give its folder."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        for path in sorted(Path(folder).glob("trials/*/metrics.jsonl")):
            rows = read_rows(path)
            if rows and rows[-1]["step"] >= step:
                return path.parent
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"the sweep ended or hung before step {step}: {process.communicate()}")


def workers(driver):
    """The processes that train for a sweep, by their numbers."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == driver and b"memorax.experiment.sweep.worker" in words:
            found.append(int(place.name))
    return found


def kill(process):
    """Kill a sweep's own process, and see that it was not over."""
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL, "it was over before it was killed"


def metrics(folder):
    """The metrics of a run without its times."""
    rows = read_rows(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]

"""Sweeps on a Ray cluster on this machine, which they start and stop."""

import os
import signal
import time
from pathlib import Path

import pytest
from tests.experiment.sweep.processes import finish, kill, metrics, start, sweep, wait_for_metrics

from memorax.experiment import load_config
from memorax.experiment.sweep import read_trials

pytest.importorskip("ray.tune", reason="Ray Tune is not installed; it comes with the extra `ray`")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

OPTIONS = ["--engine", "ray", "--workers", "2", "--best", "1"]


def children(process):
    """All processes that descend from one, with their command lines."""
    parents, lines = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, IndexError):
            continue
    found, new = set(), {process}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return {child: lines[child] for child in found}


def wait_for_end(processes):
    """Wait until processes are gone; Ray's agents take minutes to notice that nobody needs them any more."""
    needed = {number: line for number, line in processes.items() if "Agent" not in line}
    end = time.monotonic() + 120
    while time.monotonic() < end and any(Path(f"/proc/{number}").exists() for number in needed):
        time.sleep(0.2)
    assert [line for number, line in needed.items() if Path(f"/proc/{number}").exists()] == []


def test_batches_are_tasks_and_one_that_dies_is_tried_again(tmp_path):
    folder = tmp_path / "sweep"
    process = start(folder, *OPTIONS, "--trials", "4", "--steps", "64_000")
    wait_for_metrics(folder, process, 6_400)
    started = children(process.pid)
    (victim, *_) = [number for number, line in started.items() if "work_on_ray" in line]
    os.kill(victim, signal.SIGKILL)
    code, out = finish(process)
    assert code == 0, out
    assert "its Ray task failed" in out
    assert [trial.state for trial in read_trials(folder)] == ["complete"] * 4
    assert [trial.state for trial in read_trials(folder, "fresh")] == ["complete"]
    wait_for_end(started)  # the cluster was for this sweep alone


def test_a_sweep_whose_process_is_killed_takes_its_cluster_along_and_resumes(tmp_path):
    folder = tmp_path / "sweep"
    process = start(folder, *OPTIONS, "--trials", "4", "--steps", "64_000")
    wait_for_metrics(folder, process, 6_400)
    started = children(process.pid)
    kill(process)
    wait_for_end(started)
    sweep(folder, resume=True)
    assert [trial.state for trial in read_trials(folder)] == ["complete"] * 4


def test_asha_stops_trials_and_a_killed_sweep_goes_on(tmp_path):
    folder = tmp_path / "sweep"
    options = [*OPTIONS, "--scheduler", "asha", "--trials", "6", "--steps", "64_000"]
    process = start(folder, *options)
    wait_for_metrics(folder, process, 6_400)
    started = children(process.pid)
    kill(process)
    wait_for_end(started)
    out = sweep(folder, resume=True)
    trials = read_trials(folder)
    assert len(trials) == 6
    assert {trial.state for trial in trials} == {"complete", "pruned"}, out
    for trial in trials:
        assert (trial.step < 64_000) == (trial.state == "pruned")


def test_a_population_takes_over_what_is_better(tmp_path):
    folder = tmp_path / "sweep"
    options = [
        "--scheduler",
        "pbt",
        "--trials",
        "4",
        "--steps",
        "64_000",
        "--checkpoint-every",
        "64_000",
        "--log-every",
        "3_200",
    ]
    sweep(folder, *OPTIONS, "--workers", "4", *options)
    trials = read_trials(folder)
    assert [trial.state for trial in trials] == ["complete"] * 4
    changed = [trial for trial in trials if load_config(folder / trial.name).history]
    assert changed, "nobody took over anything in ten rounds"
    for trial in trials:
        config = load_config(folder / trial.name)
        assert (config.learning_rate, config.hyperparameters.gamma) == tuple(trial.parameters.values())
        assert 1e-4 <= config.learning_rate <= 1e-2
        assert 0.9 <= config.hyperparameters.gamma <= 0.999
        steps = [row["step"] for row in metrics(folder / trial.name)]
        assert steps == list(range(3_200, 64_001, 3_200)), "the metrics have gaps or repetitions"
    assert [path.name for path in (folder / "trials").glob("*-before-*")], "what was given up is gone"

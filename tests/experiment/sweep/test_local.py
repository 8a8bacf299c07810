"""Sweeps in processes on this machine, killed at the worst moments."""

import os
import signal

import pytest
from tests.experiment.sweep.processes import finish, kill, metrics, start, sweep, wait_for_metrics, workers

from memorax.cli import main
from memorax.experiment import load_config, load_results
from memorax.experiment.sweep import read_trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SHORT = ["--steps", "6_400", "--trials", "3", "--best", "1"]
LONG = ["--steps", "64_000", "--trials", "3", "--best", "1"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A sweep that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight") / "sweep"
    return folder, sweep(folder, *LONG)


def assert_same(a, b):
    """Both sweeps have the same trials, and their runs the same metrics."""
    for kind in ("trials", "fresh"):
        assert read_trials(a, kind) == read_trials(b, kind)
        for trial in read_trials(a, kind):
            assert metrics(a / trial.name) == metrics(b / trial.name), trial.name


def test_every_trial_is_an_ordinary_run(straight, tmp_path, monkeypatch):
    folder, out = straight
    trials, (fresh,) = read_trials(folder), read_trials(folder, "fresh")
    assert [trial.state for trial in trials] == ["complete"] * 3
    assert [load_config(folder / trial.name).learning_rate for trial in trials] == [
        trial.parameters["learning_rate"] for trial in trials
    ]
    assert load_config(folder / fresh.name).seed_numbers() == [1, 2]
    results = load_results([folder / trial.name for trial in trials])
    assert [result.scores.mean() for result in results] == [pytest.approx(trial.values[0]) for trial in trials]
    assert main(["evaluate", str(folder / fresh.name), "--episodes", "2"]) == 0
    assert "3 trials: 3 complete" in out


def test_a_sweep_whose_process_is_killed_resumes_where_it_was(straight, tmp_path):
    folder = tmp_path / "sweep"
    process = start(folder, *LONG)
    wait_for_metrics(folder, process, 6_400)
    (worker,) = workers(process.pid)
    kill(process)
    out = sweep(folder, resume=True)  # at once, while the worker may still be saving
    assert "3 trials: 3 complete" in out
    assert not os.path.exists(f"/proc/{worker}") or worker not in workers(1)
    assert_same(straight[0], folder)


def test_a_worker_that_is_killed_is_replaced(straight, tmp_path):
    folder = tmp_path / "sweep"
    process = start(folder, *LONG)
    wait_for_metrics(folder, process, 6_400)
    (worker,) = workers(process.pid)
    os.kill(worker, signal.SIGKILL)
    code, out = finish(process)
    assert code == 0, out
    assert "its process was killed by SIGKILL" in out
    assert_same(straight[0], folder)


def test_a_sweep_that_is_stopped_saves_and_goes_on(straight, tmp_path):
    folder = tmp_path / "sweep"
    process = start(folder, *LONG)
    wait_for_metrics(folder, process, 6_400)
    process.terminate()
    code, out = finish(process)
    assert code == 128 + signal.SIGTERM
    assert f"resume with: memorax sweep --resume --out {folder}" in out
    assert {trial.state for trial in read_trials(folder)} == {"running"}
    assert workers(process.pid) == []
    sweep(folder, resume=True)
    assert_same(straight[0], folder)


def test_a_trial_that_fails_ends_nothing_and_a_sweep_can_be_extended(tmp_path):
    folder = tmp_path / "sweep"
    # Three minibatches do not divide four environments for a network with memory.
    space = ["--model", "gru", "--space", "num_minibatches=choice:2,3"]
    sweep(folder, *SHORT, *space)
    states = {trial.parameters["num_minibatches"]: trial.state for trial in read_trials(folder)}
    assert states == {2: "complete", 3: "failed"}
    failed = next(trial for trial in read_trials(folder) if trial.state == "failed")
    assert "must divide" in failed.error
    first = read_trials(folder)
    out = sweep(folder, "--trials", "5", resume=True)
    assert read_trials(folder)[:3] == first
    assert "5 trials" in out

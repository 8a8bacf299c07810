"""Sweeps by submitit, whose jobs run on this machine in place of a SLURM cluster."""

import pytest
from tests.experiment.sweep.processes import kill, start, sweep, wait_for_metrics
from tests.experiment.sweep.sweeps import begin, small_sweep

from memorax.experiment.sweep import read_trials
from memorax.experiment.sweep.engines.slurm_jobs import SlurmJobs, Work

pytest.importorskip("submitit", reason="submitit is not installed; it comes with the extra `slurm`")

OPTIONS = ["--engine", "slurm", "--slurm", "cluster=local", "timeout_min=10", "--workers", "2", "--best", "1"]


def test_without_slurm_it_says_so(tmp_path):
    with pytest.raises(ValueError, match="`slurm` must be parameters that submitit takes on this machine"):
        SlurmJobs(tmp_path, small_sweep(engine="slurm"))


def test_parameters_that_submitit_does_not_know_are_refused(tmp_path):
    config = small_sweep(engine="slurm", slurm={"cluster": "local", "colour": "red"})
    with pytest.raises(ValueError, match="colour"):
        SlurmJobs(tmp_path, config)


def test_a_job_that_is_requeued_does_the_same_again(tmp_path):
    work = Work({"folder": str(tmp_path), "names": ["trials/0000"], "jax": {}}, str(tmp_path))
    assert work.checkpoint().function is work


def test_jobs_that_were_submitted_are_remembered(tmp_path, monkeypatch):
    config = small_sweep(engine="slurm", slurm={"cluster": "local", "timeout_min": 1})
    begin(tmp_path, config).add_random()
    monkeypatch.setattr(SlurmJobs, "_submit", lambda self, names: f"a new job for {names}")
    jobs = SlurmJobs(tmp_path, config)
    jobs._jobs = {"17": ["trials/0000", "trials/0001"]}
    monkeypatch.setattr(jobs._class, "done", lambda self: False)
    assert jobs.start(["trials/0001"])._job.job_id == "17"
    assert jobs.start(["trials/0002"])._job == "a new job for ['trials/0002']"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sweep_of_jobs_that_is_killed_goes_on(tmp_path):
    folder = tmp_path / "sweep"
    process = start(folder, *OPTIONS, "--trials", "4", "--steps", "64_000")
    wait_for_metrics(folder, process, 6_400)
    kill(process)
    sweep(folder, resume=True)
    assert [trial.state for trial in read_trials(folder)] == ["complete"] * 4
    assert [trial.state for trial in read_trials(folder, "fresh")] == ["complete"]

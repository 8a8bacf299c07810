"""The options of `memorax sweep`; sweeps themselves are tested in `tests/experiment/sweep`."""

import dataclasses

import pytest
from tests.cli.test_cli import run
from tests.experiment.sweep.sweeps import pretend, small_sweep

from memorax.cli.sweep import sweep_options
from memorax.experiment.sweep import Choice, LogUniform, Uniform, run_sweep, training
from memorax.experiment.sweep.config import save_sweep_config
from memorax.experiment.sweep.engines import processes

FILE = """
algorithm: dqn
env: memory::MemoryChain
env_options: {length: 7}
steps: 50_000
seeds: 2
share_trunk: false
space:
  learning_rate: {log_uniform: [1e-4, 1e-2]}
  double: {choice: [true, false]}
trials: 12
metric: episode/length
direction: minimize
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(FILE)
    return tmp_path


def test_a_file_has_the_options(here):
    config, folder, resume = sweep_options(["sweep.yaml"])
    assert (folder, resume) == (None, False)
    assert config.space == {"learning_rate": LogUniform(1e-4, 1e-2), "double": Choice((True, False))}
    assert (config.trials, config.metric, config.direction) == (12, ("episode/length",), ("minimize",))
    run = config.run
    assert (run.algorithm, run.env, run.env_options) == ("dqn", "memory::MemoryChain", {"length": 7})
    assert (run.steps, run.seeds, run.share_trunk) == (50_000, 2, False)


def test_options_come_before_those_of_the_file(here):
    words = ["--trials", "3", "--space", "gamma=uniform:0.9,0.99", "--env-options", "length=9", "--share-trunk"]
    config, _, _ = sweep_options(["sweep.yaml", *words])
    assert config.space == {"gamma": Uniform(0.9, 0.99)}
    assert (config.trials, config.run.env_options, config.run.share_trunk) == (3, {"length": 9}, True)
    assert config.run.steps == 50_000


def test_a_resumed_sweep_needs_no_options(here):
    stored = small_sweep()
    (here / "sweeps" / "mine").mkdir(parents=True)
    save_sweep_config(here / "sweeps" / "mine", stored)
    config, folder, resume = sweep_options(["--resume", "--trials", "9"])
    assert config == dataclasses.replace(stored, trials=9)
    assert (str(folder), resume) == ("sweeps/mine", True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep"], "`space` must have at least one field"),
        (["sweep", "nothere.yaml"], "nothere.yaml"),
        (["sweep", "odd.yaml"], "must map options to values"),
        (["sweep", "broken.yaml"], "must be a YAML file"),
        (["sweep", "--resume"], "got none in `sweeps`"),
        (["sweep", "--resume", "--out", "empty"], "sweep.json"),
        (["sweep", "ppoo", "--space", "gamma=uniform:0.9,0.99"], "ppo"),
        (["sweep", "--space", "gamma=uniform:0.9,2"], "`gamma` must be in"),
        (["sweep", "--space", "gamma=uniform:0.9,0.99", "--lr", "1"], "--learning-rate"),
        (["sweep", "--space", "gamma=uniform:0.9,0.99", "--scheduler", "asha"], "engine optuna"),
    ],
)
def test_what_is_refused(here, words, message):
    (here / "empty").mkdir()
    (here / "odd.yaml").write_text("- 1\n- 2\n")
    (here / "broken.yaml").write_text("a: [1\n")
    code, _, err = run(*words)
    assert code == 2
    assert message in err


class InThisProcess:
    """A launcher whose processes are calls that are over when they have begun."""

    def __init__(self, folder, config):
        self.folder = folder

    def start(self, names):
        training.train_trials(self.folder, names)
        return self

    def poll(self):
        return ""

    def stop(self):
        pass

    def close(self):
        pass


@pytest.fixture
def pretending(monkeypatch):
    def together(configs, folders, **how):
        return [pretend(c, f, **how) for c, f in zip(configs, folders, strict=True)]

    monkeypatch.setattr(training, "train_many", together)
    monkeypatch.setattr(training, "train", lambda c, f, **how: together([c], [f], **how)[0])
    monkeypatch.setattr(processes, "Processes", InThisProcess)


def test_a_sweep_says_what_came_of_it(here, pretending):
    code, out, err = run(
        "sweep", "ppo", "--space", "learning_rate=log_uniform:1e-4,1e-2", "--trials", "4", "--best", "2"
    )
    assert code == 0, err
    assert "4 trials: 4 complete" in out
    assert out.count(", with fresh seeds ") == 2
    assert "memorax report sweeps/ppo-memory-RepeatPreviousEasy-gru" in out
    code, out, _ = run("sweep", "--resume", "--trials", "6")
    assert "6 trials: 6 complete" in out


def test_the_time_of_a_sweep_can_be_over(here, pretending):
    space = ["--space", "learning_rate=log_uniform:1e-4,1e-2"]
    code, out, _ = run("sweep", "ppo", *space, "--trials", "4", "--budget", "1e-9", "--out", "short")
    assert code == 0
    assert "stopped and saved before all trials were over; resume with: memorax sweep --resume --out short" in out
    code, out, _ = run("sweep", "--resume", "--out", "short", "--budget", "None")
    assert "4 trials: 4 complete" in out


def test_a_sweep_of_which_nothing_came_says_so(here, pretending, monkeypatch):
    def broken(config, folder, **how):
        raise RuntimeError("no such device")

    monkeypatch.setattr(training, "train", broken)
    code, out, _ = run("sweep", "ppo", "--space", "gamma=uniform:0.9,0.99", "--trials", "2", "--batch", "1")
    assert code == 1
    assert "2 trials: 2 failed" in out
    assert "RuntimeError: no such device" in out


def test_a_sweep_from_python(here, pretending):
    outcome = run_sweep(small_sweep(), here / "mine")
    rates = [trial.parameters["learning_rate"] for trial in outcome.best]
    assert rates == sorted(rates, reverse=True)
    assert [trial.number for trial in outcome.fresh] == sorted(trial.number for trial in outcome.best[:2])
    assert outcome.complete
    with pytest.raises(ValueError, match="must be an empty or a new folder"):
        run_sweep(small_sweep(), here / "mine")
    with pytest.raises(ValueError, match="to resume"):
        run_sweep(small_sweep(sampler_seed=4), here / "mine", resume=True)
    with pytest.raises(ValueError, match="`folder` must be given"):
        run_sweep(small_sweep(), resume=True)

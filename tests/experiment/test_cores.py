"""Seeds on the cores of a CPU, each core with an equal share of them."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from memorax.cli.grid import run_grid
from memorax.cli.population import run_population
from memorax.experiment import default_run
from memorax.experiment.benchmark import load_suite, runner
from memorax.experiment.loggers import read_rows
from memorax.experiment.run import cores
from memorax.experiment.sweep import LogUniform
from memorax.experiment.sweep import training as sweep

OPTIONS = [
    *("--env", "memory::RepeatPreviousEasy", "--features", "7", "--num-envs", "4", "--num-steps", "16"),
    *("--num-minibatches", "2", "--update-epochs", "1", "--log-every", "128", "--checkpoint-every", "128"),
]


def memorax(*options, **variables):
    """Run the command as users do, without the devices that tests have."""
    flags = " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag)
    command = [sys.executable, "-m", "memorax", "train", *options]
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | variables
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def metrics(folder):
    rows = read_rows(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


@pytest.mark.parametrize(
    ("seeds", "available", "expected"), [(4, 2, 2), (4, 16, 4), (3, 2, 1), (6, 4, 3), (1, 8, 1), (7, 1, 1)]
)
def test_as_many_cores_as_divide_the_seeds(seeds, available, expected, monkeypatch):
    monkeypatch.setattr(cores.jax, "device_count", lambda: available)
    monkeypatch.setattr(cores, "_chosen", lambda: False)
    assert cores.cores_for(seeds) == expected


def test_a_number_of_devices_that_was_chosen_stays():
    cores.split_cores(2)  # JAX has computed, and the tests have chosen
    assert cores.cores_for(2) == 1


class AskedError(Exception):
    """Ends a call with the devices that it was given."""


def asked(*args, devices=None, **how):
    raise AskedError(devices)


def grid(folder):
    run_grid([("one", default_run("ppo"))], folder, {"resume": False, "changes": None})


def population(folder):
    how = {"resume": False, "changes": None, "exchange_every": None}
    run_population(default_run("ppo"), folder, how | {"population": {"learning_rate": LogUniform(1e-4, 1e-2)}})


def one_trial(folder):
    sweep._outcomes(folder, [(SimpleNamespace(name="a"), default_run("ppo"))], None)


def trials(folder):
    sweep._outcomes(folder, [(SimpleNamespace(name=name), default_run("ppo")) for name in "ab"], None)


def benchmark(folder):
    suite = load_suite("speed")
    runner._train(suite, folder, next(iter(suite.cells())), 1, runner.Deadline(None))


@pytest.mark.parametrize(
    ("call", "module", "name"),
    [
        (grid, "memorax.experiment.run.train_many", "prepare_many"),
        (population, "memorax.experiment.population.train", "prepare_population"),
        (one_trial, "memorax.experiment.sweep.training", "train"),
        (trials, "memorax.experiment.sweep.training", "train_many"),
        (benchmark, "memorax.experiment.benchmark.runner", "train"),
    ],
)
def test_commands_divide_their_seeds_among_cores(call, module, name, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{module}.{name}", asked)
    monkeypatch.setattr(runner.jax, "clear_caches", lambda: None)  # other tests compile, too
    with pytest.raises(AskedError, match=r"^cores$"):
        call(tmp_path)


@pytest.mark.slow
def test_a_run_on_cores_is_resumed_with_the_same_bits(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    memorax("ppo", *OPTIONS, "--seeds", "2", "--steps", "512", "--out", str(whole))
    memorax("ppo", *OPTIONS, "--seeds", "2", "--steps", "256", "--out", str(parts))
    out = memorax("--resume", "--steps", "512", "--out", str(parts))
    assert "no longer promised" not in out
    assert metrics(parts) == metrics(whole)
    before = cores._devices_of(sorted((whole / "checkpoints").iterdir())[-1])
    assert before == min(2, len(os.sched_getaffinity(0)))


@pytest.mark.slow
def test_a_run_on_one_device_stays_there(tmp_path):
    memorax("ppo", *OPTIONS, "--seeds", "2", "--steps", "256", "--devices", "1", "--out", str(tmp_path))
    assert "no longer promised" not in memorax("--resume", "--steps", "512", "--out", str(tmp_path))
    assert cores._devices_of(sorted((tmp_path / "checkpoints").iterdir())[-1]) == 1


@pytest.mark.slow
def test_a_grid_on_cores_is_what_it_is_on_one_and_is_resumed_with_the_same_bits(tmp_path):
    folders = [tmp_path / name for name in ("whole", "parts", "one")]
    whole, parts, one = folders
    grid = ["ppo", *OPTIONS, "--seeds", "1", "--learning-rate", "1e-3,3e-3"]
    memorax(*grid, "--steps", "512", "--out", str(whole))
    memorax(*grid, "--steps", "256", "--out", str(parts))
    memorax("--resume", "--steps", "512", "--out", str(parts))
    memorax(*grid, "--steps", "512", "--out", str(one), **{cores._NUMBER: "1"})
    for folder in sorted(path.name for path in whole.iterdir() if path.is_dir()):
        assert metrics(whole / folder) == metrics(parts / folder)
        for row, other in zip(metrics(whole / folder), metrics(one / folder), strict=True):
            assert row == pytest.approx(other, rel=1e-3, abs=1e-5)

"""Settings of real algorithms, trained side by side: what each is alone, saved, resumed and evaluated as such."""

import dataclasses
import io

import jax
import numpy as np
import pytest
from rich.console import Console

from memorax.experiment import build_agent, default_run, load, load_config, train, train_many
from memorax.experiment.loading import restore_run
from memorax.experiment.loggers import read_rows

QUIET = {"console": Console(file=io.StringIO())}
SMALL = {
    "ppo": {"num_envs": 2, "num_steps": 6, "num_minibatches": 1, "update_epochs": 2},
    "r2d2": {"num_envs": 2, "train_frequency": 12, "batch_size": 3, "sequence_length": 6, "burn_in_length": 1},
}
RUNS = {
    "ppo": {"critic_learning_rate": 1e-3, "schedules": {"entropy_coefficient": "linear"}},
    "r2d2": {"warmup": 24},
}
OTHER = {
    "ppo": {"gamma": 0.9, "gae_lambda": 0.5, "clip_coefficient": 0.1, "entropy_coefficient": 0.3},
    "r2d2": {"gamma": 0.9, "priority_exponent": 0.2, "epsilon_base": 0.9, "tau": 0.5},
}


def runs(algorithm):
    default = default_run(algorithm)
    fields = SMALL[algorithm] | ({"learning_starts": 20, "buffer_size": 200} if algorithm == "r2d2" else {})
    own = dataclasses.replace(default.hyperparameters, **fields)
    every = {"log_every": 12, "checkpoint_every": 24, "eval_every": 36, "eval_episodes": 3}
    first = dataclasses.replace(
        default, features=4, steps=72, seeds=2, hyperparameters=own, **(RUNS[algorithm] | {"warmup": 0} | every)
    )
    first = dataclasses.replace(first, **RUNS[algorithm])
    other = dataclasses.replace(own, **OTHER[algorithm])
    return [first, dataclasses.replace(first, seed=5, learning_rate=1e-2, reward_scale=0.5, hyperparameters=other)]


def close(a, b):
    for x, y in zip(read_rows(a / "metrics.jsonl"), read_rows(b / "metrics.jsonl"), strict=True):
        assert x.keys() == y.keys()
        names = [name for name in x if not name.startswith("time/")]
        np.testing.assert_allclose([x[n] for n in names], [y[n] for n in names], rtol=2e-3, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", list(SMALL))
def test_settings_side_by_side_are_what_they_are_alone(algorithm, tmp_path):
    configs, together = runs(algorithm), [tmp_path / "a", tmp_path / "b"]
    outcomes = train_many(configs, together, **QUIET)
    assert all(outcome.summary["final"] for outcome in outcomes)
    for config, folder in zip(configs, together, strict=True):
        alone = tmp_path / f"{folder.name}-alone"
        train(config, alone, **QUIET)
        close(folder, alone)
        assert load_config(folder) == load_config(alone)
        saved = restore_run(folder)
        for name, value in build_agent(config).hyperparameters().items():
            np.testing.assert_array_equal(saved.state.hyperparameters[name], np.full(2, value, np.float32))
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4),
            saved.state.learner,
            restore_run(alone).state.learner,
        )
        assert load(folder, seed=config.seed + 1).predict is not None

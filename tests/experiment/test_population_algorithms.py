"""Populations of real algorithms: what a copy takes over, and what it keeps."""

import dataclasses
import io

import jax
import numpy as np
import pytest
from rich.console import Console
from tests.cli.test_every_algorithm import SIZES

from memorax.cli.train import train_options
from memorax.experiment import Population, load_config, pbt
from memorax.experiment import train as train_run
from memorax.experiment.loading import restore_run
from memorax.experiment.loggers import read_rows
from memorax.experiment.population import rounds, train
from memorax.experiment.run.checkpoint import flatten
from memorax.experiment.space import LogUniform, Uniform

QUIET = {"console": Console(file=io.StringIO())}
RATE = {"stream_ac": "actor_lr"}
FAST = ("ppo", "dqn")
"""Checked in every run of the tests; the others where there is time."""


def of(algorithm, update_steps):
    """A tiny run with four intervals, and a population in which the learning rate and gamma change after each."""
    options = [algorithm, "--model=mlp", "--features=4", "--seeds=3", *SIZES[algorithm]]
    config, _, _ = train_options([*options, f"--steps={8 * update_steps}"])
    config = dataclasses.replace(config, log_every=2 * update_steps, checkpoint_every=4 * update_steps)
    space = {RATE.get(algorithm, "learning_rate"): LogUniform(1e-4, 1e-2), "gamma": Uniform(0.5, 0.99)}
    return config, Population(space=space, every=2 * update_steps)


def checked(state, learned, whole, values):
    """Copy, and check what came of it."""
    before = flatten(jax.tree.map(np.asarray, dataclasses.replace(state, loop=None)))
    loop = jax.tree.leaves(state.loop)
    after = train_copied(state, learned, whole, values)
    COPIES.append([i for i in range(3) if learned[i] != i])
    for name, leaf in flatten(jax.tree.map(np.asarray, dataclasses.replace(after, loop=None))).items():
        kind = name.partition("/")[0]
        for row, source in enumerate(learned):
            if kind == "hyperparameters":
                expected = np.float32(values[name.partition("/")[2]][row])
            elif "/traces/" in name:
                expected = np.zeros_like(leaf[row]) if row != source else before[name][row]
            elif kind == "learner" or (kind == "scales" and "running_return" not in name):
                expected = before[name][source]
            else:
                expected = before[name][row]
            np.testing.assert_array_equal(leaf[row], expected, err_msg=name)
    for x, y in zip(loop, jax.tree.leaves(after.loop), strict=True):
        assert x is y
    return after


train_copied, COPIES = rounds.copied, []


@pytest.mark.parametrize(
    "algorithm", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in SIZES]
)
def test_a_copy_has_what_was_learned_and_keeps_its_environments(algorithm, tmp_path, monkeypatch):
    config, _ = of(algorithm, 64)
    agent = train.SharedMaker(config).agent
    config, population = of(algorithm, agent.steps_per_update)
    monkeypatch.setattr(rounds, "copied", checked)
    monkeypatch.setattr(rounds, "score", lambda rows: float(rows[0]["seed"]))  # the last one is always the best
    COPIES.clear()
    outcomes = pbt(config, population, tmp_path / "pop", **QUIET)
    assert [outcome.step for outcome in outcomes] == [8 * agent.steps_per_update] * 3
    assert COPIES == [[0]] * 3
    for i in range(3):
        folder = tmp_path / "pop" / f"member-{i:02d}"
        history, saved = load_config(folder).history, restore_run(folder)
        assert [change["copied"] for change in history] == ([2, 2, 2] if i == 0 else [])
        for name in population.space:
            value = saved.agent.hyperparameters()[name]
            np.testing.assert_array_equal(saved.state.hyperparameters[name], np.float32([value]))
            rows = [row[f"hyperparameters/{name}"] for row in read_rows(folder / "metrics.jsonl")]
            assert rows[-1] == pytest.approx(value, rel=1e-6)
            assert (len(set(rows)) > 1) == bool(history)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_good_learning_rate_is_found_from_a_bad_start(tmp_path):
    """All begin with one that learns nothing in this time, in a task in which 2 is the best return without memory."""
    options = ["ppo", "--env=memory::TMaze", "--env-options", "length=2", "--seeds=6", "--features=16", "--num-envs=16"]
    options += ["--num-steps=32", "--num-minibatches=2", "--steps=123_000", "--log-every=2048", "--learning-rate=1e-6"]
    config, _, _ = train_options(options)
    population = Population(space={"learning_rate": LogUniform(1e-6, 1e-1)}, draw=False, every=4096, share=0.4)
    outcomes = pbt(config, population, tmp_path / "pop", **QUIET)
    final = [outcome.summary["final"]["episode/return"]["mean"] for outcome in outcomes]
    rates = [load_config(outcome.folder).learning_rate for outcome in outcomes]
    alone = train_run(dataclasses.replace(config, seeds=2), tmp_path / "alone", **QUIET)
    assert alone.summary["final"]["episode/return"]["mean"] < 2.3
    assert np.median(final) > 3.0, (final, rates)
    assert np.median(rates) > 1e-4, rates

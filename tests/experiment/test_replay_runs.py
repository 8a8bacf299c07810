"""Runs of algorithms with a replay: warmup, checkpoints, resume."""

import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from tests.experiment.fake_agent import ENVS, UPDATE, FakeAgent, config

from memorax.algorithms import ALGORITHMS, DQN, R2D2, DQNConfig, R2D2Config
from memorax.core.spaces import Box
from memorax.experiment import RunConfig, build_agent, default_run, train
from memorax.experiment.build import gradient_steps
from memorax.experiment.loggers import read_rows
from memorax.experiment.modules import value_head
from memorax.experiment.run import checkpoint, programs
from memorax.experiment.run import train as training
from memorax.experiment.run.display import Quiet
from memorax.experiment.run.train import prepare
from memorax.networks import heads

QUIET = {"console": Console(file=io.StringIO())}
SIZES = {"num_envs": 2, "train_frequency": 12, "batch_size": 4, "sequence_length": 5, "buffer_size": 60}
SIZES |= {"learning_starts": 20, "burn_in_length": 1}


def small(algorithm, **fields):
    hyperparameters = ALGORITHMS.get(algorithm)[1](**SIZES)
    env = "memory::PositionOnlyPendulumEasy" if algorithm == "sac" else "memory::RepeatFirstEasy"
    defaults = {"env": env, "model": "gru", "features": 7, "seeds": 2, "warmup": 25}
    defaults |= {"steps": 48, "log_every": 12, "checkpoint_every": 24}
    return RunConfig(algorithm=algorithm, hyperparameters=hyperparameters, **(defaults | fields))


class Warm(FakeAgent):
    """Counts how often it was warmed up."""

    def init(self, key):
        state = super().init(key)
        return dataclasses.replace(state, learner=state.learner | {"warm": jnp.zeros((), jnp.int32)})

    def warmup(self, key, state, num_steps):
        learner = state.learner | {"warm": state.learner["warm"] + 1, "seed": jax.random.key_data(key)[-1]}
        return dataclasses.replace(state, step=state.step + num_steps // ENVS * ENVS, learner=learner)


class Crash(Quiet):
    def __init__(self, step):
        self.step = step

    def show(self, step, rows):
        if step == self.step:
            raise RuntimeError("crash")


def interrupted(config, folder, step):
    begun = prepare(config, folder)
    with pytest.raises(RuntimeError, match="crash"):
        begun.run(Crash(step))
    begun.close()
    train(config, folder, resume=True, **QUIET)


def final_state(folder, agent, seeds=2):
    abstract = jax.eval_shape(jax.vmap(agent.init), jax.vmap(jax.random.key)(np.arange(seeds, dtype=np.uint32)))
    return checkpoint.restore(checkpoint.newest(folder / "checkpoints"), abstract)


def metrics(folder):
    rows = read_rows(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


@pytest.mark.parametrize("step", [2 * UPDATE, 6 * UPDATE])
def test_every_seed_is_warmed_up_once_however_the_run_is_cut(monkeypatch, tmp_path, step):
    agent = Warm()
    monkeypatch.setattr(training, "build_agent", lambda config: agent)
    monkeypatch.setattr(training, "write_summary", lambda *args: None)
    wanted = config(warmup=17)
    interrupted(wanted, tmp_path / "run", step)
    state = final_state(tmp_path / "run", agent)
    np.testing.assert_array_equal(state.learner["warm"], [1, 1])
    np.testing.assert_array_equal(state.step, 15 + 10 * UPDATE)
    # The steps of the log are those of training.
    assert [row["step"] for row in metrics(tmp_path / "run")][::2] == [24 * i for i in range(1, 6)]
    keys = programs.seed_keys(wanted.seed_numbers())[1]
    np.testing.assert_array_equal(state.learner["seed"], jax.random.key_data(keys)[:, -1])


def test_without_a_warmup_nobody_is_asked_for_one(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "build_agent", lambda config: FakeAgent())
    prepare(config(), tmp_path / "run").close()


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["dqn", "r2d2", "sac"])
def test_a_replay_is_saved_and_resumed_bit_for_bit(algorithm, monkeypatch, tmp_path):
    monkeypatch.setattr(training, "write_summary", lambda *args: None)
    agent = build_agent(small(algorithm))
    monkeypatch.setattr(training, "build_agent", lambda config: agent)
    train(small(algorithm), tmp_path / "straight", **QUIET)
    interrupted(small(algorithm), tmp_path / "cut", 36)
    assert metrics(tmp_path / "straight") == metrics(tmp_path / "cut")
    straight, cut = (final_state(tmp_path / name, agent) for name in ("straight", "cut"))
    jax.tree.map(np.testing.assert_array_equal, straight, cut)
    assert np.asarray(straight.buffer.experience.reward).any()
    assert (np.asarray(straight.step) == 24 + 48).all()


@pytest.mark.parametrize(("algorithm", "cls"), [("dqn", DQN), ("r2d2", R2D2)])
def test_the_default_job_can_be_built(algorithm, cls):
    agent = build_agent(dataclasses.replace(default_run(algorithm), features=7))
    assert type(agent) is cls
    assert agent.recurrent
    assert isinstance(agent.networks.network.head, heads.DiscreteQNetwork)


def test_continuous_actions_are_refused():
    words = r"`env` must have Discrete, MultiDiscrete or MultiBinary actions .* got Box.* of some::Task; train it with"
    with pytest.raises(TypeError, match=words):
        value_head(Box(-1.0, 1.0, (2,)), "some::Task")


def test_a_run_too_short_to_learn_anything_is_refused():
    build_agent(small("dqn", steps=12, warmup=8))
    with pytest.raises(ValueError, match="`steps` must be at least 13 for learning to start after a warmup of 7"):
        build_agent(small("dqn", steps=12, warmup=7))


def test_a_warmup_below_zero_is_refused():
    with pytest.raises(ValueError, match="`warmup` must be at least 0, got -1"):
        config(warmup=-1)


@pytest.mark.parametrize("hyperparameters", [DQNConfig(train_frequency=3), R2D2Config(train_frequency=3)])
def test_gradient_steps_are_counted_in_transitions(hyperparameters):
    algorithm = "dqn" if isinstance(hyperparameters, DQNConfig) else "r2d2"
    fields = {"algorithm": algorithm, "env": "memory::MemoryChain", "steps": 1_100}
    # 45 times 3 steps of 8 environments with 8 updates each; from the 42nd on there are 1,000 transitions.
    assert gradient_steps(RunConfig(**fields, hyperparameters=hyperparameters)) == 4 * 8

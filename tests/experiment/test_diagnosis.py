"""What diverges is named by what it came from: the environment, a network, a loss, the optimizer, or the returns."""

import io

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console
from tests import example_agents as agents
from tests.experiment.fake_agent import config
from tests.experiment.test_metrics import LEARNER, episode_logs, reduce

from memorax.acting import faults
from memorax.algorithms import DQN, PPO
from memorax.experiment import DivergenceError, train
from memorax.experiment.run import train as training
from memorax.experiment.run.diagnosis import borne_faults, diagnose
from memorax.networks import FeatureExtractor
from memorax.testing.probe_environments import Clock

AT, ENVS, STEPS = 20, 2, 8
"""The step of an episode from which on something is broken, and so the 40th of both environments."""
BROKEN = {"w": jnp.array([[0.0, jnp.nan]])}


def message(*args, **kwargs):
    found = diagnose(*args, **kwargs)
    return None if found is None else (found.source, found.message)


def test_nothing_is_wrong_with_finite_learners():
    interval = reduce({"losses/a": np.array([1.0, np.nan], np.float32)})
    assert message(interval, LEARNER, (0, 24), [5]) is None


def test_a_metric_that_never_had_a_value_is_not_suspected():
    logs = {"losses/a_never": np.full(2, np.nan, np.float32), "losses/lost": np.full(2, np.nan, np.float32)}
    learner = {"w": jnp.array([jnp.nan])}
    found = message(reduce(logs, learner), learner, (24, 48), [5], frozenset({"losses/lost"}))
    assert found == ("loss", "`losses/lost` of seed 5 became NaN or infinite in update 3 (step 36)")
    logs[faults.LEARNER] = np.array([False, True])
    del logs["losses/lost"]
    source, text = message(reduce(logs, learner), BROKEN, (24, 48), [5])
    assert (source, text[:20]) == ("optimizer", "`w` of seed 5 became")


def test_a_metric_that_broke_with_the_learner_is_suspected_even_if_it_never_had_a_value():
    logs = {"losses/a": np.full(2, np.nan, np.float32), faults.LEARNER: np.array([True, True])}
    found = message(reduce(logs, BROKEN), BROKEN, (0, 24), [5])
    assert found == ("loss", "`losses/a` of seed 5 became NaN or infinite in update 1 (step 12)")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_divergence_names_metric_seed_update_and_step(bad):
    learner = {"w": jnp.array([0.0, bad, 0.0])}
    logs = {
        "losses/late": np.array([1.0, 1.0, 1.0, bad], np.float32),
        "losses/early": np.array([1.0, 1.0, bad, bad], np.float32),
    }
    found = message(reduce(logs, learner), learner, (120, 120 + 4 * 12), [5])
    assert found == ("loss", "`losses/early` of seed 5 became NaN or infinite in update 13 (step 156)")


def test_times_at_which_nothing_was_logged_are_not_suspected():
    logs = {"losses/a": np.array([np.nan, 0.0, 1.0, np.nan], np.float32)}
    interval = reduce(logs, {"w": BROKEN["w"][0]}, present={"losses/a": jnp.array([False, False, True, True])})
    found = message(interval, BROKEN, (0, 48), [5])
    assert found == ("loss", "`losses/a` of seed 5 became NaN or infinite in update 4 (step 48)")


def test_an_infinite_loss_is_enough():
    interval = reduce({"losses/a": np.array([1.0, np.inf], np.float32)})
    assert "`losses/a` of seed 5" in message(interval, LEARNER, (0, 24), [5])[1]


def test_parameters_are_named_where_no_metric_tells():
    learner = {"actor": {"kernel": jnp.array([[1.0, jnp.nan]])}}
    interval = reduce({"losses/a": np.array([1.0, 2.0], np.float32)}, {"kernel": learner["actor"]["kernel"]})
    found = message(interval, learner, (0, 24), [5])
    assert found == ("optimizer", "`actor/kernel` of seed 5 became NaN or infinite between steps 0 and 24")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_return_that_is_not_finite_is_named(bad):
    logs = episode_logs([[True]], [[bad]], [[7]]) | {"losses/a": np.array([1.0, 2.0], np.float32)}
    found = message(reduce(logs), LEARNER, (24, 48), [5])
    assert found == ("return", "`episode/return` of seed 5 became NaN or infinite between steps 24 and 48")


def faulty(number, learner_at=None):
    """An interval of four steps, of which the second has a fault, and of two updates with NaN losses."""
    steps = np.zeros((4, 3), np.int8)
    steps[1, 2] = number
    logs = {faults.STEP: steps, "losses/a": np.full(2, np.nan, np.float32)}
    logs[faults.LEARNER] = np.arange(2) >= (2 if learner_at is None else learner_at)
    return reduce(logs, BROKEN)


def test_what_came_first_is_named():
    assert message(faulty(faults.REWARD), BROKEN, (0, 24), [5])[0] == "environment"
    assert message(faulty(faults.ACTED), BROKEN, (0, 24), [5])[0] == "network"
    assert message(faulty(faults.ACTED), BROKEN, (24, 48), [5])[0] == "network, after learning"
    # In the order of cause: the learner broke after the first update, before the fault of a later one.
    later = faulty(faults.ACTED, learner_at=0)
    first_bad = later.first_bad | {faults.STEP: np.array([3]), "losses/a": np.array([1])}
    later = later.replace(first_bad=first_bad)
    assert message(later, BROKEN, (24, 48), [5], frozenset({"losses/a"}))[0] == "optimizer"


def test_a_fault_that_did_no_harm_before_is_not_suspected():
    harmless = reduce({faults.STEP: np.full((4, 3), faults.SEEN, np.int8)})
    assert message(harmless, LEARNER, (0, 24), [5]) is None
    assert borne_faults(harmless) == {faults.SEEN}
    source, _ = message(faulty(faults.SEEN), BROKEN, (24, 48), [5], frozenset({"losses/a"}), borne_faults(harmless))
    assert source == "loss"


def test_a_fault_of_the_warmup_is_suspected():
    interval = reduce({"losses/a": np.full(2, np.nan, np.float32)}, BROKEN)
    found = message(interval, BROKEN, (0, 24), [5], warmup=np.array([faults.REWARD]))
    assert found == (
        "environment",
        "the environment gave seed 5 a NaN or infinite reward in the random steps before training",
    )
    assert message(interval, BROKEN, (0, 24), [5], warmup=np.array([faults.NO_FAULT]))[0] == "loss"


class Breaks(Clock):
    """An endless environment that gives one reward or observation that is NaN, and is well again."""

    def __init__(self, what=None):
        super().__init__("never")
        self.what = what

    def step_env(self, key, state, action, params):
        observation, state, reward, terminated, info = super().step_env(key, state, action, params)
        bad = state.time == AT
        if self.what == "reward":
            reward = jnp.where(bad, jnp.nan, reward)
        if self.what == "observation":
            observation = jnp.where(bad, jnp.nan, observation)
        return observation, state, reward, terminated, info


class Logarithm(nn.Module):
    """An encoder with a logarithm that becomes infinite."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(5)(jnp.concatenate([x, jnp.log(jnp.maximum(AT - x, 0.0))], axis=-1))


def last_time(observation):
    return jnp.max(observation)


class LossWithLogarithm(PPO):
    def loss(self, params, batch, carry):
        loss, metrics = super().loss(params, batch, carry)
        extra = jnp.log(jnp.maximum(AT - jnp.max(batch.inputs.observation), 0.0))
        return loss + 0 * extra, metrics | {"extra": extra}


def bursting(after):
    """Plain gradient descent whose step is infinite after so many."""

    def update(updates, count, params=None):
        del params
        scale = jnp.where(count >= after, jnp.inf, -1e-3)
        return jax.tree.map(lambda x: scale * jnp.ones_like(x), updates), count + 1

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


SMALL = {"num_envs": ENVS, "num_steps": STEPS, "num_minibatches": 1, "update_epochs": 1}
REPLAY = {"num_envs": ENVS, "train_frequency": 4, "learning_starts": 16, "sequence_length": 3, "buffer_size": 400}


def broken_agent(algorithm, source):
    env = Breaks(source)
    agent = agents.ppo(env, "mlp", **SMALL) if algorithm is PPO else agents.dqn(env, "mlp", **REPLAY)
    if source == "network":
        networks = agent.networks
        network = networks.actor.network if algorithm is PPO else networks.network
        network = network.clone(feature_extractor=FeatureExtractor(observation_extractor=Logarithm()))
        agent = rebuilt(agent, env, network)
    return agent


def rebuilt(agent, env, network):
    optimizer = optax.sgd(1e-3)
    if isinstance(agent, PPO):
        critic = network.clone(head=agent.networks.critic.network.head)
        return type(agent)(agent.config, env, None, network, critic, optimizer, optimizer)
    return type(agent)(agent.config, env, None, network, optimizer)


def explain(monkeypatch, tmp_path, agent, **fields):
    """Train it in one long interval, and return what is said about how it went."""
    monkeypatch.setattr(training, "build_agent", lambda config: agent)
    steps = {"steps": 640, "log_every": 160, "checkpoint_every": 160} | fields
    with pytest.raises(DivergenceError) as error:
        train(config(**steps), tmp_path / "run", console=Console(file=io.StringIO()))
    return str(error.value)


@pytest.mark.parametrize("algorithm", [PPO, pytest.param(DQN, marks=pytest.mark.slow)])
@pytest.mark.parametrize("source", ["reward", "observation"])
def test_the_environment_is_named(monkeypatch, tmp_path, algorithm, source):
    text = explain(monkeypatch, tmp_path, broken_agent(algorithm, source))
    assert text.startswith(f"the environment gave seed 7 a NaN or infinite {source} at step {AT * ENVS}; there is no")
    assert "a lower learning rate does not help" in text
    assert "--learning-rate" not in text


def test_the_warmup_is_watched(monkeypatch, tmp_path):
    text = explain(monkeypatch, tmp_path, broken_agent(DQN, "reward"), warmup=2 * AT * ENVS)
    assert text.startswith("the environment gave seed 7 a NaN or infinite reward in the random steps before training;")


@pytest.mark.parametrize("algorithm", [PPO, pytest.param(DQN, marks=pytest.mark.slow)])
def test_a_network_is_named(monkeypatch, tmp_path, algorithm):
    text = explain(monkeypatch, tmp_path, broken_agent(algorithm, "network"))
    # It sees the bad observation one step after the environment made it.
    at = (AT + 1) * ENVS
    assert text.startswith(
        f"seed 7 chose an action or a value that is NaN or infinite, for a finite observation, at step {at}"
    )
    assert "logarithm" in text


def test_a_loss_is_named(monkeypatch, tmp_path):
    agent = agents.ppo(Breaks(), "mlp", cls=LossWithLogarithm, **SMALL)
    text = explain(monkeypatch, tmp_path, agent)
    assert text.startswith(
        "`losses/extra` of seed 7 became NaN or infinite in update 3 (step 48); there is no checkpoint"
    )
    assert "try a lower `--learning-rate` or `--max-grad-norm`" in text


@pytest.mark.parametrize("algorithm", [PPO, pytest.param(DQN, marks=pytest.mark.slow)])
def test_the_optimizer_is_named(monkeypatch, tmp_path, algorithm):
    agent = broken_agent(algorithm, None)
    network = agent.networks.actor.network if algorithm is PPO else agent.networks.network
    monkeypatch.setattr(optax, "sgd", lambda _: bursting(2))
    text = explain(monkeypatch, tmp_path, rebuilt(agent, Breaks(), network))
    update = {PPO: "update 3 (step 48)", DQN: "update 6 (step 24)"}[algorithm]
    assert f"of seed 7 became NaN or infinite in {update}, whose losses were finite; there is no checkpoint" in text
    assert text.endswith("try a lower `--learning-rate` or `--max-grad-norm` in a new run")


def test_other_options_are_advised_where_these_do_not_exist():
    (found,) = [diagnose(faulty(faults.NO_FAULT), BROKEN, (0, 24), [5])]
    assert "`--actor-lr`" in found.advice("lower `--actor-lr` or `--critic-lr`")

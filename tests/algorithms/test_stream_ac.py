"""StreamAC against its equations in NumPy, against backpropagation through time, and against broken versions of it."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests import example_agents as agents

from memorax.algorithms import ALGORITHMS, StreamAC, StreamACConfig
from memorax.algorithms.stream_ac import StreamACLearner
from memorax.core.spaces import Box
from memorax.networks import RNN, RTRL, FeatureExtractor, Network, RTUCell, SequenceModelWrapper, heads
from memorax.testing.algorithm_properties import PROPERTIES, stays_finite
from memorax.testing.probe_environments import Clock, Masked

KEY = jax.random.key(0)
LONG = {"maps_over_seeds", "keeps_its_types", "is_repeatable"}
"""Properties that compile for longer than ten seconds where the machine is busy."""
SETTINGS = {"gamma": 0.9, "trace_lambda": 0.7, "actor_kappa": 1.5, "critic_kappa": 2.5, "entropy_coefficient": 0.3}
RATES = {"actor_lr": 0.05, "critic_lr": 0.8}


@pytest.fixture(scope="module")
def agent():
    return agents.stream_ac(Clock("terminated"), "simple")


@pytest.mark.parametrize(
    "holds",
    [pytest.param(f, marks=pytest.mark.slow if f.__name__ in LONG else []) for f in PROPERTIES],
    ids=lambda f: f.__name__,
)
def test_property(agent, holds):
    holds(agent)


def test_numbers_stay_finite_however_episodes_end():
    for ends in ("both", "never"):
        stays_finite(lambda env: linear(env, num_envs=2), Clock(ends, min_length=1, max_length=2))


def test_continuous_and_masked_actions():
    box = Clock("truncated", action_space=Box(-2.0, 3.0, (2,)))
    stays_finite(lambda env: agents.stream_ac(env, "mlp", head=heads.SquashedGaussian(action_dim=2)), box)
    stays_finite(lambda env: agents.stream_ac(env, "mlp", shared=True), Masked())


def features(x):
    """What the linear networks below see of the time; written for JAX and NumPy."""
    np_or_jnp = jnp if isinstance(x, jax.Array) else np
    return np_or_jnp.concatenate([np_or_jnp.cos(x), np_or_jnp.sin(2 * x), 0.5 * x], axis=-1)


def linear(env, cls=StreamAC, num_envs=1, **config):
    def network(head):
        return Network(FeatureExtractor(features), SequenceModelWrapper(lambda x: x), head)

    actor = network(heads.Categorical(action_dim=3, kernel_init=jax.nn.initializers.normal(0.5)))
    config = StreamACConfig(**(SETTINGS | RATES | {"num_envs": num_envs} | config))
    return cls(config, env, env.default_params, actor, network(heads.VNetwork()))


def walk(agent, num_steps):
    """Learn step by step; give the states before and after every step."""
    states = [agent.init(KEY)]
    for _ in range(num_steps):
        states.append(agent.train(KEY, states[-1], agent.steps_per_update))
    return states


def numbers(learner):
    """Kernel and bias of both linear networks, and their traces."""
    dense = lambda params, name: [np.asarray(params[name]["params"]["head"]["Dense_0"][x]) for x in ("kernel", "bias")]  # noqa: E731
    params = {name: dense(learner.params, name) for name in ("actor", "critic")}
    return params, {name: [z[0] for z in dense(learner.traces[name], name)] for name in ("actor", "critic")}


def streaming_actor_critic(params, traces, state, following, terminates):
    """One step of the paper's algorithm for linear networks, for one stream."""
    observation, action = np.asarray(state.loop.timestep.observation), int(following.loop.timestep.action[0])
    done = bool(following.loop.timestep.done[0])
    x, y = features(observation)[0], features(observation + 1)[0]  # the clock's next reading, also at the end
    (kernel, bias), (weights, offset) = params["actor"], params["critic"]
    following_value = 0.0 if terminates and done else (y @ weights + offset)[0]
    error = 1.0 + SETTINGS["gamma"] * following_value - (x @ weights + offset)[0]
    probabilities = np.exp(x @ kernel + bias) / np.exp(x @ kernel + bias).sum()
    entropy = -(probabilities * np.log(probabilities)).sum()
    slope = np.eye(3)[action] - probabilities
    slope = slope - SETTINGS["entropy_coefficient"] * np.sign(error) * probabilities * (np.log(probabilities) + entropy)
    slopes = {"actor": [np.outer(x, slope), slope], "critic": [x[:, None], np.ones(1)]}
    new_params, new_traces = {}, {}
    for name in ("actor", "critic"):
        decay = SETTINGS["gamma"] * SETTINGS["trace_lambda"]
        trace = [decay * z + g for z, g in zip(traces[name], slopes[name], strict=True)]
        norm = sum(np.abs(z).sum() for z in trace)
        step = min(RATES[f"{name}_lr"], 1 / (SETTINGS[f"{name}_kappa"] * max(abs(error), 1) * norm))
        new_params[name] = [w + step * error * z for w, z in zip(params[name], trace, strict=True)]
        new_traces[name] = [0 * z if done else z for z in trace]
    return new_params, new_traces


def follows_the_equations(cls, ends, num_steps):
    states = walk(linear(Clock(ends), cls), num_steps)
    expected = numbers(states[0].learner)
    for state, following in pairwise(states):
        expected = streaming_actor_critic(*expected, state, following, ends == "terminated")
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5), numbers(following.learner), expected)
    assert sum(bool(state.loop.timestep.done[0]) for state in states[1:]) > 2  # or the ends of episodes were not seen


@pytest.mark.parametrize("ends", ["terminated", "truncated"])
def test_fifty_steps_follow_the_equations(ends):
    follows_the_equations(StreamAC, ends, 50)


class KeepsTraces(StreamAC):
    def learn(self, key, learner, trajectory, rollout_state, carry):
        never = jnp.zeros_like(trajectory.truncated)
        cut = trajectory.replace(terminated=never, truncated=never)
        traces = super().learn(key, learner, cut, rollout_state, carry).traces
        return super().learn(key, learner, trajectory, rollout_state, carry).replace(traces=traces)


class ClearsTooEarly(StreamAC):
    def learn(self, key, learner, trajectory, rollout_state, carry):
        clear = lambda z: jnp.where(trajectory.done.reshape(-1, *[1] * (z.ndim - 1)), 0.0, z)  # noqa: E731
        cleared = learner.replace(traces=jax.tree.map(clear, learner.traces))
        return super().learn(key, cleared, trajectory, rollout_state, carry)


class LosesEntropyWhereThingsGoBadly(StreamAC):
    def gradients(self, params, inputs, action, carry, error, key):
        return super().gradients(params, inputs, action, carry, jnp.abs(error), key)


class StepsPerTensor(StreamAC):
    def learn(self, key, learner, trajectory, rollout_state, carry):
        new = super().learn(key, learner, trajectory, rollout_state, carry)
        # As if the norm were over a part of the parameters only: longer steps.
        stretch = lambda x, y: x + 1.5 * (y - x)  # noqa: E731
        return new.replace(params=jax.tree.map(stretch, learner.params, new.params))


class TakesTruncatedForTerminated(StreamAC):
    def learn(self, key, learner, trajectory, rollout_state, carry):
        ended = trajectory.replace(terminated=trajectory.done, aux={**trajectory.aux, "bootstrap": jnp.zeros((1, 1))})
        return super().learn(key, learner, ended, rollout_state, carry)


@pytest.mark.parametrize(
    ("mutant", "ends"),
    [
        (KeepsTraces, "terminated"),
        (ClearsTooEarly, "terminated"),
        (LosesEntropyWhereThingsGoBadly, "terminated"),
        (StepsPerTensor, "terminated"),
        (TakesTruncatedForTerminated, "truncated"),
    ],
    ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_broken_versions_do_not_follow_the_equations(mutant, ends):
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        follows_the_equations(mutant, ends, 20)


def test_every_stream_has_traces_of_its_own_and_they_end_with_its_episode():
    states = walk(linear(Clock("terminated"), num_envs=4), 12)
    for state in states[1:]:
        done = np.asarray(state.loop.timestep.done)
        for trace in jax.tree.leaves(state.learner.traces):
            assert (np.asarray(trace)[done] == 0).all()
            assert all(np.abs(row).max() > 0 for row in np.asarray(trace)[~done])
    ends = np.stack([state.loop.timestep.done for state in states[1:]])
    assert (ends.any(axis=1) & ~ends.all(axis=1)).any()  # some streams ended while others went on


def test_parameters_move_by_the_mean_of_the_streams():
    agent = linear(Clock("never"), num_envs=3)
    state = agent.train(KEY, agent.init(KEY), 2 * 3)
    after, trajectory = agent.vector_env.rollout(KEY, state.loop, agent.policy(state.learner, state.step, "explore"), 1)

    @partial(jax.jit, static_argnums=(0, 1))
    def moves(start, stop):
        rows = slice(start, stop)
        learner, part, last, carry = jax.tree.map(
            lambda x: x[rows], (state.learner.traces, trajectory, after, state.loop.carry)
        )
        learned = agent.learn(KEY, StreamACLearner(state.learner.params, learner), part, last, carry)
        return jax.tree.map(jnp.subtract, learned.params, state.learner.params)

    apart = [moves(i, i + 1) for i in range(3)]
    mean = jax.tree.map(lambda *x: sum(x) / 3, *apart)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), moves(0, 3), mean)
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(mean)) > 1e-3


class DifferentiatesTheBatch(StreamAC):
    def learn(self, key, learner, trajectory, rollout_state, carry):
        def value(params):
            return self.networks.unroll(params, trajectory.inputs, carry)[1][1][:, 0]

        rows = jax.jacobian(value)(learner.params)["critic"]
        new = super().learn(key, learner, trajectory, rollout_state, carry)
        return new.replace(traces=new.traces | {"critic": {"critic": rows}})


def operations(num_envs, cls):
    agent = agents.stream_ac(Clock("terminated"), "mlp", num_envs=num_envs, cls=cls)
    update = jax.jit(agent.update).lower(KEY, jax.eval_shape(agent.init, KEY))
    return update.cost_analysis()["flops"]


@pytest.mark.parametrize(("cls", "linear"), [(StreamAC, True), (DifferentiatesTheBatch, False)])
def test_the_cost_is_linear_in_the_number_of_streams(cls, linear):
    few, some, many = (operations(n, cls) for n in (4, 8, 16))
    growth = (many - some) / (some - few)
    assert abs(growth - 2) < 0.05 if linear else growth > 2.3


def recurrent(make_torso):
    def network(head):
        return Network(FeatureExtractor(features, lambda x: x), make_torso(), head)

    env = Clock("terminated", min_length=9, max_length=9)
    config = StreamACConfig(num_envs=2, gamma=1.0, trace_lambda=1.0, actor_lr=0.0, critic_lr=0.0, entropy_coefficient=0)
    actor = network(heads.Categorical(action_dim=3, kernel_init=jax.nn.initializers.normal(0.5)))
    return StreamAC(config, env, env.default_params, actor, network(heads.VNetwork()))


def rtu():
    return RNN(cell=RTUCell(features=5, hidden_dim=4))


def distance_to_backpropagation(agent, bare):
    """How far the traces of an unfinished episode are from gradients of the sum over its steps, in parameters."""
    states = walk(agent, 7)
    inputs = jax.tree.map(lambda *x: jnp.stack(x, axis=1), *[state.loop.timestep for state in states[:-1]])
    actions = jnp.stack([state.loop.timestep.action for state in states[1:]], axis=1)

    def strip(params):  # the parameters of RTRL(model) are those of the model, one level down
        torso = params["params"]["torso"]
        return {"params": params["params"] | {"torso": torso.get("model", torso)}}

    @partial(jax.jit, static_argnames="name")
    @partial(jax.jacobian, argnums=0)
    def gradients(params, name):
        params = {key: strip(value) for key, value in params.items()}
        carry = bare.initialize_carry(KEY, 2)
        _, (distribution, value) = bare.networks.unroll(params, inputs, carry)
        return (value if name == "critic" else distribution.log_prob(actions)).sum(axis=1)

    largest = 0.0
    for name, trace in states[-1].learner.traces.items():
        exact = gradients(states[-1].learner.params, name)[name]
        far = jax.tree.map(lambda z, g: float(jnp.abs(z - g).max()), trace[name], exact)
        largest = max(largest, *jax.tree.leaves(far))
    return largest


@pytest.mark.slow
def test_traces_through_rtrl_are_the_gradients_of_backpropagation_through_the_episode():
    bare = recurrent(rtu)
    assert distance_to_backpropagation(recurrent(lambda: RTRL(model=rtu())), bare) < 1e-4
    assert distance_to_backpropagation(bare, bare) > 1e-1  # one-step gradients are something else


def test_stream_ac_is_registered():
    assert ALGORITHMS.get("stream_ac") == (StreamAC, StreamACConfig)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_envs", 0, "`num_envs` must be at least 1, got 0"),
        ("gamma", 1.5, r"`gamma` must be in \[0, 1\], got 1.5"),
        ("trace_lambda", -0.1, r"`trace_lambda` must be in \[0, 1\], got -0.1"),
        ("actor_lr", -1.0, "`actor_lr` must be at least 0, got -1.0"),
        ("critic_lr", float("nan"), "`critic_lr` must be at least 0, got nan"),
        ("actor_kappa", 0.0, "`actor_kappa` must be above 0, got 0.0"),
        ("critic_kappa", -2.0, "`critic_kappa` must be above 0, got -2.0"),
        ("entropy_coefficient", -0.5, "`entropy_coefficient` must be at least 0, got -0.5"),
    ],
)
def test_bad_configurations_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        StreamACConfig(**{field: value})


def test_the_number_of_streams_is_an_integer():
    with pytest.raises(TypeError, match=r"`num_envs` must be an integer, got 2.0"):
        StreamACConfig(num_envs=2.0)


def test_networks_in_the_wrong_place_are_refused():
    right = linear(Clock()).networks
    with pytest.raises(TypeError, match="`actor` must have a policy head, got VNetwork"):
        StreamAC(StreamACConfig(), Clock(), None, right.critic.network, right.actor.network)
    with pytest.raises(ValueError, match=r"`action_dim`.*3"):
        agents.stream_ac(Clock(), "mlp", head=heads.Categorical(action_dim=4))

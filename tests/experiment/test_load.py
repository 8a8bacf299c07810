"""Policies loaded from runs: what they do is what `evaluate` plays."""

import copy
import dataclasses
import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import memorax
from memorax.algorithms import ALGORITHMS
from memorax.core.spaces import Box
from memorax.core.types import Timestep
from memorax.experiment import PolicyMemory, RunConfig, TrainedPolicy, build_agent, evaluate, load
from memorax.experiment.config_file import save_config
from memorax.experiment.run.checkpoint import CheckpointWriter
from memorax.experiment.run.files import CHECKPOINTS
from memorax.experiment.run.programs import initialize, seed_keys

SEEDS, EPISODES, MOST = [3, 4], 3, 60
SIZES = {"num_envs": 2, "num_steps": 4, "num_minibatches": 1, "train_frequency": 2, "batch_size": 4}
SIZES |= {"sequence_length": 4, "buffer_size": 60, "learning_starts": 20, "burn_in_length": 1}
RUNS = {
    "ppo-gru": {"env": "memory::RepeatPreviousEasy", "features": 12},
    "ppo-mlp": {"seed": 4, "model": "mlp", "env": "memory::RepeatPreviousEasy"},
    "ppo-continuous": {"env": "memory::PositionOnlyPendulumEasy", "normalize_observations": True},
    "dqn-gru": {},
    "r2d2-gru": {},
    "sac-gru": {"env": "memory::PositionOnlyPendulumEasy", "normalize_observations": True},
    "pqn-gru": {},
    "stream_ac-rtu": {"model": "rtu", "env": "memory::RepeatPreviousEasy", "normalize_observations": True},
    "mappo-gru": {"env": "multi_agent::RollCall"},
    "mappo-shared": {"env": "multi_agent::PartnerRecall", "share_parameters": True, "centralized_critic": True},
}
CONTINUOUS = {"ppo-continuous", "sac-gru"}
SLOW = {"ppo-continuous", "dqn-gru", "r2d2-gru", "stream_ac-rtu", "mappo-shared"}
"""What they compile differs little from that of others."""


def small(name, **fields):
    algorithm = name.split("-")[0]
    cls = ALGORITHMS.get(algorithm)[1]
    fields = {**RUNS.get(name, {}), **fields}
    known = {field.name for field in dataclasses.fields(cls) if field.init}
    given = {key: value for key, value in (SIZES | fields).items() if key in known}
    run = {key: value for key, value in fields.items() if key not in known}
    run = {"env": "memory::MemoryChain", "model": "gru", "features": 7, "seeds": 2, "seed": SEEDS[0], "steps": 48} | run
    return RunConfig(algorithm=algorithm, hyperparameters=cls(**given), **run)


def save(config, folder, steps=(24,)):
    """Write a run without training it: with parameters at random, large enough for actions to vary."""
    folder.mkdir()
    save_config(folder, config)
    agent = build_agent(config)
    init_keys, keys, _ = seed_keys(config.seed_numbers())
    state, _ = initialize(agent, init_keys, keys, 0)
    writer = CheckpointWriter(folder / CHECKPOINTS)
    for step in steps:
        scale = 2 + step / 100
        grown = jax.tree.map(lambda x: x * scale if x.dtype == jnp.float32 else x, state.learner)  # noqa: B023
        writer.save(step, dataclasses.replace(state, learner=grown, step=state.step + step))
    writer.close()
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of runs by name, each made when it is first asked for."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def get(name):
        if name not in made:
            made[name] = save(small(name), folder / name)
        return made[name]

    return get


@pytest.fixture(scope="module")
def recurrent(runs):
    """A recurrent policy; its programs are compiled once for all tests that have it."""
    return load(runs("ppo-gru"), seed=4)


def played(policy, keys, batch, most):
    """Play by hand as `Algorithm.evaluate` does; give actions, rewards and ends, each `[time, batch, ...]`."""
    reset_key, _, key = jax.random.split(keys, 3)
    env, params = policy.env, policy.env_params
    observation, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(reset_key, batch), params)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, 0, None)))
    memory, reward, done, record = None, None, None, []
    for t in range(most):
        observation = jax.tree.map(np.asarray, observation)
        action, memory = policy.predict(observation, memory, done, reward)
        assert isinstance(action, np.ndarray)
        env_keys = jax.random.split(jax.random.split(jax.random.fold_in(key, t))[1], batch)
        observation, state, reward, terminated, truncated, _ = step(env_keys, state, action, params)
        reward, done = np.asarray(reward), np.asarray(terminated | truncated)
        record.append((action, reward, done))
    return [np.stack(x) for x in zip(*record, strict=True)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in RUNS]
)
def test_a_policy_does_what_is_evaluated(name, runs):
    """Both the actions of the agent itself, and the returns that `evaluate` writes."""
    seed = small(name).seed_numbers()[1]
    policy = load(runs(name), seed=seed)
    agent, state = policy.agent, policy.state
    key = seed_keys([seed])[2][0]
    actions, rewards, dones = played(policy, key, EPISODES, MOST)

    reset_key, carry_key, rollout_key = jax.random.split(key, 3)

    @jax.jit
    def rollout(state):
        start = agent.vector_env.reset(reset_key, agent.initialize_carry(carry_key, EPISODES), EPISODES)
        _, transition = agent.vector_env.rollout(rollout_key, start, agent.acting(state, "exploit")[0], MOST)
        return agent.vector_env.to_env(transition.action), transition.reward

    wanted, wanted_rewards = (np.asarray(x).swapaxes(0, 1) for x in rollout(state))
    compare = np.testing.assert_allclose if name in CONTINUOUS else np.testing.assert_array_equal
    near = {"rtol": 1e-4, "atol": 1e-4} if name in CONTINUOUS else {}
    compare(actions, wanted, **near)
    compare(rewards, wanted_rewards, **near)
    assert len(np.unique(actions)) > 1

    if name in CONTINUOUS:  # 200 steps: too long to play by hand
        return
    several = dones.ndim == 3
    reward, done = (rewards.mean(axis=2), dones.all(axis=2)) if several else (rewards, dones)
    assert done.any(axis=0).all()
    first = np.cumsum(done, axis=0) - done == 0
    result = evaluate(runs(name), episodes=EPISODES)
    assert result["return"]["per_seed"][str(seed)] == pytest.approx(
        float((reward * first).sum(axis=0).mean()), abs=1e-5
    )


def test_a_batch_acts_as_its_environments_do_alone(recurrent):
    rng, memory, alone = np.random.default_rng(0), None, [None, None]
    for t in range(6):
        observation = np.eye(4, dtype=np.float32)[rng.integers(4, size=2)]
        reward, start = rng.normal(size=2), np.array([t == 0, t in (0, 3)])
        values = recurrent.value(observation, memory, start, reward)
        action, memory = recurrent.predict(observation, memory, start, reward)
        assert action.shape == values.shape == (2,)
        for i in range(2):
            value = recurrent.value(observation[i], alone[i], start[i], reward[i])
            single, alone[i] = recurrent.predict(observation[i], alone[i], start[i], reward[i])
            assert value.shape == single.shape == ()
            assert single == action[i]
            np.testing.assert_allclose(value, values[i], rtol=1e-5)


def test_a_start_clears_the_memory(recurrent):
    observation = np.eye(4, dtype=np.float32)
    _, used = recurrent.predict(observation[:2])
    _, used = recurrent.predict(observation[1:3], used, reward=[1.0, -1.0])
    _, after = recurrent.predict(observation[2:], used, episode_start=[True, False], reward=0.5)
    _, fresh = recurrent.predict(observation[2:])
    _, kept = recurrent.predict(observation[2:], used, reward=0.5)
    rows = [[x[0] for x in jax.tree.leaves(memory.carry)] for memory in (after, fresh, kept)]
    jax.tree.map(np.testing.assert_array_equal, rows[0], rows[1])
    assert any(np.any(x != y) for x, y in zip(rows[0], rows[2], strict=True))
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[1], y[1]), after.carry, kept.carry)


def test_the_previous_action_and_reward_are_seen(recurrent):
    observation = np.eye(4, dtype=np.float32)[0]
    _, memory = recurrent.predict(observation)
    other = memory.replace(action=(memory.action + 1) % 4)
    values = [recurrent.value(observation, m, reward=r) for m, r in [(memory, 0.0), (memory, 1.0), (other, 0.0)]]
    assert len({float(x) for x in values}) == 3


def test_memory_is_copied_and_pickled_and_arguments_stay(recurrent):
    observation = np.eye(4, dtype=np.float32)[0]
    _, memory = recurrent.predict(observation)
    before = jax.tree.map(np.array, memory)
    twins = [memory, copy.deepcopy(memory), pickle.loads(pickle.dumps(memory)), before]
    results = [recurrent.predict(observation, twin, reward=1.0) for twin in twins]
    for action, after in results:
        assert action == results[0][0]
        jax.tree.map(np.testing.assert_array_equal, after, results[0][1])
    jax.tree.map(np.testing.assert_array_equal, memory, before)


def test_nothing_is_traced_twice(recurrent, monkeypatch):
    traces, inner = [], recurrent.agent.policy

    def counted(*args):
        traces.append(args[2])
        return inner(*args)

    monkeypatch.setattr(recurrent.agent, "policy", counted)
    policy = TrainedPolicy(recurrent.agent, recurrent.state)
    for rows in (1, 3):
        observation, memory = np.zeros((rows, 4)), None
        for start in (None, False, np.zeros(rows, bool), [True] * rows):
            _, memory = policy.predict(observation.astype(np.float64), memory, start, None if memory is None else 1)
        policy.predict(observation.tolist(), jax.tree.map(np.asarray, memory), reward=np.ones(rows))
    policy.predict(np.zeros(4, np.float32), policy.initial_memory())
    assert traces == ["exploit"] * 2


def test_sampled_actions_are_reproducible(recurrent, runs):
    observation = np.tile(np.eye(4, dtype=np.float32)[0], (64, 1))

    def play(policy, **kwargs):
        first, memory = policy.predict(observation, deterministic=False, **kwargs)
        second, _ = policy.predict(observation, memory, True, deterministic=False)
        return np.stack([first, second])

    one = play(recurrent, seed=5)
    np.testing.assert_array_equal(one, play(recurrent, seed=5))
    np.testing.assert_array_equal(one, play(recurrent, memory=recurrent.initial_memory(64, seed=5)))
    assert np.any(one != play(recurrent, seed=6))
    assert np.any(one[0] != one[1])
    # Without seeds, new memories differ from each other, in the same way after every load.
    policies = [TrainedPolicy(recurrent.agent, recurrent.state) for _ in range(2)]
    first, again = ([play(policy) for _ in range(2)] for policy in policies)
    assert np.any(first[0] != first[1])
    np.testing.assert_array_equal(first, again)
    # A given seed starts anew wherever the memory is.
    _, memory = recurrent.predict(observation, seed=5)
    a, b = (recurrent.predict(observation, memory, True, deterministic=False, seed=5)[0] for _ in range(2))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, one[0])


def test_actions_are_sampled_as_the_policy_weighs_them(recurrent):
    observation = np.tile(np.eye(4, dtype=np.float32)[1], (4000, 1))
    sampled, _ = recurrent.predict(observation, deterministic=False, seed=0)
    carry = recurrent.agent.initialize_carry(jax.random.key(0), 1)
    timestep = Timestep(jnp.asarray(observation[:1]), jnp.zeros(1, jnp.int32), jnp.zeros(1), jnp.ones(1, bool))
    sequence = jax.tree.map(lambda x: x[:, None], timestep)
    _, (distribution, _) = recurrent.agent.networks.unroll(recurrent.state.learner.params, sequence, carry)
    np.testing.assert_allclose(np.bincount(sampled, minlength=4) / 4000, distribution.probabilities[0, 0], atol=0.04)


def test_continuous_actions_are_in_the_action_space(runs):
    policy = load(runs("sac-gru"), seed=3)
    assert isinstance(policy.action_space, Box)
    observation = np.random.default_rng(0).normal(size=(50, *policy.observation_space.shape))
    action, _ = policy.predict(observation, deterministic=False, seed=1)
    assert action.shape == (50, *policy.action_space.shape)
    assert action.dtype == policy.action_space.dtype
    low, high = policy.action_space.low, policy.action_space.high
    assert np.all((low <= action) & (action <= high))
    assert np.ptp(action) > 0.5 * np.max(high - low)
    with pytest.raises(TypeError, match="`value` needs an algorithm with a value function of observations, got SAC"):
        policy.value(observation)


@pytest.mark.parametrize("name", ["dqn-gru", "pqn-gru"])
def test_the_value_of_a_q_function_is_that_of_the_best_action(name, runs):
    policy = load(runs(name))
    space = policy.observation_space
    observation = np.stack([np.asarray(space.sample(jax.random.key(i))) for i in range(3)])
    learner = policy.state.learner
    params = learner.online.params if name == "dqn-gru" else learner.params
    timestep = Timestep(jnp.asarray(observation), jnp.zeros(3, jnp.int32), jnp.zeros(3), jnp.ones(3, bool))
    wanted = policy.agent.networks.value(params)(policy.agent.initialize_carry(jax.random.key(0), 3), timestep)
    np.testing.assert_allclose(policy.value(observation), wanted, rtol=1e-5)


def test_several_agents_act_at_once(runs):
    policy = load(runs("mappo-gru"))
    agents = policy.agent.num_agents
    observation = np.asarray(policy.observation_space.sample(jax.random.key(0)))
    action, memory = policy.predict(observation)
    assert action.shape == policy.value(observation).shape == (agents,)
    for start in (None, False, np.zeros(agents, bool)):
        assert policy.predict(observation, memory, start, np.zeros(agents))[0].shape == (agents,)
    batch = np.stack([observation] * 5)
    action, memory = policy.predict(batch)
    assert action.shape == (5, agents)
    assert policy.predict(batch, memory, np.ones(5, bool), np.zeros((5, agents)))[0].shape == (5, agents)


OWN = """
import jax.numpy as jnp
from memorax.core.spaces import Box, Dict, Discrete
from memorax.environments import Environment

class Masked(Environment):
    default_params = None
    def __init__(self, in_info=False):
        self.in_info = in_info
    def observe(self, t):
        seen = {"position": t, "speed": jnp.zeros(2)}
        return seen if self.in_info else seen | {"action_mask": self.mask(t)}
    def mask(self, t):
        return jnp.arange(6) == t % 6
    def reset(self, key, params=None):
        return self.observe(jnp.int32(0)), jnp.int32(0)
    def step(self, key, state, action, params=None):
        state = (state + 1) % 6
        info = {"final_observation": self.observe(state)}
        info |= {"action_mask": self.mask(state)} if self.in_info else {}
        return self.observe(state), state, jnp.float32(0), state == 0, jnp.bool_(False), info
    def action_space(self, params=None):
        return Discrete(6)
    def observation_space(self, params=None):
        spaces = {"position": Discrete(6), "speed": Box(-1, 1, (2,))}
        return Dict(spaces if self.in_info else spaces | {"action_mask": Box(0, 1, (6,), jnp.bool_)})

def make_env(in_info=False):
    return Masked(in_info)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The name of an environment in a module of the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "masked_tasks.py").write_text(OWN)
    yield "masked_tasks:make_env"
    sys.modules.pop("masked_tasks", None)


@pytest.mark.parametrize("in_info", [False, True])
@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_masks_are_respected_in_an_environment_of_ones_own(algorithm, in_info, own, tmp_path):
    config = small(algorithm, env=own, env_options={"in_info": in_info}, imports=("masked_tasks",), model="mlp")
    folder = save(config, tmp_path / "run")
    sys.modules.pop("masked_tasks", None)
    policy = memorax.load(str(folder))
    assert set(policy.observation_space.spaces) == {"position", "speed", "action_mask"}
    allowed = np.array([4, 1, 5])
    observation = {
        "position": np.arange(3),
        "speed": np.zeros((3, 2)),
        "action_mask": np.eye(6, dtype=np.int8)[allowed],
    }
    for deterministic in (True, False):
        action, _ = policy.predict(observation, deterministic=deterministic)
        np.testing.assert_array_equal(action, allowed)
        one = {name: part[1] for name, part in observation.items()}
        assert policy.predict(one, deterministic=deterministic)[0] == 1
    with pytest.raises(ValueError, match="`observation` must be one of Dict"):
        policy.predict({name: part for name, part in observation.items() if name != "action_mask"})
    with pytest.raises(ValueError, match="`observation` must be one of Dict"):
        policy.predict(observation | {"position": np.arange(2)})


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return save(small("ppo", model="mlp"), tmp_path_factory.mktemp("kept") / "run", steps=(12, 24))


def test_a_step_and_a_seed_are_chosen(kept):
    def weights(policy):
        return np.concatenate([np.ravel(x) for x in jax.tree.leaves(policy.state.learner.params)])

    last, early, other = load(str(kept)), load(kept, step=12), load(kept, seed=4)
    assert (int(last.state.step), int(early.state.step)) == (24, 12)
    np.testing.assert_allclose(weights(early) / 2.12, weights(last) / 2.24, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(weights(last), weights(load(kept, seed=3, step="last")))
    assert np.any(weights(last) != weights(other))
    assert last.config == small("ppo", model="mlp")
    assert last.env is last.agent.vector_env.env


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"step": 13}, ValueError, r"`step` must be 'last' or a step that .* keeps a checkpoint of \(12, 24\), got 13"),
        ({"step": "best"}, ValueError, r"\(12, 24\), got 'best': .* did not record which checkpoint was the best"),
        (
            {"step": "first"},
            ValueError,
            r"`step` must be 'last', 'best' or a step that is kept \(12, 24\), got 'first'",
        ),
        ({"step": 1.5}, TypeError, "`step` must be an integer"),
        ({"seed": 5}, ValueError, "`seed` must be a seed of .*, from 3 to 4, got 5"),
        ({"seed": "0"}, TypeError, "`seed` must be an integer"),
    ],
)
def test_what_a_run_does_not_have_is_named(kept, options, error, message):
    with pytest.raises(error, match=message):
        load(kept, **options)


def test_a_folder_without_a_run_or_a_checkpoint_is_refused(kept, tmp_path):
    with pytest.raises(ValueError, match="must be a run's folder"):
        load(tmp_path)
    save_config(tmp_path, small("ppo"))
    with pytest.raises(ValueError, match="must hold a checkpoint, got none; resume the run with `memorax train"):
        load(tmp_path)


def test_wrong_arguments_are_named(recurrent):
    one, two = np.zeros(4), np.zeros((2, 4))
    _, memory = recurrent.predict(two)
    with pytest.raises(ValueError, match=r"`observation` must be one of Box.* got shape \(5,\)"):
        recurrent.predict(np.zeros(5))
    with pytest.raises(ValueError, match=r"got shape \(0, 4\)"):
        recurrent.predict(np.zeros((0, 4)))
    with pytest.raises(TypeError, match="`observation` must hold float32, got complex"):
        recurrent.predict(one.astype(complex))
    with pytest.raises(ValueError, match="`reward` must be given after the first step of an episode, got None"):
        recurrent.predict(two, memory, episode_start=[True, False])
    with pytest.raises(ValueError, match=r"`reward` must have shape \(2,\), got \(3,\)"):
        recurrent.predict(two, memory, reward=np.zeros(3))
    with pytest.raises(ValueError, match=r"`episode_start` must have shape \(\), got \(3,\)"):
        recurrent.predict(one, episode_start=np.zeros(3))
    with pytest.raises(ValueError, match=r"`memory` must be of as many environments as `observation` \(1\), got 2"):
        recurrent.predict(one, memory, reward=0.0)
    with pytest.raises(TypeError, match="`memory` must be what `predict` returned, or None, got dict"):
        recurrent.predict(one, {})
    with pytest.raises(ValueError, match="`batch` must be"):
        recurrent.initial_memory(0)
    with pytest.raises(ValueError, match="`seed` must be"):
        recurrent.predict(one, seed=-1)
    assert isinstance(memory, PolicyMemory)

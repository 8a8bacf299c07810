"""Environments of JaxMARL, and stand-ins for what few of them do."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from tests import example_agents as agents

from memorax.core.spaces import Box, Dict, Discrete, MultiDiscrete
from memorax.environments import MissingExtraError, make
from memorax.testing.algorithm_properties import stays_finite

jaxmarl = pytest.importorskip("jaxmarl", reason="jaxmarl is not installed; it comes with the extra `jaxmarl`")


@struct.dataclass
class State:
    step: int


class Uneven:
    """Agents of different spaces; the first is out at step 2, all at step 3; the last action is allowed every other
    step only."""

    name = "Uneven"
    agents = ("a", "b", "c")

    def __init__(self, max_steps=None, continuous=False):
        self.continuous = continuous
        if max_steps is not None:
            self.max_steps = max_steps

    def observation_space(self, agent):
        return {"a": Box(0.0, 9.0, (2,)), "b": Box(0.0, 9.0, (1, 3)), "c": Discrete(4)}[agent]

    def action_space(self, agent):
        size = "abc".index(agent) + 2
        return Box(-1.0, 1.0, (size,)) if self.continuous else Discrete(size)

    def observe(self, state):
        return {"a": jnp.full(2, 1.0), "b": jnp.full((1, 3), 2.0), "c": jnp.int32(state.step)}

    def reset(self, key):
        return self.observe(State(0)), State(0)

    def step_env(self, key, state, actions):
        state = State(state.step + 1)
        reward = {agent: jnp.sum(actions[agent]) for agent in self.agents}
        done = {"a": state.step == 2, "b": False, "c": False, "__all__": state.step >= 3}
        return self.observe(state), state, reward, done, {}

    def get_avail_actions(self, state):
        masks = {agent: jnp.ones(self.action_space(agent).n, bool) for agent in self.agents}
        return masks | {"c": masks["c"].at[-1].set(state.step % 2 == 1)}


class Numbered(Uneven):
    """Agents are numbers, and what is theirs is in tuples and arrays; spaces are dictionaries, of which one is wrong;
    what is legal goes by another name; nobody ends before all do."""

    name = "Numbered"
    agents = (0, 1)

    def observation_space(self, agent):
        return {"card": Discrete(4), "hand": Box(0.0, 9.0, ((1, 2), (2, 1))[agent])}

    def action_space(self, agent):
        return Discrete(3)

    def observe(self, state):
        return tuple({"card": jnp.int32(state.step), "hand": jnp.array([[7.0, 8.0]])} for _ in self.agents)

    def step_env(self, key, state, actions):
        state = State(state.step + 1)
        reward = jnp.stack([actions[agent] for agent in self.agents]).astype(jnp.float32)
        return self.observe(state), state, reward, {"__all__": state.step >= 3}, {}

    def get_legal_moves(self, state):
        return {0: jnp.array([True, False, state.step == 1]), 1: jnp.zeros(3)}


class Shared(Numbered):
    """Shows all agents one thing."""

    def observe(self, state):
        return {"everything": jnp.zeros(2)}


def adapted(cls=Uneven, **kwargs):
    from memorax.environments.adapters.jaxmarl import JaxMARL

    return JaxMARL(cls(**kwargs))


def walk(env, actions, steps):
    key = jax.random.key(0)
    observation, state = env.reset(key)
    seen = [(observation, None, None, None)]
    for _ in range(steps):
        observation, state, reward, terminated, truncated, info = env.step(key, state, actions)
        seen.append((observation, reward, terminated, truncated))
    return seen, info


def test_spaces_are_padded_and_masked():
    env = adapted()
    assert (env.num_agents, env.name) == (3, "Uneven")
    assert env.action_space() == MultiDiscrete([4, 4, 4])
    expected = {"action_mask": Box(0, 1, (3, 4), bool), "observation": Box(-np.inf, np.inf, (3, 4))}
    assert env.observation_space() == Dict(expected)
    seen, _ = walk(env, jnp.array([3, 3, 3]), 2)
    vectors = [[1, 1, 0, 0], [2, 2, 2, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(seen[0][0]["observation"], vectors)
    masks = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]], bool)
    np.testing.assert_array_equal(seen[0][0]["action_mask"], masks)
    masks[2, 3] = True
    np.testing.assert_array_equal(seen[1][0]["action_mask"], masks)
    # What an agent does not have becomes its last action.
    np.testing.assert_array_equal(seen[1][1], [1, 2, 3])


def test_continuous_actions_are_padded():
    env = adapted(continuous=True)
    assert env.action_space() == Box(-1.0, 1.0, (3, 4))
    seen, _ = walk(env, jnp.full((3, 4), 5.0), 1)
    np.testing.assert_array_equal(seen[1][1], [2, 3, 4])


@pytest.mark.parametrize("max_steps", [None, 3])
def test_an_agent_that_is_out_stays_out_until_all_are(max_steps):
    seen, info = walk(adapted(max_steps=max_steps), jnp.zeros(3, jnp.int32), 3)
    terminated, truncated = (np.array([step[i] for step in seen[1:]]) for i in (2, 3))
    at_the_end = np.array([False, True, True])
    np.testing.assert_array_equal(terminated | truncated, [[0, 0, 0], [1, 0, 0], [1, 1, 1]])
    np.testing.assert_array_equal(truncated[-1], at_the_end if max_steps else np.zeros(3, bool))
    assert not truncated[:-1].any()
    assert info["final_observation"]["observation"][2, 3] == 1
    assert seen[-1][0]["observation"][2, 0] == 1


def test_agents_may_be_numbers():
    env = adapted(Numbered)
    seen, info = walk(env, jnp.array([0, 2]), 3)
    # The second agent's space does not fit its hand, so that its card is no one-hot vector.
    np.testing.assert_array_equal(seen[1][0]["observation"], [[0, 1, 0, 0, 7, 8], [1, 7, 8, 0, 0, 0]])
    np.testing.assert_array_equal(seen[1][0]["action_mask"], [[True, False, True], [True, True, True]])
    np.testing.assert_array_equal(seen[2][0]["action_mask"], [[True, False, False], [True, True, True]])
    np.testing.assert_array_equal(seen[1][1], [0, 2])
    np.testing.assert_array_equal([step[2].all() for step in seen[1:]], [False, False, True])
    np.testing.assert_array_equal(info["final_observation"]["observation"][1, 0], 3)


@pytest.mark.slow
def test_an_agent_learns_in_it():
    stays_finite(lambda env: agents.mappo(env, "mlp", num_envs=2), adapted())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "spaces"),
    [
        ("MPE_simple_spread_v3", (Box(-np.inf, np.inf, (18,)), Discrete(5))),
        ("MPE_simple_speaker_listener_v4", (None, Discrete(5))),
        ("MPE_simple_tag_v3", (None, Discrete(5))),
        ("MPE_simple_facmac_v1", (None, Box(0.0, 1.0, (5,)))),
        ("switch_riddle", (Box(-np.inf, np.inf, (4,)), Discrete(3))),
        ("overcooked", (Box(-np.inf, np.inf, (520,)), Discrete(6))),
        ("overcooked_v2", (Box(-np.inf, np.inf, (600,)), Discrete(6))),
        ("coin_game", (Box(-np.inf, np.inf, (36,)), Discrete(5))),
        ("storm_2p", (Box(-np.inf, np.inf, (256,)), Discrete(5))),
        ("storm_np", (Box(-np.inf, np.inf, (350,)), Discrete(8))),
        ("hanabi", (None, Discrete(21))),
        ("jaxnav", (Box(-np.inf, np.inf, (205,)), None)),
        ("SMAX", (None, Discrete(10))),
        ("HeuristicEnemySMAX", (None, Discrete(10))),
    ],
)
def test_its_environments_run(name, spaces):
    env, params = make(f"jaxmarl::{name}")
    observation, action = env.agent_observation_space(params), env.agent_action_space(params)
    assert spaces[0] in (None, observation)
    assert spaces[1] in (None, action)
    key = jax.random.key(0)

    def step(carry, key):
        observation, state = carry
        observation, state, *rest, _ = env.step(key, state, env.action_space(params).sample(key), params)
        return (observation, state), (observation, *rest)

    first = jax.tree.map(jnp.asarray, env.reset(key, params))
    settled = jax.eval_shape(step, first, key)[0]
    first = jax.tree.map(lambda x, y: x.astype(y.dtype), first, settled)
    _, (seen, reward, terminated, truncated) = jax.lax.scan(step, first, jax.random.split(key, 130))
    assert jax.vmap(env.observation_space(params).contains)(seen).all()
    assert reward.shape == (130, env.num_agents)
    assert np.isfinite(reward).all()
    if name.startswith("MPE"):
        assert truncated.all(axis=1).any()
        assert not terminated.any()


@pytest.mark.slow
def test_two_hundred_steps_are_those_of_the_library_by_hand():
    env, params = make("jaxmarl::MPE_simple_spread_v3")
    raw = jaxmarl.make("MPE_simple_spread_v3")
    step, step_by_hand, reset_by_hand = jax.jit(env.step), jax.jit(raw.step_env), jax.jit(raw.reset)

    def rows(by_agent):
        return np.stack([np.asarray(by_agent[agent]) for agent in raw.agents])

    key = jax.random.key(0)
    observation, state = jax.jit(env.reset)(key, params)
    expected, by_hand = reset_by_hand(key)
    np.testing.assert_array_equal(observation, rows(expected))
    ends = 0
    for t in range(200):
        action = jax.random.randint(jax.random.fold_in(key, t), (3,), 0, 5)
        observation, state, reward, terminated, truncated, info = step(jax.random.key(t), state, action, params)
        step_key, reset_key = jax.random.split(jax.random.key(t))
        actions = dict(zip(raw.agents, action, strict=True))
        expected, by_hand, expected_reward, done, _ = step_by_hand(step_key, by_hand, actions)
        np.testing.assert_array_equal(info["final_observation"], rows(expected))
        np.testing.assert_array_equal(reward, rows(expected_reward))
        np.testing.assert_array_equal(terminated | truncated, rows(done))
        if done["__all__"]:
            expected, by_hand = reset_by_hand(reset_key)
            ends += 1
        np.testing.assert_array_equal(observation, rows(expected))
    assert ends > 5


def test_what_it_has_not_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="unknown environment `jaxmarl::MPE_simple_spred_v3`; nearest: MPE_simple_spr"):
        make("jaxmarl::MPE_simple_spred_v3")
    with monkeypatch.context() as patch:
        patch.setattr(Uneven, "action_space", lambda self, agent: Discrete(2) if agent == "a" else Box(0.0, 1.0, (2,)))
        with pytest.raises(TypeError, match="`env` must have agents with Discrete actions or agents with Box actions"):
            adapted()


def test_agents_without_an_observation_of_their_own_are_refused():
    message = "`env` must give every agent an observation of its own, got Numbered, which gives one for all; wrap it"
    with pytest.raises(TypeError, match=message):
        adapted(Shared)


def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch):
    for name in [name for name in sys.modules if "jaxmarl" in name.split(".")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jaxmarl", None)
    with pytest.raises(MissingExtraError, match=r'run `pip install "memorax\[jaxmarl\]"`'):
        make("jaxmarl::MPE_simple_spread_v3")

"""Which inputs networks see, and which entries of an observation are the critic's alone."""

import dataclasses

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from tests.copied_tasks import Copies
from tests.long_runs import compile_for_long

from memorax import lox
from memorax.algorithms import (
    DQNConfig,
    GradientPPOConfig,
    MAPPOConfig,
    PPOConfig,
    PQNConfig,
    SACConfig,
    StreamACConfig,
)
from memorax.core.spaces import Box, Dict, Discrete
from memorax.environments import Environment
from memorax.experiment import RunConfig, TrainedPolicy, build_agent, default_run, load, train
from memorax.experiment.export.step import ExportedStep
from memorax.learning.unroll import add_time

ON_POLICY = {"num_envs": 16, "num_steps": 16, "num_minibatches": 2}
CONFIGS = {
    "ppo": PPOConfig(**ON_POLICY),
    "gradient_ppo": GradientPPOConfig(**ON_POLICY),
    "pqn": PQNConfig(**ON_POLICY),
    "mappo": MAPPOConfig(**ON_POLICY),
    "dqn": DQNConfig(num_envs=4),
    "sac": SACConfig(num_envs=4),
    "stream_ac": StreamACConfig(num_envs=4),
}


def config(algorithm="ppo", **fields):
    defaults = {"env": "memory::RepeatPreviousEasy", "features": 8, "model": "mlp", "share_trunk": False}
    return RunConfig(algorithm=algorithm, hyperparameters=CONFIGS[algorithm], **(defaults | fields))


def networks_of(agent):
    networks = getattr(agent, "member", agent).networks
    single = [getattr(networks, name) for name in ("actor", "critic") if hasattr(networks, name)]
    return [x.network for x in single or getattr(networks, "critics", [networks])]


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_networks_see_what_is_asked_for(algorithm):
    env = {"mappo": "multi_agent::PartnerRecall"}.get(algorithm, "memory::RepeatPreviousEasy")
    for inputs in (("observation",), ("reward", "observation"), ("observation", "action", "reward")):
        agent = build_agent(config(algorithm, env=env, inputs=inputs))
        for network in networks_of(agent):
            extractor = network.feature_extractor
            assert (extractor.action_extractor is not None) == ("action" in inputs)
            assert (extractor.reward_extractor is not None) == ("reward" in inputs)


def test_a_memoryless_agent_that_sees_the_observation_alone_forgets_what_it_did():
    agent = build_agent(config(inputs=("observation",)))
    state = agent.init(jax.random.key(0))
    timestep = state.loop.timestep
    other = timestep.replace(action=timestep.action + 1, reward=timestep.reward + 1, done=jnp.zeros_like(timestep.done))
    outputs = [agent.networks.unroll(state.learner.params, add_time(x), state.loop.carry)[1] for x in (timestep, other)]
    jax.tree.map(np.testing.assert_array_equal, *outputs)
    full = build_agent(config())
    params = full.init(jax.random.key(0)).learner.params
    outputs = [full.networks.unroll(params, add_time(x), state.loop.carry)[1] for x in (timestep, other)]
    assert not np.array_equal(outputs[0][1], outputs[1][1])


@pytest.mark.parametrize("inputs", [("action",), ("observation", "observation"), ("observation", "done"), (), "action"])
def test_other_inputs_are_refused(inputs):
    with pytest.raises((TypeError, ValueError), match="`inputs` must"):
        config(inputs=inputs)


def test_a_policy_that_does_not_see_rewards_needs_none():
    for inputs, fails in ((("observation", "action"), False), (("observation", "reward"), True)):
        run = config(inputs=inputs)
        agent = build_agent(run)
        policy = TrainedPolicy(agent, agent.init(jax.random.key(0)), run)
        seen = policy.observation_space.sample(jax.random.key(0))
        _, memory = policy.predict(seen)
        if fails:
            with pytest.raises(ValueError, match="`reward` must be given after the first step"):
                policy.predict(seen, memory)
        else:
            policy.predict(seen, memory)


@struct.dataclass
class State:
    cue: jax.Array
    noise: jax.Array
    time: jax.Array


class Noisy(Environment):
    """Pays 1 for naming the cue, and noise that is large and known to the critic before. Episodes have four steps."""

    def draw(self, key, time):
        cue_key, noise_key = jax.random.split(key)
        cue = jax.random.randint(cue_key, (), 0, 2)
        state = State(cue, 20.0 * jax.random.normal(noise_key), time)
        return {"cue": state.cue[None].astype(jnp.float32), "state": state.noise[None] / 20.0}, state

    def reset_env(self, key, params):
        return self.draw(key, jnp.int32(0))

    def step_env(self, key, state, action, params):
        observation, after = self.draw(key, state.time + 1)
        return observation, after, (action == state.cue) + state.noise, after.time >= 4, {}

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params=None):
        return Dict({"cue": Box(0.0, 1.0, (1,)), "state": Box(-jnp.inf, jnp.inf, (1,))})


class Blind(Noisy):
    """Shows the noise to nobody."""

    def draw(self, key, time):
        observation, state = super().draw(key, time)
        return {"cue": observation["cue"]}, state

    def observation_space(self, params=None):
        return Dict({"cue": Box(0.0, 1.0, (1,))})


def TwoNoisy():  # noqa: N802 - it stands for a class
    return Copies(Noisy(), 2)


ASYMMETRIC = {
    "env": "tests.experiment.test_inputs:Noisy",
    "critic_only": ("state",),
    "inputs": ("observation",),
    "features": 32,
}


def change_state(timestep):
    return timestep.replace(observation=timestep.observation | {"state": timestep.observation["state"] + 1.0})


@pytest.mark.parametrize("algorithm", ["ppo", "gradient_ppo", "sac", "stream_ac"])
def test_the_critic_alone_sees_its_entries(algorithm):
    agent = build_agent(config(algorithm, **ASYMMETRIC))
    state = agent.init(jax.random.key(0))
    act, _ = agent.acting(state, "exploit")
    results = []
    for timestep in (state.loop.timestep, change_state(state.loop.timestep)):
        _, action, aux = act(jax.random.key(1), state.loop.carry, timestep)
        results.append((action, aux["log_prob"], aux.get("value", aux.get("q"))))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert not np.array_equal(results[0][2], results[1][2])


def test_agents_hide_entries_too_and_a_centralized_critic_sees_all():
    two = {"env": "tests.experiment.test_inputs:TwoNoisy", "critic_only": ("state",)}
    for centralized in (False, True):
        hyperparameters = dataclasses.replace(CONFIGS["mappo"], centralized_critic=centralized)
        agent = build_agent(dataclasses.replace(config("mappo", **two), hyperparameters=hyperparameters))
        state = agent.init(jax.random.key(0))
        act, _ = agent.acting(state, "exploit")
        before, after = (
            act(jax.random.key(1), state.loop.carry, timestep)
            for timestep in (state.loop.timestep, change_state(state.loop.timestep))
        )
        np.testing.assert_array_equal(before[2]["log_prob"], after[2]["log_prob"])
        assert not np.array_equal(before[2]["value"], after[2]["value"])


@pytest.mark.parametrize(
    ("algorithm", "fields", "message"),
    [
        (
            "ppo",
            {"share_trunk": True},
            "`share_trunk` must be False .* alone sees state, got True; add --no-share",
        ),
        ("ppo", {"critic_only": ("sate",)}, "`critic_only` must name some entries .*, got sate; there are cue, state"),
        ("ppo", {"critic_only": ("state", "cue")}, "`critic_only` must name some entries .*, but not all"),
        ("ppo", {"env": "memory::RepeatPreviousEasy"}, "`critic_only` must name some entries .* which has no entries"),
        ("dqn", {}, "`critic_only` must be empty for dqn, which has no critic, got state"),
        ("pqn", {}, "`critic_only` must be empty for pqn, which has no critic, got state"),
    ],
)
def test_what_does_not_fit_is_refused(algorithm, fields, message):
    with pytest.raises(ValueError, match=message):
        build_agent(config(algorithm, **(ASYMMETRIC | fields)))


def test_acting_does_not_need_what_only_the_critic_sees():
    run = config(**ASYMMETRIC)
    agent = build_agent(run)
    policy = TrainedPolicy(agent, agent.init(jax.random.key(0)), run)
    whole = {"cue": np.ones((3, 1), np.float32), "state": np.full((3, 1), 7.0, np.float32)}
    part = {"cue": whole["cue"]}
    np.testing.assert_array_equal(policy.predict(part)[0], policy.predict(whole)[0])
    assert policy.predict({"cue": whole["cue"][0]})[0].shape == ()
    with pytest.raises(ValueError, match="`observation` must be one of"):
        policy.value(part)
    assert policy.value(whole).shape == (3,)


class NoisyInPython(gymnasium.Env):
    """The same in Python."""

    observation_space = gymnasium.spaces.Dict(
        {"cue": gymnasium.spaces.Box(0, 1, (1,)), "state": gymnasium.spaces.Box(-np.inf, np.inf, (1,))}
    )
    action_space = gymnasium.spaces.Discrete(2)

    def _draw(self):
        self.cue, self.noise = int(self.np_random.integers(2)), self.np_random.normal()
        return {"cue": np.array([self.cue], np.float32), "state": np.array([self.noise], np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._draw(), {}

    def step(self, action):
        self.time += 1
        reward = float(action == self.cue) + 20.0 * self.noise
        return self._draw(), reward, self.time >= 4, False, {}


def noisy_in_python():
    return NoisyInPython()


def test_a_run_in_python_hides_entries_and_can_be_loaded_evaluated_and_exported(tmp_path):
    fields = ASYMMETRIC | {"env": "tests.experiment.test_inputs:noisy_in_python", "steps": 512, "seeds": 1}
    outcome = train(config(**fields, eval_every=256, eval_episodes=2), tmp_path / "run")
    assert outcome.step == 512
    policy = load(tmp_path / "run")
    part = {"cue": np.array([[0.0], [1.0]], np.float32)}
    whole = [part | {"state": np.full((2, 1), x, np.float32)} for x in (-5.0, 5.0)]
    actions = [policy.predict(seen, deterministic=True)[0] for seen in (part, *whole)]
    np.testing.assert_array_equal(actions[0], actions[1])
    np.testing.assert_array_equal(actions[0], actions[2])
    assert not np.array_equal(*(policy.value(seen) for seen in whole))
    step = ExportedStep(policy.agent, policy.state, policy.config.critic_only)
    assert list(step.observation) == ["observation/cue"]
    carry = {name: np.stack([x, x]) for name, x in step.initial_carry.items()}
    seen = {"observation/cue": part["cue"]}
    action, _ = step(carry, seen, np.zeros(2, np.float32), np.ones(2, bool))
    np.testing.assert_array_equal(action, actions[0])
    policy.agent.close()


@pytest.mark.slow
def test_a_critic_that_knows_the_noise_makes_the_actor_learn():
    """The gain of naming the cue is a twentieth of the noise's deviation; a critic that sees the noise explains it."""
    hyperparameters = PPOConfig(**ON_POLICY, gamma=0.0, clip_value_loss=False)

    def learned(**fields):
        run_config = config(**(ASYMMETRIC | fields), learning_rate=3e-3)
        agent = build_agent(dataclasses.replace(run_config, hyperparameters=hyperparameters))

        def run(key):
            state, logs = lox.spool(agent.train)(key, agent.init(key), num_steps=10_240)
            _, steps = agent.rollout(jax.random.key(1), state, 64)
            right = steps.action == steps.inputs.observation["cue"][..., 0]
            return right.mean(), logs["losses/explained_variance"][-1]

        return compile_for_long(jax.vmap(run))(jax.random.split(jax.random.key(0), 3))

    right, explained = learned()
    blind, unexplained = learned(env="tests.experiment.test_inputs:Blind", critic_only=())
    assert (explained > 0.99).all(), explained
    assert (right > 0.95).all(), right
    assert (unexplained < 0.1).all(), unexplained
    assert blind.mean() < 0.8, blind


@pytest.mark.slow
def test_the_previous_action_is_a_memory():
    """R2D2 without memory carries the cue of a short chain through its own actions, if it sees them."""

    def returns(*inputs):
        default = default_run("r2d2")
        options = {"env_options": {"length": 4}, "model": "mlp", "inputs": inputs, "features": 32}
        agent = build_agent(dataclasses.replace(default, **options))

        def run(key):
            state = agent.train(key, agent.warmup(key, agent.init(key), 2_000), num_steps=60_000)
            return lox.spool(agent.evaluate)(key, state, num_episodes=50)[1]["returned_episode_returns"].mean()

        return compile_for_long(jax.vmap(run))(jax.random.split(jax.random.key(0), 3))

    with_it, without = returns("observation", "action"), returns("observation")
    assert with_it.max() > 0.9, with_it
    assert (jnp.abs(without) < 0.5).all(), without

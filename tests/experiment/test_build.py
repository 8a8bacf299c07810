import sys

import jax
import jax.numpy as jnp
import optax
import pytest

from memorax.algorithms import DQNConfig, PPOConfig, SACConfig
from memorax.core.spaces import Box, Dict, Discrete, MultiDiscrete
from memorax.environments import MissingExtraError
from memorax.experiment import RunConfig, build_agent
from memorax.experiment.build import gradient_steps, observation_extractor, policy_head
from memorax.networks import heads
from memorax.networks.sequence_models import MODELS

SMALL = PPOConfig(num_envs=6, num_steps=5, num_minibatches=2, update_epochs=3)


def config(hyperparameters=SMALL, **fields):
    defaults = {"algorithm": "ppo", "env": "memory::RepeatPreviousEasy", "features": 7}
    return RunConfig(**(defaults | fields), hyperparameters=hyperparameters)


@pytest.mark.parametrize("model", list(MODELS))
def test_every_memory_model_makes_an_agent(model):
    agent = build_agent(config(model=model))
    assert agent.recurrent != MODELS.get(model).memoryless
    assert agent.networks.shared


def test_the_trunk_is_shared_only_where_asked_for():
    assert not build_agent(config(share_trunk=False)).networks.shared


def test_options_reach_the_environment():
    agent = build_agent(config(env="memory::TMaze", env_options={"length": 5}))
    assert agent.vector_env.env_params.length == 5
    with pytest.raises(TypeError, match="`lenth` is not an argument of `memory::TMaze`; it takes: length"):
        build_agent(config(env="memory::TMaze", env_options={"lenth": 5}))


def test_previous_action_and_reward_are_fed():
    extractor = build_agent(config()).networks.actor.network.feature_extractor
    assert extractor.action_extractor is not None
    assert extractor.reward_extractor is not None
    assert extractor.mask_at_start


@pytest.mark.parametrize(
    "space",
    [
        Box(-1.0, 1.0, (4,)),
        Box(-1.0, 1.0, (3, 5)),
        Box(0, 255, (84, 80, 3), jnp.uint8),
        Box(0.0, 1.0, (9, 11, 2)),
        Box(0, 9, (), jnp.int32),
        Discrete(13),
        MultiDiscrete((2, 3)),
        Dict({"position": Box(-1.0, 1.0, (2,)), "card": Discrete(5)}),
        Dict({"hand": Box(-1.0, 1.0, (2,)), "action_mask": Box(0, 1, (6,), jnp.int32)}),
        Dict({"a": Discrete(2), "b": Discrete(3), "action_mask": Box(0, 1, (6,), jnp.int32)}),
    ],
    ids=repr,
)
def test_every_observation_becomes_a_vector(space):
    observation = jax.tree.map(lambda x: jnp.broadcast_to(x, (2, 3, *x.shape)), space.sample(jax.random.key(0)))
    if isinstance(space, Dict) and "action_mask" in space.spaces:
        del observation["action_mask"]
        observation = next(iter(observation.values())) if len(observation) == 1 else observation
    module = observation_extractor(space, 7)
    features = jax.eval_shape(lambda key: module.init_with_output(key, observation)[0], jax.random.key(0))
    assert (features.shape, features.dtype) == ((2, 3, 7), jnp.float32)


def test_the_head_follows_from_the_action_space():
    assert policy_head(Discrete(5), "x") == heads.Categorical(action_dim=5)
    assert policy_head(Box(-1.0, 1.0, (3,)), "x") == heads.Gaussian(action_dim=3)


@pytest.mark.parametrize("space", [MultiDiscrete((2, 3)), Box(-1.0, 1.0, (2, 3))])
def test_an_action_space_that_no_head_serves_is_refused(space):
    with pytest.raises(
        TypeError, match=r"`env` must have Discrete actions or a one-dimensional Box .*, got .* of some::Task"
    ):
        policy_head(space, "some::Task")


def test_annealing_ends_with_the_last_gradient_step():
    # 7 updates of 6 * 5 steps, 3 epochs of 2 minibatches each.
    assert gradient_steps(config(steps=7 * 30 + 29)) == 7 * 6


REPLAY = {"num_envs": 3, "train_frequency": 4, "batch_size": 2, "buffer_size": 200, "target_update_frequency": 8}


@pytest.mark.parametrize(
    ("fields", "run"),
    [
        ({"learning_starts": 50}, {"steps": 120}),
        ({"learning_starts": 50}, {"steps": 120, "warmup": 32}),
        ({"learning_starts": 1, "sequence_length": 9}, {"steps": 125, "model": "gru"}),
        ({"learning_starts": 1}, {"steps": 96, "warmup": 60}),
    ],
)
def test_annealing_of_replay_begins_where_learning_begins(fields, run):
    run = config(
        DQNConfig(**REPLAY, **fields), **({"algorithm": "dqn", "model": "mlp"} | run), anneal_learning_rate=True
    )
    agent, key = build_agent(run), jax.random.key(0)

    def taken(state):
        state = agent.train(key, agent.warmup(key, state, run.warmup), run.steps)
        return optax.tree_utils.tree_get(state.learner.online.opt_state[1][0], "count")

    assert jax.jit(lambda key: taken(agent.init(key)))(key) == gradient_steps(run)


def test_annealing_counts_every_gradient_step_of_an_update():
    run = config(SACConfig(**REPLAY, learning_starts=50, gradient_steps=2), algorithm="sac", steps=120, model="mlp")
    # 10 times 4 steps of 3 environments with 3 updates each; 50 transitions are there after 5 of them.
    assert gradient_steps(run) == 2 * 3 * 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"env": "memory::RepeatPreviosEasy"}, "unknown environment .*nearest: memory::RepeatPreviousEasy"),
        ({"env": "memry::RepeatPreviousEasy"}, "unknown namespace `memry`.*nearest: memory"),
        ({"env": "RepeatPreviousEasy"}, "did you mean `memory::RepeatPreviousEasy`"),
        ({"model": "gruu"}, "unknown memory model `gruu`; nearest: gru"),
        ({"algorithm": "pp"}, "unknown algorithm `pp`; nearest: ppo"),
        (
            {"hyperparameters": PPOConfig(num_envs=6, num_minibatches=4)},
            r"`num_minibatches` \(4\) must divide `num_envs` \(6\) for recurrent networks; try ",
        ),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        build_agent(config(**fields))


def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch):
    # The adapter too, which another test may have imported before.
    for name in [name for name in sys.modules if "gymnax" in name.split(".")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gymnax", None)
    with pytest.raises(MissingExtraError, match=r"run `pip install memorax\[gymnax\]`"):
        build_agent(config(env="gymnax::CartPole-v1"))

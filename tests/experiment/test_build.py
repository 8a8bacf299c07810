import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from memorax.algorithms import DQNConfig, PPOConfig, SACConfig, StreamACConfig
from memorax.core.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from memorax.core.types import Timestep
from memorax.environments import MissingExtraError
from memorax.experiment import RunConfig, build_agent
from memorax.experiment.build import gradient_steps
from memorax.experiment.modules import observation_extractor, policy_head, value_head
from memorax.networks import FeatureExtractor, heads
from memorax.networks.sequence_models import MODELS
from memorax.testing.probe_environments import Clock

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
        Box(0, 1, (), jnp.bool_),
        Box(0.0, 1.0, ()),
        Box(0, 255, (84, 80), jnp.uint8),
        MultiBinary((2, 3)),
        Tuple([Box(0, 9, (), jnp.int32), Box(0, 1, (), jnp.bool_), Discrete(3)]),
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
    extractor = FeatureExtractor(module)
    timestep = Timestep(observation, *jnp.zeros((2, 2, 3)), jnp.zeros((2, 3), bool))
    features = jax.eval_shape(lambda key: extractor.init_with_output(key, timestep)[0], jax.random.key(0))
    entries = len(observation) if isinstance(observation, dict | tuple) else 1
    assert (features.shape, features.dtype) == ((2, 3, 7 * entries), jnp.float32)


def test_every_entry_has_an_extractor_of_its_own():
    picture, empty = Box(0, 255, (12, 10, 3), jnp.uint8), Box(0.0, 1.0, (0,))
    inner = Tuple([Box(0.0, 1.0, ()), Box(0, 255, (40, 38), jnp.uint8)])
    space = Dict({"picture": picture, "speed": Box(-1.0, 1.0, (2,)), "card": Discrete(5), "more": inner, "no": empty})
    module = observation_extractor(space, 7)
    observation = jax.tree.map(lambda x: jnp.broadcast_to(x, (2, 3, *x.shape)), space.sample(jax.random.key(0)))
    features, variables = module.init_with_output(jax.random.key(0), observation)
    assert features.shape == (2, 3, 5 * 7)
    shapes = {
        jax.tree_util.keystr(path, simple=True, separator="/"): x.shape
        for path, x in jax.tree_util.tree_leaves_with_path(variables["params"])
    }
    kernels = {name: shape for name, shape in shapes.items() if "kernel" in name or "embedding" in name}
    assert kernels["extractors_card/embedding"] == (5, 7)
    assert kernels["extractors_speed/Dense_0/kernel"] == (2, 7)
    assert kernels["extractors_picture/layers_0/Conv_0/kernel"] == (3, 3, 3, 16)
    assert kernels["extractors_more/extractors_0/Dense_0/kernel"] == (1, 7)
    assert kernels["extractors_more/extractors_1/layers_1/Conv_0/kernel"] == (8, 8, 1, 32)
    assert not any("extractors_no" in name for name in kernels)


def test_bytes_of_an_image_in_a_dictionary_are_scaled():
    space = Dict({"picture": Box(0, 255, (12, 10, 3), jnp.uint8), "speed": Box(-1.0, 1.0, (2,))})
    bytes_, floats = observation_extractor(space, 7), observation_extractor(Box(0.0, 1.0, (12, 10, 3)), 7)
    image = jax.random.randint(jax.random.key(1), (2, 3, 12, 10, 3), 0, 256).astype(jnp.uint8)
    seen = {"picture": image, "speed": jnp.zeros((2, 3, 2))}
    features, variables = bytes_.init_with_output(jax.random.key(0), seen)
    own = {"params": variables["params"]["extractors_picture"]}
    np.testing.assert_allclose(features[..., :7], floats.apply(own, image / 255.0), rtol=1e-5)


@pytest.mark.parametrize("space", [Box(0.0, 1.0, (0,)), Tuple([Box(0.0, 1.0, (2, 0))])], ids=repr)
def test_observations_without_a_number_are_refused(space):
    with pytest.raises(ValueError, match="`env` must have observations of at least one number, got"):
        observation_extractor(space, 7)


def test_the_head_follows_from_the_action_space():
    assert policy_head(Discrete(5), "x") == heads.Categorical(action_dim=5)
    assert policy_head(Box(-1.0, 1.0, (3,)), "x") == heads.Gaussian(action_dim=3)
    assert policy_head(Box(-1.0, 1.0, (3, 2)), "x") == heads.Gaussian(action_dim=6)
    assert policy_head(Box(-1.0, 1.0, ()), "x") == heads.Gaussian(action_dim=1)
    assert policy_head(MultiDiscrete((2, 3)), "x") == heads.MultiCategorical(nvec=(2, 3))
    assert policy_head(MultiBinary((2, 2)), "x") == heads.MultiCategorical(nvec=(2, 2, 2, 2))
    nested = policy_head(Dict({"a": Discrete(2), "b": Tuple([Box(0.0, 1.0, ())])}), "x")
    assert nested == heads.Hybrid({"a": heads.Categorical(2), "b": heads.Hybrid((heads.Gaussian(1),))})
    assert value_head(Discrete(5), "x") == heads.DiscreteQNetwork(action_dim=5)
    assert value_head(MultiDiscrete((2, 3)), "x") == heads.BranchingQNetwork(nvec=(2, 3))


@pytest.mark.parametrize("space", [Box(0, 5, (2,), jnp.int32), Box(0.0, 1.0, (0,)), Dict({"a": Box(0, 5, (), int)})])
def test_an_action_space_that_no_head_serves_is_refused(space):
    with pytest.raises(
        TypeError, match=r"`env` must have actions in Discrete, .* a floating-point Box, .* of some::Ta"
    ):
        policy_head(space, "some::Task")


@pytest.mark.parametrize("space", [Box(-1.0, 1.0, (2,)), Dict({"a": Discrete(2)})])
def test_an_action_space_without_finitely_many_choices_is_refused_for_values(space):
    with pytest.raises(
        TypeError, match=r"`env` must have Discrete, MultiDiscrete or MultiBinary actions .* such as pp"
    ):
        value_head(space, "some::Task")


MULTIPLE = {"multi": MultiDiscrete((2, 3)), "hybrid": Dict({"a": Discrete(2), "b": Box(-1.0, 1.0, ())})}


def multiple(kind):
    return Clock(action_space=MULTIPLE[kind])


def hybrid():
    return multiple("hybrid")


def multi():
    return multiple("multi")


@pytest.mark.parametrize("kind", MULTIPLE)
def test_the_command_line_acts_in_several_parts(kind):
    agent = build_agent(config(env=f"tests.experiment.test_build:{kind}", share_trunk=False))
    state = jax.eval_shape(agent.init, jax.random.key(0))
    jax.eval_shape(lambda state: agent.train(jax.random.key(0), state, agent.steps_per_update), state)


@pytest.mark.parametrize(
    ("algorithm", "kind", "hyperparameters", "message"),
    [
        ("sac", "multi", SACConfig(), "`env` must have actions in Discrete or Box for sac, got MultiDiscrete"),
        ("sac", "hybrid", SACConfig(), "`env` must have actions in Discrete or Box for sac, got Dict"),
        ("dqn", "hybrid", DQNConfig(), "`env` must have Discrete, MultiDiscrete or MultiBinary actions"),
        ("stream_ac", "hybrid", StreamACConfig(), "`env` must have actions of one kind for stream_ac, got Dict"),
    ],
)
def test_what_an_algorithm_cannot_act_in_is_refused(algorithm, kind, hyperparameters, message):
    with pytest.raises(TypeError, match=message):
        build_agent(config(hyperparameters, algorithm=algorithm, env=f"tests.experiment.test_build:{kind}"))


def test_annealing_ends_with_the_last_gradient_step():
    # 7 updates of 6 * 5 steps, 3 epochs of 2 minibatches each.
    assert gradient_steps(config(steps=7 * 30 + 29)) == 7 * 6


REPLAY = {"num_envs": 3, "train_frequency": 4, "batch_size": 2, "buffer_size": 200, "target_update_frequency": 8}


@pytest.mark.parametrize(
    ("fields", "run"),
    [
        pytest.param({"learning_starts": 50}, {"steps": 120}, marks=pytest.mark.slow),
        ({"learning_starts": 50}, {"steps": 120, "warmup": 32}),
        ({"learning_starts": 1, "sequence_length": 9}, {"steps": 125, "model": "gru"}),
        pytest.param({"learning_starts": 1}, {"steps": 96, "warmup": 60}, marks=pytest.mark.slow),
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
    with pytest.raises(MissingExtraError, match=r'run `pip install "memorax\[gymnax\]"`'):
        build_agent(config(env="gymnax::CartPole-v1"))

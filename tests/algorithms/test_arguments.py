"""What every algorithm refuses when it is built, what its constructor tells, and defaults that fit each other."""

import dataclasses
import inspect
import re

import jax
import optax
import pytest
from tests import example_agents as agents
from tests.copied_tasks import Copies

from memorax.acting import Algorithm
from memorax.algorithms import (
    DQN,
    MAPPO,
    PPO,
    PQN,
    R2D2,
    SAC,
    DQNConfig,
    GradientPPO,
    GradientPPOConfig,
    MAPPOConfig,
    PPOConfig,
    PQNConfig,
    R2D2Config,
    SACConfig,
    StreamAC,
    StreamACConfig,
)
from memorax.learning import default_buffer
from memorax.learning.train_state import check_optimizers
from memorax.testing.probe_environments import Clock

CONFIGS = {
    DQN: DQNConfig,
    GradientPPO: GradientPPOConfig,
    MAPPO: MAPPOConfig,
    PPO: PPOConfig,
    PQN: PQNConfig,
    R2D2: R2D2Config,
    SAC: SACConfig,
    StreamAC: StreamACConfig,
}
by_algorithm = pytest.mark.parametrize("algorithm", CONFIGS, ids=lambda cls: cls.__name__)
SIZES = [2**i for i in range(13)]


def build(algorithm, config=None, optimizer=None):
    """Give an algorithm an environment, and None or an optimizer for everything else that it asks for."""
    names = list(inspect.signature(algorithm).parameters)[3:]
    required = [
        name for name in names if inspect.signature(algorithm).parameters[name].default is inspect.Parameter.empty
    ]
    given = {name: optimizer if name.endswith("optimizer") else None for name in required}
    env = Copies(Clock(), 2) if algorithm is MAPPO else Clock()
    return algorithm(CONFIGS[algorithm]() if config is None else config, env, None, **given)


@by_algorithm
def test_only_the_algorithms_own_configuration_is_taken(algorithm):
    own = CONFIGS[algorithm]
    other = PQNConfig if own is not PQNConfig else DQNConfig
    for config, got in (
        (other(), f"{other.__name__}("),
        (own, f"the class {own.__name__}"),
        ({"num_envs": 4}, "{'num"),
    ):
        message = f"`config` of {algorithm.__name__} must be a {own.__name__}, got {got}"
        with pytest.raises(TypeError, match=re.escape(message)):
            build(algorithm, config)


def test_what_works_as_an_optimizer_is_taken():
    check_optimizers(optimizer=optax.MultiSteps(optax.adam(1e-3), 2))


@by_algorithm
@pytest.mark.parametrize("optimizer", [1e-3, None, optax.adam], ids=["a number", "None", "a function"])
def test_only_optimizers_of_optax_are_taken(algorithm, optimizer):
    if algorithm is StreamAC:
        pytest.skip("has no optimizer")
    name = "optimizer" if algorithm in (DQN, R2D2, PQN) else "actor_optimizer"
    with pytest.raises(TypeError, match=f"`{name}` must be an optax optimizer, got .*; write `optax.adam"):
        build(algorithm, optimizer=optimizer)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: agents.dqn(Clock(), "mlp", arguments={"epsilon_schedule": 0.1}), "epsilon_schedule"),
        (lambda: agents.pqn(Clock(), "mlp", epsilon_schedule=0.1), "epsilon_schedule"),
        (lambda: agents.r2d2(Clock(), "mlp", arguments={"beta_schedule": 0.1}), "beta_schedule"),
    ],
)
def test_a_number_is_no_schedule(make, argument):
    message = f"`{argument}` must be a function of the number of transitions, got 0.1; write `optax.constant_schedule"
    with pytest.raises(TypeError, match=re.escape(message)):
        make()


@by_algorithm
def test_the_constructor_tells_its_arguments(algorithm):
    """By name, type and description."""
    parameters = inspect.signature(algorithm).parameters
    assert list(parameters)[:3] == ["config", "env", "env_params"]
    assert parameters["config"].annotation is CONFIGS[algorithm]
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters.values())
    arguments = inspect.getdoc(algorithm).split("\nArgs:\n")[1].split("\nRaises:\n")[0]
    assert re.findall(r"^    (\w+):", arguments, re.MULTILINE) == list(parameters)


@by_algorithm
def test_classes_are_few(algorithm):
    """The algorithm, its driver and `Algorithm`; one more for a variant."""
    own = [cls for cls in algorithm.__mro__ if issubclass(cls, Algorithm)]
    assert len(own) <= (4 if algorithm in (GradientPPO, R2D2) else 3)


@by_algorithm
@pytest.mark.parametrize("recurrent", [False, True])
def test_every_number_of_environments_is_served_by_the_other_defaults(algorithm, recurrent):
    for num_envs in SIZES:
        config = CONFIGS[algorithm](num_envs=num_envs)
        if hasattr(config, "minibatches"):
            assert config.minibatches(recurrent) >= 1
        elif hasattr(config, "train_frequency"):
            buffer = default_buffer(config, recurrent, getattr(config, "n_step", 1))
            assert buffer.layout.rows == num_envs


@pytest.mark.parametrize(
    ("config", "recurrent", "number"),
    [
        (PPOConfig(), True, 4),
        (PPOConfig(num_envs=2), True, 2),
        (PPOConfig(num_envs=1), False, 4),
        (PPOConfig(num_envs=9), True, 3),
        (PQNConfig(), True, 16),
        (PQNConfig(num_envs=8), True, 8),
        (PQNConfig(num_envs=8), False, 16),
        (PQNConfig(num_envs=8, refresh_targets=True), False, 8),
        (PQNConfig(num_envs=12, num_minibatches=6), True, 6),
        (GradientPPOConfig(num_envs=1, num_steps=48, truncation_length=16), True, 3),
        (GradientPPOConfig(num_envs=1, num_steps=48), True, 1),
    ],
    ids=lambda x: str(x) if not dataclasses.is_dataclass(x) else f"{type(x).__name__} {x.num_envs}",
)
def test_the_number_of_minibatches_is_the_usual_one_or_the_largest_divisor_below(config, recurrent, number):
    assert config.minibatches(recurrent) == number


def test_an_agent_of_few_environments_trains_by_the_defaults():
    agent = agents.ppo(Clock(), num_envs=2, num_steps=3, num_minibatches=None)
    assert agent.num_minibatches == 2
    state = jax.eval_shape(lambda key: agent.train(key, agent.init(key), 6), jax.random.key(0))
    assert state.step.low.shape == ()


def test_the_replay_buffer_grows_with_the_environments():
    assert default_buffer(R2D2Config(num_envs=8), True, 5).layout.max_length == 100_000
    # Sequences of 80 steps start at every 34th, so a row has three periods at least.
    assert default_buffer(R2D2Config(num_envs=4096), True, 5).layout.max_length == 4096 * 3 * 34
    assert default_buffer(DQNConfig(learning_starts=200_000), True, 1).layout.max_length == 200_000

"""Optimizers, schedules, reward scale: what they do, and that a run without them is as it was."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from memorax import lox
from memorax.acting import StepCount
from memorax.algorithms import ALGORITHMS, DQNConfig, PPOConfig
from memorax.cli.train import train_options
from memorax.experiment import OPTIMIZERS, RunConfig, build_agent, default_run
from memorax.experiment.build import gradient_steps
from memorax.experiment.config_file import from_dict, to_dict
from memorax.experiment.optimizers import make_optimizer
from memorax.experiment.schedules import Schedule, read_schedule

PARAMS = {"kernel": jnp.arange(6.0).reshape(2, 3) - 2.0, "bias": jnp.ones(3)}
GRADIENTS = jax.tree.map(lambda x: 0.3 * jnp.cos(x), PARAMS)


def run(**fields):
    return dataclasses.replace(default_run("ppo"), **fields)


def steps(optimizer, count=3):
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(count):
        updates, state = optimizer.update(GRADIENTS, state, params)
        params = optax.apply_updates(params, updates)
    return params


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def differ(a, b):
    return any(not np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


EXPECTED = {
    "adam": lambda rate: optax.adam(rate, eps=1e-5),
    "adamw": lambda rate: optax.adamw(rate, eps=1e-5),
    "lion": optax.lion,
    "muon": optax.contrib.muon,
    "radam": lambda rate: optax.radam(rate, eps=1e-5),
    "rmsprop": lambda rate: optax.rmsprop(rate, decay=0.99, eps=1e-5),
    "sgd": optax.sgd,
}


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_optimizers_are_those_of_optax_after_clipping(name):
    made = make_optimizer(run(optimizer=name, learning_rate=0.02, max_grad_norm=0.4), lambda: 100)
    assert_equal(steps(made), steps(optax.chain(optax.clip_by_global_norm(0.4), EXPECTED[name](0.02))))


@pytest.mark.parametrize("name", ["adamw", "lion", "muon"])
def test_weight_decay_reaches_the_optimizer(name):
    none, much = (make_optimizer(run(optimizer=name, weight_decay=decay), lambda: 100) for decay in (0.0, 5.0))
    assert differ(steps(none), steps(much))


@pytest.mark.parametrize("name", ["adam", "radam", "rmsprop", "sgd"])
def test_weight_decay_without_effect_is_refused(name):
    with pytest.raises(ValueError, match=f"`weight_decay` must be None with `optimizer={name}`, got 0.1; choose adamw"):
        run(optimizer=name, weight_decay=0.1)


def test_the_critic_may_have_a_learning_rate_of_its_own():
    config = run(critic_learning_rate=0.5, learning_rate=0.1)
    assert_equal(
        steps(make_optimizer(config, lambda: 9, "critic_learning_rate")),
        steps(make_optimizer(run(learning_rate=0.5), lambda: 9)),
    )
    assert_equal(steps(make_optimizer(config, lambda: 9)), steps(make_optimizer(run(learning_rate=0.1), lambda: 9)))
    assert_equal(
        steps(make_optimizer(run(learning_rate=0.1), lambda: 9, "critic_learning_rate")),
        steps(make_optimizer(config, lambda: 9)),
    )


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(OPTIMIZERS, "_entries", dict(OPTIMIZERS._entries))
    return OPTIMIZERS


def test_any_transformation_of_optax_can_be_asked_for_by_name(own):
    own.register("mine", lambda learning_rate: optax.chain(optax.trace(0.9), optax.scale(-learning_rate)))
    config = from_dict(to_dict(run(optimizer="mine", learning_rate=0.1)))
    expected = optax.chain(optax.clip_by_global_norm(0.5), optax.trace(0.9), optax.scale(-0.1))
    assert_equal(steps(make_optimizer(config, lambda: 9)), steps(expected))
    own.register("wrong", lambda learning_rate: learning_rate)
    with pytest.raises(TypeError, match=r"optimizer `wrong` must make an optax optimizer, got 0\.1"):
        make_optimizer(run(optimizer="wrong", learning_rate=0.1), lambda: 9)


def test_unknown_optimizers_are_refused():
    with pytest.raises(ValueError, match="unknown optimizer `adan`; nearest: adam"):
        build_agent(run(optimizer="adan"))


@pytest.mark.parametrize(
    ("algorithm", "fields", "message"),
    [
        ("dqn", {"critic_learning_rate": 0.1}, "`critic_learning_rate` has no effect on dqn; leave it out"),
        ("stream_ac", {"optimizer": "sgd"}, "`optimizer` has no effect on stream_ac"),
        ("stream_ac", {"schedules": {"learning_rate": "linear"}}, "`learning_rate` has no effect on stream_ac"),
    ],
)
def test_options_without_effect_are_refused(algorithm, fields, message):
    with pytest.raises(ValueError, match=message):
        build_agent(dataclasses.replace(default_run(algorithm), **fields))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("constant", [2.0, 2.0, 2.0, 2.0, 2.0]),
        ("linear", [2.0, 1.5, 1.0, 0.5, 0.0]),
        ("linear:1", [2.0, 1.75, 1.5, 1.25, 1.0]),
        ("cosine", [2.0, 1.0 + np.sqrt(0.5), 1.0, 1.0 - np.sqrt(0.5), 0.0]),
        ("cosine:1", [2.0, 1.5 + np.sqrt(0.125), 1.5, 1.5 - np.sqrt(0.125), 1.0]),
        ("constant::0.5", [0.0, 1.0, 2.0, 2.0, 2.0]),
        ("linear:1:0.5", [0.0, 1.0, 2.0, 1.5, 1.0]),
        ("linear::0.25", [0.0, 2.0, 4.0 / 3.0, 2.0 / 3.0, 0.0]),
    ],
)
def test_schedules_go_where_they_say(text, expected):
    value = read_schedule("gamma", text).values(2.0, 0.0)
    np.testing.assert_allclose([value(x) for x in (0.0, 0.25, 0.5, 0.75, 1.0)], expected, atol=1e-6)
    np.testing.assert_allclose([value(-1.0), value(2.0)], [expected[0], expected[-1]], atol=1e-6)


@pytest.mark.parametrize(
    ("schedules", "error", "message"),
    [
        ({"learning_rate": "sine"}, ValueError, "`learning_rate` of `schedules` must be constant, linear, cosine"),
        ({"learning_rate": "linear:x"}, ValueError, "must have numbers after the colons, got linear:x"),
        ({"learning_rate": "linear:-1"}, ValueError, "must end at a finite number of at least 0, got linear:-1"),
        ({"learning_rate": "linear:0:1"}, ValueError, r"must be a fraction in \[0, 1\), got linear:0:1"),
        ({"learning_rate": "linear:0:0:0"}, ValueError, "must be constant, linear, cosine"),
        ({"learning_rate": 3}, TypeError, "`schedules` must map names to texts"),
        (
            {"epsilon": "linear"},
            ValueError,
            "must be of learning_rate, .*, value_coefficient with this algorithm, got eps",
        ),
        ("linear", TypeError, "`schedules` must map names to texts such as"),
    ],
)
def test_what_is_no_schedule_is_refused(schedules, error, message):
    with pytest.raises(error, match=message):
        run(schedules=schedules)


def test_annealing_is_the_linear_schedule():
    for name in ("learning_rate", "critic_learning_rate"):
        old = make_optimizer(run(anneal_learning_rate=True), lambda: 5, name)
        new = make_optimizer(run(schedules={"learning_rate": "linear"}), lambda: 5, name)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), steps(old, 7), steps(new, 7))
    with pytest.raises(ValueError, match="`anneal_learning_rate` must be off where `schedules` has `learning_rate`"):
        run(anneal_learning_rate=True, schedules={"learning_rate": "cosine"})


def test_schedules_are_read_from_the_command_line():
    config, _, how = train_options(["dqn", "--schedules", "learning_rate=cosine:0:0.1", "epsilon=cosine"])
    assert config.schedules == {"learning_rate": "cosine:0:0.1", "epsilon": "cosine"}
    assert from_dict(to_dict(config)) == config
    assert {name: value for name, value in how.items() if value} == {"fork_step": "last"}


@pytest.mark.parametrize(
    "algorithm", [name for name in ALGORITHMS if hasattr(ALGORITHMS.get(name)[1](), "epsilon_start")]
)
def test_epsilon_follows_its_schedule(algorithm):
    default = default_run(algorithm)
    own = dataclasses.replace(default.hyperparameters, epsilon_start=0.8, epsilon_end=0.2, epsilon_steps=100)
    agent = build_agent(dataclasses.replace(default, hyperparameters=own, schedules={"epsilon": "cosine"}))
    np.testing.assert_allclose(
        [agent.epsilon_schedule(jnp.float32(x)) for x in (0, 50, 100, 900)], [0.8, 0.5, 0.2, 0.2]
    )
    usual = build_agent(dataclasses.replace(default, hyperparameters=own))
    np.testing.assert_allclose(
        [usual.epsilon_schedule(jnp.float32(x)) for x in (0, 50, 100)], [0.8, 0.5, 0.2], rtol=1e-6
    )


def test_hyperparameters_are_what_their_schedules_say():
    own = PPOConfig(num_envs=2, num_steps=6, num_minibatches=1)
    schedules = {"entropy_coefficient": "linear:0.002", "gamma": "cosine:0.9", "max_grad_norm": "linear:1"}
    agent = build_agent(run(features=4, steps=120, hyperparameters=own, schedules=schedules))
    start = agent.init(jax.random.key(0)).with_hyperparameters(gamma=0.8)
    for fraction in (0.0, 0.25, 1.0):
        state = dataclasses.replace(start, step=StepCount.of(int(120 * fraction)))
        bound = agent.bound(state)
        np.testing.assert_allclose(bound.config.entropy_coefficient, 0.01 - 0.008 * fraction, rtol=1e-5)
        cosine = 0.5 * (1 + np.cos(np.pi * fraction))
        np.testing.assert_allclose(bound.config.gamma, 0.9 + (0.8 - 0.9) * cosine, rtol=1e-5)
        clip = bound.optimizers["critic"].values["max_grad_norm"]
        np.testing.assert_allclose(clip, 0.5 + 0.5 * fraction, rtol=1e-5)
    assert agent.config.gamma == 0.99
    after, logs = lox.spool(agent.train)(jax.random.key(1), start, 24)
    np.testing.assert_allclose(logs["schedules/entropy_coefficient"], [0.01, 0.01 - 0.0008], rtol=1e-5)
    assert_equal(after.hyperparameters, start.hyperparameters)


def test_a_schedule_ends_at_a_value_that_is_allowed():
    with pytest.raises(ValueError, match=r"`gamma` of `schedules` must end at a value .* linear:END \(`gamma` must be"):
        run(schedules={"gamma": "linear:1.5"})


SMALL = {
    "ppo": {"num_envs": 2, "num_steps": 6, "num_minibatches": 1, "update_epochs": 2},
    "mappo": {"num_envs": 2, "num_steps": 6, "num_minibatches": 1, "update_epochs": 2},
    "gradient_ppo": {"num_envs": 2, "num_steps": 8, "num_minibatches": 1, "update_epochs": 2, "truncation_length": 4},
    "stream_ac": {"num_envs": 2},
}


def learned(algorithm, **fields):
    default = default_run(algorithm)
    own = dataclasses.replace(default.hyperparameters, **SMALL[algorithm])
    config = dataclasses.replace(default, features=4, steps=48, hyperparameters=own, **fields)
    agent = build_agent(config)
    state = agent.init(jax.random.key(0))
    return agent.train(jax.random.key(1), state, num_steps=48).learner


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", list(SMALL))
def test_every_algorithm_follows_a_schedule(algorithm):
    constant = learned(algorithm)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-6),
        constant,
        learned(algorithm, schedules={"entropy_coefficient": "constant"}),
    )
    assert differ(constant, learned(algorithm, schedules={"entropy_coefficient": "linear:100"}))


def test_the_scale_of_rewards_is_that_of_what_is_learned_from():
    config = run(features=4, seeds=1, hyperparameters=PPOConfig(num_envs=2, num_steps=6, num_minibatches=1))
    agents = [build_agent(dataclasses.replace(config, reward_scale=scale)) for scale in (1.0, 0.25)]
    key = jax.random.key(0)
    state = agents[0].init(key)
    transitions = [agent.rollout(key, state, 6)[1] for agent in agents]
    assert_equal(*transitions)  # what networks see and what is logged
    seen = [agent.normalizer.transition(None, transitions[0]) for agent in agents]
    np.testing.assert_array_equal(0.25 * seen[0].reward, seen[1].reward)
    np.testing.assert_array_equal(seen[0].inputs.reward, seen[1].inputs.reward)


@pytest.mark.slow
def test_the_scale_of_rewards_changes_what_is_learned():
    env = {"env": "memory::RepeatPreviousEasy"}
    scaled, plain = (learned("ppo", reward_scale=scale, **env) for scale in (3.0, 1.0))
    assert differ(scaled, plain)


def test_the_defaults_of_dqn_know_no_entropy():
    with pytest.raises(ValueError, match=r"`schedules` must be of learning_rate, .*, epsilon, gamma, .* with this"):
        RunConfig(algorithm="dqn", env="x", hyperparameters=DQNConfig(), schedules={"entropy_coefficient": "linear"})
    assert Schedule("constant").end is None
    assert gradient_steps(default_run("ppo")) > 1

"""Hyperparameters are data: what is in the state decides, nothing is compiled again, settings are mapped over."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests import example_agents as agents

from memorax.acting import NormalizationConfig
from memorax.acting.state import State
from memorax.algorithms import GradientPPO, R2D2Config
from memorax.buffers import make_prioritised_episode_buffer
from memorax.core import hyperparameters
from memorax.core.checks import check_fields, real
from memorax.core.hyperparameters import FromConfig, bind_config, config_values, real_fields
from memorax.core.types import weak
from memorax.environments.multi_agent import RollCall
from memorax.learning import AdjustableOptimizer
from memorax.testing.probe_environments import Clock

MAKE = {
    "ppo": partial(agents.ppo, normalize_rewards=True),
    "gradient_ppo": agents.gradient_ppo,
    "mappo": lambda _, torso, **config: agents.mappo(RollCall(delay=1), torso, share_parameters=True, **config),
    "pqn": agents.pqn,
    "dqn": agents.dqn,
    "r2d2": agents.r2d2,
    "sac": agents.sac,
    "stream_ac": agents.stream_ac,
}


@dataclasses.dataclass(frozen=True)
class Config(NormalizationConfig):
    gamma: float = 0.9
    limit: float | None = None
    dropout: float = 0.5
    size: int = 3
    static = ("dropout",)

    def __post_init__(self):
        super().__post_init__()
        check_fields(self, gamma=real(0, 1))


def test_real_numbers_are_hyperparameters_unless_they_decide_about_the_program():
    assert real_fields(Config) == ("gamma", "limit", "dropout")
    assert config_values(Config()) == {"gamma": 0.9}
    assert config_values(Config(limit=2.0)) == {"gamma": 0.9, "limit": 2.0}
    assert config_values(object()) == {}


def test_a_bound_configuration_is_not_checked_again_and_the_old_one_stays():
    config = Config()
    bound = bind_config(config, {"gamma": jnp.float32(1.5), "dropout": jnp.float32(0), "unknown": jnp.float32(0)})
    assert float(bound.gamma) == 1.5
    assert (config.gamma, bound.dropout, bound.size) == (0.9, 0.5, 3)
    assert FromConfig(lambda config, x: config.gamma * x, config).with_hyperparameters({"gamma": 0.5})(4.0) == 2.0


def test_numbers_are_bound_in_the_order_of_the_fields(monkeypatch):
    """In any other order, the same job is another program in another process, and is compiled again."""
    names, seen = [f"number_{i}" for i in range(12)], []
    config = dataclasses.make_dataclass("Many", [(name, float, 0.5) for name in names], frozen=True)()
    monkeypatch.setattr(hyperparameters, "weak", lambda value: seen.append(value) or value)
    bind_config(config, {name: name for name in reversed(names)})
    assert seen == names


def test_a_bound_number_keeps_the_type_of_what_it_is_multiplied_with():
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
        assert jax.eval_shape(lambda x, dtype=dtype: weak(x) * jnp.ones(2, dtype), jnp.float32(0.1)).dtype == dtype


def adam(learning_rate, max_grad_norm):
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), optax.adam(learning_rate))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_an_adjustable_optimizer_is_the_one_of_its_numbers(dtype):
    params, gradients = {"w": jnp.arange(3, dtype=dtype)}, {"w": jnp.array([3, -1, 2], dtype)}
    given = {"learning_rate": 0.1, "max_grad_norm": 0.5}
    optimizer = AdjustableOptimizer(adam, {"learning_rate": 5.0, "max_grad_norm": 9.0})
    state = optimizer.init(params)

    def update(values, state):
        return optimizer.with_hyperparameters(values).update(gradients, state, params)

    traced = jax.jit(update)({name: jnp.float32(x) for name, x in given.items()}, state)
    plain = adam(**given)
    expected = plain.update(gradients, plain.init(params), params)
    assert jax.tree.map(lambda x: x.dtype, traced) == jax.tree.map(lambda x: x.dtype, expected)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-2 if dtype == jnp.bfloat16 else 1e-6), traced, expected)
    assert optimizer.hyperparameters() == {"learning_rate": 5.0, "max_grad_norm": 9.0}


@pytest.mark.parametrize("name", ["critic_optimizer", "h_optimizer"])
def test_two_optimizers_cannot_share_a_number_of_which_they_have_two_values(name):
    actor = agents.gradient_ppo(Clock(), "mlp")
    networks = actor.networks.actor.network, actor.networks.critic.network
    slow, quick = (AdjustableOptimizer(optax.sgd, {"learning_rate": rate}) for rate in (0.25, 0.5))
    given = {"actor_optimizer": slow, "critic_optimizer": slow, "h_optimizer": slow} | {name: quick}
    message = f"`learning_rate` must be the same in `actor_optimizer` and `{name}`, which share it, got 0.25 and 0.5"
    with pytest.raises(ValueError, match=message):
        GradientPPO(actor.config, Clock(), None, *networks, **given)


def test_a_state_refuses_what_it_does_not_have():
    state = State(None, None, None, hyperparameters={"gamma": jnp.zeros(3, jnp.float32)})
    np.testing.assert_array_equal(state.with_hyperparameters(gamma=0.5).hyperparameters["gamma"], [0.5] * 3)
    with pytest.raises(ValueError, match=r"`gama` must be a hyperparameter of the state, .* these: gamma"):
        state.with_hyperparameters(gama=0.5)


def test_the_priority_exponent_of_the_own_replay_buffer_follows_the_state_and_that_of_a_given_one_does_not():
    own = agents.r2d2(Clock(), "mlp")
    layout = own.buffer.layout
    rows = {"add_sequences": True, "add_batch_size": layout.rows, "period": layout.period}
    sizes = layout.max_length, layout.min_length, layout.sample_batch_size, layout.sample_sequence_length
    given = make_prioritised_episode_buffer(*sizes, **rows, priority_exponent=0.5)
    theirs = agents.r2d2(Clock(), "mlp", arguments={"buffer": given})
    for agent, exponent in ((own, 1.0), (theirs, 0.5)):
        bound = agent.with_hyperparameters({"priority_exponent": jnp.float32(1.0)})
        assert float(bound.buffer.set_priorities.args[1]) == exponent
    assert own.buffer.set_priorities.args[1] == R2D2Config().priority_exponent


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", list(MAKE))
def test_what_is_in_the_state_decides(algorithm):
    """A value in the state equals an agent that is built with it; settings in one `vmap` equal each alone; each value
    has an effect; and all of it is one program.
    """
    agent = MAKE[algorithm](Clock(), "mlp")
    key, n = jax.random.key(1), 3 * agent.steps_per_update
    start = agent.init(jax.random.key(0))
    if hasattr(agent, "buffer"):
        start = agent.warmup(key, start, 60)
    names = sorted(start.hyperparameters)
    assert names == sorted(config_values(agent.config))
    moved = {name: np.float32(0.75 * getattr(agent.config, name)) for name in names}
    settings = [{}, moved, {"gamma": np.float32(0.5)}]
    train, states = jax.jit(lambda state: agent.train(key, state, n)), []
    states = [train(start.with_hyperparameters(**values)) for values in settings]
    assert train._cache_size() == 1

    built = MAKE[algorithm](Clock(), "mlp", **{name: float(x) for name, x in moved.items()})
    jax.tree.map(np.testing.assert_array_equal, built.train(key, start.with_hyperparameters(**moved), n), states[1])
    begun = built.init(jax.random.key(0)).hyperparameters
    jax.tree.map(np.testing.assert_array_equal, begun, states[1].hyperparameters)
    # Without a state that says otherwise, an agent is what it was built with, up to the rounding of constants.
    bare = built.train(key, dataclasses.replace(start, hyperparameters={}), n)
    close(bare.learner, states[1].learner)

    batch = jax.tree.map(lambda *x: jnp.stack(x), *(start.with_hyperparameters(**values) for values in settings))
    together = jax.vmap(lambda state: agent.train(key, state, n))(batch)
    for i, alone in enumerate(states):
        close(jax.tree.map(lambda x, i=i: x[i], together.learner), alone.learner)

    for name in names:
        if name in WITHOUT_EFFECT.get(algorithm, ()):
            continue
        other = train(start.with_hyperparameters(**{name: jnp.nan}))
        same = jax.tree.map(np.array_equal, (other.learner, other.buffer), (states[0].learner, states[0].buffer))
        assert not all(jax.tree.leaves(same)), f"{name} has no effect"
    assert train._cache_size() == 1


WITHOUT_EFFECT = {}


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4), a, b)

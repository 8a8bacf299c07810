"""What must hold for every algorithm under JAX's transformations and debugging modes.

Each property takes an agent and raises AssertionError where it does not hold.
"""

import copy
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from memorax.testing.comparison import require

_SPEC = PartitionSpec("devices")


def sharded(f: Any) -> Any:
    """Run a function of keys, `[seeds]`, on two devices with half of them each (or on one, where there is no second).

    It is checked that arrays which differ between devices are not mistaken for ones that do not.
    """
    mesh = Mesh(np.array(jax.devices()[:2]), ("devices",))
    return jax.shard_map(f, mesh=mesh, in_specs=_SPEC, out_specs=_SPEC, check_vma=True)


def everything(agent: Any, key: Any) -> Any:
    """Call every method of an agent once."""
    state = agent.train(key, agent.init(key), agent.steps_per_update)
    state = agent.warmup(key, state, 2 * agent.config.num_envs)
    state, transitions = agent.rollout(key, state, 2)
    state = agent.evaluate(key, agent.evaluate(key, state, num_steps=2), num_episodes=2, num_steps=3)
    return state, transitions


def traces_inside_shard_map(agent: Any) -> None:
    """Every method can be called inside `jax.shard_map`, for a key or a state of each device."""

    def of_a_device(keys: Any) -> Any:
        return jax.tree.map(lambda x: x[None], everything(agent, keys[0]))

    try:
        jax.eval_shape(sharded(of_a_device), jax.random.split(jax.random.key(0), 2))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"`shard_map` must be able to trace the agent, got {error}") from error


def learns_the_same_on_every_device(agent: Any) -> None:
    """Seeds that are distributed over devices by `jax.shard_map` equal seeds alone, up to the order of sums."""
    keys, n = jax.random.split(jax.random.key(0), 2), 2 * agent.steps_per_update

    def learn(keys: Any) -> Any:
        return jax.vmap(lambda key: agent.train(key, agent.init(key), n))(keys).learner

    together = jax.device_get(jax.jit(sharded(learn))(keys))
    for i, key in enumerate(keys):
        alone, mine = agent.train(key, agent.init(key), n).learner, jax.tree.map(lambda x, i=i: x[i], together)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4), mine, alone)


def trains_in_donated_memory(agent: Any) -> None:
    """A state may be donated: training overwrites all of it, and gives what it gives without."""
    key, n = jax.random.key(1), agent.steps_per_update
    state = agent.init(key)
    wanted = agent.train(key, state, n).learner
    after = jax.jit(agent.train, static_argnums=2, donate_argnums=1)(key, state, n)
    kept = [jax.tree_util.keystr(path) for path, x in jax.tree.leaves_with_path(state) if not x.is_deleted()]
    require(not kept, f"the whole state must be donated, got the parts {', '.join(kept)} left over")
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4), after.learner, wanted)


def leaks_no_tracers(agent: Any) -> None:
    """Nothing keeps a value of a program that is being traced: `jax_check_tracer_leaks` finds none."""
    with jax.checking_leaks():
        # A copy has no programs yet, so that all are traced again.
        jax.eval_shape(lambda key: everything(copy.copy(agent), key), jax.random.key(0))


def trains_without_compilation(agent: Any) -> None:
    """Under `jax.disable_jit`, step by step, training gives what the compiled program gives, up to rounding."""
    key, n = jax.random.key(1), agent.steps_per_update
    state = agent.init(key)
    wanted = agent.train(key, state, n).learner
    with jax.disable_jit():
        found = agent.train(key, state, n).learner
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4), found, wanted)


PROPERTIES = [
    traces_inside_shard_map,
    learns_the_same_on_every_device,
    trains_in_donated_memory,
    leaks_no_tracers,
    trains_without_compilation,
]
"""What holds for every agent."""

"""What a run computes on the device, all seeds at once: its keys, its initial state, an interval of training."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax import lox
from memorax.core.types import Array, Key, PyTree
from memorax.experiment.run import checkpoint
from memorax.experiment.run.metrics import Interval, reduce_logs
from memorax.experiment.run.python_environments import in_python, python_interval, traceable_init


def seed_keys(seeds: list[int]) -> tuple[Key, Key, Key]:
    """Derive the keys of initialization, training and evaluation, `[seeds]` each, from the seeds' numbers alone."""

    def split(seed: jax.Array) -> Key:
        return jax.random.split(jax.random.key(seed), 3)

    keys = jax.vmap(split)(jnp.asarray(seeds, jnp.uint32))
    return keys[:, 0], keys[:, 1], keys[:, 2]


def initialize(
    agent: Any, init_keys: Key, keys: Key, warmup: int, values: Mapping[str, float] | None = None
) -> tuple[PyTree, np.ndarray]:
    """Initialize the state of all seeds.

    Args:
        agent: The agent.
        init_keys: Keys of initialization, `[seeds]`.
        keys: Keys of training, `[seeds]`; the warmup's randomness is that of step 0.
        warmup: Environment steps of each seed with random actions.
        values: Hyperparameters by name; None for those that the agent was made with.

    Returns:
        The state of all seeds, and the first fault of the warmup, as `faults.first_fault` numbers it, `[seeds]`.
    """
    if in_python(agent):
        state = agent.init(init_keys)
        fault = np.zeros(init_keys.shape[0], np.int8)
        return (agent.warmup(keys, state, warmup) if warmup else state), fault
    state, fault = initialization(agent, warmup)(init_keys, keys, dict(values or {}))
    return state, jax.device_get(fault)


def initialization(agent: Any, warmup: int) -> Callable[[Key, Key, dict[str, Any]], tuple[PyTree, Array]]:
    """Give the program of `initialize`: of keys `[seeds]`, and hyperparameters that all seeds have."""

    def one(init_key: Key, key: Key, values: dict[str, Any]) -> tuple[PyTree, Array]:
        state = agent.init(init_key)
        state = state.with_hyperparameters(**values) if values else state
        if not warmup:
            return state, jnp.zeros((), jnp.int8)
        state, logs = lox.spool(agent.warmup)(key, state, warmup)
        return state, reduce_logs(logs, state.learner).fault

    return jax.jit(jax.vmap(one, in_axes=(0, 0, None)))


def compile_interval(agent: Any, keys: Key, state: PyTree, length: int) -> Callable[..., tuple[PyTree, Interval]]:
    """Compile `length` steps of training of all seeds, with their metrics reduced on the device.

    Args:
        agent: The agent.
        keys: Training keys, `[seeds]`.
        state: Of all seeds, `[seeds, ...]`; its buffers are donated.
        length: Steps of each seed.
    """

    def one(key: Key, state: PyTree) -> tuple[PyTree, Interval]:
        state, logs = lox.spool(agent.train)(key, state, length)
        return state, reduce_logs(logs, state.learner)

    if in_python(agent):
        return python_interval(agent, length)
    return jax.jit(jax.vmap(one), donate_argnums=1).lower(keys, state).compile()


def own_values(agent: Any) -> dict[str, float]:
    """Give the hyperparameters that an agent was made with."""
    return agent.hyperparameters() if hasattr(agent, "hyperparameters") else {}


def restore_state(
    agent: Any,
    init_keys: Key,
    path: Path,
    check: Callable[[dict[str, Any] | None], object],
    values: Mapping[str, float] | None = None,
) -> PyTree:
    """Read the state of all seeds from a checkpoint.

    Args:
        agent: The agent.
        init_keys: Keys of initialization, `[seeds]`.
        path: The checkpoint's folder.
        check: Given what the checkpoint belongs to; raises to refuse it.
        values: Hyperparameters from here on, by name; None for those that the agent was made with.

    Raises:
        ValueError: It is damaged, or of another configuration.
    """
    abstract = jax.eval_shape(jax.vmap(traceable_init(agent)), init_keys)
    values = own_values(agent) if values is None else values
    configured = {
        f"hyperparameters/{name}": np.full(init_keys.shape, value, np.float32) for name, value in values.items()
    }
    state = jax.tree.map(jnp.asarray, checkpoint.restore(path, abstract, check, configured))
    return state.with_hyperparameters(**values) if values else state

"""What a run computes on the device, all seeds at once: its keys, its initial state, an interval of training."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax import lox
from memorax.core.types import Array, Key, PyTree
from memorax.experiment.devices import Devices
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
    agent: Any,
    init_keys: Key,
    keys: Key,
    warmup: int,
    values: Mapping[str, float] | None = None,
    devices: Devices | None = None,
) -> tuple[PyTree, np.ndarray]:
    """Initialize the state of all seeds.

    Args:
        agent: The agent.
        init_keys: Keys of initialization, `[seeds]`.
        keys: Keys of training, `[seeds]`; the warmup's randomness is that of step 0.
        warmup: Environment steps of each seed with random actions.
        values: Hyperparameters by name; None for those that the agent was made with.
        devices: The devices; None for one.

    Returns:
        The state of all seeds, and the first fault of the warmup, as `faults.first_fault` numbers it, `[seeds]`.
    """
    if in_python(agent):
        state = agent.init(init_keys)
        fault = np.zeros(init_keys.shape[0], np.int8)
        return (agent.warmup(keys, state, warmup) if warmup else state), fault
    given = _of_all_seeds(values or {}, init_keys)
    function, devices = initialization(agent, warmup), devices or Devices()
    mapped = devices.each_seed(function)
    with devices.inside():
        shapes, _ = jax.eval_shape(mapped, init_keys, keys, given)
        where = (devices.shardings(shapes), devices.everywhere())
    program = devices.compiled(jax.jit(mapped, out_shardings=where), init_keys, keys, given)
    state, fault = program(init_keys, keys, given)
    return state, jax.device_get(fault)


def initialization(agent: Any, warmup: int) -> Callable[[Key, Key, dict[str, Any]], tuple[PyTree, Array]]:
    """Give what initializes one seed: a function of two keys and of hyperparameters by name, as `initialize` is."""

    def one(init_key: Key, key: Key, values: dict[str, Any]) -> tuple[PyTree, Array]:
        state = agent.init(init_key)
        state = state.with_hyperparameters(**values) if values else state
        if not warmup:
            return state, jnp.zeros((), jnp.int8)
        state, logs = lox.spool(agent.warmup)(key, state, warmup)
        return state, reduce_logs(logs, state.learner).fault

    return one


def compile_interval(
    agent: Any, keys: Key, state: PyTree, length: int, devices: Devices | None = None
) -> Callable[..., tuple[PyTree, Interval]]:
    """Compile `length` steps of training of all seeds, with their metrics reduced on the device.

    Args:
        agent: The agent.
        keys: Training keys, `[seeds]`.
        state: Of all seeds, `[seeds, ...]`; its buffers are donated.
        length: Steps of each seed.
        devices: The devices; None for one.
    """
    devices = devices or Devices()

    def one(key: Key, state: PyTree) -> tuple[PyTree, Interval]:
        state, logs = lox.spool(agent.train)(key, state, length)
        return state, reduce_logs(logs, state.learner)

    if in_python(agent):
        return python_interval(agent, length)
    where = (devices.shardings(state), devices.everywhere())
    return devices.compiled(jax.jit(devices.each_seed(one), donate_argnums=1, out_shardings=where), keys, state)


def restore_state(
    agent: Any,
    init_keys: Key,
    path: Path,
    check: Callable[[dict[str, Any] | None], object],
    values: Mapping[str, float] | None = None,
    devices: Devices | None = None,
) -> PyTree:
    """Read the state of all seeds from a checkpoint.

    Args:
        agent: The agent.
        init_keys: Keys of initialization, `[seeds]`.
        path: The checkpoint's folder.
        check: Given what the checkpoint belongs to; raises to refuse it.
        values: Hyperparameters from here on, by name; None for those that the agent was made with.
        devices: The devices; None for one.

    Raises:
        ValueError: It is damaged, or of another configuration.
    """
    abstract = jax.eval_shape(jax.vmap(traceable_init(agent)), init_keys)
    given = _of_all_seeds(own_values(agent) if values is None else values, init_keys)
    lacking = {f"hyperparameters/{name}": value for name, value in given.items()}
    state = checkpoint.restore(path, abstract, check, lacking)
    return (devices or Devices()).place(dataclasses.replace(state, hyperparameters=given) if given else state)


def own_values(agent: Any) -> dict[str, float]:
    """Give the hyperparameters that an agent was made with."""
    return agent.hyperparameters() if hasattr(agent, "hyperparameters") else {}


def _of_all_seeds(values: Mapping[str, float], keys: Key) -> dict[str, np.ndarray]:
    """Give every seed these hyperparameters, `[seeds]`."""
    return {name: np.full(keys.shape, value, np.float32) for name, value in values.items()}

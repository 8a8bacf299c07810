"""The deterministic step of a policy as a pure function of arrays by name."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.acting import State
from memorax.core.types import Array, PyTree
from memorax.experiment.policy_step import PolicyMemory, act, first_timestep, start_memory
from memorax.experiment.run.checkpoint import flatten

PREVIOUS_ACTION = "previous_action"
"""The name, among those of the carry, of the action that the policy chose before."""

Arrays = dict[str, Array]
"""Arrays by name, `[batch, ...]`."""
Shapes = dict[str, jax.ShapeDtypeStruct]
"""Shapes and dtypes by name, `[...]`: without the axis of the batch."""


class ExportedStep:
    """A policy's deterministic step: `step(carry, observation, reward, episode_start)` gives the action and the carry.

    All arrays are `[batch, ...]`; carry and observation are dictionaries. The parameters are constants.

    Args:
        agent: The agent.
        state: Its state after training, of a single seed.
        hidden: Entries of the observation that acting does without, and that are left out.

    Attributes:
        learned: Its state without environments and replay buffer, on the host.
        initial_carry: The carry before an episode's first step, of one environment.
        observation: Shapes and dtypes of the observation.
        reward: Shape and dtype of the reward; `episode_start` has the same shape.
        action: Shape and dtype of the action.

    Raises:
        TypeError: The actions are nested.
    """

    def __init__(self, agent: Any, state: State, hidden: Sequence[str] = ()) -> None:
        self.agent = agent
        # On the host, so that the parameters are constants for every platform.
        self.learned: State = jax.device_get(dataclasses.replace(state, loop=None, buffer=None))
        first = first_timestep(agent, 1)
        self._observation_structure = jax.tree.structure(first.observation)
        memory = jax.device_get(start_memory(agent, jnp.uint32(0), 1))
        if not isinstance(memory.action, np.ndarray):
            raise TypeError(
                "`policy` must have actions that are a single array to be exported, got the action space "
                f"{agent.vector_env.action_space!r}"
            )
        self._carry_structure = jax.tree.structure(memory.carry)
        arrays = {**flatten({"memory": memory.carry}), PREVIOUS_ACTION: memory.action}
        self.initial_carry: dict[str, np.ndarray] = {name: np.asarray(x)[0] for name, x in arrays.items()}
        self._whole: Shapes = jax.tree.map(_one, flatten({"observation": first.observation}))
        left_out = {f"observation/{name}" for name in hidden}
        self.observation: Shapes = {
            name: x for name, x in self._whole.items() if "/".join(name.split("/")[:2]) not in left_out
        }
        self.reward: jax.ShapeDtypeStruct = _one(first.reward)
        action, _ = jax.eval_shape(self, *self.arguments(1))
        self.action: jax.ShapeDtypeStruct = _one(action)

    def __call__(self, carry: Arrays, observation: Arrays, reward: Array, episode_start: Array) -> tuple[Array, Arrays]:
        """Choose actions; see the class."""
        learned = jax.tree.map(jnp.asarray, self.learned)
        action, carry, _ = self.read(learned, carry, observation, reward, episode_start)
        return action, carry

    def read(
        self, learned: State, carry: Arrays, observation: Arrays, reward: Array, episode_start: Array
    ) -> tuple[Array, Arrays, PyTree]:
        """Choose actions with given parameters; also return what the policy records, its value estimates among it."""
        memory = [carry[name] for name in self.initial_carry if name != PREVIOUS_ACTION]
        before = PolicyMemory(
            jax.tree.unflatten(self._carry_structure, memory),
            carry[PREVIOUS_ACTION],
            jnp.zeros_like(episode_start),
            jnp.uint32(0),
            jnp.uint32(0),
        )
        batch = jax.tree.leaves(observation)[0].shape[0]
        parts = [
            observation[name] if name in self.observation else jnp.zeros((batch, *x.shape), x.dtype)
            for name, x in self._whole.items()
        ]
        seen = jax.tree.unflatten(self._observation_structure, parts)
        action, after, aux = act(self.agent, learned, before, seen, reward, episode_start, "exploit")
        return action, {**flatten({"memory": after.carry}), PREVIOUS_ACTION: after.action}, aux

    def arguments(self, batch: Any) -> tuple[Shapes, Shapes, jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """Give shapes and dtypes of the arguments for a batch, whose size may be symbolic."""

        def rows(x: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((batch, *x.shape), x.dtype)

        start = jax.ShapeDtypeStruct(self.reward.shape, np.dtype(bool))
        return jax.tree.map(rows, (self.initial_carry, self.observation, self.reward, start))


def _one(x: Any) -> jax.ShapeDtypeStruct:
    """Give the shape and dtype of one row."""
    return jax.ShapeDtypeStruct(x.shape[1:], x.dtype)

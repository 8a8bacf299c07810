"""A step of a trained agent as a pure function: what `TrainedPolicy` compiles and exports."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from memorax.acting import Behavior, State
from memorax.core.types import Array, Carry, PyTree, Timestep


@struct.dataclass
class PolicyMemory:
    """What a policy remembers between two steps; it can be copied, pickled, and converted to numpy arrays.

    Attributes:
        carry: Memory of the networks, `[batch, ...]`.
        action: The previous action as the policy gave it, before it was scaled to the action space, `[batch, ...]`;
            nested as the action space is.
        is_first: True where the next observation is the first of an episode, `[batch]`; of several agents
            `[batch, agents]`.
        seed: Random seed of sampled actions, `[]`, uint32.
        step: Steps since that seed was set, `[]`, uint32.
    """

    carry: Carry
    action: PyTree
    is_first: Array
    seed: Array
    step: Array


def first_timestep(agent: Any, batch: int) -> Timestep:
    """Give shapes and dtypes of what an agent sees, `[batch, ...]`."""
    reset = agent.vector_env.reset
    return jax.eval_shape(lambda key: reset(key, (), batch), jax.random.key(0)).timestep


def start_memory(agent: Any, seed: Array, batch: int) -> PolicyMemory:
    """Make the memory before the first step of an episode.

    Args:
        agent: The agent.
        seed: Random seed of sampled actions, `[]`, uint32.
        batch: Number of environments.
    """
    timestep = first_timestep(agent, batch)
    action = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), timestep.action)
    carry = agent.initialize_carry(jax.random.key(0), batch)
    return PolicyMemory(carry, action, jnp.ones(timestep.done.shape, bool), seed, jnp.uint32(0))


def act(
    agent: Any,
    learned: State,
    memory: PolicyMemory,
    observation: PyTree,
    reward: Array,
    start: Array,
    behavior: Behavior,
) -> tuple[PyTree, PolicyMemory, dict[str, Array]]:
    """Choose actions.

    Args:
        agent: The agent.
        learned: Its state; neither environments nor replay buffer are needed.
        memory: The memory before the observations.
        observation: The observations, `[batch, ...]`.
        reward: Rewards of the previous actions, `[batch]`; of several agents `[batch, agents]`.
        start: True where the observation is the first of an episode, like `reward`.
        behavior: `"exploit"` for the best action, `"explore"` for a sample as in training.

    Returns:
        The actions as the environment takes them, the memory after the step, and what the policy records.
    """
    policy, _ = agent.acting(learned, behavior)
    key = jax.random.fold_in(jax.random.key(memory.seed), memory.step)
    timestep = Timestep(observation, memory.action, reward, memory.is_first | start)
    carry, action, aux = policy(key, memory.carry, timestep)
    action = jax.tree.map(lambda x, old: jax.lax.convert_element_type(x, old.dtype), action, memory.action)
    after = PolicyMemory(carry, action, jnp.zeros_like(memory.is_first), memory.seed, memory.step + jnp.uint32(1))
    return agent.vector_env.to_env(action), after, aux

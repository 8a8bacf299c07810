"""The agent under examination: how it acts, and how it judges an action that was taken."""

from typing import Any, cast

import jax
import jax.numpy as jnp

from memorax.acting import AgentPolicy, Behavior, RolloutState, VectorEnv
from memorax.core.checks import check, choice
from memorax.core.types import Array, Carry, Key, PyTree, Timestep
from memorax.learning.values import action_values, expected_values, greedy_values, main_values

QUANTITIES = ("value", "policy")
"""What an agent says of a step: the value that it expects, and how much it prefers the action that it took."""


class Subject:
    """A trained agent in its environments.

    Args:
        policy: What `memorax.load` gives, or anything with an `agent` and its `state`, that of a single seed.
        behavior: `"exploit"` acts greedily, as in evaluation; `"explore"` samples, as in training.

    Attributes:
        agent: The agent.
        vector_env: Its environments.

    Raises:
        TypeError: `policy` has no agent or no state, or its environment runs in Python.
        ValueError: `behavior` is unknown, or the state is that of several seeds.
    """

    def __init__(self, policy: Any, behavior: Behavior = "exploit") -> None:
        for name in ("agent", "state"):
            if getattr(policy, name, None) is None:
                raise TypeError(
                    f"`policy` must have the attribute `{name}`, got {type(policy).__name__}; pass what "
                    "`memorax.load(folder)` gives, or TrainedPolicy(agent, state)"
                )
        self.agent, self.state = policy.agent, policy.state
        if getattr(self.agent, "host", None) is not None:
            raise TypeError(
                f"`policy` must act in an environment of JAX, got {self.agent.vector_env.env.name}, which runs in "
                "Python: diagnostics repeat and change steps inside of compiled programs"
            )
        self.behavior = check("behavior", behavior, choice("exploit", "explore"))
        own, single = (
            [x.shape for x in jax.tree.leaves(step)]
            for step in (self.state.step, jax.eval_shape(self.agent.init, jax.random.key(0)).step)
        )
        if own != single:
            raise ValueError(
                f"`policy` must hold the state of a single seed, got {own[0][0]} seeds; take one: "
                "`jax.tree.map(lambda x: x[0], state)`"
            )
        self.vector_env: VectorEnv = policy.agent.vector_env

    def policy(self) -> AgentPolicy:
        """Give the policy; it takes observations as the environments give them."""
        return self.agent.acting(self.state, self.behavior)[0]

    def start(self, key: Key, num_envs: int, vector_env: VectorEnv | None = None) -> RolloutState:
        """Start an episode in each of `num_envs` environments, by default in the agent's own."""
        env_key, carry_key = jax.random.split(key)
        carry = self.agent.initialize_carry(carry_key, num_envs)
        return (self.vector_env if vector_env is None else vector_env).reset(env_key, carry, num_envs)

    def judge(self, carry: Carry, timestep: Timestep, action: Array) -> tuple[Carry, dict[str, Array]]:
        """Let the agent read an observation, and judge the action that it took there.

        Args:
            carry: The memory before the observation, `[batch, ...]`.
            timestep: What the agent sees, `[batch, ...]`.
            action: The action, `[batch, ...]`.

        Returns:
            The memory after the observation, and `value` and `policy`, `[batch]`, both differentiable: the expected
            return, and the log-probability of the action, or its action value where there is no such probability. Of
            several agents they are sums.
        """
        carry, _, aux = self.policy()(jax.random.key(0), carry, timestep, action)
        aux = {name: main_values(entry) for name, entry in aux.items()}
        if "value" in aux:
            judged = {"value": aux["value"], "policy": aux["log_prob"]}
        elif "log_prob" in aux:  # critics of the action taken
            judged = {"value": jnp.min(aux["q"], axis=-1), "policy": aux["log_prob"]}
        else:
            chosen = expected_values(action_values(aux["q"], action))
            judged = {"value": greedy_values(aux["q"]), "policy": chosen}
        return carry, {name: x.reshape(x.shape[0], -1).sum(axis=1) for name, x in judged.items()}


def same_episode(is_first: Array) -> Array:
    """Whether each step belongs to the same episode as the last one.

    Args:
        is_first: True where an episode starts, `[time, batch]`.

    Returns:
        `[time, batch]`.
    """
    later = jnp.flip(jnp.cumsum(jnp.flip(is_first, axis=0), axis=0), axis=0)
    return later - is_first.astype(later.dtype) == 0


def first_flags(timestep: Timestep) -> Array:
    """Whether an episode starts, `[batch]`; with several agents, when it starts for all of them."""
    done = timestep.done
    return done if done.ndim == 1 else jnp.all(done, axis=tuple(range(1, done.ndim)))


def averages(values: Array, weights: Array) -> Array:
    """Average over the last axis where the weights say so; 0 where nothing is left."""
    total = jnp.sum(weights, axis=-1)
    return jnp.sum(jnp.where(weights, values, 0.0), axis=-1) / jnp.maximum(total, 1)


def floating(tree: PyTree) -> list[Array]:
    """The floating-point leaves of a tree."""
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(cast(Any, x).dtype, jnp.floating)]

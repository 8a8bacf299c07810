"""Acting by the values of actions."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from memorax.acting.algorithm import Behavior
from memorax.acting.loop import Loop, Policy, Stage, Value
from memorax.acting.unroll import add_time, remove_time, unroll, unroll_with_losses
from memorax.acting.value_outputs import Values, best, expected
from memorax.core.spaces import Discrete, encode
from memorax.core.types import Array, Carry, Key, PyTree, Timestep
from memorax.networks import Network
from memorax.objectives import epsilon_greedy


class QFunction:
    """A network that values all actions, and the ways to act by it.

    Args:
        stage: The environments.
        network: A network with a head that gives one value per action.

    Raises:
        TypeError: The network is none, its head does not value actions, or the actions are not discrete.
        ValueError: The head serves another number of actions.
    """

    def __init__(self, stage: Stage, network: Network) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"`q_network` must be a Network, got {type(network).__name__}")
        self.stage, self.network = stage, network
        space = stage.action_space
        head = type(network.head).__name__
        if hasattr(network.head, "check_action_space"):
            network.head.check_action_space(space)
        if not isinstance(space, Discrete):
            raise TypeError(f"`env` must have Discrete actions for `q_network` to value them all, got {space!r}")
        # Tracing everything once makes what does not fit fail here.
        carry, output = jax.eval_shape(self._first_step, jax.random.key(0))
        if getattr(jax.eval_shape(expected, output), "shape", None) != (stage.num_envs, 1, space.n):
            raise TypeError(f"`q_network` must have a head that gives one value per action, got {head}")
        self.output = output
        """Shapes and kind of what the head gives, `[num_envs, 1, actions]`."""
        self.recurrent = bool(jax.tree.leaves(carry))

    def _first_step(self, key: Key) -> tuple[Carry, Values]:
        loop = self.stage.reset(key, self.initialize_carry(key, self.stage.num_envs))
        return self.unroll(self.init(key, loop), add_time(loop.timestep), loop.carry)

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the memory with which `batch` environments begin."""

        def inputs(key: Key) -> Timestep:
            return self._encode(add_time(self.stage.reset(key, (), batch).timestep))

        return self.network.initialize_carry(key, self.network.input_shape(jax.eval_shape(inputs, key)))

    def init(self, key: Key, loop: Loop) -> PyTree:
        """Make the parameters."""
        inputs = self._encode(add_time(loop.timestep))
        # One seed after the other, as for actor and critic: XLA's CPU backend can wait forever for a batch of QR
        # decompositions.
        return sequential_vmap(self.network.init)(key, inputs, loop.carry)

    def _encode(self, inputs: Timestep) -> Timestep:
        return dataclasses.replace(inputs, action=encode(self.stage.action_space, inputs.action))

    def unroll(self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0) -> tuple[Carry, Any]:
        """Run the network over a sequence; return the memory and the values, `[batch, time, actions]`."""
        space = self.stage.action_space
        return unroll(self.network, params, inputs, carry, action_space=space, burn_in=burn_in)

    def unroll_with_losses(
        self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0
    ) -> tuple[Carry, Any, list[Array]]:
        """Run the network as `unroll` does; return also the losses that its modules sowed, each `[]`."""
        space = self.stage.action_space
        return unroll_with_losses(self.network, params, inputs, carry, action_space=space, burn_in=burn_in)

    def policy(self, params: PyTree, epsilon: Array | float, behavior: Behavior) -> Policy:
        """Take the best action, or any with probability `epsilon`; record the values of all as `q`.

        Args:
            params: Of the network.
            epsilon: For `"explore"`; one number, or one for each environment.
            behavior: `"exploit"` never explores, `"random"` does nothing else. Either way the memory goes on.
        """

        def act(key: Key, carry: Carry, timestep: Timestep) -> tuple[Carry, Array, dict[str, Array]]:
            carry, output = self.unroll(params, add_time(timestep), carry)
            values = remove_time(expected(output))
            if behavior == "exploit":
                return carry, jnp.argmax(values, axis=-1), {"q": values}
            chance = 1.0 if behavior == "random" else epsilon
            return carry, epsilon_greedy(key, values, chance, _allowed(timestep.observation)), {"q": values}

        return act

    def value(self, params: PyTree) -> Value:
        """Value an observation by its best action, with the memory of its episode."""

        def value(carry: Carry, timestep: Timestep) -> Array:
            return remove_time(best(self.unroll(params, add_time(timestep), carry)[1]))

        return value


def _allowed(observation: PyTree) -> Array | None:
    masked = isinstance(observation, Mapping) and "action_mask" in observation
    return observation["action_mask"].astype(bool) if masked else None

"""One network in the environments it acts in."""

import dataclasses
from typing import Any

import jax
from jax.custom_batching import sequential_vmap

from memorax.acting.demons import check_head
from memorax.acting.loop import Loop, Stage
from memorax.acting.unroll import add_time, unroll, unroll_with_losses
from memorax.core.spaces import encode
from memorax.core.types import Array, Carry, Key, PyTree, Timestep
from memorax.networks import Network


class StagedNetwork:
    """A network with what it needs to know of the environments to be made and run.

    Args:
        name: What the network is called in messages.
        stage: The environments.
        network: The network.

    Raises:
        TypeError: It is none.
    """

    def __init__(self, name: str, stage: Stage, network: Network) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"`{name}` must be a Network, got {type(network).__name__}")
        self.name, self.stage, self.network = name, stage, network

    def trace(self) -> None:
        """Run everything once, without numbers: what does not fit fails here.

        Raises:
            TypeError: The head values a given action only, or is a GVF.
        """
        check_head(self.name, self.network.head)
        carry, output = jax.eval_shape(self._first_step, jax.random.key(0))
        self.output = output
        """Shapes and kind of what the head gives, `[num_envs, 1, ...]`."""
        self.recurrent = bool(jax.tree.leaves(carry))

    def _first_step(self, key: Key) -> tuple[Carry, Any]:
        loop = self.stage.reset(key, self.initialize_carry(key, self.stage.num_envs))
        return self.unroll(self.init(key, loop), add_time(loop.timestep), loop.carry)

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the memory with which `batch` environments begin."""

        def inputs(key: Key) -> Timestep:
            return self._encode(add_time(self.stage.reset(key, (), batch).timestep))

        return self.network.initialize_carry(key, self.network.input_shape(jax.eval_shape(inputs, key)))

    def init(self, key: Key, loop: Loop) -> PyTree:
        """Make the parameters, given a loop in which the carry is the network's own."""
        inputs = self._encode(add_time(loop.timestep))
        # One seed after the other, as for actor and critic: XLA's CPU backend can wait forever for a batch of QR
        # decompositions.
        return sequential_vmap(self.network.init)(key, inputs, loop.carry)

    def _encode(self, inputs: Timestep) -> Timestep:
        return dataclasses.replace(inputs, action=encode(self.stage.action_space, inputs.action))

    def unroll(self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0) -> tuple[Carry, Any]:
        """Run the network over a sequence; return the memory, and what the head gives, `[batch, time, ...]`."""
        space = self.stage.action_space
        return unroll(self.network, params, inputs, carry, action_space=space, burn_in=burn_in)

    def unroll_with_losses(
        self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0
    ) -> tuple[Carry, Any, list[Array]]:
        """Run the network as `unroll` does; return also the losses that its modules sowed, each `[]`."""
        space = self.stage.action_space
        return unroll_with_losses(self.network, params, inputs, carry, action_space=space, burn_in=burn_in)

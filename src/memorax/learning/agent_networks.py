"""The networks of an agent in the environments that they act in: one way for every kind to be made and unrolled."""

import abc
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from memorax.acting.vector_env import VectorEnv
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.learning.dropout import dropout, needs_no_stream, only_parameters
from memorax.learning.unroll import add_time, apply_with_losses, encode_actions, unroll_with_losses
from memorax.networks import Network


class AgentNetworks(abc.ABC):
    """One network or several, whose memory and parameters are made, and which are unrolled, together.

    Attributes:
        vector_env: The environments.
        recurrent: Whether there is a memory; known once `trace` was called.
    """

    vector_env: VectorEnv
    recurrent: bool

    @abc.abstractmethod
    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the initial memory of `batch` environments."""

    @abc.abstractmethod
    def init(self, key: Key, timestep: Timestep, carry: Carry) -> PyTree:
        """Make the parameters, given an example of a timestep and of the memory before it, `[batch, ...]`."""

    @abc.abstractmethod
    def unroll_with_losses(
        self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0
    ) -> tuple[Carry, Any, dict[str, Array]]:
        """Run the networks over a sequence.

        Args:
            params: As `init` makes them.
            inputs: What they see, `[batch, time, ...]`, with actions as policies give them.
            carry: The memory before the first input.
            burn_in: So many first inputs only refresh the memory.

        Returns:
            The memory after the last input, the outputs of the heads at all inputs after the burn-in,
            `[batch, time, ...]`, and the auxiliary losses that modules sowed, each `[]`, by their path.
        """

    def unroll(self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0) -> tuple[Carry, Any]:
        """Run the networks over a sequence as `unroll_with_losses` does, without dropout; return memory and outputs."""
        with dropout(None):
            carry, outputs, _ = self.unroll_with_losses(params, inputs, carry, burn_in)
        return carry, outputs

    def trace(self) -> Any:
        """Trace the first step, so that networks that do not fit raise when the agent is built.

        Returns:
            Shapes, dtypes and types of the outputs, `[num_envs, 1, ...]`.
        """
        num_envs = self.vector_env.num_envs

        def first_step(key: Key, timestep: Timestep) -> tuple[Carry, Any]:
            carry = self.initialize_carry(key, num_envs)
            return self.unroll(self.init(key, timestep, carry), add_time(timestep), carry)

        carry, outputs = jax.eval_shape(first_step, jax.random.key(0), self.vector_env.first_timestep(num_envs))
        self.recurrent = bool(jax.tree.leaves(carry))
        return outputs

    def replayed_carry(self, key: Key, batch: Transition) -> Carry:
        """Give the memory at the start of replayed sequences: the stored one, or a fresh one where none is stored."""
        if batch.carry is None:
            return self.initialize_carry(key, batch.reward.shape[0])
        like = jax.eval_shape(lambda key: self.initialize_carry(key, batch.reward.shape[0]), key)
        return jax.tree.map(lambda x, fresh: x[:, 0].astype(fresh.dtype), batch.carry, like)


class SingleNetwork(AgentNetworks):
    """One network.

    Args:
        name: Its name in messages.
        vector_env: The environments.
        network: The network.

    Raises:
        TypeError: It is not a Network.
    """

    def __init__(self, name: str, vector_env: VectorEnv, network: Network) -> None:
        if not isinstance(network, Network):
            got = type(network).__name__ if isinstance(network, nn.Module) else repr(network)
            raise TypeError(f"`{name}` must be a Network, got {got}; write `Network(feature_extractor, torso, head)`")
        self.name, self.vector_env, self.network = name, vector_env, network

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the initial memory of `batch` environments."""
        inputs = jax.eval_shape(self._encode, self.vector_env.first_timestep(batch))
        return self.network.initialize_carry(key, self.network.input_shape(inputs))

    def init(self, key: Key, timestep: Timestep, carry: Carry, **head_arguments: Any) -> PyTree:
        """Make the parameters; arguments of the head, such as `action`, are `[batch, 1, ...]`."""

        def make(key: Key, inputs: Timestep, carry: Carry, head_arguments: dict[str, Any]) -> PyTree:
            return only_parameters(self.name, self.network.init(key, inputs, carry, **head_arguments))

        # One seed after the other: orthogonal initializers are QR decompositions, and XLA's CPU backend can wait
        # forever for a batch of these.
        return sequential_vmap(make)(key, self._encode(timestep), carry, head_arguments)

    def init_head(self, key: Key, features: Array, timestep: Timestep) -> PyTree:
        """Make the parameters of the head alone, which reads features of another network's torso."""

        def make(key: Key, features: Array, inputs: Timestep) -> PyTree:
            return only_parameters(self.name, self.network.init(key, features, inputs, method="readout"))

        return sequential_vmap(make)(key, features, self._encode(timestep))

    def _encode(self, timestep: Timestep) -> Timestep:
        """Make the network's input, `[batch, 1, ...]`, of a timestep."""
        return encode_actions(self.vector_env.policy_space, add_time(timestep))

    def unroll_with_losses(
        self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0, **kwargs: Any
    ) -> tuple[Carry, Any, dict[str, Array]]:
        """Run the network over a sequence."""
        space = self.vector_env.policy_space
        with needs_no_stream(self.name):
            return unroll_with_losses(
                self.network, params, inputs, carry, action_space=space, burn_in=burn_in, **kwargs
            )

    def embed(
        self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0
    ) -> tuple[Carry, Array, dict[str, Array]]:
        """Run feature extractor and torso over a sequence; return memory, features and sown losses."""
        return self.unroll_with_losses(params, inputs, carry, burn_in, method="embed")

    def embed_from(
        self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int, start: int
    ) -> tuple[Carry, Array, dict[str, Array]]:
        """Run feature extractor and torso as `embed` does; the features are those of the steps from `start` on.

        What only a memory needs to see, the steps between burn-in and `start`, a network without memory skips.
        """
        skipped = burn_in if jax.tree.leaves(carry) else start
        carry, features, sown = self.embed(params, inputs, carry, skipped)
        return carry, features[:, start - skipped :], sown

    def embed_to_bootstrap(
        self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0
    ) -> tuple[Array, dict[str, Array]]:
        """Run feature extractor and torso over a sequence whose last step only bootstraps, and needs no gradient.

        A network without memory computes that step apart, which saves its gradient: two thirds of its cost.

        Returns:
            The features of the inputs after the burn-in, and the sown losses.
        """
        if jax.tree.leaves(carry):
            _, features, sown = self.embed(params, inputs, carry, burn_in)
            return features, sown
        steps = jax.tree.map(lambda x: x[:, :-1], inputs)
        _, features, sown = self.embed(params, steps, carry, burn_in)
        _, last, _ = self.embed(jax.lax.stop_gradient(params), inputs, carry, steps.done.shape[1])
        return jnp.concatenate([features, last], axis=1), sown

    def readout(
        self, params: PyTree, features: Array, inputs: Timestep, burn_in: int = 0, **head_arguments: Any
    ) -> tuple[Any, dict[str, Array]]:
        """Run the head on features of the inputs after the burn-in; return its outputs and sown losses."""
        seen = jax.tree.map(lambda x: x[:, burn_in:], inputs)
        with needs_no_stream(self.name):
            return apply_with_losses(self.network, params, features, seen, method="readout", **head_arguments)

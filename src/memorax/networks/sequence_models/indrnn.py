"""The independently recurrent neural network (IndRNN)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, choice, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.platform import unroll
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by
from memorax.networks.sequence_models.parts.synonyms import torso_of
from memorax.networks.sequence_models.rnn import RNN


@dataclasses.dataclass(frozen=True)
class IndRNNConfig:
    """Hyper-parameters of an independently recurrent neural network."""

    features: int = 64
    """Width of the memory and of the output."""
    activation: str = "relu"
    """"relu", as in most of the paper, or "tanh"."""
    bound: float = 1.0
    """Largest magnitude of a recurrent weight. The paper has the T-th root of 2 for sequences of T steps; with 1
    gradients do not explode at any length."""
    dtype: Any = None
    """Type of the projection and of outputs; None: that of the inputs. The memory is kept in float32 at least."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a field is of another type.
            ValueError: If a field is out of range.
        """
        check_fields(
            self, features=size(), activation=choice("relu", "tanh"), bound=real(above=0), dtype=optional(floating())
        )


class IndRNNCell(ConfiguredModule):
    """An independently recurrent neural network: a unit remembers its own state only.

    `h_t = f(W x_t + b + u * h_{t-1})`, where `f` is the activation, with a recurrent weight `u` for each unit, at first
    uniform in [0, 1] and bounded. A weight above its bound is used at the bound, and gets the gradient there, so that
    it can come back. The carry is `h` `[batch, features]`. The paper's networks have two layers or more, which let
    units interact.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `IndRNNConfig`.

    Source:
        Li et al. 2018, "Independently Recurrent Neural Network (IndRNN): Building A Longer and Deeper RNN",
        https://arxiv.org/abs/1803.04831
    """

    config: IndRNNConfig = IndRNNConfig()

    @configured_by(IndRNNConfig)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Array:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        return jnp.zeros((input_shape[0], self.config.features))

    def __call__(self, carry: Array, inputs: Array) -> tuple[Array, Array]:
        """Compute a step: `inputs` `[batch, features]`."""
        carry, outputs = self.unroll(carry, inputs[:, None], jnp.zeros((inputs.shape[0], 1), bool))
        return carry, outputs[:, 0]

    @nn.compact
    def unroll(self, carry: Array, inputs: Array, done: Array) -> tuple[Array, Array]:
        """Compute a sequence: `inputs` `[batch, time, features]`, `done` `[batch, time]`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        driven = nn.Dense(config.features, dtype=dtype, name="input")(inputs.astype(dtype)).astype(carry.dtype)
        weight = self.param("recurrent", nn.initializers.uniform(1.0), (config.features,))
        activate = {"relu": nn.relu, "tanh": jnp.tanh}[config.activation]
        bounded = jnp.clip(weight, -config.bound, config.bound)
        weight = (weight + jax.lax.stop_gradient(bounded - weight)).astype(carry.dtype)

        def step(state: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            driven, done = now
            state = activate(driven + weight[None] * jnp.where(done[:, None], 0, state))
            return state, state

        if inputs.shape[1] == 1:
            carry, _ = step(carry, (driven[:, 0], done[:, 0]))
            return carry, carry[:, None].astype(dtype)
        carry, states = jax.lax.scan(step, carry, (driven.swapaxes(0, 1), done.T), unroll=unroll())
        return carry, states.swapaxes(0, 1).astype(dtype)


IndRNN = torso_of(IndRNNConfig, IndRNNCell, RNN, "An independently recurrent neural network")

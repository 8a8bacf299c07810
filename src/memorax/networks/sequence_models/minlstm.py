"""The minimal long short-term memory (minLSTM)."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, floating, optional, size
from memorax.core.types import Array, Key
from memorax.kernels.linear_scan import linear_scan
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class MinLSTMConfig:
    """Hyper-parameters of a minimal long short-term memory."""

    features: int = 64
    """Width of the state, which is the output."""
    dtype: Any = None
    """Type of the projections and of the output; None: that of the inputs. The gates, the recurrence and the carry are
    kept in float32 at least."""

    def __post_init__(self) -> None:
        """Check the size.

        Raises:
            TypeError: If it is not an integer.
            ValueError: If it is below 1.
        """
        check_fields(self, features=size(), dtype=optional(floating()))


class MinLSTMCell(ConfiguredModule):
    """A minimal long short-term memory (minLSTM): its gates depend on the input only and sum to one.

    `f_t = σ(W_f x_t + b_f)`, `i_t = σ(W_i x_t + b_i)`,
    `h_t = f_t / (f_t + i_t) h_{t-1} + i_t / (f_t + i_t) g(W_h x_t + b_h)` with `g(a) = a + 1/2` above zero and `σ(a)`
    below. `y_t = h_t`. The ratio of the gates is computed from the difference of their logarithms. The initial
    state is zero, where the paper applies `g` to an initial state. The carry is the state `[batch, features]`.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `MinLSTMConfig`.

    Source:
        Feng et al. 2024, "Were RNNs All We Needed?", https://arxiv.org/abs/2410.01201
    """

    config: MinLSTMConfig = MinLSTMConfig()

    @configured_by(MinLSTMConfig)
    def __init__(self) -> None: ...

    recurrent_parameters: ClassVar[tuple[str, ...]] = (
        "forget_kernel",
        "input_kernel",
        "hidden_kernel",
        "forget_bias",
        "input_bias",
        "hidden_bias",
    )
    """Parameters that influence the state; unit `j` depends on slice `[..., j]` of each."""

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Array:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        return jnp.zeros((input_shape[0], self.config.features))

    @nn.compact
    def __call__(self, carry: Array, inputs: Array, done: Array) -> tuple[Array, Array]:
        """Compute a sequence, see `Memoroid`."""
        config = self.config
        x = inputs.astype(config.dtype or inputs.dtype)

        shape, names = (x.shape[-1], config.features), ("forget", "input", "hidden")
        kernels = [self.param(f"{name}_kernel", nn.initializers.lecun_normal(), shape) for name in names]
        biases = [self.param(f"{name}_bias", nn.initializers.zeros, shape[1:]) for name in names]
        # One wide product takes half the time of several.
        projected = wide(x @ jnp.concatenate(kernels, axis=1).astype(x.dtype)) + jnp.concatenate(biases)[None, None]
        forget, write, hidden = jnp.split(projected, 3, axis=-1)
        ratio = jax.nn.log_sigmoid(forget) - jax.nn.log_sigmoid(write)
        positive = jnp.where(hidden >= 0, hidden + 0.5, jax.nn.sigmoid(hidden))
        last, states = linear_scan(jax.nn.sigmoid(ratio), jax.nn.sigmoid(-ratio) * positive, done, carry)
        return last, states.astype(x.dtype)


MinLSTM = torso_of(MinLSTMConfig, MinLSTMCell, Memoroid, "A minimal long short-term memory")

"""Residual connections, plain and gated."""

from typing import Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
from flax.linen import initializers

from memorax.core.checks import check_fields, choice, real
from memorax.core.types import Array, Carry
from memorax.networks.blocks.wrapping import Wrapping, check_widths
from memorax.networks.sequence_models.parts.cell import wide

Gate = Literal["gru", "output"]


class Residual(Wrapping):
    """A residual connection: `x + module(x)`.

    The module must keep the width of its inputs.

    Attributes:
        module: A sequence model, or a feed-forward module, which is wrapped as one.

    Source:
        He et al. 2016, "Deep Residual Learning for Image Recognition", https://arxiv.org/abs/1512.03385
    """

    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Run the module and add the inputs.

        Args:
            inputs: `[batch, time, features]`.
            done: True where the memory is reset before the step, `[batch, time]`.
            initial_carry: The carry before the first step; None: that of an episode's start.

        Returns:
            The carry after the last step, and the sum `[batch, time, features]`.

        Raises:
            ValueError: If the module changes the width.
        """
        carry, outputs = self.module(inputs, done, initial_carry)
        check_widths("Residual", inputs, outputs)
        return carry, inputs + outputs


class GatedResidual(Wrapping):
    """A gated residual connection around `y = module(x)`, as in GTrXL.

    `"gru"`: `r = sigmoid(W_r y + U_r x)`, `z = sigmoid(W_z y + U_z x - b)`, `(1 - z) x + z tanh(W_g y + U_g (r x))`.
    `"output"`: `x + sigmoid(W_g x - b) y`.

    With `b = 2` both are near the identity at first, so that a deep stack starts as a memoryless policy. Gates are
    computed in float32 at least.

    Attributes:
        module: A sequence model, or a feed-forward module, which is wrapped as one. It must keep the width of its
            inputs.
        kind: `"gru"` or `"output"`.
        bias: Initial value of the learned `b`; larger is nearer to the identity.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from memorax.networks.sequence_models import GRU
        >>> block = GatedResidual(GRU(4))
        >>> inputs, done = jnp.ones((2, 5, 4)), jnp.zeros((2, 5), bool)
        >>> (carry, outputs), _ = block.init_with_output(jax.random.key(0), inputs, done)
        >>> carry.shape, outputs.shape
        ((2, 4), (2, 5, 4))

    Source:
        Parisotto et al. 2020, "Stabilizing Transformers for Reinforcement Learning", section 3.2,
        https://arxiv.org/abs/1910.06764
    """

    kind: Gate = "gru"
    bias: float = 2.0

    def __post_init__(self) -> None:
        """Check the kind of gate.

        Raises:
            TypeError: If `module` is neither a sequence model nor feed-forward.
            ValueError: If `kind` is unknown.
        """
        check_fields(self, kind=choice(*get_args(Gate)), bias=real())
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Run the module and join its outputs with the inputs.

        Args:
            inputs: `[batch, time, features]`.
            done: True where the memory is reset before the step, `[batch, time]`.
            initial_carry: The carry before the first step; None: that of an episode's start.

        Returns:
            The carry after the last step, and the outputs `[batch, time, features]`.

        Raises:
            ValueError: If the module changes the width.
        """
        carry, outputs = self.module(inputs, done, initial_carry)
        check_widths("GatedResidual", inputs, outputs)
        x, y = wide(inputs), wide(outputs)
        bias = self.param("bias", initializers.constant(self.bias), (x.shape[-1],))[None, None]
        joined = self._gru(x, y, bias) if self.kind == "gru" else x + nn.sigmoid(self._dense("g_x", x) - bias) * y
        return carry, joined.astype(inputs.dtype)

    def _gru(self, x: Array, y: Array, bias: Array) -> Array:
        reset = nn.sigmoid(self._dense("r_y", y) + self._dense("r_x", x))
        update = nn.sigmoid(self._dense("z_y", y) + self._dense("z_x", x) - bias)
        candidate = jnp.tanh(self._dense("g_y", y) + self._dense("g_x", reset * x))
        return (1 - update) * x + update * candidate

    def _dense(self, name: str, x: Array) -> Array:
        return nn.Dense(x.shape[-1], use_bias=False, name=name)(x)

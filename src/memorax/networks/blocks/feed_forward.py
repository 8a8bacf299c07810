"""Feed-forward blocks: modules without memory that map each step by itself."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
from flax.linen import initializers

from memorax.core.checks import boolean, check_fields, floating, function, optional, real, size
from memorax.core.types import Array


class FFN(nn.Module):
    """The feed-forward network of the Transformer: `W_2 activation(W_1 x)`.

    Attributes:
        hidden_dim: Width of the hidden layer.
        features: Width of the output; None keeps that of the input.
        activation: Activation function of the hidden layer.
        dropout_rate: Fraction of the hidden features that is zeroed, [0, 1), where a random stream `dropout` is
            given: all algorithms give one in their losses, none in acting, evaluation and targets.
        dtype: Type of the activations; None: that of the inputs.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> FFN(hidden_dim=7).init_with_output(jax.random.key(0), jnp.zeros((2, 5, 3)))[0].shape
        (2, 5, 3)

    Source:
        Vaswani et al. 2017, "Attention Is All You Need", section 3.3, https://arxiv.org/abs/1706.03762
    """

    hidden_dim: int = 256
    features: int | None = None
    activation: Callable[[Array], Array] = nn.gelu
    dropout_rate: float = 0.0
    dtype: Any = None

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            TypeError: If a size is no integer, or `activation` not callable.
            ValueError: If a size is below 1, or `dropout_rate` outside [0, 1).
        """
        _check(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map the last axis: `[..., features]` to `[..., self.features]`."""
        dtype = self.dtype or inputs.dtype
        hidden = self.activation(nn.Dense(self.hidden_dim, dtype=dtype, name="up")(inputs))
        hidden = _dropout(self, hidden)
        return nn.Dense(self.features or inputs.shape[-1], dtype=dtype, name="down")(hidden)


class GLU(nn.Module):
    """A gated feed-forward network: `W_2 (activation(W_1 x) * V x)`; with SiLU it is SwiGLU.

    Attributes:
        hidden_dim: Width of the hidden layer.
        features: Width of the output; None keeps that of the input.
        activation: Activation function of the gate.
        dropout_rate: Fraction of the hidden features that is zeroed, [0, 1), where a random stream `dropout` is
            given: all algorithms give one in their losses, none in acting, evaluation and targets.
        use_bias: Whether the layers have biases; the paper's have none.
        dtype: Type of the activations; None: that of the inputs.
        up_init: Initializer of the kernels of gate and hidden layer.
        down_init: Initializer of the last kernel.

    Source:
        Shazeer 2020, "GLU Variants Improve Transformer", https://arxiv.org/abs/2002.05202
    """

    hidden_dim: int = 256
    features: int | None = None
    activation: Callable[[Array], Array] = nn.silu
    dropout_rate: float = 0.0
    use_bias: bool = False
    dtype: Any = None
    up_init: initializers.Initializer = initializers.lecun_normal()
    down_init: initializers.Initializer = initializers.lecun_normal()

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            TypeError: If a size is no integer, or `activation` not callable.
            ValueError: If a size is below 1, or `dropout_rate` outside [0, 1).
        """
        _check(self)
        check_fields(self, use_bias=boolean(), up_init=function(), down_init=function())
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map the last axis: `[..., features]` to `[..., self.features]`."""
        dense = functools.partial(nn.Dense, use_bias=self.use_bias, dtype=self.dtype or inputs.dtype)
        gate = self.activation(dense(self.hidden_dim, kernel_init=self.up_init, name="gate")(inputs))
        hidden = gate * dense(self.hidden_dim, kernel_init=self.up_init, name="up")(inputs)
        down = dense(self.features or inputs.shape[-1], kernel_init=self.down_init, name="down")
        return down(_dropout(self, hidden))


class Projection(nn.Module):
    """A dense layer, such as the one that maps inputs to the width of a stack.

    Attributes:
        features: Width of the output.
        use_bias: Whether it has a bias.
        dtype: Type of the activations; None: that of the inputs.
    """

    features: int
    use_bias: bool = True
    dtype: Any = None

    def __post_init__(self) -> None:
        """Check that `features` is a positive integer."""
        check_fields(self, features=size(), use_bias=boolean(), dtype=optional(floating()))
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map the last axis: `[..., features]` to `[..., self.features]`."""
        return nn.Dense(self.features, self.use_bias, dtype=self.dtype or inputs.dtype, name="dense")(inputs)


def _dropout(module: FFN | GLU, hidden: Array) -> Array:
    """Nothing is dropped without a random stream `dropout`, so not in acting and evaluation."""
    return nn.Dropout(module.dropout_rate, deterministic=not module.has_rng("dropout"))(hidden)


def _check(module: FFN | GLU) -> None:
    check_fields(
        module,
        hidden_dim=size(),
        features=optional(size()),
        activation=function(),
        dropout_rate=real(0, below=1),
        dtype=optional(floating()),
    )

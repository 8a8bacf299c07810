"""Pre-norm and post-norm."""

import functools
from collections.abc import Callable

import flax.linen as nn

from memorax.core.types import Array, Carry
from memorax.networks.blocks.wrapping import Wrapping

_MIXING = (nn.BatchNorm, nn.GroupNorm, nn.InstanceNorm)
"""Norms with statistics over batch or time: a step would depend on the future or on other environments."""


class PreNorm(Wrapping):
    """Normalize the inputs of a module: `module(norm(x))`.

    The pre-norm Transformer has `Residual(PreNorm(module))`. In `PreNorm(Residual(module))` the residual connection is
    normalized too.

    Attributes:
        module: A sequence model, or a feed-forward module, which is wrapped as one.
        norm: Makes the norm over the features, such as `nn.LayerNorm` or `nn.RMSNorm`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from memorax.networks.sequence_models import GRU
        >>> block = PreNorm(GRU(4))
        >>> inputs, done = jnp.zeros((2, 5, 3)), jnp.zeros((2, 5), bool)
        >>> (carry, outputs), _ = block.init_with_output(jax.random.key(0), inputs, done)
        >>> carry.shape, outputs.shape
        ((2, 4), (2, 5, 4))

    Source:
        Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture", https://arxiv.org/abs/2002.04745
    """

    norm: Callable[..., nn.Module] = nn.LayerNorm

    def __post_init__(self) -> None:
        """Check the norm.

        Raises:
            TypeError: If `module` is neither, or `norm` does not make a norm.
            ValueError: If `norm` would mix rows or times.
        """
        _check_norm(self.norm)
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Normalize, then run the module.

        Args:
            inputs: `[batch, time, features]`.
            done: True where the memory is reset before the step, `[batch, time]`.
            initial_carry: The carry before the first step; None: that of an episode's start.

        Returns:
            The carry after the last step, and the module's outputs `[batch, time, features]`.
        """
        return self.module(self.norm(name="norm")(inputs).astype(inputs.dtype), done, initial_carry)


class PostNorm(Wrapping):
    """Normalize the outputs of a module: `norm(module(x))`; the original Transformer has `PostNorm(Residual(module))`.

    Attributes:
        module: A sequence model, or a feed-forward module, which is wrapped as one.
        norm: Makes the norm over the features, such as `nn.LayerNorm` or `nn.RMSNorm`.

    Source:
        Vaswani et al. 2017, "Attention Is All You Need", https://arxiv.org/abs/1706.03762
    """

    norm: Callable[..., nn.Module] = nn.LayerNorm

    def __post_init__(self) -> None:
        """Check the norm.

        Raises:
            TypeError: If `module` is neither, or `norm` does not make a norm.
            ValueError: If `norm` would mix rows or times.
        """
        _check_norm(self.norm)
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Run the module, then normalize.

        Args:
            inputs: `[batch, time, features]`.
            done: True where the memory is reset before the step, `[batch, time]`.
            initial_carry: The carry before the first step; None: that of an episode's start.

        Returns:
            The carry after the last step, and the normalized outputs `[batch, time, features]`.
        """
        carry, outputs = self.module(inputs, done, initial_carry)
        return carry, self.norm(name="norm")(outputs).astype(outputs.dtype)


def _check_norm(norm: Callable[..., nn.Module]) -> None:
    if isinstance(norm, nn.Module) or not callable(norm):
        raise TypeError(f"`norm` must make a norm, such as nn.LayerNorm, got {norm!r}")
    kind = norm.func if isinstance(norm, functools.partial) else norm
    if isinstance(kind, type) and issubclass(kind, _MIXING):
        raise ValueError(f"`norm` must be over the features alone, got {kind.__name__}; take LayerNorm or RMSNorm")

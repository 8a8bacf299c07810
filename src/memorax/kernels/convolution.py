"""Causal depthwise convolution over time that carries its tail and stops at resets."""

import jax
import jax.numpy as jnp

from memorax.core.types import Array


def causal_convolution(
    inputs: Array, kernel: Array, reset: Array, tail: Array, bias: Array | None = None
) -> tuple[Array, Array]:
    """Weigh every step's input and those of the steps before it, channel by channel.

    It is a sum of shifted products, which on a CPU takes a tenth of the time of XLA's grouped convolution.

    Args:
        inputs: `[batch, time, channels]`.
        kernel: `[taps, channels]`; the last tap weighs the current step.
        reset: True where an episode begins: steps before it are not seen from it or after it, `[batch, time]`.
        tail: The last `taps - 1` inputs before the sequence, zeros where there were none,
            `[batch, taps - 1, channels]`.
        bias: `[channels]`.

    Returns:
        The tail after the sequence, and the outputs `[batch, time, channels]`.
    """
    taps, length = kernel.shape[0], inputs.shape[1]
    past = jnp.concatenate([tail.astype(inputs.dtype), inputs], axis=1)
    since = _steps_since(reset, taps)
    outputs = jnp.zeros(jnp.broadcast_shapes(inputs.shape, kernel.shape[-1:]), inputs.dtype)
    for age in range(taps):
        shifted = past[:, taps - 1 - age : taps - 1 - age + length]
        outputs += kernel[None, None, taps - 1 - age] * jnp.where((since >= age)[..., None], shifted, 0)
    ages = jnp.arange(taps - 2, -1, -1)
    kept = jnp.where((since[:, -1:] >= ages[None])[..., None], past[:, length:], 0).astype(tail.dtype)
    return kept, outputs if bias is None else outputs + bias[None, None]


def _steps_since(reset: Array, bound: int) -> Array:
    """Steps since the last reset, at least `bound` where there was none, `[batch, time]`."""
    time = jnp.arange(reset.shape[1])[None]
    return time - jax.lax.cummax(jnp.where(reset, time, -bound), axis=1)

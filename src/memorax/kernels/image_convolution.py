"""Convolutions over images as matrix products.

Inside a loop, XLA's CPU backend computes the gradient of a convolution without its fast products: an update of
the Atari network then takes thirty times as long as with these products.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.types import Array
from memorax.kernels.platform import on_cpu

_DOUBLING = np.array([[0, 3], [2, 1]])
"""Which row of a kernel, the fourth of zeros, weighs the pixel before and this one for each of two output pixels."""


def convolve_images(
    images: Array, kernel: Array, strides: Sequence[int], padding: str | Sequence[tuple[int, int]], **others: Any
) -> Array:
    """Convolve images, as `jax.lax.conv_general_dilated` does; on a CPU by one product of patches and kernel.

    A `flax.linen.Conv` takes it as `conv_general_dilated`.

    Args:
        images: `[batch, height, width, channels]`.
        kernel: `[height, width, channels, features]`.
        strides: Step over height and over width.
        padding: `"VALID"`, `"SAME"`, or pixels before and after height and width.
        **others: Further arguments of `jax.lax.conv_general_dilated`; `precision` counts, and dilation or groups
            leave the convolution to it.

    Returns:
        `[batch, height, width, features]`.
    """
    *size, _, features = kernel.shape
    dilations = (tuple(others.get(name) or (1, 1)) for name in ("lhs_dilation", "rhs_dilation"))
    plain = others.get("feature_group_count", 1) == 1 and set(dilations) == {(1, 1)}
    if not (on_cpu() and plain):
        others.setdefault("dimension_numbers", ("NHWC", "HWIO", "NHWC"))
        dtype = jnp.result_type(images, kernel)
        return jax.lax.conv_general_dilated(images.astype(dtype), kernel.astype(dtype), strides, padding, **others)
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(images.shape[1:3], size, strides, padding)
    images = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    (high, wide), (down, right) = images.shape[1:3], strides
    height, width = max(0, (high - size[0]) // down + 1), max(0, (wide - size[1]) // right + 1)
    patches = [
        images[:, i : i + down * height : down, j : j + right * width : right][:, :height, :width]
        for i, j in product(*map(range, size))
    ]
    flat = jnp.concatenate(patches, axis=-1).reshape(-1, kernel.size // features)
    outputs = jnp.matmul(flat, kernel.reshape(-1, features), precision=others.get("precision"))
    return outputs.reshape(images.shape[0], height, width, features)


def double_images(images: Array, kernel: Array) -> Array:
    """Double height and width by a transposed convolution with a kernel of 3 x 3, as `jax.lax.conv_transpose` does.

    Args:
        images: `[batch, height, width, channels]`.
        kernel: `[3, 3, channels, features]`.

    Returns:
        `[batch, 2 * height, 2 * width, features]`.
    """
    if not on_cpu():
        return jax.lax.conv_transpose(images, kernel, (2, 2), "SAME")
    batch, height, width, channels = images.shape
    features = kernel.shape[-1]
    images = jnp.pad(images, ((0, 0), (1, 0), (1, 0), (0, 0)))
    patches = [images[:, i : i + height, j : j + width] for i, j in product((0, 1), repeat=2)]
    kernel = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))[_DOUBLING[:, :, None, None], _DOUBLING]
    kernel = kernel.transpose(0, 2, 4, 1, 3, 5).reshape(4 * channels, 4 * features)
    pixels = jnp.concatenate(patches, axis=-1).reshape(-1, 4 * channels) @ kernel
    pixels = pixels.reshape(batch, height, width, 2, 2, features)
    return pixels.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, features)

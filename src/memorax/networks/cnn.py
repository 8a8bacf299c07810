"""A convolutional network for images."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import initializers

from memorax.core.checks import check, check_fields, choice, function, sequence, size
from memorax.core.types import Array
from memorax.kernels.groups import in_groups
from memorax.kernels.image_convolution import convolve_images
from memorax.kernels.platform import on_cpu

_PATCHES = 1_400_000
"""Most numbers in the patches of a layer that a CPU has in memory at the same time: those of 32 frames of Atari."""


class CNN(nn.Module):
    """Convolutions over the two spatial axes, flattened at the end.

    The defaults are the layers of the Atari DQN. Images of unsigned 8-bit integers are scaled to `[0, 1]`.

    Attributes:
        features: Channels of every layer.
        kernel_sizes: Kernel of every layer: a number for a square one, or (height, width).
        strides: Stride of every layer, likewise.
        padding: `"VALID"` or `"SAME"`.
        activation: Activation function after every layer.
        kernel_init: Initializer of the kernels; orthogonal with gain sqrt(2).
        bias_init: Initializer of the biases.

    Example:
        >>> import jax
        >>> images = jnp.zeros((2, 5, 11, 11, 3), jnp.uint8)
        >>> cnn = CNN(features=(4,), kernel_sizes=(3,), strides=(2,))
        >>> cnn.init_with_output(jax.random.key(0), images)[0].shape
        (2, 5, 100)

    Source:
        Mnih et al. 2015, "Human-level control through deep reinforcement learning",
        https://doi.org/10.1038/nature14236
    """

    features: Sequence[int] = (32, 64, 64)
    kernel_sizes: Sequence[int | Sequence[int]] = (8, 4, 3)
    strides: Sequence[int | Sequence[int]] = (4, 2, 1)
    padding: str = "VALID"
    activation: Callable[[Array], Array] = nn.relu
    kernel_init: initializers.Initializer = initializers.orthogonal(2.0**0.5)
    bias_init: initializers.Initializer = initializers.zeros_init()

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            TypeError: If a size is not an integer or `activation` is not callable.
            ValueError: If a size is below 1, the three sequences differ in length, or `padding` is unknown.
        """
        check_fields(self, features=sequence(size()))
        for name, values in (("kernel_sizes", self.kernel_sizes), ("strides", self.strides)):
            _check_pairs(name, values)
            if len(values) != len(self.features):
                raise ValueError(
                    f"`{name}` must have one entry for each of the {len(self.features)} `features`, got {len(values)}"
                )
        check_fields(self, padding=choice("VALID", "SAME"))
        check_fields(self, **dict.fromkeys(("activation", "kernel_init", "bias_init"), function()))
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map images to feature vectors.

        Args:
            inputs: `[..., height, width, channels]`, with any leading axes such as batch and time.

        Returns:
            `[..., features]`.

        Raises:
            ValueError: If the images have too few axes or are smaller than the kernels reach.
        """
        if inputs.ndim < 4:
            raise ValueError(f"`inputs` of CNN must be [batch, (time,) height, width, channels], got {inputs.shape}")
        x = inputs.astype(jnp.float32) / 255.0 if inputs.dtype == jnp.uint8 else inputs
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
        images, layers, most = x.reshape(-1, *x.shape[-3:]), [], 1
        size, channels = images.shape[1:3], images.shape[3]
        zipped = zip(self.features, self.kernel_sizes, self.strides, strict=True)
        for index, (features, kernel_size, strides) in enumerate(zipped):
            shape = (*_pair(kernel_size), channels, features)
            kernel, bias = _Parameters(shape, self.kernel_init, self.bias_init, name=f"Conv_{index}")()
            layers.append((kernel, bias, _pair(strides)))
            size = self._size(inputs.shape, size, shape[:2], _pair(strides))
            most, channels = max(most, math.prod(size) * math.prod(shape[:3])), features

        def run(images: Array) -> Array:
            for kernel, bias, strides in layers:
                images = self.activation(convolve_images(images, kernel, strides, self.padding) + bias)
            return images.reshape(images.shape[0], -1)

        rows = max(1, _PATCHES // most)
        outputs = in_groups(jax.checkpoint(run) if on_cpu() and len(images) > rows else run, rows, images)
        return outputs.reshape(*x.shape[:-3], -1)

    def _size(self, images: Sequence[int], size: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> Any:
        """Height and width of what a layer gives.

        Raises:
            ValueError: If the kernel does not fit.
        """
        if self.padding == "SAME":
            return tuple(-(-n // step) for n, step in zip(size, strides, strict=True))
        if any(k > n for k, n in zip(kernel, size, strict=True)):
            raise ValueError(
                f"`kernel_sizes` {tuple(self.kernel_sizes)} must fit into images of {tuple(images[-3:-1])}; "
                "take smaller kernels or padding='SAME'"
            )
        return tuple((n - k) // step + 1 for n, k, step in zip(size, kernel, strides, strict=True))


class _Parameters(nn.Module):
    """Kernel and biases of a convolution, under the names that Flax's layer gives them.

    Attributes:
        shape: `(height, width, channels, features)`.
        kernel_init: Initializer of the kernel.
        bias_init: Initializer of the biases.
    """

    shape: tuple[int, ...]
    kernel_init: initializers.Initializer
    bias_init: initializers.Initializer

    @nn.compact
    def __call__(self) -> tuple[Array, Array]:
        return self.param("kernel", self.kernel_init, self.shape), self.param("bias", self.bias_init, self.shape[-1:])


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def _check_pairs(name: str, values: Sequence[int | Sequence[int]]) -> None:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"`{name}` must be a sequence with an entry for each layer, got {values!r}")
    for value in values:
        if not isinstance(value, Sequence):
            check(name, value, size())
            continue
        check(name, value, sequence(size()))
        if len(value) != 2:
            raise ValueError(f"`{name}` must hold numbers or pairs (height, width), got {value!r}")

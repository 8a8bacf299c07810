"""Causal depthwise convolutions over time, as sequence models whose carry is the last inputs."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from flax.linen import initializers

from memorax.core.checks import boolean, check_fields, function, sequence, size
from memorax.core.types import Array, Carry, Key
from memorax.kernels.convolution import causal_convolution
from memorax.networks.sequence_models.parts.base import check_sequence

# As PyTorch initializes convolutions: uniform in [-1, 1] / sqrt(kernel_size).
_kernel_init = initializers.variance_scaling(1 / 3, "fan_in", "uniform", in_axis=0, out_axis=1)


class ParallelCausalConv1d(nn.Module):
    """Causal depthwise convolutions with several kernel sizes in parallel, their outputs concatenated.

    Step t depends on the steps `t - kernel_size + 1` to `t` of its own episode. The carry is the last
    `max(kernel_sizes) - 1` inputs, in float32.

    Attributes:
        features: Width of the inputs.
        kernel_sizes: Kernel size of each convolution, in steps.
        use_bias: Whether they have biases.
        kernel_init: Initializer of each kernel `[kernel_size, features]`.
        bias_init: Initializer of each bias.

    Example:
        >>> import jax
        >>> convolutions = ParallelCausalConv1d(3, kernel_sizes=(2, 4))
        >>> inputs, done = jnp.zeros((2, 5, 3)), jnp.zeros((2, 5), bool)
        >>> (carry, outputs), _ = convolutions.init_with_output(jax.random.key(0), inputs, done)
        >>> carry.shape, outputs.shape
        ((2, 3, 3), (2, 5, 6))
    """

    features: int
    kernel_sizes: Sequence[int] = (2, 4, 8)
    use_bias: bool = True
    kernel_init: initializers.Initializer = _kernel_init
    bias_init: initializers.Initializer = initializers.zeros_init()

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            TypeError: If a size is no integer.
            ValueError: If a size is below 1, or `kernel_sizes` empty.
        """
        check_fields(self, features=size(), kernel_sizes=sequence(size()), use_bias=boolean())
        check_fields(self, kernel_init=function(), bias_init=function())
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give zeros `[batch, max(kernel_sizes) - 1, features]` for `input_shape` `(batch, features)`."""
        del key
        return jnp.zeros((input_shape[0], max(self.kernel_sizes) - 1, self.features))

    @nn.compact
    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Convolve.

        Args:
            inputs: `[batch, time, features]`.
            done: True at the first step of an episode, `[batch, time]`; steps before it have no effect.
            initial_carry: The inputs before the first step; None: zeros.

        Returns:
            The last inputs, and the outputs `[batch, time, len(kernel_sizes) * features]`.

        Raises:
            ValueError: If the shapes do not fit.
        """
        check_sequence(inputs, done)
        if inputs.shape[-1] != self.features:
            raise ValueError(f"`inputs` must be `features` ({self.features}) wide, got {inputs.shape[-1]}")
        zeros = jnp.zeros((inputs.shape[0], max(self.kernel_sizes) - 1, self.features))
        tail = zeros if initial_carry is None else initial_carry
        longest, outputs = tail, []
        for index, width in enumerate(self.kernel_sizes):
            kernel = self.param(f"kernel_{index}", self.kernel_init, (width, self.features))
            bias = self.param(f"bias_{index}", self.bias_init, (self.features,)) if self.use_bias else None
            kept, output = causal_convolution(inputs, kernel, done, tail[:, tail.shape[1] - width + 1 :], bias)
            longest = kept if width == max(self.kernel_sizes) else longest
            outputs.append(output.astype(inputs.dtype))
        return longest, jnp.concatenate(outputs, axis=-1)


class CausalConv1d(nn.Module):
    """A causal depthwise convolution over time; the carry is the last `kernel_size - 1` inputs.

    Attributes:
        features: Width of inputs and outputs.
        kernel_size: Kernel size in steps; a step depends on steps of its own episode only.
        use_bias: Whether it has a bias.
        kernel_init: Initializer of the kernel `[kernel_size, features]`.
        bias_init: Initializer of the bias.
    """

    features: int
    kernel_size: int = 4
    use_bias: bool = True
    kernel_init: initializers.Initializer = _kernel_init
    bias_init: initializers.Initializer = initializers.zeros_init()

    def __post_init__(self) -> None:
        """Check that the sizes are positive integers."""
        check_fields(self, features=size(), kernel_size=size(), use_bias=boolean())
        check_fields(self, kernel_init=function(), bias_init=function())
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give zeros `[batch, kernel_size - 1, features]` for `input_shape` `(batch, features)`."""
        del key
        return jnp.zeros((input_shape[0], self.kernel_size - 1, self.features))

    @nn.compact
    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Convolve.

        Args:
            inputs: `[batch, time, features]`.
            done: True at the first step of an episode, `[batch, time]`; steps before it have no effect.
            initial_carry: The `kernel_size - 1` inputs before the first step; None: zeros.

        Returns:
            The last inputs, and the outputs `[batch, time, features]`.

        Raises:
            ValueError: If the shapes do not fit.
        """
        one = ParallelCausalConv1d(
            self.features, (self.kernel_size,), self.use_bias, self.kernel_init, self.bias_init, name="convolution"
        )
        return one(inputs, done, initial_carry)

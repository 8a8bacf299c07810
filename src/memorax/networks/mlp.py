"""A multi-layer perceptron."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from flax.linen import initializers

from memorax.core.checks import boolean, check_fields, function, sequence, size
from memorax.core.types import Array


class MLP(nn.Module):
    """A multi-layer perceptron: dense layers with an activation after each.

    Attributes:
        features: Width of every layer.
        activation: Activation function after every layer.
        activate_final: Whether the activation follows the last layer too, as in a feature extractor.
        kernel_init: Initializer of the kernels; orthogonal with gain sqrt(2).
        bias_init: Initializer of the biases.

    Example:
        >>> import jax
        >>> inputs = jnp.zeros((2, 5, 3))
        >>> MLP(features=(7, 4)).init_with_output(jax.random.key(0), inputs)[0].shape
        (2, 5, 4)
    """

    features: Sequence[int] = (64, 64)
    activation: Callable[[Array], Array] = nn.relu
    activate_final: bool = True
    kernel_init: initializers.Initializer = initializers.orthogonal(2.0**0.5)
    bias_init: initializers.Initializer = initializers.zeros_init()

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            TypeError: If `features` is not a sequence of integers or `activation` is not callable.
            ValueError: If `features` is empty or holds a number below 1.
        """
        check_fields(self, features=sequence(size()), activate_final=boolean())
        check_fields(self, **dict.fromkeys(("activation", "kernel_init", "bias_init"), function()))
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map the last axis.

        Args:
            inputs: `[..., features]`.

        Returns:
            `[..., self.features[-1]]`.

        Raises:
            ValueError: If there is nothing to map.
        """
        if inputs.shape[-1:] == (0,):
            raise ValueError(
                f"`inputs` of MLP must have at least one feature, got shape {inputs.shape}; leave an empty part of the "
                "observation out, or show a zero where there is nothing to see"
            )
        x = inputs if jnp.issubdtype(inputs.dtype, jnp.floating) else inputs.astype(jnp.float32)
        for layer, features in enumerate(self.features):
            x = nn.Dense(features, kernel_init=self.kernel_init, bias_init=self.bias_init)(x)
            if self.activate_final or layer + 1 < len(self.features):
                x = self.activation(x)
        return x

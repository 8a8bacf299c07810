"""Parameters and the optimizer that moves them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct

from memorax.core.types import Array, PyTree


@struct.dataclass
class Model:
    """Parameters with the state of their optimizer."""

    params: PyTree
    opt_state: PyTree

    @classmethod
    def create(cls, optimizer: optax.GradientTransformation, params: PyTree) -> "Model":
        """Begin to optimize `params`."""
        return cls(params, jax.tree.map(strong, optimizer.init(params)))

    def update(self, optimizer: optax.GradientTransformation, gradients: PyTree) -> "Model":
        """Take one step along the optimizer's direction."""
        updates, opt_state = optimizer.update(gradients, self.opt_state, self.params)
        return Model(optax.apply_updates(self.params, updates), opt_state)


def strong(x: Array) -> Array:
    """Remove a weak type: what is carried through a scan must keep its type."""
    return jax.lax.convert_element_type(x, jnp.asarray(x).dtype)


def minimize(
    optimizer: optax.GradientTransformation, model: Model, loss: Callable[[PyTree], tuple[Array, dict[str, Array]]]
) -> tuple[Model, dict[str, Array]]:
    """Take one gradient step.

    Args:
        optimizer: Of this model.
        model: Parameters and optimizer state.
        loss: `params -> (loss, metrics)`.

    Returns:
        The model after the step, and the metrics.
    """
    gradients, metrics = jax.grad(loss, has_aux=True)(model.params)
    return model.update(optimizer, gradients), metrics

"""Parameters and the optimizer that moves them."""

import optax
from flax import struct

from memorax.core.types import PyTree, strong


@struct.dataclass
class Model:
    """Parameters with the state of their optimizer."""

    params: PyTree
    opt_state: PyTree

    @classmethod
    def create(cls, optimizer: optax.GradientTransformation, params: PyTree) -> "Model":
        """Begin to optimize `params`."""
        return cls(params, strong(optimizer.init(params)))

    def update(self, optimizer: optax.GradientTransformation, gradients: PyTree) -> "Model":
        """Take one step along the optimizer's direction."""
        updates, opt_state = optimizer.update(gradients, self.opt_state, self.params)
        return Model(optax.apply_updates(self.params, updates), opt_state)

"""Parameters and the state of their optimizer."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax.numpy as jnp
import optax
from flax import struct

from memorax.core.hyperparameters import FromConfig, part_values
from memorax.core.types import Array, PyTree, strong

Schedule: TypeAlias = Callable[[Array], Any]
"""A function of the number of transitions so far, float32 `[]`; it gives one number, or one for each environment."""


@struct.dataclass
class TrainState:
    """Parameters with the state of their optimizer.

    Attributes:
        params: The parameters.
        opt_state: The state of their optimizer.
    """

    params: PyTree
    opt_state: PyTree

    @classmethod
    def create(cls, optimizer: optax.GradientTransformation, params: PyTree) -> "TrainState":
        """Start to optimize `params`."""
        return cls(params, strong(optimizer.init(params)))

    def update(self, optimizer: optax.GradientTransformation, gradients: PyTree) -> "TrainState":
        """Take one optimizer step."""
        updates, opt_state = optimizer.update(gradients, self.opt_state, self.params)
        return TrainState(optax.apply_updates(self.params, updates), opt_state)


def check_optimizers(**optimizers: Any) -> None:
    """Require optax optimizers, and one value of each number that adjustable ones share.

    Args:
        **optimizers: The optimizers by the names of the arguments they were given as.

    Raises:
        TypeError: One is something else, such as a learning rate.
        ValueError: Two have different numbers of one name, of which the state would hold one.
    """
    numbers: dict[str, tuple[str, Any]] = {}
    for name, optimizer in optimizers.items():
        # `optax.MultiSteps` and others like it are no GradientTransformation, but work as one.
        if isinstance(optimizer, type) or not all(callable(getattr(optimizer, x, None)) for x in ("init", "update")):
            raise TypeError(
                f"`{name}` must be an optax optimizer, got {optimizer!r}; write `optax.adam(1e-3)` for Adam with a "
                "learning rate of 1e-3"
            )
        for number, value in part_values(optimizer).items():
            first, shared = numbers.setdefault(number, (name, value))
            if value != shared:
                raise ValueError(
                    f"`{number}` must be the same in `{first}` and `{name}`, which share it, got {shared} and {value}; "
                    "give one of them another name"
                )


def linear_epsilon(config: Any, default_steps: int) -> FromConfig:
    """Make the schedule of a configuration: from `epsilon_start` to `epsilon_end` over `epsilon_steps` transitions.

    Args:
        config: The configuration.
        default_steps: What `epsilon_steps` is where it is None.
    """

    def epsilon(config: Any, step: Array) -> Array:
        # optax hands it to JAX, where an integer must fit 32 bits.
        steps: Any = float(config.epsilon_steps or default_steps)
        return jnp.asarray(optax.linear_schedule(config.epsilon_start, config.epsilon_end, steps)(step))

    return FromConfig(epsilon, config)


def check_schedule(name: str, schedule: Any, default: Schedule) -> Schedule:
    """Choose a schedule, a function of the number of transitions.

    Args:
        name: The argument it was given as.
        schedule: The schedule, or None.
        default: The schedule to use instead of None.

    Raises:
        TypeError: It is something else, such as a number.
    """
    if schedule is None:
        return default
    if not callable(schedule) or isinstance(schedule, type):
        raise TypeError(
            f"`{name}` must be a function of the number of transitions, got {schedule!r}; write "
            "`optax.constant_schedule(0.1)` for a constant"
        )
    return schedule

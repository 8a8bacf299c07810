"""Optimizers by name, with the learning rate, weight decay and gradient clipping of a run."""

from collections.abc import Callable, Collection
from typing import Any, TypeAlias

import optax
import optax.contrib

from memorax.core.registry import Registry
from memorax.experiment.config import RunConfig
from memorax.experiment.schedules import LEARNING_RATES, read_schedule

LearningRate: TypeAlias = float | Callable[[Any], Any]
"""A number, or a function of the number of gradient steps so far."""
MakeOptimizer: TypeAlias = Callable[..., optax.GradientTransformation]
"""Makes an optimizer from a learning rate, and from `weight_decay` by name where it has one."""

OPTIMIZERS: Registry[MakeOptimizer] = Registry("optimizer")
"""By name: functions of the learning rate that make an optimizer; those with weight decay take `weight_decay`, too.

Gradients are clipped to `max_grad_norm` before they reach it. One that is registered by a module of your own can be
asked for by name, in `RunConfig.optimizer` and on the command line by `--optimizer`."""

_EPSILON = 1e-5
"""Of Adam and its relatives: policy gradients are small, and the usual 1e-8 makes steps of noise."""

OPTIMIZERS.register("adam", lambda learning_rate: optax.adam(learning_rate, eps=_EPSILON))
OPTIMIZERS.register("adamw", lambda learning_rate, **decay: optax.adamw(learning_rate, eps=_EPSILON, **decay))
OPTIMIZERS.register("lion", optax.lion)
OPTIMIZERS.register("muon", optax.contrib.muon)
OPTIMIZERS.register("radam", lambda learning_rate: optax.radam(learning_rate, eps=_EPSILON))
OPTIMIZERS.register("rmsprop", lambda learning_rate: optax.rmsprop(learning_rate, decay=0.99, eps=_EPSILON))
OPTIMIZERS.register("sgd", optax.sgd)


def make_optimizer(
    config: RunConfig, gradient_steps: Callable[[], int], name: str = "learning_rate"
) -> optax.GradientTransformation:
    """Make an optimizer as a run is configured: gradient clipping, then the optimizer with its learning rate.

    Args:
        config: The run.
        gradient_steps: Counts the steps it takes in the whole run, for schedules.
        name: Which learning rate: `learning_rate`, or `critic_learning_rate` for critics, which is the former where
            it is not given.

    Raises:
        TypeError: What is registered under the name makes no optimizer.
        ValueError: There is no such optimizer.
    """
    make = OPTIMIZERS.get(config.optimizer)
    decay = {} if config.weight_decay is None else {"weight_decay": config.weight_decay}
    optimizer = make(learning_rate(config, gradient_steps, name), **decay)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(f"optimizer `{config.optimizer}` must make an optax optimizer, got {optimizer!r}")
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optimizer)


def learning_rate(config: RunConfig, gradient_steps: Callable[[], int], name: str) -> LearningRate:
    """Give a learning rate of a run, as a function of the gradient steps so far where it has a schedule."""
    own = getattr(config, name)
    value = config.learning_rate if own is None else own
    if config.anneal_learning_rate:
        return optax.linear_schedule(value, 0.0, gradient_steps())
    text = config.schedules.get(name, config.schedules.get(LEARNING_RATES[0]))
    if text is None:
        return value
    values, total = read_schedule(name, text).values(value, 0.0), gradient_steps()
    return lambda count: values(count / total)


def check_optimizer_options(config: RunConfig, used: Collection[str]) -> None:
    """Refuse options of optimizers that an algorithm has none for.

    Args:
        config: The run.
        used: Names of the learning rates that its optimizers were made with.

    Raises:
        ValueError: An option has no effect.
    """
    given = {
        "optimizer": config.optimizer != "adam",
        "weight_decay": config.weight_decay is not None,
        "critic_learning_rate": config.critic_learning_rate is not None,
        **dict.fromkeys(config.schedules.keys() & LEARNING_RATES, True),
    }
    for name, is_given in given.items():
        rate = name if name in LEARNING_RATES else LEARNING_RATES[0]
        if is_given and rate not in used:
            raise ValueError(f"`{name}` has no effect on {config.algorithm}; leave it out")

"""Optimizers by name, with the learning rate, weight decay and gradient clipping of a run."""

from collections.abc import Callable, Collection
from typing import Any, TypeAlias

import optax
import optax.contrib

from memorax.core.registry import Registry
from memorax.experiment.config import RunConfig
from memorax.experiment.schedules import LEARNING_RATES, read_schedule
from memorax.learning.adjustable_optimizer import AdjustableOptimizer

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
) -> AdjustableOptimizer:
    """Make an optimizer as a run is configured: gradient clipping, then the optimizer with its learning rate.

    Learning rate, weight decay and the maximum norm of gradients are hyperparameters in the state of the run.

    Args:
        config: The run.
        gradient_steps: Counts the steps it takes in the whole run, for schedules.
        name: Which learning rate: `learning_rate`, or `critic_learning_rate` for critics, which is the former where
            it is not given.

    Raises:
        TypeError: What is registered under the name makes no optimizer.
        ValueError: There is no such optimizer.
    """
    own = LEARNING_RATES[0] if getattr(config, name) is None else name
    scheduled = schedule_of(config, gradient_steps, name)

    def make(**values: Any) -> optax.GradientTransformation:
        decay = {"weight_decay": values["weight_decay"]} if "weight_decay" in values else {}
        optimizer = OPTIMIZERS.get(config.optimizer)(scheduled(values[own]), **decay)
        if not isinstance(optimizer, optax.GradientTransformation):
            raise TypeError(f"optimizer `{config.optimizer}` must make an optax optimizer, got {optimizer!r}")
        return optax.chain(optax.clip_by_global_norm(values["max_grad_norm"]), optimizer)

    names = [own, "max_grad_norm", *(["weight_decay"] if config.weight_decay is not None else [])]
    optimizer = AdjustableOptimizer(make, {name: getattr(config, name) for name in names})
    make(**optimizer.values)
    return optimizer


def schedule_of(config: RunConfig, gradient_steps: Callable[[], int], name: str) -> Callable[[Any], LearningRate]:
    """Give what makes of the value of a learning rate a function of the gradient steps, where it has a schedule."""
    if config.anneal_learning_rate:
        total = gradient_steps()
        return lambda value: optax.linear_schedule(value, 0.0, total)
    text = config.schedules.get(name, config.schedules.get(LEARNING_RATES[0]))
    if text is None:
        return lambda value: value
    schedule, total = read_schedule(name, text), gradient_steps()
    return lambda value: lambda count: schedule.values(value, 0.0)(count / total)


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

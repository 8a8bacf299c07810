"""What the configuration of a run changes in an agent that was built: schedules of hyperparameters, reward scale."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from memorax import lox
from memorax.acting import Algorithm, Normalizer, Scales, State
from memorax.core.types import Array, Key, Transition
from memorax.experiment.config import RunConfig
from memorax.experiment.schedules import COEFFICIENTS, EPSILON, read_schedule


def adjust(agent: Any, config: RunConfig) -> Any:
    """Give an agent the schedules and the reward scale of a run; without any, it is left as it is.

    Args:
        agent: The agent, which only this run uses.
        config: The run.

    Returns:
        The agent.
    """
    if config.reward_scale != 1.0:
        agent.normalizer = ScaledRewards(agent.normalizer, config.reward_scale)
    schedules = {name: read_schedule(name, text) for name, text in config.schedules.items()}
    if EPSILON in schedules:
        own = config.hyperparameters
        values = schedules[EPSILON].values(own.epsilon_start, own.epsilon_end)
        agent.epsilon_schedule = lambda step: values(jnp.asarray(step, jnp.float32) / own.epsilon_steps)
    changing = {
        name: schedule.values(getattr(config.hyperparameters, name), 0.0)
        for name, schedule in schedules.items()
        if name in COEFFICIENTS
    }
    return with_schedules(agent, changing, config) if changing else agent


def with_schedules(agent: Any, values: Mapping[str, Callable[[Any], Array]], config: RunConfig) -> Any:
    """Let hyperparameters follow schedules, which are logged as `schedules/*`.

    Args:
        agent: The agent.
        values: Functions of the fraction of the run that is over, by hyperparameter.
        config: The run.

    Returns:
        The agent: each of its updates is one of an agent with the values of its first step.
    """
    base: Any = type(agent)

    class Scheduled(base):
        def update(self, key: Key, state: State) -> State:
            fraction = (state.step.as_float() - config.warmup) / config.steps
            now = {name: value(fraction) for name, value in values.items()}
            lox.log({"schedules": now})
            return base.update(_with_hyperparameters(self, now), key, state)

    Scheduled.__name__, Scheduled.__qualname__ = base.__name__, base.__qualname__
    agent.__class__ = Scheduled
    return agent


def _with_hyperparameters(agent: Any, values: dict[str, Array]) -> Any:
    """Copy an agent, and the agents that it is made of, with other hyperparameters."""
    changed = copy.copy(agent)
    changed.config = dataclasses.replace(agent.config, **values)
    for name, part in vars(agent).items():
        if isinstance(part, Algorithm):
            setattr(changed, name, _with_hyperparameters(part, values))
    return changed


class ScaledRewards(Normalizer):
    """Multiplies the rewards that are learned from; those that networks are fed and episode statistics stay.

    Args:
        normalizer: What the agent has; it comes first.
        scale: The factor.
    """

    def __init__(self, normalizer: Normalizer, scale: float) -> None:
        vars(self).update(vars(normalizer))
        self.scale = scale

    def transition(self, scales: Scales | None, transition: Transition) -> Transition:
        """Normalize, then scale the reward."""
        transition = super().transition(scales, transition)
        return dataclasses.replace(transition, reward=transition.reward * jnp.float32(self.scale))

"""What the configuration of a run changes in an agent that was built: schedules of hyperparameters, reward scale."""

import dataclasses
from collections.abc import Callable
from typing import Any, Self

import jax.numpy as jnp

from memorax.acting import FromConfig, Normalizer, Scales, StepCount, Values
from memorax.core.types import Array, Transition, weak
from memorax.experiment.config import RunConfig
from memorax.experiment.schedules import EPSILON, LEARNING_RATES, Schedule, read_schedule


def adjust(agent: Any, config: RunConfig) -> Any:
    """Give an agent the schedules and the reward scale of a run.

    Args:
        agent: The agent, which only this run uses.
        config: The run.

    Returns:
        The agent.
    """
    agent.normalizer = ScaledRewards(agent.normalizer, config.reward_scale)
    schedules = {name: read_schedule(name, text) for name, text in config.schedules.items()}
    if EPSILON in schedules:
        agent.epsilon_schedule = FromConfig(_epsilon(schedules[EPSILON]), config.hyperparameters)
    # Those of learning rates are over gradient steps, and the optimizer's.
    over_steps = schedules.keys() - {EPSILON, *LEARNING_RATES}
    agent.schedules = {name: _over_steps(schedules[name], config) for name in schedules if name in over_steps}
    return agent


def _epsilon(schedule: Schedule) -> Callable[[Any, Any], Array]:
    def epsilon(config: Any, step: Any) -> Array:
        values = schedule.values(config.epsilon_start, config.epsilon_end)
        return values(jnp.asarray(step, jnp.float32) / config.epsilon_steps)

    return epsilon


def _over_steps(schedule: Schedule, config: RunConfig) -> Callable[[Array, StepCount], Array]:
    def value(start: Array, step: StepCount) -> Array:
        return schedule.values(start, 0.0)((step.as_float() - config.warmup) / config.steps)

    return value


class ScaledRewards(Normalizer):
    """Multiplies the rewards that are learned from; those that networks are fed and episode statistics stay.

    Args:
        normalizer: What the agent has; it comes first.
        scale: The factor.
    """

    def __init__(self, normalizer: Normalizer, scale: float) -> None:
        vars(self).update(vars(normalizer))
        self.scale = scale

    def hyperparameters(self) -> dict[str, float]:
        """Give the factor."""
        return super().hyperparameters() | {"reward_scale": self.scale}

    def with_hyperparameters(self, values: Values) -> Self:
        """Copy it with another factor."""
        normalizer = super().with_hyperparameters(values)
        normalizer.scale = weak(values["reward_scale"]) if "reward_scale" in values else self.scale
        return normalizer

    def transition(self, scales: Scales | None, transition: Transition) -> Transition:
        """Normalize, then scale the reward."""
        transition = super().transition(scales, transition)
        return dataclasses.replace(transition, reward=transition.reward * self.scale)

"""Observations and rewards on a scale of their own, by what the run has seen so far."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from memorax.acting.loop import Loop, Policy, Stage, Value
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.objectives import RunningStatistics

_LIMIT = 10.0
"""No normalized number is larger, not even where something varies for the first time after a long while."""


@dataclass(frozen=True, kw_only=True)
class NormalizationConfig:
    """Configuration of what is put on a scale of its own."""

    normalize_observations: bool = False
    """Whether networks see observations with mean 0 and variance 1, by what all environments have shown so far.
    Integers and flags stay as they are. Evaluation uses the same statistics and does not change them."""
    normalize_rewards: bool = False
    """Whether rewards are divided by the standard deviation of the discounted return before they are learned from.
    Networks that are fed the previous reward, and the statistics of episodes, have it as it was."""


@struct.dataclass
class Scales:
    """What the run has seen so far; None where it is not normalized.

    Attributes:
        observations: Of every floating-point part of the observation.
        returns: Of the discounted sum of the rewards of an episode up to each of its steps.
        running_return: That sum in every environment, `[num_envs]`; with several agents for each of them.
    """

    observations: RunningStatistics | None
    returns: RunningStatistics | None
    running_return: Array | None


class Normalizer:
    """Stands between the environments and an algorithm, which learns of normalized numbers only.

    The statistics do not change while data is acted on and learned from, so that learning sees what acting saw. None
    for them is no normalization: everything is handed through.

    Args:
        config: The algorithm's; a `NormalizationConfig` where there is anything to normalize.
        stage: The environments.

    Raises:
        TypeError: Observations are to be normalized but have no floating-point part.
    """

    def __init__(self, config: Any, stage: Stage) -> None:
        self.observations = getattr(config, "normalize_observations", False)
        self.rewards = getattr(config, "normalize_rewards", False)
        self.gamma = getattr(config, "gamma", 1.0)
        if self.observations:
            observation = jax.eval_shape(lambda key: stage.reset(key, ()), jax.random.key(0)).timestep.observation
            if not _parts(observation):
                raise TypeError(
                    "`normalize_observations` needs floating-point observations, got "
                    f"{', '.join(str(x.dtype) for x in jax.tree.leaves(observation))} only; leave it off"
                )

    def init(self, loop: Loop) -> Scales | None:
        """Begin with the first observations."""
        if not (self.observations or self.rewards):
            return None
        done, parts = loop.timestep.done, _parts(loop.timestep.observation)
        observations = RunningStatistics.start([x[0] for x in parts]).update(parts) if self.observations else None
        if not self.rewards:
            return Scales(observations, None, None)
        zeros = jnp.zeros(done.shape, jnp.float32)
        return Scales(observations, RunningStatistics.start(zeros[0]), zeros)

    def after_rewards(self, scales: Scales | None, trajectory: Transition) -> Scales | None:
        """Take in the rewards of a rollout, `[num_envs, time]`."""
        if scales is None or scales.returns is None or scales.running_return is None:
            return scales

        def step(total: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            reward, done = now
            total = reward + self.gamma * total
            return jnp.where(done, 0.0, total), total

        over_time = trajectory.reward.swapaxes(0, 1), trajectory.done.swapaxes(0, 1)
        running, totals = jax.lax.scan(step, scales.running_return, over_time)
        returns = scales.returns.update(totals.reshape(-1, *totals.shape[2:]))
        return dataclasses.replace(scales, returns=returns, running_return=running)

    def after_observations(self, scales: Scales | None, trajectory: Transition, loop: Loop) -> Scales | None:
        """Take in what a rollout led to: its observations but the first, and the one after it."""
        if scales is None or scales.observations is None:
            return scales
        pairs = zip(_parts(trajectory.observation), _parts(loop.timestep.observation), strict=True)
        parts = [jnp.concatenate([x[:, 1:], last[:, None]], axis=1) for x, last in pairs]
        observations = scales.observations.update([x.reshape(-1, *x.shape[2:]) for x in parts])
        return dataclasses.replace(scales, observations=observations)

    def timestep(self, scales: Scales | None, timestep: Timestep) -> Timestep:
        """Normalize the observation, `[..., *observation]`."""
        if scales is None or scales.observations is None:
            return timestep
        leaves, structure = jax.tree.flatten(timestep.observation)
        means, deviations = iter(scales.observations.mean), iter(scales.observations.deviation())

        def normalize(x: Array) -> Array:
            return jnp.clip((x - next(means)) / next(deviations), -_LIMIT, _LIMIT).astype(x.dtype)

        leaves = [normalize(x) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in leaves]
        return dataclasses.replace(timestep, observation=jax.tree.unflatten(structure, leaves))

    def loop(self, scales: Scales | None, loop: Loop) -> Loop:
        """Normalize what is seen next."""
        return dataclasses.replace(loop, timestep=self.timestep(scales, loop.timestep))

    def transition(self, scales: Scales | None, transition: Transition) -> Transition:
        """Normalize what was seen, and the reward that is learned from; the one that networks see stays as it was."""
        if scales is None:
            return transition
        inputs, reward = self.timestep(scales, transition.inputs), transition.reward
        if scales.returns is not None:
            reward = jnp.clip(reward / scales.returns.deviation(), -_LIMIT, _LIMIT)
        return dataclasses.replace(transition, inputs=inputs, reward=reward)

    def sample(self, scales: Scales | None, sample: PyTree) -> PyTree:
        """Normalize the transitions that a replay drew; they are kept as they were seen."""

        def normalize(x: Any) -> Any:
            return self.transition(scales, x) if isinstance(x, Transition) else x

        return jax.tree.map(normalize, sample, is_leaf=lambda x: isinstance(x, Transition))

    def policy(self, scales: Scales | None, policy: Policy) -> Policy:
        """Make a policy that is given what the environments show."""
        if scales is None:
            return policy

        def act(key: Key, carry: Carry, timestep: Timestep) -> tuple[Carry, Array, dict[str, Array]]:
            return policy(key, carry, self.timestep(scales, timestep))

        return act

    def value(self, scales: Scales | None, value: Value | None) -> Value | None:
        """Make a value that is given what the environments show."""
        if scales is None or value is None:
            return value
        return lambda carry, timestep: value(carry, self.timestep(scales, timestep))


def _parts(observation: PyTree) -> list[Array]:
    """The floating-point parts of an observation."""
    return [x for x in jax.tree.leaves(observation) if jnp.issubdtype(x.dtype, jnp.floating)]

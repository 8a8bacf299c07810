"""Observation and reward normalization by running statistics."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import struct

from memorax.acting.policy import AgentPolicy
from memorax.acting.vector_env import RolloutState, Value, VectorEnv
from memorax.core.broadcasting import with_rank
from memorax.core.checks import boolean, check_fields
from memorax.core.hyperparameters import Values
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition, weak
from memorax.objectives import RunningStatistics

_LIMIT = 10.0
"""Normalized values are clipped to +-10, also where something varies for the first time after a long while."""


@dataclass(frozen=True, kw_only=True)
class NormalizationConfig:
    """Configuration of observation and reward normalization."""

    normalize_observations: bool = False
    """Whether to normalize observations to mean 0 and variance 1 by running statistics of all environments. Integers
    and booleans are left unchanged. Evaluation uses the statistics of training and does not update them."""
    normalize_rewards: bool = False
    """Whether to divide rewards by the running standard deviation of the discounted return before learning from them.
    The previous reward that networks are fed, and episode statistics, are not normalized."""

    def __post_init__(self) -> None:
        check_fields(self, normalize_observations=boolean(), normalize_rewards=boolean())


@struct.dataclass
class Scales:
    """Running statistics of a run; None where nothing is normalized.

    Attributes:
        observations: Statistics of every floating-point part of the observation.
        returns: Statistics of the discounted sum of the rewards of an episode up to each of its steps.
        running_return: That sum in every environment, `[num_envs]`; with several agents `[num_envs, agents]`.
    """

    observations: RunningStatistics | None
    returns: RunningStatistics | None
    running_return: Array | None


class Normalizer:
    """Normalizes what passes from the environments to the algorithm.

    The statistics do not change between acting and learning, so that learning sees the observations that acting saw.
    Without statistics (None) everything is returned unchanged.

    Args:
        config: The algorithm's configuration; a `NormalizationConfig` where there is anything to normalize.
        vector_env: The environments.

    Raises:
        TypeError: Observations are to be normalized but have no floating-point part.
    """

    def __init__(self, config: Any, vector_env: VectorEnv) -> None:
        self.observations = getattr(config, "normalize_observations", False)
        self.rewards = getattr(config, "normalize_rewards", False)
        self.gamma = getattr(config, "gamma", 1.0)
        self.vector_env = vector_env
        if self.observations:
            observation = jax.eval_shape(lambda key: vector_env.reset(key, ()), jax.random.key(0)).timestep.observation
            if not _parts(observation):
                raise TypeError(
                    "`normalize_observations` needs floating-point observations, got "
                    f"{', '.join(str(x.dtype) for x in jax.tree.leaves(observation))} only; leave it off"
                )

    def hyperparameters(self) -> dict[str, float]:
        """Give none: its discount factor is the algorithm's."""
        return {}

    def with_hyperparameters(self, values: Values) -> Self:
        """Copy it with another discount factor."""
        normalizer = copy.copy(self)
        normalizer.gamma = weak(values["gamma"]) if "gamma" in values else self.gamma
        return normalizer

    def init(self, rollout_state: RolloutState) -> Scales | None:
        """Start with the first observations."""
        if not (self.observations or self.rewards):
            return None
        timestep = rollout_state.timestep
        done, parts = timestep.done, _parts(timestep.observation)
        observations = RunningStatistics.start([x[0] for x in parts]).update(parts) if self.observations else None
        if not self.rewards:
            return Scales(observations, None, None)
        zeros = jnp.zeros(done.shape, jnp.float32)
        return Scales(observations, RunningStatistics.start(zeros[0]), zeros)

    def after_rewards(self, scales: Scales | None, trajectory: Transition) -> Scales | None:
        """Update with the rewards of a rollout, `[num_envs, time]`."""
        if scales is None or scales.returns is None or scales.running_return is None:
            return scales

        def step(total: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            reward, done = now
            total = reward + self.gamma * total
            return jnp.where(done, 0.0, total), total

        terminated, truncated = self.vector_env.ends(trajectory.terminated, trajectory.truncated)
        over_time = trajectory.reward.swapaxes(0, 1), (terminated | truncated).swapaxes(0, 1)
        running, totals = jax.lax.scan(step, scales.running_return, over_time)
        returns = scales.returns.update(jax.lax.collapse(totals, 0, 2))
        return dataclasses.replace(scales, returns=returns, running_return=running)

    def after_observations(
        self, scales: Scales | None, trajectory: Transition, rollout_state: RolloutState
    ) -> Scales | None:
        """Update with the observations of a rollout but the first, and the one after it."""
        if scales is None or scales.observations is None:
            return scales
        pairs = zip(_parts(trajectory.observation), _parts(rollout_state.timestep.observation), strict=True)
        parts = [jnp.concatenate([x[:, 1:], last[:, None]], axis=1) for x, last in pairs]
        observations = scales.observations.update([jax.lax.collapse(x, 0, 2) for x in parts])
        return dataclasses.replace(scales, observations=observations)

    def timestep(self, scales: Scales | None, timestep: Timestep) -> Timestep:
        """Normalize the observation, `[..., *observation]`."""
        if scales is None or scales.observations is None:
            return timestep
        leaves, structure = jax.tree.flatten(timestep.observation)
        means, deviations = iter(scales.observations.mean), iter(scales.observations.deviation())

        def normalize(x: Array) -> Array:
            mean, deviation = (with_rank(next(of), x.ndim) for of in (means, deviations))
            return jnp.clip((x - mean) / deviation, -_LIMIT, _LIMIT).astype(x.dtype)

        leaves = [normalize(x) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in leaves]
        return dataclasses.replace(timestep, observation=jax.tree.unflatten(structure, leaves))

    def rollout_state(self, scales: Scales | None, rollout_state: RolloutState) -> RolloutState:
        """Normalize the observation that is seen next."""
        return dataclasses.replace(rollout_state, timestep=self.timestep(scales, rollout_state.timestep))

    def transition(self, scales: Scales | None, transition: Transition) -> Transition:
        """Normalize observation, and the reward that is learned from; the previous reward that networks see stays."""
        if scales is None:
            return transition
        inputs, reward = self.timestep(scales, transition.inputs), transition.reward
        if scales.returns is not None:
            reward = jnp.clip(reward / with_rank(scales.returns.deviation(), reward.ndim), -_LIMIT, _LIMIT)
        return dataclasses.replace(transition, inputs=inputs, reward=reward)

    def sample(self, scales: Scales | None, sample: PyTree) -> PyTree:
        """Normalize transitions sampled from a replay buffer, which stores them unnormalized."""

        def normalize(x: Any) -> Any:
            return self.transition(scales, x) if isinstance(x, Transition) else x

        return jax.tree.map(normalize, sample, is_leaf=lambda x: isinstance(x, Transition))

    def policy(self, scales: Scales | None, policy: AgentPolicy) -> AgentPolicy:
        """Give a policy that takes unnormalized observations."""
        if scales is None:
            return policy

        def act(
            key: Key, carry: Carry, timestep: Timestep, action: Array | None = None
        ) -> tuple[Carry, Array, dict[str, Array]]:
            given = () if action is None else (action,)
            return policy(key, carry, self.timestep(scales, timestep), *given)

        return act

    def value(self, scales: Scales | None, value: Value | None) -> Value | None:
        """Give a value function that takes unnormalized observations."""
        if scales is None or value is None:
            return value
        return lambda carry, timestep: value(carry, self.timestep(scales, timestep))


def _parts(observation: PyTree) -> list[Array]:
    """The floating-point parts of an observation."""
    return [x for x in jax.tree.leaves(observation) if jnp.issubdtype(x.dtype, jnp.floating)]

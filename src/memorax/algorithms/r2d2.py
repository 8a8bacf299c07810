"""Recurrent Q-learning from a replay that draws surprising sequences more often."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import jax.numpy as jnp
import optax

from memorax.acting import State
from memorax.acting.off_policy import Buffer
from memorax.acting.replay import ReplayConfig, default_buffer
from memorax.acting.value_outputs import NStep
from memorax.algorithms.dqn import DQN, Schedule
from memorax.buffers import compute_importance_weights, make_prioritised_episode_buffer
from memorax.core.checks import at_least, between, whole
from memorax.core.types import Array, PyTree, Transition
from memorax.networks import Network
from memorax.objectives import epsilon_per_actor, rescale, unscale

R2D2State: TypeAlias = State
_LEAST_PRIORITY = 1e-6
"""A sequence without errors can still be drawn."""


@dataclass(frozen=True)
class R2D2Config(ReplayConfig):
    """Configuration of R2D2."""

    gamma: float = 0.997
    """Discount per step, [0, 1]."""
    train_frequency: int = 10
    """Transitions of all environments per update; any number, exactly."""
    sequence_length: int | None = 80
    """Steps per sequence; the first `burn_in_length` only refresh the memory, the last only bootstraps. None: the
    burn-in and 17 more, or what n-step returns need for networks without memory."""
    burn_in_length: int = 10
    """First steps of each sequence that only refresh the memory; networks without memory ignore it."""
    target_update_frequency: int = 2_500
    """Transitions between two moves of a target network."""
    n_step: int = 5
    """Rewards in a return before it bootstraps."""
    double: bool = True
    """Whether the network that is learned chooses the action whose value the target network gives."""
    value_rescaling: bool = True
    """Whether values are learned on a scale on which large returns lie closer together."""
    priority_exponent: float = 0.9
    """How much priorities matter, [0, 1]: 0 draws all sequences equally often."""
    priority_eta: float = 0.9
    """Weight of a sequence's largest error in its priority, [0, 1]; the rest is that of its mean error."""
    importance_sampling_exponent: float = 0.6
    """How much the loss makes up for drawing some sequences more often, [0, 1]: 1 fully."""
    epsilon_base: float = 0.4
    """Probability of a random action in the first environment, (0, 1]."""
    epsilon_exponent: float = 7.0
    """How far the environments' probabilities spread: the last has `epsilon_base^(1 + epsilon_exponent)`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "n_step", 1)
        for name in ("priority_exponent", "priority_eta", "importance_sampling_exponent"):
            between(self, name, 0, 1)
        if not 0.0 < self.epsilon_base <= 1.0:
            raise ValueError(f"`epsilon_base` must be above 0 and at most 1, got {self.epsilon_base}")
        at_least(self, "epsilon_exponent", 0)


class R2D2(DQN):
    """Learn as DQN does, from sequences that are drawn the more often the larger their errors were.

    The memory at the start of a sequence is the one that acting had there, refreshed by a burn-in. Values are learned
    as `h(return)`; the target is `h(n-step return)` that bootstraps from `h^-1(Q_target(x, argmax Q(x)))`. A sequence
    is drawn by `eta max |error| + (1 - eta) mean |error|`, and its loss weighed to make up for that. Every
    environment has its own probability of random actions.

    Differs from the paper: sequences may go across the ends of episodes, where the memory is reset inside and returns
    end; `sequence_length` counts the burn-in; training and acting take turns.

    Args:
        config: Configuration.
        env: Environment.
        env_params: Its parameters.
        q_network: Network with a head that values actions, as for `DQN`.
        optimizer: Moves its parameters.
        buffer: Replay with priorities; None for one that follows from the configuration.
        epsilon_schedule: Probability of a random action after so many transitions, `[]` or `[num_envs]`; None for
            the configuration's.
        beta_schedule: Importance sampling exponent after so many transitions; None for the configuration's.

    Raises:
        TypeError: As for `DQN`, or the replay has no priorities.
        ValueError: As for `DQN`.

    Example:
        >>> agent = R2D2(R2D2Config(), env, env_params, q_network, optax.adam(1e-4))
        >>> state = agent.warmup(jax.random.key(1), agent.init(jax.random.key(0)), num_steps=10_000)
        >>> state, logs = lox.spool(agent.train)(jax.random.key(2), state, num_steps=100_000)

    Source:
        Kapturowski et al. 2019, "Recurrent Experience Replay in Distributed Reinforcement Learning",
        https://openreview.net/forum?id=r1lyTjAqYX.
    """

    def __init__(  # noqa: PLR0913, PLR0917  the arguments of DQN and one more
        self,
        config: R2D2Config,
        env: Any,
        env_params: PyTree,
        q_network: Network,
        optimizer: optax.GradientTransformation,
        buffer: Buffer | None = None,
        epsilon_schedule: Schedule | None = None,
        beta_schedule: Schedule | None = None,
    ) -> None:
        if buffer is not None and not callable(getattr(buffer, "set_priorities", None)):
            raise TypeError(
                f"`buffer` must have priorities, got {type(buffer).__name__}; make it with "
                "`make_prioritised_episode_buffer`"
            )
        exponent = optax.constant_schedule(config.importance_sampling_exponent)
        self.beta_schedule = exponent if beta_schedule is None else beta_schedule
        super().__init__(config, env, env_params, q_network, optimizer, buffer, epsilon_schedule)

    def default_epsilon(self) -> Schedule:
        """Give every environment a probability of its own, for all time."""
        config = self.config
        epsilon = epsilon_per_actor(config.num_envs, config.epsilon_base, config.epsilon_exponent)
        return optax.constant_schedule(epsilon)

    def default_buffer(self) -> Buffer:
        """Make the replay that follows from the configuration."""
        config = self.config
        make, exponent = make_prioritised_episode_buffer, config.priority_exponent
        return default_buffer(config, self.q.recurrent, config.n_step, make, priority_exponent=exponent)

    def targets(self, batch: Transition, gamma: float | None = None) -> NStep:
        """Say how returns bootstrap, on the scale that values are learned on; those of demons, too."""
        targets = super().targets(batch, gamma)
        if not self.config.value_rescaling:
            return targets
        return replace(targets, scale=rescale, unscale=unscale)

    def importance(self, sample: Any, step: Array) -> Array:
        """Weigh the sequences the less, the more often they are drawn; the largest weight is 1."""
        # How many sequences there are cancels, since the weights are divided by the largest.
        return compute_importance_weights(sample.probabilities, 1, jnp.asarray(self.beta_schedule(step)))

    def priorities(self, errors: Array, weight: Array) -> Array:
        """Mix the largest and the mean error of each sequence."""
        counted = jnp.where(weight > 0, errors, 0.0)
        mean = jnp.sum(counted, axis=1) / jnp.maximum(jnp.sum(weight, axis=1), 1.0)
        eta = self.config.priority_eta
        return eta * jnp.max(counted, axis=1) + (1.0 - eta) * mean + _LEAST_PRIORITY

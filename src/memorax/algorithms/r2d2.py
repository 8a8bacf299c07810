"""Recurrent replay distributed DQN: DQN with prioritized sequences and burn-in."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import jax.numpy as jnp
import optax

from memorax.acting import FromConfig, State, StepCount, Values
from memorax.algorithms.dqn import DQN
from memorax.buffers import compute_importance_weights, make_prioritised_episode_buffer
from memorax.buffers.protocol import Buffer, PrioritizedBuffer
from memorax.core.checks import boolean, check_fields, integer, real
from memorax.core.types import Array, PyTree, Transition
from memorax.learning.replay import ReplayConfig, default_buffer
from memorax.learning.train_state import Schedule, check_schedule
from memorax.learning.values import NStepTargets
from memorax.networks import Network
from memorax.objectives import epsilon_per_actor, rescale, unscale

R2D2State: TypeAlias = State
_LEAST_PRIORITY = 1e-6
"""So that a sequence without errors can still be drawn."""


@dataclass(frozen=True)
class R2D2Config(ReplayConfig):
    """Configuration of R2D2."""

    gamma: float = 0.997
    """Discount factor per step, [0, 1]."""
    train_frequency: int = 512
    """Transitions of all environments per update; any number, kept exactly. With the other defaults every transition is
    learned from about 4 times, as in Acme (the paper: 0.8 times, of billions). Runs of few transitions need more
    updates: `memorax train r2d2` takes 16."""
    sequence_length: int | None = 80
    """Steps per replayed sequence; the first `burn_in_length` only refresh the memory, the last only bootstraps. None:
    the burn-in and 17 more, or what n-step returns need for networks without memory."""
    burn_in_length: int = 10
    """First steps of each sequence that only refresh the memory; ignored by networks without memory."""
    target_update_frequency: int = 51_200
    """Transitions between two target network updates: 100 updates, where the paper has 2,500 of many more."""
    n_step: int = 5
    """Rewards in an n-step return before it bootstraps."""
    double: bool = True
    """Whether to use double Q-learning: the online network chooses the action that the target network values."""
    value_rescaling: bool = True
    """Whether to learn values on the rescaled, sublinear scale `h(x) = sign(x) (sqrt(|x| + 1) - 1) + eps x`."""
    priority_exponent: float = 0.9
    """Exponent alpha of prioritized replay, [0, 1]: 0 samples uniformly."""
    priority_eta: float = 0.9
    """Weight eta of a sequence's largest TD error in its priority, [0, 1]; the mean error has weight 1 - eta."""
    importance_sampling_exponent: float = 0.6
    """Exponent beta of the importance sampling weights, [0, 1]: 1 corrects the bias of prioritized replay fully."""
    epsilon_base: float = 0.4
    """Epsilon, the probability of a random action, of the first environment, (0, 1]."""
    epsilon_exponent: float = 7.0
    """Spread of epsilon over the environments: the last has `epsilon_base^(1 + epsilon_exponent)`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        exponents = ("priority_exponent", "priority_eta", "importance_sampling_exponent")
        check_fields(
            self,
            n_step=integer(1),
            **dict.fromkeys(("double", "value_rescaling"), boolean()),
            **dict.fromkeys(exponents, real(0, 1)),
            epsilon_base=real(above=0, maximum=1),
            epsilon_exponent=real(0),
        )


class R2D2(DQN):
    """R2D2: Recurrent replay distributed DQN, with prioritized replay of sequences, burn-in and value rescaling.

    The memory at the start of a sequence is the one that acting had there, refreshed by a burn-in. Values are learned
    as `h(return)`; the target is `h(n-step return)` that bootstraps from `h^-1(Q_target(x, argmax Q(x)))`. A sequence
    has the priority `eta max |error| + (1 - eta) mean |error|`, and importance sampling weights correct its loss. Every
    environment has its own epsilon.

    Differs from the paper: sequences may cross the ends of episodes, where the memory is reset inside and returns
    end; `sequence_length` counts the burn-in; acting and training alternate.

    Args:
        config: Configuration.
        env: Environment with Discrete or MultiDiscrete actions.
        env_params: Its parameters; None for its default ones.
        q_network: Network with a head that values all actions: `DiscreteQNetwork`, `C51QNetwork`, `HLGaussQNetwork`, or
            a `Horde` of these; `BranchingQNetwork` for MultiDiscrete actions.
        optimizer: Optimizer of its parameters.
        buffer: Prioritized replay buffer of sequences; None for the default one of the configuration.
        epsilon_schedule: Probability of a random action after so many transitions, `[]` or `[num_envs]`; None for the
            epsilons of the configuration.
        beta_schedule: Importance sampling exponent after so many transitions; None for that of the configuration.

    Raises:
        TypeError: An argument is of the wrong type, or the head does not value discrete actions.
        ValueError: The head does not fit the action space, or configuration and replay buffer do not fit each other.

    Example:
        >>> agent = R2D2(R2D2Config(), env, env_params, q_network, optax.adam(1e-4))
        >>> state = agent.warmup(jax.random.key(1), agent.init(jax.random.key(0)), num_steps=10_000)
        >>> state, logs = lox.spool(agent.train)(jax.random.key(2), state, num_steps=100_000)

    Source:
        Kapturowski et al. 2019, "Recurrent Experience Replay in Distributed Reinforcement Learning",
        https://openreview.net/forum?id=r1lyTjAqYX.
    """

    Config = R2D2Config
    config: R2D2Config  # pyright: ignore[reportIncompatibleVariableOverride] (it is not assigned again)

    def __init__(  # noqa: PLR0913, PLR0917  the arguments of DQN and one more
        self,
        config: R2D2Config,
        env: Any,
        env_params: PyTree,
        q_network: Network,
        optimizer: optax.GradientTransformation,
        buffer: PrioritizedBuffer | None = None,
        epsilon_schedule: Schedule | None = None,
        beta_schedule: Schedule | None = None,
    ) -> None:
        if buffer is not None and not callable(getattr(buffer, "set_priorities", None)):
            raise TypeError(
                f"`buffer` must have priorities, got {type(buffer).__name__}; make it with "
                "`make_prioritised_episode_buffer`"
            )
        # Of the configuration DQN reads what both have.
        super().__init__(cast(Any, config), env, env_params, q_network, optimizer, buffer, epsilon_schedule)
        self.own_buffer = buffer is None
        exponent = FromConfig(lambda config, step: config.importance_sampling_exponent, config)
        self.beta_schedule = check_schedule("beta_schedule", beta_schedule, exponent)

    def default_epsilon(self) -> Schedule:
        """Give every environment a constant epsilon of its own."""

        def epsilon(config: R2D2Config, step: Array) -> Array:
            return epsilon_per_actor(config.num_envs, config.epsilon_base, config.epsilon_exponent)

        return FromConfig(epsilon, self.config)

    def default_buffer(self) -> Buffer:
        """Make the prioritized replay buffer of the configuration."""
        config, make, compact = self.config, make_prioritised_episode_buffer, self.compact_carry
        exponent = config.priority_exponent
        return default_buffer(config, self.recurrent, config.n_step, make, compact=compact, priority_exponent=exponent)

    def with_hyperparameters(self, values: Values) -> "R2D2":
        """Copy the agent with other values, of which the replay buffer needs the priority exponent."""
        agent = super().with_hyperparameters(values)
        agent.buffer = agent.default_buffer() if self.own_buffer else self.buffer
        return agent

    def targets(self, batch: Transition, gamma: float | None = None) -> NStepTargets:
        """Give the rescaled n-step returns of a batch, with the discount of the configuration or another one."""
        targets = super().targets(batch, gamma)
        if not self.config.value_rescaling:
            return targets
        return replace(targets, scale=rescale, unscale=unscale)

    def importance(self, sample: Any, step: StepCount) -> Array:
        """Give the importance sampling weight of each sequence; the largest is 1."""
        # The number of sequences cancels, since the weights are divided by the largest.
        return compute_importance_weights(sample.probabilities, 1, jnp.asarray(self.beta_schedule(step.as_float())))

    def priorities(self, errors: Array, weight: Array) -> Array:
        """Mix the largest and the mean absolute TD error of each sequence."""
        counted = jnp.where(weight > 0, errors, 0.0)
        mean = jnp.sum(counted, axis=1) / jnp.maximum(jnp.sum(weight, axis=1), 1.0)
        eta = self.config.priority_eta
        return eta * jnp.max(counted, axis=1) + (1.0 - eta) * mean + _LEAST_PRIORITY

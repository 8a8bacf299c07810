"""Soft actor-critic, for continuous and discrete actions, recurrent or feed-forward."""

import dataclasses
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import struct

from memorax import lox
from memorax.acting import AgentPolicy, Behavior, OffPolicy, RolloutState, State, StepCount
from memorax.buffers.protocol import Buffer
from memorax.core.checks import check_fields, integer, optional, real
from memorax.core.types import Array, Key, PyTree
from memorax.learning.auxiliary import sown_metrics
from memorax.learning.dropout import dropout
from memorax.learning.replay import ReplayConfig, default_buffer, use_sequences
from memorax.learning.soft_actor_critic import PolicyActions, ReplayedSequences, SoftActorCritic
from memorax.learning.target_network import target_copy, update_target
from memorax.learning.train_state import TrainState, check_optimizers
from memorax.learning.values import expected_values, value_losses
from memorax.networks import Network
from memorax.networks.heads import Alpha
from memorax.objectives import episode_ends, temperature_loss, weighted_mean

SACState: TypeAlias = State
Metrics: TypeAlias = dict[str, Array]
_DISCRETE_SCALE, _DISCRETE_TEMPERATURE = 0.5, 0.1


@dataclasses.dataclass(frozen=True)
class SACConfig(ReplayConfig):
    """Configuration of SAC."""

    train_frequency: int = 1
    """Transitions of all environments per update; any number, kept exactly."""
    batch_size: int = 256
    """Sequences per update."""
    gradient_steps: int = 1
    """Gradient steps per update, all on the same sequences."""
    tau: float = 0.005
    """Step size of target network updates, (0, 1]: 1 copies the network, less is Polyak averaging."""
    target_update_frequency: int = 1
    """Transitions between two target network updates."""
    target_entropy_scale: float | None = None
    """Target entropy: as a share of the maximum entropy for discrete actions, as minus so many nats per dimension for
    continuous ones. None: 1 for continuous actions, as in the paper; 0.5 for discrete ones, where the 0.98 of the paper
    keeps the policy nearly uniform."""
    initial_temperature: float | None = None
    """Entropy temperature before training, in units of reward per nat; lower it where rewards are small: as long as it
    is above the differences between actions, the policy stays random. None: 1 for continuous actions, as in the paper;
    0.1 for discrete ones, where those that began with 1 did not learn from rewards of 0.02."""
    static = ("initial_temperature",)

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {"target_entropy_scale": optional(real(0)), "initial_temperature": optional(real(above=0))}
        check_fields(self, gradient_steps=integer(1), **ranges)

    def first_temperature(self, *, discrete: bool) -> float:
        """Give the entropy temperature before training, for discrete or for continuous actions."""
        return self.initial_temperature or (_DISCRETE_TEMPERATURE if discrete else 1.0)


@struct.dataclass
class SACLearner:
    """Actor, critics and temperature with their optimizers, and the parameters of the target critics."""

    actor: TrainState
    critics: TrainState
    target: PyTree
    alpha: TrainState


class SAC(OffPolicy[SACConfig, SoftActorCritic]):
    """SAC: Soft actor-critic, off-policy maximum-entropy actor-critic with two critics.

    Each gradient step unrolls every network once over replayed sequences `x_0 .. x_T`, from the memory that acting had
    at `x_0`. With the soft value `V(x) = min_i Q_i'(x, a) - alpha log pi(a | x)`, `a ~ pi`, of the target critics `Q'`,
    both critics move towards `r + gamma V(x_{t+1})`, the policy towards a higher soft value by the updated critics, and
    the temperature `alpha` up where the entropy is below its target. For discrete actions `V` is an exact expectation.

    Differs from the paper: sequences may be longer than one step and networks may have a memory; a step with a hidden
    successor (truncated) has no loss; targets and the policy gradient share one sample of actions.

    Args:
        config: Configuration.
        env: Environment.
        env_params: Its parameters; None for its default ones.
        actor: Network with a head `Categorical` or, for continuous actions, `SquashedGaussian` or `Beta`.
        critic: Network with a head `DiscreteQNetwork` or `HLGaussQNetwork`, or for continuous actions
            `ContinuousQNetwork`.
        second_critic: Another one; the same object again is a second network nonetheless. A `heads.Alpha` here sets the
            initial temperature instead of `config`, and there are two networks like the first.
        actor_optimizer: Optimizer of the actor's parameters.
        critic_optimizer: Optimizer of both critics' parameters.
        alpha_optimizer: Optimizer of the temperature's logarithm.
        buffer: Replay buffer of sequences; None for the default one of the configuration.

    Raises:
        TypeError: An argument is of the wrong type, or a network has a head of the wrong kind.
        ValueError: A head does not fit the action space, a critic shares the actor's trunk, or configuration and
            replay buffer do not fit each other.

    Example:
        >>> agent = SAC(SACConfig(), env, env_params, actor, critic, critic, *[optax.adam(3e-4)] * 3)
        >>> state = agent.warmup(jax.random.key(1), agent.init(jax.random.key(0)), num_steps=1_000)
        >>> state, logs = lox.spool(agent.train)(jax.random.key(2), state, num_steps=30_000)

    Source:
        Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", https://arxiv.org/abs/1812.05905;
        Christodoulou 2019, https://arxiv.org/abs/1910.07207; Ni, Eysenbach and Salakhutdinov 2022, "Recurrent
        Model-Free RL Can Be a Strong Baseline for Many POMDPs", https://arxiv.org/abs/2110.05038.
    """

    Config = SACConfig

    def __init__(  # noqa: PLR0913, PLR0917  three networks with an optimizer each
        self,
        config: SACConfig,
        env: Any,
        env_params: PyTree,
        actor: Network,
        critic: Network,
        second_critic: Network | Alpha,
        actor_optimizer: optax.GradientTransformation,
        critic_optimizer: optax.GradientTransformation,
        alpha_optimizer: optax.GradientTransformation,
        buffer: Buffer | None = None,
    ) -> None:
        super().__init__(config, env, env_params)
        optimizers = {"actor": actor_optimizer, "critic": critic_optimizer, "alpha": alpha_optimizer}
        check_optimizers(**{f"{name}_optimizer": optimizer for name, optimizer in optimizers.items()})
        self.optimizers = optimizers
        given = isinstance(second_critic, Alpha)
        self.networks = SoftActorCritic(self.vector_env, actor, (critic, critic if given else second_critic))
        first = config.first_temperature(discrete=self.networks.discrete)
        self.alpha: Any = second_critic if given else Alpha(first)
        use_sequences(self, buffer, self.default_buffer)
        self.burn_in = config.burn_in_length if self.recurrent else 0

    @property
    def target_entropy_scale(self) -> Any:
        """The share of the maximum entropy, or the negated nats per dimension, that the policy is to have."""
        given = self.config.target_entropy_scale
        return (_DISCRETE_SCALE if self.networks.discrete else 1.0) if given is None else given

    def default_buffer(self) -> Buffer:
        """Make the replay buffer of the configuration."""
        return default_buffer(self.config, self.recurrent, 1, compact=self.compact_carry)

    def init_learner(self, key: Key, rollout_state: RolloutState) -> SACLearner:
        """Make all networks, their optimizers and the target critics."""
        params = self.networks.init(key, rollout_state.timestep, rollout_state.carry)
        return SACLearner(
            actor=TrainState.create(self.optimizers["actor"], params["actor"]),
            critics=TrainState.create(self.optimizers["critic"], params["critics"]),
            target=target_copy(params["critics"]),
            alpha=TrainState.create(self.optimizers["alpha"], self.alpha.init(key)),
        )

    def policy(self, learner: SACLearner, step: StepCount, behavior: Behavior) -> AgentPolicy:
        """Sample from the policy, or take its mode."""
        return self.networks.policy(learner.actor.params, learner.critics.params, behavior)

    def learn(self, key: Key, learner: SACLearner, sample: Any, step: StepCount) -> tuple[SACLearner, None]:
        """Take the gradient steps of an update."""
        batch = sample.experience
        sequences = ReplayedSequences(self.networks, batch, self.networks.replayed_carry(key, batch), self.burn_in)

        def body(learner: SACLearner, key: Key) -> tuple[SACLearner, Metrics]:
            return self.gradient_step(key, learner, sequences, step)

        learner, metrics = jax.lax.scan(body, learner, jax.random.split(key, self.config.gradient_steps))
        lox.log({"losses": jax.tree.map(lambda x: jnp.mean(x, axis=0), metrics)})
        return learner, None

    def gradient_step(
        self, key: Key, learner: SACLearner, sequences: ReplayedSequences, step: StepCount
    ) -> tuple[SACLearner, Metrics]:
        """Take one optimizer step of the critics, then of the policy and of the temperature; update the targets."""
        config, temperature = self.config, self.alpha.apply(learner.alpha.params)
        actor_key, critic_key = jax.random.fold_in(key, 1), jax.random.fold_in(key, 2)

        def policy_actions(params: PyTree) -> tuple[tuple[PolicyActions, Array], tuple[PolicyActions, Metrics]]:
            with dropout(actor_key):
                actions, following, sown = sequences.policy_actions(params, key)
            return (actions, sum(sown.values(), jnp.zeros(()))), (following, sown)

        vjp = jax.vjp(policy_actions, learner.actor.params, has_aux=True)
        (actions, sown), pull_back, (following, actor_sown) = vjp
        reward, discount, hidden = episode_ends(sequences.steps, config.gamma)
        target = reward + discount * sequences.following_soft_value(learner.target, following, temperature)
        weight = 1.0 - hidden

        def critic_loss(params: PyTree) -> tuple[Array, tuple[Metrics, Metrics]]:
            with dropout(critic_key):
                values, sown = sequences.values(params)
            loss = jnp.sum(jnp.stack([weighted_mean(value_losses(value, target), weight) for value in values]))
            q = expected_values(values[0])
            error, q = weighted_mean(jnp.abs(target - q), weight), weighted_mean(q, weight)
            metrics = {"critic": loss, "td_error": error, "q_value": q}
            return loss + sum(sown.values(), jnp.zeros(())), (metrics, sown)

        def actor_loss(actions: PolicyActions) -> Array:
            return -weighted_mean(sequences.soft_value(critics.params, actions, temperature), weight)

        def alpha_loss(params: PyTree) -> Array:
            goal = self.target_entropy_scale * actions.unit
            return temperature_loss(self.alpha.apply(params), actions.entropy, goal, weight)

        gradients, (metrics, critics_sown) = jax.grad(critic_loss, has_aux=True)(learner.critics.params)
        critics = learner.critics.update(self.optimizers["critic"], gradients)
        loss, gradients = jax.value_and_grad(actor_loss)(actions)
        actor = learner.actor.update(self.optimizers["actor"], *pull_back((gradients, jnp.ones_like(sown))))
        alpha = learner.alpha.update(self.optimizers["alpha"], jax.grad(alpha_loss)(learner.alpha.params))
        targets = update_target(config, step, critics.params, learner.target)
        metrics |= {"actor": loss, "temperature": temperature, "entropy": weighted_mean(actions.entropy, weight)}
        return SACLearner(actor, critics, targets, alpha), sown_metrics(actor_sown | critics_sown) | metrics

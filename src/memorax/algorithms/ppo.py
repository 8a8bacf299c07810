"""Proximal policy optimization, recurrent or feed-forward."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias

import jax
import optax

from memorax import lox
from memorax.acting import AgentPolicy, Behavior, NormalizationConfig, OnPolicy, RolloutState, State, StepCount, Value
from memorax.core.checks import boolean, check_fields, optional, real
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.learning.actor_critic import ActorCritic, ActorCriticLearner
from memorax.learning.gvf import with_main_bootstrap
from memorax.learning.minibatches import append, as_single_steps, minibatch_epochs
from memorax.learning.rollout_config import check_rollout_config, rollout_minibatches
from memorax.learning.train_state import check_optimizers
from memorax.learning.values import critic_loss, main_values
from memorax.networks import Network
from memorax.objectives import episode_ends, explained_variance, lambda_returns, standardize, weighted_mean
from memorax.objectives.policy import clip_fraction, clipped_policy_loss, kl_estimate

PPOState: TypeAlias = State
Metrics: TypeAlias = dict[str, Array]


@dataclass(frozen=True)
class PPOConfig(NormalizationConfig):
    """Configuration of PPO."""

    num_envs: int = 8
    """Number of parallel environments."""
    num_steps: int = 128
    """Steps of each environment per rollout."""
    gamma: float = 0.99
    """Discount factor per step, [0, 1]."""
    gae_lambda: float = 0.95
    """Lambda of generalized advantage estimation (GAE), [0, 1]: 0 bootstraps after one step, 1 uses whole returns."""
    num_minibatches: int | None = None
    """Minibatches, and so gradient steps, per epoch. Divides `num_envs` for recurrent networks, `num_envs * num_steps`
    for others. None: 4, or the largest divisor below."""
    update_epochs: int = 4
    """Epochs, passes through each rollout."""
    normalize_advantage: bool = True
    """Whether to standardize the advantages of each minibatch to mean 0 and variance 1."""
    clip_coefficient: float = 0.2
    """Surrogate clipping range of the probability ratio, and of the value with `clip_value_loss`."""
    clip_value_loss: bool = True
    """Whether to clip the value loss, in units of the return; the values of distributional heads are not clipped."""
    entropy_coefficient: float = 0.01
    """Weight of the entropy bonus."""
    value_coefficient: float = 1.0
    """Weight of the value loss; it matters where actor and critic share a trunk."""
    target_kl: float | None = None
    """Early stopping: no further epoch once an epoch's mean KL divergence exceeds this, in nats. None: no limit."""
    burn_in_length: int = 0
    """First steps of each rollout that only refresh the memory and are not learned from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rollout_config(self)
        check_fields(
            self,
            **dict.fromkeys(("clip_coefficient", "entropy_coefficient", "value_coefficient"), real(0)),
            **dict.fromkeys(("gamma", "gae_lambda"), real(0, 1)),
            **dict.fromkeys(("normalize_advantage", "clip_value_loss"), boolean()),
            target_kl=optional(real(above=0)),
        )

    def minibatches(self, recurrent: bool) -> int:
        """Give the number of minibatches per epoch, with networks that have a memory or have none."""
        return rollout_minibatches(self, recurrent, default=4)


class Batch(NamedTuple):
    """What PPO learns from, `[batch, time, ...]`."""

    inputs: Timestep
    action: Array
    log_prob: Array
    value: Array
    target: Array
    weight: Array
    auxiliary: PyTree
    ends: tuple[Array, ...] | None = None  # reward, discount and hidden flags, where a variant asks for them
    active: Array | None = None  # whether the agent acts; None: always


class PPO(OnPolicy[PPOConfig, ActorCritic]):
    """Proximal policy optimization: on-policy actor-critic with the clipped surrogate objective.

    Each update maximizes `min(ratio A, clip(ratio, 1 - c, 1 + c) A)` with the generalized advantage estimate `A`, over
    `update_epochs` passes through the rollout. Recurrent networks are trained on whole sequences from the memory that
    acting started with, so before the first gradient step the ratio is exactly one.

    Differs from the paper: the value is clipped too, advantages are standardized per minibatch, and truncated episodes
    bootstrap from the value of their final observation.

    Args:
        config: Configuration.
        env: Environment.
        env_params: Its parameters; None for its default ones.
        actor: Network with a policy head.
        critic: Network with a head for state values (`VNetwork`, `HLGaussVNetwork`, or a `Horde` of these); give it the
            actor's feature extractor and torso objects for a shared trunk.
        actor_optimizer: Optimizer of the actor's parameters, a shared trunk's among them.
        critic_optimizer: Optimizer of the critic's parameters.

    Raises:
        TypeError: An argument is of the wrong type, or a network has a head of the wrong kind.
        ValueError: The actor's head does not fit the action space, or `num_minibatches` does not divide the batch.

    Example:
        >>> agent = PPO(PPOConfig(), env, env_params, actor, critic, optax.adam(3e-4), optax.adam(3e-4))
        >>> state = agent.init(jax.random.key(0))
        >>> state, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=100_000)

    Source:
        Schulman et al. 2017, "Proximal Policy Optimization Algorithms", https://arxiv.org/abs/1707.06347
    """

    Config = PPOConfig
    Learner: ClassVar[type[ActorCriticLearner]] = ActorCriticLearner

    def __init__(
        self,
        config: PPOConfig,
        env: Any,
        env_params: PyTree,
        actor: Network,
        critic: Network,
        actor_optimizer: optax.GradientTransformation,
        critic_optimizer: optax.GradientTransformation,
    ) -> None:
        super().__init__(config, env, env_params)
        check_optimizers(actor_optimizer=actor_optimizer, critic_optimizer=critic_optimizer)
        self.optimizers = {"actor": actor_optimizer, "critic": critic_optimizer}
        self.networks = self.make_networks(actor, critic)
        self.num_minibatches = self.config.minibatches(self.recurrent)
        self.burn_in = config.burn_in_length if self.recurrent else 0

    def make_networks(self, actor: Network, critic: Network) -> ActorCritic:
        """Put the networks into the environments."""
        return ActorCritic(self.vector_env, actor, critic)

    def init_learner(self, key: Key, rollout_state: RolloutState) -> ActorCriticLearner:
        """Make both networks and their optimizers."""
        params = self.networks.init(key, rollout_state.timestep, rollout_state.carry)
        return self.Learner.create(self.optimizers, params)

    def policy(self, learner: ActorCriticLearner, step: StepCount, behavior: Behavior) -> AgentPolicy:
        """Sample from the policy, or take its mode; record log-probability and value."""
        return self.networks.policy(learner.params, behavior)

    def value(self, learner: ActorCriticLearner) -> Value:
        """Give the value function."""
        return self.networks.value(learner.params)

    def learn(
        self, key: Key, learner: ActorCriticLearner, trajectory: Transition, rollout_state: RolloutState, carry: Carry
    ) -> ActorCriticLearner:
        """Learn from the rollout for `update_epochs` epochs, or until the KL divergence exceeds its limit."""
        config, limit = self.config, self.config.target_kl
        batch = self.split(self.batch(learner, trajectory, rollout_state))
        learner, metrics = minibatch_epochs(
            key,
            learner,
            (batch, carry),
            self.gradient_step,
            num_epochs=config.update_epochs,
            num_minibatches=self.num_minibatches,
            stop_after=None if limit is None else lambda metrics: metrics["kl"] > limit,
        )
        value, target, weight = (x[:, self.burn_in :] for x in (batch.value, batch.target, batch.weight))
        metrics["explained_variance"] = explained_variance(value, target, weight)
        lox.log({"losses": metrics})
        return learner

    def batch(self, learner: ActorCriticLearner, trajectory: Transition, rollout_state: RolloutState) -> Batch:
        """Compute the targets of the value function, from which advantages follow, and put the batch together."""
        last_value = self.value(learner)(rollout_state.carry, rollout_state.timestep)
        values = append(trajectory.aux["value"], last_value)
        auxiliary = self.networks.auxiliary.targets(trajectory, values, self.config.gae_lambda)
        reward, discount, hidden = episode_ends(with_main_bootstrap(trajectory), self.config.gamma)
        target = lambda_returns(reward, discount, hidden, main_values(values), self.config.gae_lambda)
        log_prob, value, weight = trajectory.aux["log_prob"], main_values(values)[:, :-1], 1.0 - hidden
        return Batch(trajectory.inputs, trajectory.action, log_prob, value, target, weight, auxiliary)

    def split(self, batch: Batch) -> Batch:
        """Split rollouts into what is shuffled: whole sequences, or single steps for networks without memory."""
        return batch if self.recurrent else as_single_steps(batch)

    def gradient_step(self, learner: ActorCriticLearner, batch: Batch, carry: Carry) -> tuple[PyTree, Metrics]:
        """Take one optimizer step of both networks on a minibatch."""
        gradients, metrics = jax.grad(self.loss, has_aux=True)(learner.params, batch, carry)
        return learner.update(self.optimizers, gradients), metrics

    def loss(self, params: PyTree, batch: Batch, carry: Carry) -> tuple[Array, Metrics]:
        """Compute the loss of policy and value function, and metrics."""
        config = self.config
        _, (distribution, value), sown = self.networks.unroll_with_losses(params, batch.inputs, carry, self.burn_in)
        batch = jax.tree.map(lambda x: x[:, self.burn_in :], batch)
        actor_loss, metrics = self.actor_loss(distribution, batch)
        clip = config.clip_coefficient if config.clip_value_loss else None
        value_loss = critic_loss(main_values(value), batch.value, batch.target, batch.weight, clip)
        auxiliary = self.networks.auxiliary.losses(value, batch.auxiliary, batch.weight, sown)
        loss = actor_loss + config.value_coefficient * sum(auxiliary.values, value_loss)
        return sum(auxiliary.sown, loss), auxiliary.metrics | metrics | {"critic": value_loss}

    def actor_loss(self, distribution: Any, batch: Batch) -> tuple[Array, Metrics]:
        """Compute the clipped surrogate loss with the entropy bonus, and metrics."""
        config, weight, advantage = self.config, batch.weight, batch.target - batch.value
        if config.normalize_advantage:
            advantage = standardize(advantage, weight)
        log_ratio = distribution.log_prob(batch.action) - batch.log_prob
        surrogate = clipped_policy_loss(log_ratio, advantage, weight, config.clip_coefficient)
        entropy = weighted_mean(distribution.entropy(), weight)
        metrics = {"actor": surrogate, "entropy": entropy, "kl": kl_estimate(log_ratio, weight)}
        metrics["clip_fraction"] = clip_fraction(log_ratio, weight, config.clip_coefficient)
        return surrogate - config.entropy_coefficient * entropy, metrics

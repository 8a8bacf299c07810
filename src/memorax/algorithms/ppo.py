"""Proximal policy optimization, recurrent or feed-forward."""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from memorax import lox
from memorax.acting import Loop, NormalizationConfig, State, as_single_steps, minibatch_indices, take
from memorax.acting.actor_critic import ActorCriticAgent, ActorCriticLearner
from memorax.acting.demons import Question, demon_losses, questions, seen_by_main
from memorax.acting.minibatches import append, epochs
from memorax.acting.value_outputs import critic_loss, main
from memorax.core.checks import at_least, between, divides, whole
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.objectives import episode_ends, explained_variance, lambda_returns, standardize, weighted_mean
from memorax.objectives.policy import clip_fraction, clipped_policy_loss, kl_estimate

PPOState: TypeAlias = State
Metrics: TypeAlias = dict[str, Array]


@dataclass(frozen=True)
class PPOConfig(NormalizationConfig):
    """Configuration of PPO."""

    num_envs: int = 8
    """Environments that run side by side."""
    num_steps: int = 128
    """Steps of each environment between two updates."""
    gamma: float = 0.99
    """Discount per step, [0, 1]."""
    gae_lambda: float = 0.95
    """Weight of longer returns in the advantage, [0, 1]: 0 looks one step ahead, 1 to the end."""
    num_minibatches: int = 4
    """Gradient steps per epoch. Divides `num_envs` for networks with memory, `num_envs * num_steps` for others."""
    update_epochs: int = 4
    """How often each rollout is gone through."""
    normalize_advantage: bool = True
    """Whether to standardize the advantages of each minibatch."""
    clip_coefficient: float = 0.2
    """How far the probability ratio, and the value where clipped, may move in one update and still be rewarded."""
    clip_value_loss: bool = True
    """Whether to keep the value, where it is a number, near the one recorded while acting, in units of the return."""
    entropy_coefficient: float = 0.01
    """Weight of the entropy bonus."""
    value_coefficient: float = 1.0
    """Weight of the value loss; it matters where actor and critic share a trunk."""
    target_kl: float | None = None
    """No further epoch on a rollout once an epoch's mean KL divergence exceeds this, in nats. None: never stop."""
    burn_in_length: int = 0
    """First steps of each rollout that only refresh the memory and are not learned from."""

    def __post_init__(self) -> None:
        for name in ("num_envs", "num_steps", "num_minibatches", "update_epochs"):
            whole(self, name, 1)
        whole(self, "burn_in_length", 0)
        for name in ("clip_coefficient", "entropy_coefficient", "value_coefficient"):
            at_least(self, name, 0)
        between(self, "gamma", 0, 1)
        between(self, "gae_lambda", 0, 1)
        if self.target_kl is not None and not self.target_kl > 0:
            raise ValueError(f"`target_kl` must be above 0, got {self.target_kl}; use None for no limit")
        if self.burn_in_length >= self.num_steps:
            raise ValueError(f"`burn_in_length` ({self.burn_in_length}) must be below `num_steps` ({self.num_steps})")


class Batch(NamedTuple):
    """What PPO learns from, `[batch, time, ...]`."""

    inputs: Timestep
    action: Array
    log_prob: Array
    value: Array
    target: Array
    weight: Array
    demons: dict[str, Question]
    ends: tuple[Array, ...] | None = None  # reward, discount and cut flags, where a variant asks for them


class PPO(ActorCriticAgent):
    """Improve the policy in small steps on what it just did.

    Each update maximizes `min(ratio A, clip(ratio, 1 - c, 1 + c) A)` with the generalized advantage estimate `A`, over
    `update_epochs` passes through the rollout. Networks with memory are trained on whole sequences from the memory
    that acting started with, so before the first gradient step the ratio is exactly one.

    Differs from the paper: the value is clipped too, advantages are standardized per minibatch, and truncated episodes
    bootstrap from the value of their final observation.

    Args, and what it raises, are those of `ActorCriticAgent`.

    Example:
        >>> agent = PPO(PPOConfig(), env, env_params, actor, critic, optax.adam(3e-4), optax.adam(3e-4))
        >>> state = agent.init(jax.random.key(0))
        >>> state, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=100_000)

    Source:
        Schulman et al. 2017, "Proximal Policy Optimization Algorithms", https://arxiv.org/abs/1707.06347
    """

    distributional = True
    demons = True

    def check(self) -> None:
        """Refuse minibatches that do not come out even."""
        minibatches = ("num_minibatches", self.config.num_minibatches)
        if self.recurrent:
            divides(minibatches, ("num_envs", self.config.num_envs), "recurrent networks")
        else:
            divides(minibatches, ("num_envs * num_steps", self.steps_per_update), "networks without memory")

    @property
    def burn_in(self) -> int:
        """First steps that are not learned from; networks without memory have nothing to refresh."""
        return self.config.burn_in_length if self.recurrent else 0

    def learn(
        self, key: Key, learner: ActorCriticLearner, trajectory: Transition, loop: Loop, carry: Carry
    ) -> ActorCriticLearner:
        """Go through the rollout `update_epochs` times, or until the policy has moved far enough."""
        batch = self.cut(self.batch(learner, trajectory, loop))
        limit = self.config.target_kl

        def epoch(learner: ActorCriticLearner, i: Array) -> tuple[ActorCriticLearner, Metrics]:
            def body(learner: ActorCriticLearner, indices: Array) -> tuple[ActorCriticLearner, Metrics]:
                return self.gradient_step(learner, *take((batch, carry), indices))

            epoch_key = jax.random.fold_in(key, i)
            indices = minibatch_indices(epoch_key, batch.weight.shape[0], self.config.num_minibatches)
            learner, metrics = jax.lax.scan(body, learner, indices)
            return learner, jax.tree.map(jnp.mean, metrics)

        enough = None if limit is None else lambda metrics: metrics["kl"] > limit
        learner, metrics = epochs(epoch, learner, self.config.update_epochs, enough)
        value, target, weight = (x[:, self.burn_in :] for x in (batch.value, batch.target, batch.weight))
        metrics["explained_variance"] = explained_variance(value, target, weight)
        lox.log({"losses": metrics})
        return learner

    def batch(self, learner: ActorCriticLearner, trajectory: Transition, loop: Loop) -> Batch:
        """Compute what the value should have been, and put together what is learned from."""
        last_value = self.value(learner)(loop.carry, loop.timestep)
        values = append(trajectory.aux["value"], last_value)
        demons = questions(self.network.critic.head, trajectory, values, self.config.gae_lambda)
        reward, discount, cut = episode_ends(seen_by_main(trajectory), self.config.gamma)
        target = lambda_returns(reward, discount, cut, main(values), self.config.gae_lambda)
        log_prob, value, weight = trajectory.aux["log_prob"], main(values)[:, :-1], 1.0 - cut
        return Batch(trajectory.inputs, trajectory.action, log_prob, value, target, weight, demons)

    def cut(self, batch: Batch) -> Batch:
        """Cut rollouts into what is shuffled: whole sequences, or single steps for networks without memory."""
        return batch if self.recurrent else as_single_steps(batch)

    def gradient_step(
        self, learner: ActorCriticLearner, batch: Batch, carry: Carry
    ) -> tuple[ActorCriticLearner, Metrics]:
        """Move both networks along the gradient of the loss on a minibatch."""
        gradients, metrics = jax.grad(self.loss, has_aux=True)(learner.params, batch, carry)
        actor = learner.actor.update(self.actor_optimizer, gradients["actor"])
        critic = learner.critic.update(self.critic_optimizer, gradients["critic"])
        return ActorCriticLearner(actor, critic), metrics

    def loss(self, params: PyTree, batch: Batch, carry: Carry) -> tuple[Array, Metrics]:
        """Compute the loss of policy and value, and what is worth knowing about it."""
        config = self.config
        _, (distribution, value), sown = self.unroll_with_losses(params, batch.inputs, carry, self.burn_in)
        batch = jax.tree.map(lambda x: x[:, self.burn_in :], batch)
        actor_loss, metrics = self.actor_loss(distribution, batch)
        clip = config.clip_coefficient if config.clip_value_loss else None
        value_loss = critic_loss(main(value), batch.value, batch.target, batch.weight, clip)
        demons = demon_losses(value, batch.demons, batch.weight)
        loss = actor_loss + config.value_coefficient * sum(demons.values(), value_loss)
        return sum(sown, loss), metrics | {"critic": value_loss} | demons

    def actor_loss(self, distribution: Any, batch: Batch) -> tuple[Array, Metrics]:
        """Compute the loss of the policy alone, and what is worth knowing about it."""
        config, weight = self.config, batch.weight
        advantage = batch.target - batch.value
        if config.normalize_advantage:
            advantage = standardize(advantage, weight)
        log_ratio = distribution.log_prob(batch.action) - batch.log_prob
        surrogate = clipped_policy_loss(log_ratio, advantage, weight, config.clip_coefficient)
        entropy = weighted_mean(distribution.entropy(), weight)
        metrics = {
            "actor": surrogate,
            "entropy": entropy,
            "kl": kl_estimate(log_ratio, weight),
            "clip_fraction": clip_fraction(log_ratio, weight, config.clip_coefficient),
        }
        return surrogate - config.entropy_coefficient * entropy, metrics

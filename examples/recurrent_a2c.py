"""Recurrent advantage actor-critic (A2C): an algorithm of one's own in one file.

    memorax train a2c --import examples.recurrent_a2c --env memory::RepeatPreviousEasy --steps 500_000

Each update rolls the policy out for `num_steps` steps, estimates advantages by GAE, and takes one gradient step.

Source:
    Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", https://arxiv.org/abs/1602.01783
"""

from dataclasses import dataclass
from typing import Any

import jax
import optax

from memorax import lox
from memorax.acting import Behavior, NormalizationConfig, OnPolicy, Policy, RolloutState, Value
from memorax.core.checks import check_fields, integer, real
from memorax.core.types import Array, Carry, Key, PyTree, Transition
from memorax.experiment import Recipe, register_algorithm
from memorax.experiment.build import actor_critic
from memorax.learning.actor_critic import ActorCritic, ActorCriticLearner
from memorax.learning.minibatches import append
from memorax.learning.train_state import check_optimizers
from memorax.networks import Network
from memorax.objectives import episode_ends, lambda_returns, standardize, value_loss, weighted_mean


@dataclass(frozen=True)
class A2CConfig(NormalizationConfig):
    """Configuration of A2C."""

    num_envs: int = 32
    """Number of parallel environments."""
    num_steps: int = 16
    """Steps of each environment per rollout."""
    gamma: float = 0.99
    """Discount factor per step, [0, 1]."""
    gae_lambda: float = 0.95
    """Lambda of generalized advantage estimation (GAE), [0, 1]."""
    entropy_coefficient: float = 0.01
    """Weight of the entropy bonus."""
    value_coefficient: float = 0.5
    """Weight of the value loss."""

    def __post_init__(self) -> None:
        unit = real(0, 1)
        check_fields(self, num_envs=integer(1), num_steps=integer(1), gamma=unit, gae_lambda=unit)
        check_fields(self, entropy_coefficient=real(0), value_coefficient=real(0))


class A2C(OnPolicy[A2CConfig, ActorCritic]):
    """Advantage actor-critic: one policy gradient step per rollout, with a learned value function as baseline."""

    Config = A2CConfig

    def __init__(
        self,
        config: A2CConfig,
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
        self.networks = ActorCritic(self.vector_env, actor, critic, distributional=False, gvfs=False)

    def init_learner(self, key: Key, rollout_state: RolloutState) -> ActorCriticLearner:
        """Make both networks and their optimizers."""
        params = self.networks.init(key, rollout_state.timestep, rollout_state.carry)
        return ActorCriticLearner.create(self.optimizers, params)

    def policy(self, learner: ActorCriticLearner, step: Array, behavior: Behavior) -> Policy:
        """Sample from the policy, or take its mode."""
        del step
        return self.networks.policy(learner.params, behavior)

    def value(self, learner: ActorCriticLearner) -> Value:
        """Give the value function."""
        return self.networks.value(learner.params)

    def learn(
        self, key: Key, learner: ActorCriticLearner, trajectory: Transition, rollout_state: RolloutState, carry: Carry
    ) -> ActorCriticLearner:
        """Take one gradient step on the rollout."""
        del key
        values = append(trajectory.aux["value"], self.value(learner)(rollout_state.carry, rollout_state.timestep))
        reward, discount, hidden = episode_ends(trajectory, self.config.gamma)
        target = lambda_returns(reward, discount, hidden, values, self.config.gae_lambda)
        weight = 1.0 - hidden
        advantage = standardize(target - values[:, :-1], weight)

        def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
            _, (distribution, value), sown = self.networks.unroll_with_losses(params, trajectory.inputs, carry)
            actor = -weighted_mean(distribution.log_prob(trajectory.action) * advantage, weight)
            critic, entropy = value_loss(value, target, weight), weighted_mean(distribution.entropy(), weight)
            total = actor + self.config.value_coefficient * critic - self.config.entropy_coefficient * entropy
            return sum(sown.values(), total), {"actor": actor, "critic": critic, "entropy": entropy}

        gradients, metrics = jax.grad(loss, has_aux=True)(learner.params)
        lox.log({"losses": metrics})
        return learner.update(self.optimizers, gradients)


RUN = {"env": "memory::RepeatPreviousEasy", "steps": 500_000, "learning_rate": 2e-3}
register_algorithm("a2c", Recipe(A2C, A2CConfig, actor_critic, run=RUN))

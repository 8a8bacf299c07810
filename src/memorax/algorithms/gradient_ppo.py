"""PPO whose critic follows the gradient of its lambda-returns too, steadied by a second network."""

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import struct

from memorax.acting import Loop, Model, Stage, State
from memorax.acting.actor_critic import ActorCriticLearner
from memorax.acting.minibatches import as_chunks, carries_of_chunks
from memorax.acting.staged_network import StagedNetwork
from memorax.algorithms.ppo import PPO, Batch, PPOConfig
from memorax.core.checks import at_least, divides, whole
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.networks import Network
from memorax.objectives import episode_ends, lambda_returns, value_loss, weighted_mean

GradientPPOState: TypeAlias = State
Metrics: TypeAlias = dict[str, Array]


@dataclass(frozen=True)
class GradientPPOConfig(PPOConfig):
    """Configuration of GradientPPO."""

    num_minibatches: int = 4
    """Gradient steps per epoch. Divides the number of chunks, `num_envs * num_steps / truncation_length`."""
    clip_value_loss: bool = True
    """Without effect: the critic does not learn from its distance to a fixed target."""
    burn_in_length: int = 0
    """First steps of each chunk that only refresh the memory and are not learned from."""
    regularization_coefficient: float = 1.0
    """How strongly the second network is drawn to zero, at least 0: 0 is TDC, 1 the paper's TDRC."""
    truncation_length: int = 16
    """Steps of the chunks that are learned from; the critic's returns end with their chunk. Divides `num_steps`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, "regularization_coefficient", 0)
        whole(self, "truncation_length", 1)
        chunk = ("truncation_length", self.truncation_length)
        divides(chunk, ("num_steps", self.num_steps), "chunks of equal length")
        if self.burn_in_length >= self.truncation_length:
            first = f"`burn_in_length` ({self.burn_in_length})"
            raise ValueError(f"{first} must be below `truncation_length` ({self.truncation_length})")


@struct.dataclass
class GradientLearner(ActorCriticLearner):
    """What is learned: policy, value, and what the error of the value is expected to be."""

    h: Model

    @property
    def params(self) -> dict[str, PyTree]:
        """The parameters of all networks."""
        return super().params | {"h": self.h.params}


class GradientPPO(PPO):
    """Improve the policy as PPO does, and the value by gradient temporal-difference learning.

    The error of a value, `delta = G - V(x_t)` with the lambda-return `G` of the values themselves, depends on the
    parameters through every value in it. Following all of that gradient needs the expected error, which a second
    network `h(x_t)` learns. The critic moves along `delta grad V - h grad V - h grad delta`; `h` moves towards `delta`
    and, regularized, towards zero.

    Rollouts are cut into chunks of `truncation_length` steps, each with the memory that acting had at its start. The
    critic's returns bootstrap at the end of their chunk; the policy's advantages are PPO's, over the whole rollout.

    Differs from the paper: networks may have a memory, and truncated episodes bootstrap from the value of their final
    observation, as recorded while acting.

    Args, and what it raises, are those of `ActorCriticAgent`, and:
        h_network: Network with a value head; None for another set of parameters of `critic`, trunk included.
        h_optimizer: Moves its parameters; None for `critic_optimizer` with a state of its own.

    Example:
        >>> agent = GradientPPO(GradientPPOConfig(), env, env_params, actor, critic, optax.adam(3e-4), optax.adam(3e-3))
        >>> state = agent.init(jax.random.key(0))
        >>> state, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=100_000)

    Source:
        Elelimy et al. 2025, "Deep Reinforcement Learning with Gradient Eligibility Traces",
        https://arxiv.org/abs/2507.09087; Ghiassian et al. 2020, "Gradient Temporal-Difference Learning with Regularized
        Corrections".
    """

    distributional = False
    demons = False

    def __init__(  # noqa: PLR0913 (the networks and their optimizers)
        self,
        config: Any,
        env: Any,
        env_params: PyTree,
        actor: Network,
        critic: Network,
        actor_optimizer: optax.GradientTransformation,
        critic_optimizer: optax.GradientTransformation,
        *,
        h_network: Network | None = None,
        h_optimizer: optax.GradientTransformation | None = None,
    ) -> None:
        stage = Stage(env, env_params, config.num_envs)
        name, network = ("critic", critic) if h_network is None else ("h_network", h_network)
        self.h = StagedNetwork(name, stage, network)
        self.h_optimizer = critic_optimizer if h_optimizer is None else h_optimizer
        super().__init__(config, env, env_params, actor, critic, actor_optimizer, critic_optimizer)
        self.h.trace()
        if getattr(self.h.output, "shape", None) != (config.num_envs, 1):
            head = type(self.h.network.head).__name__
            raise TypeError(f"`h_network` must have a head that gives one value per step, got {head}")

    def check(self) -> None:
        """Refuse minibatches that do not come out even."""
        number = self.steps_per_update // self.config.truncation_length
        chunks = ("num_envs * num_steps / truncation_length", number)
        divides(("num_minibatches", self.config.num_minibatches), chunks, "chunks")

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the memory of all networks."""
        h = self.h.initialize_carry(jax.random.fold_in(key, 1), batch)
        return super().initialize_carry(key, batch) | {"h": h}

    def init_learner(self, key: Key, loop: Loop) -> GradientLearner:
        """Make all networks and their optimizers."""
        learner = super().init_learner(key, loop)
        h = self.h.init(jax.random.fold_in(key, 1), dataclasses.replace(loop, carry=loop.carry["h"]))
        return GradientLearner(learner.actor, learner.critic, Model.create(self.h_optimizer, h))

    def unroll(self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0) -> tuple[Carry, tuple[Any, Any]]:
        """Run actor and critic over a sequence, and let the second network remember it."""
        h, _ = self.h.unroll(params["h"], inputs, carry["h"], burn_in)
        after, outputs = super().unroll(params, inputs, carry, burn_in)
        return after | {"h": h}, outputs

    def learn(self, key: Key, learner: Any, trajectory: Transition, loop: Loop, carry: Carry) -> ActorCriticLearner:
        """Find the memory at the start of every chunk, then learn as PPO does."""

        def run(carry: Carry, inputs: Timestep) -> Carry:
            return self.unroll(learner.params, inputs, carry)[0]

        carry = carries_of_chunks(run, carry, trajectory.inputs, self.config.truncation_length)
        return super().learn(key, learner, trajectory, loop, carry)

    def batch(self, learner: ActorCriticLearner, trajectory: Transition, loop: Loop) -> Batch:
        """Compute advantages over the whole rollout, and put together what is learned from."""
        batch = super().batch(learner, trajectory, loop)
        batch = batch._replace(ends=episode_ends(trajectory, self.config.gamma))
        batch = jax.tree.map(lambda x: jnp.concatenate([x, x[:, -1:]], axis=1), batch)
        inputs = jax.tree.map(lambda x, y: x.at[:, -1].set(y), batch.inputs, loop.timestep)
        return batch._replace(inputs=inputs)

    def cut(self, batch: Batch) -> Batch:
        """Cut rollouts into chunks, which are what is shuffled; their last step only bootstraps."""
        chunks = as_chunks(batch, self.config.truncation_length)
        return chunks._replace(weight=chunks.weight.at[:, -1].set(0.0))

    def gradient_step(self, learner: Any, batch: Batch, carry: Carry) -> tuple[ActorCriticLearner, Metrics]:
        """Move all networks along their gradients on a minibatch."""
        gradients, metrics = jax.grad(self.loss, has_aux=True)(learner.params, batch, carry)
        actor = learner.actor.update(self.actor_optimizer, gradients["actor"])
        critic = learner.critic.update(self.critic_optimizer, gradients["critic"])
        return GradientLearner(actor, critic, learner.h.update(self.h_optimizer, gradients["h"])), metrics

    def loss(self, params: PyTree, batch: Batch, carry: Carry) -> tuple[Array, Metrics]:
        """Compute the losses of policy, value and expected error, and what is worth knowing about them."""
        config, fixed = self.config, jax.lax.stop_gradient
        _, (distribution, value), sown = self.unroll_with_losses(params, batch.inputs, carry, self.burn_in)
        _, h, h_sown = self.h.unroll_with_losses(params["h"], batch.inputs, carry["h"], self.burn_in)
        batch = jax.tree.map(lambda x: x[:, self.burn_in :], batch)
        actor_loss, metrics = self.actor_loss(distribution, batch)
        reward, discount, cut = (x[:, :-1] for x in batch.ends or ())
        before, h, weight = value[:, :-1], h[:, :-1], batch.weight[:, :-1]
        delta = lambda_returns(reward, discount, cut, value, config.gae_lambda) - before
        critic_loss = weighted_mean(fixed(h) * delta - fixed(delta - h) * before, weight)
        h_loss = value_loss(h, fixed(delta), weight)
        size = sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(params["h"]))
        loss = actor_loss + config.value_coefficient * critic_loss
        loss += h_loss + 0.5 * config.regularization_coefficient * size
        metrics |= {"critic": 0.5 * weighted_mean(jnp.square(delta), weight), "h": h_loss}
        return sum([*sown, *h_sown], loss), metrics

"""PPO whose critic learns by gradient temporal-difference learning with lambda-returns and a second network."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import struct

from memorax.acting import RolloutState, State, VectorEnv
from memorax.algorithms.ppo import PPO, Batch, PPOConfig
from memorax.core.checks import check_fields, divides, integer, optional, real
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.learning.actor_critic import ActorCritic, ActorCriticLearner, check_state_values, flatten_losses
from memorax.learning.agent_networks import SingleNetwork
from memorax.learning.auxiliary import check_value_head
from memorax.learning.minibatches import as_chunks, carries_of_chunks
from memorax.learning.rollout_config import choose_minibatches
from memorax.learning.train_state import TrainState, check_optimizers
from memorax.networks import Network
from memorax.objectives import episode_ends, lambda_returns, value_loss, weighted_mean

GradientPPOState: TypeAlias = State
Metrics: TypeAlias = dict[str, Array]


@dataclass(frozen=True)
class GradientPPOConfig(PPOConfig):
    """Configuration of GradientPPO."""

    num_minibatches: int | None = None
    """Minibatches, and so gradient steps, per epoch. Divides the number of chunks, `num_envs * num_steps /
    truncation_length`. None: 4, or the largest divisor below."""
    clip_value_loss: bool = True
    """Without effect: the critic does not learn from its distance to a fixed target."""
    burn_in_length: int = 0
    """First steps of each chunk that only refresh the memory and are not learned from."""
    regularization_coefficient: float = 1.0
    """Weight of the L2 regularization of the second network, at least 0: 0 is TDC, 1 the paper's TDRC."""
    truncation_length: int | None = None
    """Steps per chunk of truncated backpropagation through time; the critic's returns end with their chunk. Divides
    `num_steps`. None: 64, or the next divisor of `num_steps` above; with short chunks the critic bootstraps often,
    and learns less (16 fails on tasks that 64 solves)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, regularization_coefficient=real(0), truncation_length=optional(integer(1)))
        length = self.chunk_length
        divides(("truncation_length", length), ("num_steps", self.num_steps), "chunks of equal length")
        if self.burn_in_length >= length:
            raise ValueError(f"`burn_in_length` ({self.burn_in_length}) must be below `truncation_length` ({length})")

    @property
    def chunk_length(self) -> int:
        """Steps per chunk: `truncation_length`, or what stands for None."""
        steps = self.num_steps
        return self.truncation_length or next(n for n in range(min(64, steps), steps + 1) if steps % n == 0)

    def minibatches(self, recurrent: bool) -> int:
        """Give the number of minibatches per epoch; it does not matter whether networks have a memory."""
        size = self.num_envs * self.num_steps // self.chunk_length
        return choose_minibatches(self.num_minibatches, 4, ("num_envs * num_steps / truncation_length", size), "chunks")


@struct.dataclass
class GradientLearner(ActorCriticLearner):
    """Parameters and optimizer states of policy, value function, and expected TD error."""

    h: TrainState


class GradientNetworks(ActorCritic):
    """Actor and critic, and a network `h` that predicts the critic's TD error.

    Args:
        vector_env: The environments.
        actor: Network with a policy head.
        critic: Network with a head for state values.
        h_network: Network with a head for state values; None for another set of parameters of `critic`.

    Raises:
        TypeError: An argument is of the wrong type, or a network has a head of the wrong kind.
    """

    def __init__(self, vector_env: VectorEnv, actor: Network, critic: Network, h_network: Network | None) -> None:
        name, network = ("critic", critic) if h_network is None else ("h_network", h_network)
        self.h = SingleNetwork(name, vector_env, network)
        check_value_head(name, network.head, gvfs=False)
        super().__init__(vector_env, actor, critic, distributional=False, gvfs=False)
        check_state_values("h_network", network.head, self.h.trace(), vector_env.num_envs)

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the initial memory of all networks."""
        h = self.h.initialize_carry(jax.random.fold_in(key, 1), batch)
        return super().initialize_carry(key, batch) | {"h": h}

    def init(self, key: Key, timestep: Timestep, carry: Carry) -> dict[str, PyTree]:
        """Make the parameters of all networks."""
        h = self.h.init(jax.random.fold_in(key, 1), timestep, carry["h"])
        return super().init(key, timestep, carry) | {"h": h}

    def unroll_with_losses(
        self, params: dict[str, PyTree], inputs: Timestep, carry: Carry, burn_in: int = 0
    ) -> tuple[Carry, tuple[Any, ...], dict[str, Array]]:
        """Run all networks over a sequence; the outputs are distributions of actions, values, and predicted errors."""
        after, outputs, sown = super().unroll_with_losses(params, inputs, carry, burn_in)
        h_carry, h, h_sown = self.h.unroll_with_losses(params["h"], inputs, carry["h"], burn_in)
        return after | {"h": h_carry}, (*outputs, h), sown | flatten_losses({"h": h_sown})


class GradientPPO(PPO):
    """Gradient PPO: PPO whose value function is learned by gradient temporal-difference learning.

    The TD error `delta = G - V(x_t)` with the lambda-return `G` of the values themselves depends on the parameters
    through every value in it. Following all of that gradient needs the expected error, which a second network `h(x_t)`
    learns. The critic moves along `delta grad V - h grad V - h grad delta`; `h` moves towards `delta` and,
    regularized, towards zero.

    Rollouts are split into chunks of `truncation_length` steps, each with the memory that acting had at its start. The
    critic's returns bootstrap at the end of their chunk; the policy's advantages are PPO's, over the whole rollout.

    Differs from the paper: networks may have a memory, and truncated episodes bootstrap from the value of their final
    observation, as recorded while acting.

    Args:
        config: Configuration.
        env: Environment.
        env_params: Its parameters; None for its default ones.
        actor: Network with a policy head.
        critic: Network with a `VNetwork` head; give it the actor's feature extractor and torso objects for a shared
            trunk.
        actor_optimizer: Optimizer of the actor's parameters, a shared trunk's among them.
        critic_optimizer: Optimizer of the critic's parameters.
        h_network: Network with a `VNetwork` head; None for another set of parameters of `critic`, trunk included.
        h_optimizer: Optimizer of its parameters; None for `critic_optimizer` with a state of its own.

    Raises:
        TypeError: An argument is of the wrong type, or a network has a head of the wrong kind.
        ValueError: The actor's head does not fit the action space, or `num_minibatches` does not divide the chunks.

    Example:
        >>> agent = GradientPPO(GradientPPOConfig(), env, env_params, actor, critic, optax.adam(3e-4), optax.adam(3e-3))
        >>> state = agent.init(jax.random.key(0))
        >>> state, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=100_000)

    Source:
        Elelimy et al. 2025, "Deep Reinforcement Learning with Gradient Eligibility Traces",
        https://arxiv.org/abs/2507.09087; Ghiassian et al. 2020, "Gradient Temporal-Difference Learning with Regularized
        Corrections".
    """

    Config = GradientPPOConfig
    Learner = GradientLearner
    config: GradientPPOConfig  # pyright: ignore[reportIncompatibleVariableOverride] (it is not assigned again)

    def __init__(  # noqa: PLR0913 (the networks and their optimizers)
        self,
        config: GradientPPOConfig,
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
        self.h_network = h_network
        super().__init__(config, env, env_params, actor, critic, actor_optimizer, critic_optimizer)
        self.optimizers |= {"h": critic_optimizer if h_optimizer is None else h_optimizer}
        check_optimizers(**{f"{name}_optimizer": optimizer for name, optimizer in self.optimizers.items()})

    def make_networks(self, actor: Network, critic: Network) -> GradientNetworks:
        """Put the networks into the environments."""
        return GradientNetworks(self.vector_env, actor, critic, self.h_network)

    def learn(
        self, key: Key, learner: Any, trajectory: Transition, rollout_state: RolloutState, carry: Carry
    ) -> ActorCriticLearner:
        """Compute the memory at the start of every chunk, then learn as PPO does."""

        def run(carry: Carry, inputs: Timestep) -> Carry:
            return self.networks.unroll(learner.params, inputs, carry)[0]

        carry = carries_of_chunks(run, carry, trajectory.inputs, self.config.chunk_length)
        return super().learn(key, learner, trajectory, rollout_state, carry)

    def batch(self, learner: ActorCriticLearner, trajectory: Transition, rollout_state: RolloutState) -> Batch:
        """Compute advantages over the whole rollout, and put the batch together."""
        batch = super().batch(learner, trajectory, rollout_state)
        batch = batch._replace(ends=episode_ends(trajectory, self.config.gamma))
        batch = jax.tree.map(lambda x: jnp.concatenate([x, x[:, -1:]], axis=1), batch)
        inputs = jax.tree.map(lambda x, y: x.at[:, -1].set(y), batch.inputs, rollout_state.timestep)
        return batch._replace(inputs=inputs)

    def split(self, batch: Batch) -> Batch:
        """Split rollouts into chunks, which are shuffled; their last step only bootstraps."""
        chunks = as_chunks(batch, self.config.chunk_length)
        return chunks._replace(weight=chunks.weight.at[:, -1].set(0.0))

    def loss(self, params: PyTree, batch: Batch, carry: Carry) -> tuple[Array, Metrics]:
        """Compute the losses of policy, value function and expected TD error, and metrics."""
        config, fixed, networks = self.config, jax.lax.stop_gradient, self.networks
        _, (distribution, value, h), sown = networks.unroll_with_losses(params, batch.inputs, carry, self.burn_in)
        batch = jax.tree.map(lambda x: x[:, self.burn_in :], batch)
        actor_loss, metrics = self.actor_loss(distribution, batch)
        reward, discount, hidden = (x[:, :-1] for x in batch.ends or ())
        before, h, weight = value[:, :-1], h[:, :-1], batch.weight[:, :-1]
        delta = lambda_returns(reward, discount, hidden, value, config.gae_lambda) - before
        critic_loss = weighted_mean(fixed(h) * delta - fixed(delta - h) * before, weight)
        h_loss = value_loss(h, fixed(delta), weight)
        size = sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(params["h"]))
        loss = actor_loss + config.value_coefficient * critic_loss
        loss += h_loss + 0.5 * config.regularization_coefficient * size
        auxiliary = networks.auxiliary.losses(value, batch.auxiliary, batch.weight, sown)
        metrics |= {"critic": 0.5 * weighted_mean(jnp.square(delta), weight), "h": h_loss}
        return auxiliary.added_to(loss), auxiliary.metrics | metrics

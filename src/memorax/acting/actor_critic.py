"""Agents that learn a policy and a value: how they act, and what they keep."""

import dataclasses
from typing import Any

import jax
import optax
from flax import struct
from jax.custom_batching import sequential_vmap

from memorax.acting.algorithm import Behavior, OnPolicy
from memorax.acting.demons import check_demons, check_head, refuse_demons
from memorax.acting.loop import Loop, Policy, Stage, Value
from memorax.acting.model import Model
from memorax.acting.unroll import add_time, remove_time, unroll, unroll_with_losses
from memorax.acting.value_outputs import expected, main, numbers
from memorax.core.spaces import encode
from memorax.core.types import Array, Carry, Key, PyTree, Timestep
from memorax.networks import Network
from memorax.networks.actor_critic import ActorCritic


@struct.dataclass
class ActorCriticLearner:
    """What is learned; on a shared trunk the trunk's parameters are the actor's."""

    actor: Model
    critic: Model

    @property
    def params(self) -> dict[str, PyTree]:
        """The parameters of both networks."""
        return {"actor": self.actor.params, "critic": self.critic.params}


class ActorCriticActor(OnPolicy):
    """Acts by an actor's distribution and records what a critic thinks of it; how it learns is left open.

    What its `init_learner` makes has `params`, as `init_params` makes them.

    Args:
        config: Configuration of the algorithm.
        env: Environment.
        env_params: Its parameters.
        actor: Network with a policy head.
        critic: Network with a value head; give it the actor's feature extractor and torso objects to share them.

    Raises:
        TypeError: A network is none, or its head is not one for a policy or a value.
        ValueError: The actor's head does not serve the action space, or the configuration does not go with the
            networks.
    """

    distributional = False
    """Whether the critic's values may be distributions that are learned by classification."""
    demons = False
    """Whether the critic's head may be a `Horde`, whose demons are then learned, too."""

    def __init__(
        self,
        config: Any,
        env: Any,
        env_params: PyTree,
        actor: Network,
        critic: Network,
    ) -> None:
        super().__init__(config, Stage(env, env_params, config.num_envs))
        for name, network in (("actor", actor), ("critic", critic)):
            if not isinstance(network, Network):
                raise TypeError(f"`{name}` must be a Network, got {type(network).__name__}")
        if not hasattr(actor.head, "check_action_space"):
            raise TypeError(f"`actor` must have a policy head, got {type(actor.head).__name__}")
        check_head("critic", critic.head)
        if not self.demons:
            refuse_demons("critic", critic.head, type(self).__name__)
        self.network = ActorCritic(actor, critic)
        actor.head.check_action_space(self.stage.action_space)
        # Tracing everything once makes what does not fit fail here, and tells what the policy's actions are like.
        carry, (distribution, value) = jax.eval_shape(self._first_step, jax.random.key(0))
        if not hasattr(distribution, "bounded"):
            raise TypeError(f"`actor` must have a policy head, got {type(actor.head).__name__}")
        number = jax.eval_shape(expected if self.distributional else main, value)
        if getattr(number, "shape", None) != (config.num_envs, 1):
            raise TypeError(
                f"`critic` must have a head that gives one value per step, got {type(critic.head).__name__}"
            )
        check_demons("critic", critic.head, value, self.stage)
        self.stage.bounded = distribution.bounded
        self.recurrent = bool(jax.tree.leaves(carry))
        self.check()

    def check(self) -> None:
        """Refuse a configuration that does not go with the networks; nothing to refuse unless overridden."""

    def _first_step(self, key: Key) -> tuple[Carry, tuple[Any, Any]]:
        state = self.init(key)
        return self.unroll(state.learner.params, add_time(state.loop.timestep), state.loop.carry)

    def unroll(self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0) -> tuple[Carry, tuple[Any, Any]]:
        """Run both networks over a sequence; return the memory, and distributions and values, `[batch, time]`."""
        space = self.stage.action_space
        return unroll(self.network, params, inputs, carry, action_space=space, burn_in=burn_in)

    def unroll_with_losses(
        self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0
    ) -> tuple[Carry, tuple[Any, Any], list[Array]]:
        """Run both networks as `unroll` does; return also the losses that their modules sowed, each `[]`."""
        space = self.stage.action_space
        return unroll_with_losses(self.network, params, inputs, carry, action_space=space, burn_in=burn_in)

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the memory of both networks."""

        def inputs(key: Key) -> Timestep:
            return self._encode(add_time(self.stage.reset(key, (), batch).timestep))

        return self.network.initialize_carry(key, jax.eval_shape(inputs, key))

    def _encode(self, inputs: Timestep) -> Timestep:
        return dataclasses.replace(inputs, action=encode(self.stage.action_space, inputs.action))

    def init_params(self, key: Key, loop: Loop) -> dict[str, PyTree]:
        """Make the parameters of both networks."""
        inputs = self._encode(add_time(loop.timestep))
        # One seed after the other: orthogonal initializers are QR decompositions, and of those XLA's CPU backend can
        # wait forever for a batch.
        return sequential_vmap(self.network.init)(key, inputs, loop.carry)

    def policy(self, learner: Any, step: Array, behavior: Behavior) -> Policy:
        """Sample from the actor's distribution, or take its mode; record log-probability and value."""
        del step

        def act(key: Key, carry: Carry, timestep: Timestep) -> tuple[Carry, Array, dict[str, Array]]:
            carry, (distribution, value) = self.unroll(learner.params, add_time(timestep), carry)
            action = distribution.mode() if behavior == "exploit" else distribution.sample(key)
            aux: dict[str, Any] = {"log_prob": distribution.log_prob(action), "value": numbers(value)}
            return carry, remove_time(action), remove_time(aux)

        return act

    def value(self, learner: Any) -> Value:
        """Value an observation with the memory of its episode."""

        def value(carry: Carry, timestep: Timestep) -> Any:
            return remove_time(numbers(self.unroll(learner.params, add_time(timestep), carry)[1][1]))

        return value


class ActorCriticAgent(ActorCriticActor):
    """Acts as `ActorCriticActor` does, and has an optimizer for each network.

    Args:
        config: Configuration of the algorithm.
        env: Environment.
        env_params: Its parameters.
        actor: Network with a policy head.
        critic: Network with a value head; give it the actor's feature extractor and torso objects to share them.
        actor_optimizer: Moves the actor's parameters, a shared trunk's among them.
        critic_optimizer: Moves the critic's parameters.

    What it raises is as for `ActorCriticActor`.
    """

    def __init__(
        self,
        config: Any,
        env: Any,
        env_params: PyTree,
        actor: Network,
        critic: Network,
        actor_optimizer: optax.GradientTransformation,
        critic_optimizer: optax.GradientTransformation,
    ) -> None:
        self.actor_optimizer, self.critic_optimizer = actor_optimizer, critic_optimizer
        super().__init__(config, env, env_params, actor, critic)

    def init_learner(self, key: Key, loop: Loop) -> ActorCriticLearner:
        """Make both networks and their optimizers."""
        params = self.init_params(key, loop)
        return ActorCriticLearner(
            actor=Model.create(self.actor_optimizer, params["actor"]),
            critic=Model.create(self.critic_optimizer, params["critic"]),
        )

"""An actor and a critic, on one shared trunk or on two: policy, value function, and what is learned of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import jax
import optax
from flax import struct

from memorax.acting.agent import Behavior
from memorax.acting.policy import AgentPolicy
from memorax.acting.vector_env import Value, VectorEnv
from memorax.core.types import Array, Carry, Key, PyTree, Timestep
from memorax.learning.agent_networks import AgentNetworks, SingleNetwork
from memorax.learning.auxiliary import Auxiliary, check_value_head
from memorax.learning.train_state import TrainState
from memorax.learning.unroll import add_time, remove_time
from memorax.learning.values import as_scalars, expected_values, main_values
from memorax.networks import Network
from memorax.networks.heads import BranchValues, check_policy_head


@struct.dataclass
class ActorCriticLearner:
    """Parameters and optimizer states of actor and critic.

    Attributes:
        actor: Those of the actor, with the parameters of a shared trunk among them.
        critic: Those of the critic.
    """

    actor: TrainState
    critic: TrainState

    @property
    def params(self) -> dict[str, PyTree]:
        """The parameters of each network."""
        return {field.name: getattr(self, field.name).params for field in dataclasses.fields(self)}

    @classmethod
    def create(cls, optimizers: Mapping[str, optax.GradientTransformation], params: Mapping[str, PyTree]) -> Self:
        """Start to optimize the parameters of each network with an optimizer of its own."""
        return cls(**{name: TrainState.create(optimizer, params[name]) for name, optimizer in optimizers.items()})

    def update(self, optimizers: Mapping[str, optax.GradientTransformation], gradients: Mapping[str, PyTree]) -> Self:
        """Take one optimizer step of each network."""
        return type(self)(**{name: getattr(self, name).update(x, gradients[name]) for name, x in optimizers.items()})


class ActorCritic(AgentNetworks):
    """Two networks that see the same inputs: the actor gives the policy, the critic the value function.

    When both were built with the same feature extractor *object* and the same torso *object*, these are one trunk: its
    parameters exist once, among the actor's, it is run once for both heads, and the critic's parameters are those of
    its head.

    Args:
        vector_env: The environments; their `bounded` is set as the policy's actions need it.
        actor: Network with a policy head.
        critic: Network with a head for state values.
        distributional: Whether the values may be distributions that are learned by classification.
        gvfs: Whether the critic's head may be a `Horde`, whose general value functions are learned too.

    Raises:
        TypeError: `actor` or `critic` is not a Network, or its head is not one for a policy or for state values.
        ValueError: The actor's head does not fit the action space, or the networks share one of feature extractor and
            torso but not the other.
    """

    def __init__(
        self,
        vector_env: VectorEnv,
        actor: Network,
        critic: Network,
        *,
        distributional: bool = True,
        gvfs: bool = True,
    ) -> None:
        self.vector_env = vector_env
        self.actor = SingleNetwork("actor", vector_env, actor)
        self.critic = SingleNetwork("critic", vector_env, critic)
        check_policy_head("actor", actor.head)
        check_value_head("critic", critic.head, gvfs=gvfs)
        self.shared = share_trunk(actor, critic)
        """Whether actor and critic have one trunk."""
        actor.head.check_action_space(vector_env.action_space)
        distribution, value, *_ = self.trace()
        if not hasattr(distribution, "bounded"):
            raise TypeError(f"`actor` must have a policy head, got {type(actor.head).__name__}")
        check_state_values("critic", critic.head, value, vector_env.num_envs, distributional=distributional)
        vector_env.bounded = distribution.bounded
        self.auxiliary = Auxiliary("critic", critic.head, value, vector_env)
        """The auxiliary losses of the networks."""

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the initial memory of both networks; a shared trunk has one."""
        actor_key, critic_key = jax.random.split(key)
        actor = self.actor.initialize_carry(actor_key, batch)
        return {"actor": actor, "critic": () if self.shared else self.critic.initialize_carry(critic_key, batch)}

    def init(self, key: Key, timestep: Timestep, carry: Carry) -> dict[str, PyTree]:
        """Make the parameters of both networks."""
        actor_key, critic_key = jax.random.split(key)
        actor = self.actor.init(actor_key, timestep, carry["actor"])
        if not self.shared:
            return {"actor": actor, "critic": self.critic.init(critic_key, timestep, carry["critic"])}
        _, features, _ = self.actor.embed(actor, add_time(timestep), carry["actor"])
        return {"actor": actor, "critic": self.critic.init_head(critic_key, features, timestep)}

    def unroll_with_losses(
        self, params: dict[str, PyTree], inputs: Timestep, carry: Carry, burn_in: int = 0
    ) -> tuple[Carry, tuple[Any, ...], dict[str, Array]]:
        """Run both networks over a sequence; the outputs are distributions of actions and values."""
        actor, critic = params["actor"], params["critic"]
        if not self.shared:
            actor_carry, distribution, sown = self.actor.unroll_with_losses(actor, inputs, carry["actor"], burn_in)
            critic_carry, value, more = self.critic.unroll_with_losses(critic, inputs, carry["critic"], burn_in)
            losses = {"actor": sown, "critic": more}
            return {"actor": actor_carry, "critic": critic_carry}, (distribution, value), flatten_losses(losses)
        actor_carry, features, sown = self.actor.embed(actor, inputs, carry["actor"], burn_in)
        distribution, from_actor = self.actor.readout(actor, features, inputs, burn_in)
        value, from_critic = self.critic.readout(critic, features, inputs, burn_in)
        losses = {"trunk": sown, "actor": from_actor, "critic": from_critic}
        return {"actor": actor_carry, "critic": ()}, (distribution, value), flatten_losses(losses)

    def policy(self, params: dict[str, PyTree], behavior: Behavior) -> AgentPolicy:
        """Sample from the policy, or take its mode to exploit; record log-probability and value."""

        def act(
            key: Key, carry: Carry, timestep: Timestep, action: Array | None = None
        ) -> tuple[Carry, Array, dict[str, Array]]:
            carry, (distribution, value, *_) = self.unroll(params, add_time(timestep), carry)
            if action is not None:
                action = add_time(action)
            else:
                action = distribution.mode() if behavior == "exploit" else distribution.sample(key)
            aux: dict[str, Any] = {"log_prob": distribution.log_prob(action), "value": as_scalars(value)}
            return carry, remove_time(action), remove_time(aux)

        return act

    def value(self, params: dict[str, PyTree]) -> Value:
        """Value an observation given the memory of its episode."""

        def value(carry: Carry, timestep: Timestep) -> Any:
            _, (_, value, *_) = self.unroll(params, add_time(timestep), carry)
            return remove_time(as_scalars(value))

        return value


def share_trunk(actor: Network, critic: Network) -> bool:
    """Whether two networks share feature extractor and torso.

    Raises:
        ValueError: They share one of the two objects but not the other.
    """
    extractor = actor.feature_extractor is critic.feature_extractor
    torso = actor.torso is critic.torso
    if extractor != torso:
        shared, apart = ("feature_extractor", "torso") if extractor else ("torso", "feature_extractor")
        raise ValueError(
            f"`actor` and `critic` were given the same `{shared}` object but different `{apart}` objects; "
            "share both (one trunk) or build two objects of each"
        )
    return torso


def check_state_values(name: str, head: Any, output: Any, num_envs: int, *, distributional: bool = False) -> None:
    """Require a head that gives one value per step.

    Args:
        name: The network's name in messages.
        head: Its head.
        output: Shapes and types of what the head gives for one step.
        num_envs: Number of environments.
        distributional: Whether the value may be a distribution.

    Raises:
        TypeError: It gives something else.
    """
    branches = isinstance(main_values(output), BranchValues)  # of different sizes, which have no mean
    value = jax.eval_shape(expected_values if distributional and not branches else main_values, output)
    if getattr(value, "shape", None) != (num_envs, 1):
        raise TypeError(f"`{name}` must have a head that gives one value per step, got {type(head).__name__}")


def flatten_losses(losses: dict[str, dict[str, Array]]) -> dict[str, Array]:
    """Put the sown losses of several networks into one dictionary, by network and path."""
    return {f"{name}/{path}": loss for name, sown in losses.items() for path, loss in sown.items()}

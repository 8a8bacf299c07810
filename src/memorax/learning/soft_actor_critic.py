"""A stochastic policy and several critics of its actions, as soft actor-critic learns them."""

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from memorax.acting.agent import Behavior
from memorax.acting.policy import AgentPolicy
from memorax.acting.vector_env import VectorEnv
from memorax.core.distributions import Categorical
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.learning.actor_critic import flatten_losses
from memorax.learning.agent_networks import AgentNetworks, SingleNetwork
from memorax.learning.unroll import add_time, remove_time
from memorax.learning.values import Values, action_values, expected_values
from memorax.networks import Network
from memorax.networks.heads import GVF, C51Values, Horde
from memorax.objectives import soft_value


@struct.dataclass
class PolicyActions:
    """Actions of a policy at every step, in the form that soft values are computed from; differentiable.

    Attributes:
        action: One sampled action for each step, `[batch, time, dimensions]`; None for discrete actions, over which
            expectations are exact.
        probabilities: Of all discrete actions, `[batch, time, actions]`; None where one was sampled.
        entropy: Entropy of the policy, or minus the log-probability of the sampled action, `[batch, time]`, nats.
        unit: The entropy that target entropies are multiples of, `[batch, time]`: the maximum for discrete actions;
            for continuous ones, whose entropy has no maximum, minus the number of dimensions.
    """

    action: Array | None
    probabilities: Array | None
    entropy: Array
    unit: Array


def policy_actions(key: Key, distribution: Any) -> PolicyActions:
    """Give the probabilities of discrete actions, or sample one continuous action for each step."""
    if isinstance(distribution, Categorical):
        probabilities, mask = distribution.probabilities, distribution.mask
        allowed = jnp.ones_like(probabilities) if mask is None else mask
        unit = jnp.log(jnp.maximum(jnp.sum(allowed, axis=-1), 1).astype(jnp.float32))
        return PolicyActions(None, probabilities, distribution.entropy(), unit)
    action, log_prob = distribution.sample_and_log_prob(key)
    return PolicyActions(action, None, -log_prob, jnp.full_like(log_prob, -action.shape[-1]))


def uniform_action(key: Key, distribution: Any) -> Array:
    """Draw allowed actions uniformly, `[batch, time, ...]`."""
    if isinstance(distribution, Categorical):
        return Categorical(jnp.zeros_like(distribution.logits), distribution.mask).sample(key)
    like = distribution.mode()
    return jax.random.uniform(key, like.shape, like.dtype, minval=-1.0, maxval=1.0)


class SoftActorCritic(AgentNetworks):
    """An actor and several critics of actions, each with parameters and a memory of its own.

    Args:
        vector_env: The environments; their `bounded` is set as the policy's actions need it.
        actor: Network with a policy head: `Categorical`, or one of bounded actions such as `SquashedGaussian`.
        critics: Networks with a head that values all discrete actions, or a given continuous one. They may be the same
            object, which then stands for as many networks as it is given times.

    Raises:
        TypeError: `actor` or `critic` is not a Network, or its head is not of that kind.
        ValueError: A head does not fit the action space, or a critic shares the actor's trunk.
    """

    def __init__(self, vector_env: VectorEnv, actor: Network, critics: Sequence[Network]) -> None:
        self.vector_env = vector_env
        if not isinstance(vector_env.action_space, Discrete | Box):
            raise TypeError(
                f"`env` must have Discrete or Box actions for soft actor-critic, got {vector_env.action_space!r}; take "
                "an algorithm such as PPO"
            )
        self.actor = SingleNetwork("actor", vector_env, actor)
        pairs = zip(("critic", "second_critic"), critics, strict=True)
        self.critics = tuple(SingleNetwork(name, vector_env, critic) for name, critic in pairs)
        for network in (actor, *critics):
            if hasattr(network.head, "check_action_space"):
                network.head.check_action_space(vector_env.action_space)
        self.discrete = isinstance(vector_env.action_space, Discrete)
        for critic in critics:
            self._check_critic(actor, critic)
        distribution, values = self.trace()
        self._check_policy(distribution)
        space = vector_env.action_space
        shape = (vector_env.num_envs, 1, *((space.n,) if isinstance(space, Discrete) else ()))
        for critic, value in zip(critics, values, strict=True):
            fits = [getattr(jax.eval_shape(expected_values, x), "shape", None) == shape for x in value]
            if not all(fits) or any(isinstance(x, C51Values) for x in value):
                self._refuse(critic)
        vector_env.bounded = distribution.bounded

    def _check_critic(self, actor: Network, critic: Network) -> None:
        if critic.torso is actor.torso or critic.feature_extractor is actor.feature_extractor:
            raise ValueError(
                "`critic` must have a feature extractor and a torso of its own, got the actor's objects; make two "
                "of each"
            )
        takes_action = "action" in inspect.signature(type(critic.head).__call__).parameters
        if not (self.discrete or takes_action) or isinstance(critic.head, GVF | Horde):
            self._refuse(critic)

    def _refuse(self, critic: Network) -> None:
        heads = "`DiscreteQNetwork` or `HLGaussQNetwork`" if self.discrete else "`ContinuousQNetwork`"
        raise TypeError(
            f"`critic` must have a head for values of actions as numbers, {heads}, got {type(critic.head).__name__}"
        )

    def _check_policy(self, distribution: Any) -> None:
        head = type(self.actor.network.head).__name__
        if not hasattr(distribution, "bounded"):
            raise TypeError(f"`actor` must have a policy head, got {head}")
        if not (distribution.bounded or isinstance(distribution, Categorical)):
            raise TypeError(
                f"`actor` must have a head of bounded actions, or its entropy can grow without limit, got {head}; use "
                "`SquashedGaussian`"
            )

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the initial memory of all networks."""
        actor_key, *keys = jax.random.split(key, 1 + len(self.critics))
        critics = (critic.initialize_carry(key, batch) for key, critic in zip(keys, self.critics, strict=True))
        return {"actor": self.actor.initialize_carry(actor_key, batch), "critics": tuple(critics)}

    def init(self, key: Key, timestep: Timestep, carry: Carry) -> dict[str, PyTree]:
        """Make the parameters of all networks, each from a key of its own."""
        actor_key, *keys = jax.random.split(key, 1 + len(self.critics))
        action = {} if self.discrete else {"action": add_time(timestep.action)}
        critics = (
            critic.init(key, timestep, memory, **action)
            for key, critic, memory in zip(keys, self.critics, carry["critics"], strict=True)
        )
        return {"actor": self.actor.init(actor_key, timestep, carry["actor"]), "critics": tuple(critics)}

    def unroll_with_losses(
        self, params: dict[str, PyTree], inputs: Timestep, carry: Carry, burn_in: int = 0
    ) -> tuple[Carry, Any, dict[str, Array]]:
        """Run all networks over a sequence; the outputs are distributions, and each critic's values of `x_t.action`."""
        actor_carry, distribution, sown = self.actor.unroll_with_losses(
            params["actor"], inputs, carry["actor"], burn_in
        )
        action = inputs.action[:, burn_in:]
        carries, values, more = self._critics(params["critics"], inputs, carry["critics"], action, burn_in, burn_in)
        losses = flatten_losses({"actor": sown}) | more
        return {"actor": actor_carry, "critics": carries}, (distribution, values), losses

    def value(
        self,
        params: Sequence[PyTree],
        inputs: Timestep,
        carry: Sequence[Carry],
        action: Array | None,
        burn_in: int = 0,
        start: int | None = None,
    ) -> tuple[tuple[Carry, ...], list[Values], dict[str, Array]]:
        """Run the critics over a sequence.

        Args:
            params: Parameters of each.
            inputs: `[batch, time, ...]`.
            carry: The memory of each before the first input.
            action: The actions to value, one for each input from `start` on; not needed for discrete ones.
            burn_in: So many first inputs only refresh the memories.
            start: The first input to value actions at; None: the first after the burn-in.

        Returns:
            The memory of each, the values by each head (a twin head has two), and the sown losses by path.
        """
        start = burn_in if start is None else start
        carries, values, losses = self._critics(params, inputs, carry, action, burn_in, start)
        return carries, [value for of_critic in values for value in of_critic], losses

    def _critics(
        self,
        params: Sequence[PyTree],
        inputs: Timestep,
        carry: Sequence[Carry],
        action: Array | None,
        burn_in: int,
        start: int,
    ) -> tuple[tuple[Carry, ...], list[list[Values]], dict[str, Array]]:
        carries, values, losses = [], [], {}
        given: dict[str, Any] = {} if self.discrete else {"action": action}
        for i, (critic, weights, memory) in enumerate(zip(self.critics, params, carry, strict=True)):
            after, features, sown = critic.embed_from(weights, inputs, memory, burn_in, start)
            output, more = critic.readout(weights, features, inputs, start, **given)
            carries.append(after)
            values.append(list(output) if not self.discrete and output.ndim == 3 else [output])
            losses |= flatten_losses({f"critic_{i}": sown | more})
        return tuple(carries), values, losses

    def chosen(self, values: Values, action: Array) -> Values:
        """Take the values of the actions taken, `[batch, time]`."""
        return action_values(values, action) if self.discrete else values

    def policy(self, actor: PyTree, critics: Sequence[PyTree], behavior: Behavior) -> AgentPolicy:
        """Sample from the policy; record the log-probability, and each critic's value of the action as `q`.

        Args:
            actor: Parameters of the actor.
            critics: Parameters of each critic, whose memories are updated too.
            behavior: `"exploit"` takes the mode, `"random"` any allowed action.
        """

        def act(
            key: Key, carry: Carry, timestep: Timestep, action: Array | None = None
        ) -> tuple[Carry, Array, dict[str, Array]]:
            inputs = add_time(timestep)
            memory, distribution = self.actor.unroll(actor, inputs, carry["actor"])
            if action is not None:
                chosen = add_time(action)
            elif behavior == "random":
                chosen = uniform_action(key, distribution)
            else:
                chosen = distribution.mode() if behavior == "exploit" else distribution.sample(key)
            memories, values, _ = self.value(critics, inputs, carry["critics"], chosen)
            q = jnp.stack([expected_values(self.chosen(value, chosen)) for value in values], axis=-1)
            aux = {"log_prob": distribution.log_prob(chosen), "q": q}
            return {"actor": memory, "critics": memories}, remove_time(chosen), remove_time(aux)

        return act


@dataclasses.dataclass(frozen=True)
class ReplayedSequences:
    """Sequences from a replay buffer, and the networks that learn from them.

    Every network computes what is needed of it only: a network without memory no other steps, and a head no others
    either way.

    Attributes:
        networks: The networks.
        batch: `[batch, time + 1]`; the last step only bootstraps.
        carry: The memory of all networks before the first step.
        burn_in: So many first steps only refresh the memories.
    """

    networks: SoftActorCritic
    batch: Transition
    carry: Carry
    burn_in: int

    @property
    def steps(self) -> Transition:
        """The steps to learn from: neither burn-in nor the last step, `[batch, time]`."""
        bare = dataclasses.replace(self.batch, carry=None)
        return jax.tree.map(lambda x: x[:, self.burn_in : -1], bare)

    def policy_actions(self, actor: PyTree, key: Key) -> tuple[PolicyActions, PolicyActions, dict[str, Array]]:
        """Give the policy's actions at the steps, those at their successors, and the actor's sown losses.

        Both are `[batch, time]`; those at the last successor have no gradient in a network without memory.
        """
        network, inputs = self.networks.actor, self.batch.inputs
        features, sown = network.embed_to_bootstrap(actor, inputs, self.carry["actor"], self.burn_in)
        distribution, more = network.readout(actor, features, inputs, self.burn_in)
        actions = policy_actions(key, distribution)
        now, following = (jax.tree.map(lambda x, s=s: x[:, s], actions) for s in (slice(-1), slice(1, None)))
        return now, following, sown | more

    def soft_value(self, critics: Sequence[PyTree], actions: PolicyActions, temperature: Array) -> Array:
        """Give the soft value of the policy's actions at the steps by the lowest of the critics, `[batch, time]`."""
        values, _ = self._value(critics, actions.action)
        return _soft_value(values, actions, temperature)

    def following_soft_value(self, critics: Sequence[PyTree], actions: PolicyActions, temperature: Array) -> Array:
        """Give the soft value of the policy's actions at the successors of the steps, `[batch, time]`."""
        values, _ = self._value(critics, actions.action, following=True)
        return _soft_value(values, actions, temperature)

    def values(self, critics: Sequence[PyTree]) -> tuple[list[Values], dict[str, Array]]:
        """Give each critic's values of the actions taken, `[batch, time]`, and their sown losses."""
        action = self.steps.action
        values, sown = self._value(critics, action)
        return [self.networks.chosen(x, action) for x in values], sown

    def _value(
        self, critics: Sequence[PyTree], action: Array | None, *, following: bool = False
    ) -> tuple[list[Values], dict[str, Array]]:
        start, stop = (self.burn_in + 1, None) if following else (self.burn_in, -1)
        inputs = jax.tree.map(lambda x: x[:, :stop], self.batch.inputs)
        carry = self.carry["critics"]
        _, values, sown = self.networks.value(critics, inputs, carry, action, self.burn_in, start)
        return values, sown


def _soft_value(values: Sequence[Values], actions: PolicyActions, temperature: Array) -> Array:
    return soft_value([expected_values(x) for x in values], actions.entropy, temperature, actions.probabilities)

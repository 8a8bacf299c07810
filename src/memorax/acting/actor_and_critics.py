"""A policy, and critics that value what it does."""

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from memorax.acting.algorithm import Behavior
from memorax.acting.loop import Loop, Policy, Stage
from memorax.acting.soft_policy import Decision, anything, decide
from memorax.acting.unroll import add_time, remove_time, unroll_with_losses
from memorax.acting.value_outputs import Values, choose, expected, upto
from memorax.core.distributions import Categorical
from memorax.core.spaces import Discrete, encode
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.networks import Network
from memorax.networks.heads import GVF, C51Values, Horde
from memorax.objectives import soft_value

Losses: TypeAlias = list[Array]


class ActorAndCritics:
    """A network that acts and several that value actions, each with parameters and a memory of its own.

    Args:
        stage: The environments; told here whether actions are bounded.
        actor: Network with a policy head: `Categorical`, or one of bounded actions such as `SquashedGaussian`.
        critics: Networks with a head that values all of finitely many actions, or a given one. They may be the same
            object: it then stands for as many networks as it is given times.

    Raises:
        TypeError: What is given is no network, or its head is not of that kind.
        ValueError: A head does not serve the action space, or a critic stands on the actor's trunk.
    """

    def __init__(self, stage: Stage, actor: Network, critics: Sequence[Network]) -> None:
        for name, network in (("actor", actor), *(("critic", critic) for critic in critics)):
            if not isinstance(network, Network):
                raise TypeError(f"`{name}` must be a Network, got {type(network).__name__}")
            if hasattr(network.head, "check_action_space"):
                network.head.check_action_space(stage.action_space)
        self.stage, self.actor, self.critics = stage, actor, tuple(critics)
        self.discrete = isinstance(stage.action_space, Discrete)
        for critic in critics:
            if critic.torso is actor.torso or critic.feature_extractor is actor.feature_extractor:
                raise ValueError(
                    "`critic` must have a feature extractor and a torso of its own, got the actor's objects; make two "
                    "of each"
                )
            alone = not self.discrete and "action" not in inspect.signature(type(critic.head).__call__).parameters
            if alone or isinstance(critic.head, GVF | Horde):
                self._refuse(critic)
        # Tracing everything once makes what does not fit fail here.
        carry, distribution, values = jax.eval_shape(self._first_step, jax.random.key(0))
        self._check_policy(distribution)
        shape = (stage.num_envs, 1, *((stage.action_space.n,) if isinstance(stage.action_space, Discrete) else ()))
        for critic, value in zip(critics, values, strict=True):
            fits = [getattr(jax.eval_shape(expected, x), "shape", None) == shape for x in value]
            if not all(fits) or any(isinstance(x, C51Values) for x in value):
                self._refuse(critic)
        stage.bounded = distribution.bounded
        self.recurrent = bool(jax.tree.leaves(carry))

    def _refuse(self, critic: Network) -> None:
        heads = "`DiscreteQNetwork` or `HLGaussQNetwork`" if self.discrete else "`ContinuousQNetwork`"
        raise TypeError(
            f"`critic` must have a head for values of actions as numbers, {heads}, got {type(critic.head).__name__}"
        )

    def _check_policy(self, distribution: Any) -> None:
        head = type(self.actor.head).__name__
        if not hasattr(distribution, "bounded"):
            raise TypeError(f"`actor` must have a policy head, got {head}")
        if not (distribution.bounded or isinstance(distribution, Categorical)):
            raise TypeError(
                f"`actor` must have a head of bounded actions, or its entropy may grow for ever, got {head}; use "
                "`SquashedGaussian`"
            )

    def _first_step(self, key: Key) -> Any:
        loop = self.stage.reset(key, self.initialize_carry(key, self.stage.num_envs))
        params, inputs = self.init(key, loop), add_time(loop.timestep)
        _, distribution, _ = self.act(params["actor"], inputs, loop.carry["actor"])
        values = [
            self._value(critic, weights, inputs, memory, inputs.action)[1]
            for critic, weights, memory in zip(self.critics, params["critics"], loop.carry["critics"], strict=True)
        ]
        return loop.carry, distribution, values

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the memory of all networks with which `batch` environments begin."""

        def inputs(key: Key) -> Timestep:
            return self._encode(add_time(self.stage.reset(key, (), batch).timestep))

        example = jax.eval_shape(inputs, key)
        keys = jax.random.split(key, 1 + len(self.critics))
        actor, *critics = (
            network.initialize_carry(key, network.input_shape(example))
            for key, network in zip(keys, (self.actor, *self.critics), strict=True)
        )
        return {"actor": actor, "critics": tuple(critics)}

    def init(self, key: Key, loop: Loop) -> dict[str, PyTree]:
        """Make the parameters of all networks, each from a key of its own."""
        inputs, action = self._encode(add_time(loop.timestep)), add_time(loop.timestep.action)
        actor_key, *keys = jax.random.split(key, 1 + len(self.critics))
        options = {} if self.discrete else {"action": action}
        # One seed after the other, as for actor and critic: XLA's CPU backend can wait forever for a batch of QR
        # decompositions.
        critics = [
            sequential_vmap(lambda *given, network=network: network.init(*given[:-1], **given[-1]))(
                key, inputs, carry, options
            )
            for key, network, carry in zip(keys, self.critics, loop.carry["critics"], strict=True)
        ]
        actor = sequential_vmap(self.actor.init)(actor_key, inputs, loop.carry["actor"])
        return {"actor": actor, "critics": tuple(critics)}

    def _encode(self, inputs: Timestep) -> Timestep:
        return dataclasses.replace(inputs, action=encode(self.stage.action_space, inputs.action))

    def act(self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0) -> tuple[Carry, Any, Losses]:
        """Run the actor over a sequence.

        Args:
            params: Of the actor.
            inputs: `[batch, time, ...]`.
            carry: Its memory before the first input.
            burn_in: So many first inputs only refresh the memory.

        Returns:
            Its memory, the distributions of actions at all inputs after the burn-in, and what its modules sowed.
        """
        space = self.stage.action_space
        return unroll_with_losses(self.actor, params, inputs, carry, action_space=space, burn_in=burn_in)

    def value(
        self, params: Sequence[PyTree], inputs: Timestep, carry: Sequence[Carry], action: Array | None, burn_in: int = 0
    ) -> tuple[tuple[Carry, ...], list[Values], Losses]:
        """Run the critics over a sequence.

        Args:
            params: Of each critic.
            inputs: `[batch, time, ...]`.
            carry: The memory of each before the first input.
            action: What is to be valued, one for each input after the burn-in; not needed where all are.
            burn_in: So many first inputs only refresh the memories.

        Returns:
            The memory of each, the values by each head (a twin head has two), and what their modules sowed.
        """
        carries, values, losses = [], [], []
        for network, weights, memory in zip(self.critics, params, carry, strict=True):
            after, value, sown = self._value(network, weights, inputs, memory, action, burn_in)
            carries.append(after)
            values += value
            losses += sown
        return tuple(carries), values, losses

    def _value(
        self, network: Network, params: PyTree, inputs: Timestep, carry: Carry, action: Array | None, burn_in: int = 0
    ) -> tuple[Carry, list[Values], Losses]:
        space = self.stage.action_space
        carry, features, sown = unroll_with_losses(
            network, params, inputs, carry, action_space=space, burn_in=burn_in, method="embed"
        )
        seen = jax.tree.map(lambda x: x[:, burn_in:], inputs)
        given: dict[str, Any] = {} if self.discrete else {"action": action}
        output, more = cast(Any, network.apply(params, features, seen, method="readout", mutable="losses", **given))
        losses = [*sown, *(jnp.sum(loss) for loss in jax.tree.leaves(more))]
        twins = not self.discrete and output.ndim == 3
        return carry, list(output) if twins else [output], losses

    def chosen(self, values: Values, action: Array) -> Values:
        """Take the values of what was done, `[batch, time]`."""
        return choose(values, action) if self.discrete else values

    def policy(self, actor: PyTree, critics: Sequence[PyTree], behavior: Behavior) -> Policy:
        """Sample from the policy; record the log-probability, and as `q` what each critic thinks.

        Args:
            actor: Its parameters.
            critics: Parameters of each, whose memories go on too.
            behavior: `"exploit"` takes the mode, `"random"` any action that is allowed.
        """

        def act(key: Key, carry: Carry, timestep: Timestep) -> tuple[Carry, Array, dict[str, Array]]:
            inputs = add_time(timestep)
            memory, distribution, _ = self.act(actor, inputs, carry["actor"])
            action = distribution.mode() if behavior == "exploit" else distribution.sample(key)
            action = anything(key, distribution) if behavior == "random" else action
            memories, values, _ = self.value(critics, inputs, carry["critics"], action)
            q = jnp.stack([expected(self.chosen(value, action)) for value in values], axis=-1)
            aux = {"log_prob": distribution.log_prob(action), "q": q}
            return {"actor": memory, "critics": memories}, remove_time(action), remove_time(aux)

        return act


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Sequences from a replay, and the networks that learn from them.

    Attributes:
        networks: The networks.
        batch: `[batch, time + 1]`; the last step only bootstraps.
        carry: The memory of all networks before the first step.
        burn_in: So many first steps only refresh the memories.
    """

    networks: ActorAndCritics
    batch: Transition
    carry: Carry
    burn_in: int

    @property
    def steps(self) -> Transition:
        """What is learned from: neither burn-in nor the last step, `[batch, time]`."""
        bare = dataclasses.replace(self.batch, carry=None)
        return jax.tree.map(lambda x: x[:, self.burn_in : -1], bare)

    def decide(self, actor: PyTree, key: Key) -> tuple[Decision, Array]:
        """Say what the policy would do at every step and at the last; and what its modules sowed, `[]`."""
        _, distribution, sown = self.networks.act(actor, self.batch.inputs, self.carry["actor"], self.burn_in)
        return decide(key, distribution), sum(sown, jnp.zeros(()))

    def soft_value(self, critics: Sequence[PyTree], decision: Decision, temperature: Array) -> Array:
        """Say what that is worth by the least of the critics, entropy counted in, `[batch, time + 1]`."""
        values, _ = self._value(critics, decision.action)
        return soft_value([expected(x) for x in values], decision.entropy, temperature, decision.probabilities)

    def values(self, critics: Sequence[PyTree]) -> tuple[list[Values], Array]:
        """Say what each critic thinks of what was done, `[batch, time]`, and what their modules sowed, `[]`."""
        action = self.batch.action[:, self.burn_in :]
        values, sown = self._value(critics, action)
        chosen = [self.networks.chosen(x, action) for x in values]
        return [upto(x, action.shape[1] - 1) for x in chosen], sum(sown, jnp.zeros(()))

    def _value(self, critics: Sequence[PyTree], action: Array | None) -> tuple[list[Values], Losses]:
        inputs = self.batch.inputs
        _, values, sown = self.networks.value(critics, inputs, self.carry["critics"], action, self.burn_in)
        return values, sown

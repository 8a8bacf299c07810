"""An actor and a critic, on one trunk or on two."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import jax

from memorax.core.types import Carry, Key, PyTree, Timestep
from memorax.networks.network import Network


@dataclass(frozen=True)
class ActorCritic:
    """Two networks that see the same inputs.

    When both were built with the same feature extractor *object* and the same torso *object*, these are one trunk: its
    parameters exist once, among the actor's, it is run once for both heads, and the critic's parameters are those of
    its head.

    Args:
        actor: Network whose head makes the distribution of actions.
        critic: Network whose head makes the value.

    Raises:
        ValueError: The networks share one of the two objects but not the other.
    """

    actor: Network
    critic: Network

    def __post_init__(self) -> None:
        extractor = self.actor.feature_extractor is self.critic.feature_extractor
        torso = self.actor.torso is self.critic.torso
        if extractor != torso:
            shared, apart = ("feature_extractor", "torso") if extractor else ("torso", "feature_extractor")
            raise ValueError(
                f"`actor` and `critic` were given the same `{shared}` object but different `{apart}` objects; "
                "share both (one trunk) or build two objects of each"
            )

    @property
    def shared(self) -> bool:
        """Whether actor and critic stand on one trunk."""
        return self.actor.torso is self.critic.torso

    def initialize_carry(self, key: Key, inputs: Timestep) -> Carry:
        """Make the memory of both networks; a shared trunk has one.

        Args:
            key: Random key.
            inputs: What the networks see, `[batch, time, ...]`, actions encoded; its shapes and dtypes are enough.
        """
        actor_key, critic_key = jax.random.split(key)
        actor = self.actor.initialize_carry(actor_key, self.actor.input_shape(inputs))
        critic = () if self.shared else self.critic.initialize_carry(critic_key, self.critic.input_shape(inputs))
        return {"actor": actor, "critic": critic}

    def init(self, key: Key, inputs: Timestep, carry: Carry) -> dict[str, PyTree]:
        """Make the parameters of both networks.

        Args:
            key: Random key.
            inputs: `[batch, time, ...]`, actions encoded.
            carry: Memory before the first input.
        """
        actor_key, critic_key = jax.random.split(key)
        actor = self.actor.init(actor_key, inputs, carry["actor"])
        if not self.shared:
            return {"actor": actor, "critic": self.critic.init(critic_key, inputs, carry["critic"])}
        _, features = cast(Any, self.actor.apply(actor, inputs, carry["actor"], method="embed"))
        return {"actor": actor, "critic": self.critic.init(critic_key, features, inputs, method="readout")}

    def apply(
        self, params: dict[str, PyTree], inputs: Timestep, carry: Carry, *, mutable: str | Literal[False] = False
    ) -> Any:
        """Run both networks.

        Args:
            params: As `init` makes them.
            inputs: `[batch, time, ...]`, actions encoded.
            carry: Memory before the first input.
            mutable: A collection that modules sow into, such as `"losses"`; as in `flax.linen.Module.apply`.

        Returns:
            Memory after the last input, and the distribution and value at every step, `[batch, time]`. With `mutable`
            a pair: this, and what was sown, one entry for each run through a network or a part of it.
        """
        sown = []

        def run(network: Network, params: PyTree, *inputs: Any, method: str | None = None) -> Any:
            outputs = network.apply(params, *inputs, method=method, mutable=mutable)
            if mutable is False:
                return outputs
            sown.append(outputs[1])
            return outputs[0]

        carry, outputs = self._apply(run, params, inputs, carry)
        return (carry, outputs) if mutable is False else ((carry, outputs), sown)

    def _apply(self, run: Callable[..., Any], params: dict[str, PyTree], inputs: Timestep, carry: Carry) -> Any:
        actor, critic = params["actor"], params["critic"]
        if not self.shared:
            actor_carry, distribution = run(self.actor, actor, inputs, carry["actor"])
            critic_carry, value = run(self.critic, critic, inputs, carry["critic"])
            return {"actor": actor_carry, "critic": critic_carry}, (distribution, value)
        actor_carry, features = run(self.actor, actor, inputs, carry["actor"], method="embed")
        distribution = run(self.actor, actor, features, inputs, method="readout")
        value = run(self.critic, critic, features, inputs, method="readout")
        return {"actor": actor_carry, "critic": ()}, (distribution, value)

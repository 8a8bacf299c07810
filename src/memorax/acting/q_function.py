"""Acting by the values of actions."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from memorax.acting.algorithm import Behavior
from memorax.acting.demons import check_demons
from memorax.acting.loop import Policy, Stage, Value
from memorax.acting.staged_network import StagedNetwork
from memorax.acting.unroll import add_time, remove_time
from memorax.acting.value_outputs import best, expected, main, numbers
from memorax.core.spaces import Discrete
from memorax.core.types import Array, Carry, Key, PyTree, Timestep
from memorax.networks import Network
from memorax.networks.heads import C51Values
from memorax.objectives import epsilon_greedy


class QFunction(StagedNetwork):
    """A network that values all actions, and the ways to act by it.

    Args:
        stage: The environments.
        network: A network with a head that gives one value per action; a `Horde` of such heads, too.
        distributional: Whether it may learn towards distributions of returns.

    Raises:
        TypeError: The network is none, its head does not value actions, or by distributions where it must not, or the
            actions are not discrete.
        ValueError: The head serves another number of actions.
    """

    def __init__(self, stage: Stage, network: Network, *, distributional: bool = True) -> None:
        super().__init__("q_network", stage, network)
        space = stage.action_space
        head = type(network.head).__name__
        if hasattr(network.head, "check_action_space"):
            network.head.check_action_space(space)
        if not isinstance(space, Discrete):
            raise TypeError(f"`env` must have Discrete actions for `q_network` to value them all, got {space!r}")
        self.trace()
        if getattr(jax.eval_shape(expected, self.output), "shape", None) != (stage.num_envs, 1, space.n):
            raise TypeError(f"`q_network` must have a head that gives one value per action, got {head}")
        check_demons("q_network", network.head, self.output, stage)
        parts = jax.tree.leaves(self.output, is_leaf=lambda x: isinstance(x, C51Values))
        if not distributional and any(isinstance(x, C51Values) for x in parts):
            raise TypeError(
                "`q_network` must have a head that learns towards numbers, such as DiscreteQNetwork or "
                "HLGaussQNetwork, got C51QNetwork"
            )

    def policy(self, params: PyTree, epsilon: Array | float, behavior: Behavior) -> Policy:
        """Take the best action, or any with probability `epsilon`; record the values of all as `q`.

        Args:
            params: Of the network.
            epsilon: For `"explore"`; one number, or one for each environment.
            behavior: `"exploit"` never explores, `"random"` does nothing else. Either way the memory goes on.
        """

        def act(key: Key, carry: Carry, timestep: Timestep) -> tuple[Carry, Array, dict[str, Any]]:
            carry, output = self.unroll(params, add_time(timestep), carry)
            q = remove_time(numbers(output))
            values = main(q)
            if behavior == "exploit":
                return carry, jnp.argmax(values, axis=-1), {"q": q}
            chance = 1.0 if behavior == "random" else epsilon
            return carry, epsilon_greedy(key, values, chance, _allowed(timestep.observation)), {"q": q}

        return act

    def value(self, params: PyTree) -> Value:
        """Value an observation by its best action, with the memory of its episode; so do the demons."""

        def value(carry: Carry, timestep: Timestep) -> Any:
            return remove_time(best(self.unroll(params, add_time(timestep), carry)[1]))

        return value


def _allowed(observation: PyTree) -> Array | None:
    masked = isinstance(observation, Mapping) and "action_mask" in observation
    return observation["action_mask"].astype(bool) if masked else None

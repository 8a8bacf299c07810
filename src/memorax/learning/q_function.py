"""An action-value function: epsilon-greedy acting, and greedy values."""

from typing import Any

import jax
import jax.numpy as jnp

from memorax.acting.agent import Behavior
from memorax.acting.policy import AgentPolicy
from memorax.acting.vector_env import Value, VectorEnv
from memorax.core.spaces import Discrete, split_action_mask
from memorax.core.types import Array, Carry, Key, PyTree, Timestep
from memorax.learning.agent_networks import SingleNetwork
from memorax.learning.auxiliary import Auxiliary, check_value_head
from memorax.learning.unroll import add_time, remove_time
from memorax.learning.values import as_scalars, expected_values, greedy_values, main_values
from memorax.networks import Network
from memorax.networks.heads import C51Values
from memorax.objectives import epsilon_greedy


class QFunction(SingleNetwork):
    """A network that values all actions.

    Args:
        vector_env: The environments.
        network: A network with a head that gives one value per action, or a `Horde` of such heads.
        distributional: Whether its head may learn distributions of returns, as `C51QNetwork` does.

    Raises:
        TypeError: `network` is not a Network, its head does not value all actions or learns distributions where it must
            not, or the actions are not discrete.
        ValueError: The head is for another number of actions.
    """

    def __init__(self, vector_env: VectorEnv, network: Network, *, distributional: bool = True) -> None:
        super().__init__("q_network", vector_env, network)
        space = vector_env.action_space
        head = type(network.head).__name__
        if hasattr(network.head, "check_action_space"):
            network.head.check_action_space(space)
        if not isinstance(space, Discrete):
            raise TypeError(f"`env` must have Discrete actions for `q_network` to value them all, got {space!r}")
        check_value_head(self.name, network.head)
        output = self.trace()
        if getattr(jax.eval_shape(expected_values, output), "shape", None) != (vector_env.num_envs, 1, space.n):
            raise TypeError(f"`q_network` must have a head that gives one value per action, got {head}")
        self.auxiliary = Auxiliary(self.name, network.head, output, vector_env)
        """The auxiliary losses of the network."""
        parts = jax.tree.leaves(output, is_leaf=lambda x: isinstance(x, C51Values))
        if not distributional and any(isinstance(x, C51Values) for x in parts):
            raise TypeError(
                "`q_network` must have a head that learns towards numbers, such as DiscreteQNetwork or "
                "HLGaussQNetwork, got C51QNetwork"
            )

    def policy(self, params: PyTree, epsilon: Array | float, behavior: Behavior) -> AgentPolicy:
        """Act epsilon-greedily; record the values of all actions as `q`.

        Args:
            params: Parameters of the network.
            epsilon: Probability of a random action to `"explore"`, `[]` or `[num_envs]`.
            behavior: `"exploit"` is greedy, `"random"` uniform. Either way the memory is updated.
        """

        def act(
            key: Key, carry: Carry, timestep: Timestep, action: Array | None = None
        ) -> tuple[Carry, Array, dict[str, Any]]:
            carry, output = self.unroll(params, add_time(timestep), carry)
            q = remove_time(as_scalars(output))
            values = main_values(q)
            if action is not None:
                return carry, action, {"q": q}
            if behavior == "exploit":
                return carry, jnp.argmax(values, axis=-1), {"q": q}
            probability = 1.0 if behavior == "random" else epsilon
            _, mask = split_action_mask(timestep.observation)
            allowed = None if mask is None else mask.astype(bool)
            return carry, epsilon_greedy(key, values, probability, allowed), {"q": q}

        return act

    def value(self, params: PyTree) -> Value:
        """Value an observation by its greedy action, given the memory of its episode."""

        def value(carry: Carry, timestep: Timestep) -> Any:
            return remove_time(greedy_values(self.unroll(params, add_time(timestep), carry)[1]))

        return value

"""An action-value function: epsilon-greedy acting, and greedy values."""

from typing import Any

import jax
import jax.numpy as jnp

from memorax.acting.agent import Behavior
from memorax.acting.policy import AgentPolicy
from memorax.acting.vector_env import Value, VectorEnv
from memorax.core.spaces import Discrete, MultiDiscrete, split_action_mask
from memorax.core.types import Array, Carry, Key, PyTree, Timestep
from memorax.learning.agent_networks import SingleNetwork
from memorax.learning.auxiliary import Auxiliary, check_value_head
from memorax.learning.dropout import dropout
from memorax.learning.unroll import add_time, remove_time
from memorax.learning.values import as_scalars, expected_values, greedy_actions, greedy_values, main_values
from memorax.networks import Network
from memorax.networks.heads import BranchValues, C51Values
from memorax.objectives import epsilon_greedy, epsilon_greedy_branches


class QFunction(SingleNetwork):
    """A network that values all actions.

    Args:
        vector_env: The environments.
        network: A network with a head that gives one value per action, or a `Horde` of such heads; for MultiDiscrete
            actions with a `BranchingQNetwork`.
        distributional: Whether its head may learn distributions of returns, as `C51QNetwork` does.

    Raises:
        TypeError: `network` is not a Network, its head does not value all actions or learns distributions where it must
            not, or the actions are neither Discrete nor MultiDiscrete.
        ValueError: The head is for another number of actions.
    """

    def __init__(self, vector_env: VectorEnv, network: Network, *, distributional: bool = True) -> None:
        super().__init__("q_network", vector_env, network)
        space = vector_env.action_space
        head = type(network.head).__name__
        if hasattr(network.head, "check_action_space"):
            network.head.check_action_space(space)
        if not isinstance(space, Discrete | MultiDiscrete):
            raise TypeError(
                f"`env` must have Discrete or MultiDiscrete actions for `q_network` to value them all, got {space!r}"
            )
        check_value_head(self.name, network.head)
        output = self.trace()
        if not _values_all(space, output, vector_env.num_envs):
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
            epsilon: Probability of a random action to `"explore"`, `[]` or `[num_envs]`; another number of environments
                has those of environments that are evenly spread over these.
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
                return carry, greedy_actions(values), {"q": q}
            probability = 1.0 if behavior == "random" else _spread(epsilon, timestep.done.shape[0])
            _, mask = split_action_mask(timestep.observation)
            allowed = None if mask is None else mask.astype(bool)
            if isinstance(values, BranchValues):
                return carry, epsilon_greedy_branches(key, values.branches, probability, allowed), {"q": q}
            return carry, epsilon_greedy(key, values, probability, allowed), {"q": q}

        return act

    def unroll_to_bootstrap(
        self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0
    ) -> tuple[Any, dict[str, Array]]:
        """Run the network over a replayed sequence, whose last step only bootstraps.

        Returns:
            The values of all inputs after the burn-in, `[batch, time + 1]`, and the sown losses.
        """
        features, sown = self.embed_to_bootstrap(params, inputs, carry, burn_in)
        output, more = self.readout(params, features, inputs, burn_in)
        return output, sown | more

    def unroll_successors(self, params: PyTree, inputs: Timestep, carry: Carry, burn_in: int = 0) -> Any:
        """Run the network over a replayed sequence without dropout; give the values that returns bootstrap from.

        Returns:
            The values of all inputs after the burn-in but the first, `[batch, time]`.
        """
        with dropout(None):
            _, features, _ = self.embed_from(params, inputs, carry, burn_in, burn_in + 1)
            return self.readout(params, features, inputs, burn_in + 1)[0]

    def value(self, params: PyTree) -> Value:
        """Value an observation by its greedy action, given the memory of its episode."""

        def value(carry: Carry, timestep: Timestep) -> Any:
            return remove_time(greedy_values(self.unroll(params, add_time(timestep), carry)[1]))

        return value


def _values_all(space: Discrete | MultiDiscrete, output: Any, num_envs: int) -> bool:
    """Whether the outputs, as shapes, are values of all actions of a space."""
    if isinstance(space, Discrete):
        scalars = None if isinstance(output, BranchValues) else jax.eval_shape(expected_values, output)
        return getattr(scalars, "shape", None) == (num_envs, 1, space.n)
    shapes = [branch.shape for branch in output.branches] if isinstance(output, BranchValues) else []
    return shapes == [(num_envs, 1, n) for n in space.nvec]


def _spread(epsilon: Array | float, batch: int) -> Array | float:
    """Give so many environments an epsilon each."""
    if jnp.ndim(epsilon) == 0 or jnp.shape(epsilon) == (batch,):
        return epsilon
    return jnp.asarray(epsilon)[(2 * jnp.arange(batch) + 1) * jnp.size(epsilon) // (2 * batch)]

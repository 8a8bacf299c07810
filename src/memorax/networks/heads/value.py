"""Value heads: state values V(s) and action values Q(s, a)."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.linen import initializers

from memorax.core.checks import check_fields, sequence, size
from memorax.core.types import Array
from memorax.networks.checks import check_box, check_discrete, check_mask
from memorax.networks.heads.hidden import check_hidden, hidden_layers
from memorax.networks.mlp import MLP

MASKED_VALUE = -1e9
"""The value of a masked action: below any other, and sums of it stay finite."""


def allowed_actions(mask: Array) -> Array:
    """Give a mask as booleans; where it allows nothing, all is allowed, as policies take it.

    Else returns would bootstrap from the value of masked actions, -1e9.

    Args:
        mask: `[..., actions]`.
    """
    mask = mask.astype(bool)
    return mask | ~jnp.any(mask, axis=-1, keepdims=True)


class VNetwork(nn.Module):
    """A state-value function V(s).

    Attributes:
        kernel_init: Initializer of the kernel.
        bias_init: Initializer of the bias.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.
    """

    kernel_init: initializers.Initializer = initializers.orthogonal(1.0)
    bias_init: initializers.Initializer = initializers.zeros_init()
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check the hidden layers."""
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Give values `[batch, time]` for features `[batch, time, features]`."""
        features = hidden_layers(self, features)
        return nn.Dense(1, kernel_init=self.kernel_init, bias_init=self.bias_init)(features)[..., 0]


class DiscreteQNetwork(nn.Module):
    """An action-value function Q(s, a) with one output for each discrete action, as in DQN.

    Attributes:
        action_dim: Number of actions.
        dueling: Whether Q is the sum of a state value and of advantages minus their mean.
        kernel_init: Initializer of the kernels.
        bias_init: Initializer of the biases.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.

    Source:
        Wang et al. 2016, "Dueling Network Architectures for Deep Reinforcement Learning",
        https://arxiv.org/abs/1511.06581, for `dueling`
    """

    action_dim: int
    dueling: bool = False
    kernel_init: initializers.Initializer = initializers.orthogonal(1.0)
    bias_init: initializers.Initializer = initializers.zeros_init()
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check that `action_dim` is a positive integer."""
        check_fields(self, action_dim=size())
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array, action_mask: Array | None = None) -> Array:
        """Give the values of all actions.

        Args:
            features: `[batch, time, features]`.
            action_mask: True where an action is allowed, `[batch, time, actions]`; None allows all.

        Returns:
            `[batch, time, actions]`; -1e9 where an action is masked and another is not.

        Raises:
            ValueError: If the mask is for another number of actions.
        """
        check_mask("DiscreteQNetwork", action_mask, self.action_dim)
        features = hidden_layers(self, features)
        advantage = nn.Dense(self.action_dim, kernel_init=self.kernel_init, bias_init=self.bias_init)(features)
        values = advantage
        if self.dueling:
            value = nn.Dense(1, kernel_init=self.kernel_init, bias_init=self.bias_init, name="value")(features)
            values = value + advantage - jnp.mean(advantage, axis=-1, keepdims=True)
        return values if action_mask is None else jnp.where(allowed_actions(action_mask), values, MASKED_VALUE)

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: it needs a `Discrete` one of `action_dim` actions."""
        check_discrete("DiscreteQNetwork", self.action_dim, space)


class ContinuousQNetwork(nn.Module):
    """An action-value function Q(s, a) of a given action vector, for continuous actions.

    Attributes:
        features: Widths of the hidden layers that state features and action go through together; at least one, or Q
            would be linear in the action with the same slope in every state.
        kernel_init: Initializer of the last kernel.
        bias_init: Initializer of the last bias.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.
    """

    features: Sequence[int] = (256,)
    kernel_init: initializers.Initializer = initializers.orthogonal(1.0)
    bias_init: initializers.Initializer = initializers.zeros_init()
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check that `features` holds at least one positive integer."""
        check_fields(self, features=sequence(size()))
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array, *, action: Array) -> Array:
        """Give the values of actions.

        Args:
            features: `[batch, time, features]`.
            action: `[batch, time, actions]`.

        Returns:
            `[batch, time]`.
        """
        features = hidden_layers(self, features)
        x = MLP(tuple(self.features))(jnp.concatenate([features, action.astype(features.dtype)], axis=-1))
        return nn.Dense(1, kernel_init=self.kernel_init, bias_init=self.bias_init)(x)[..., 0]

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: it needs a `Box`."""
        check_box(type(self).__name__, None, space)


class TwinContinuousQNetwork(nn.Module):
    """Two independent `ContinuousQNetwork`s, of which TD3 and SAC take the minimum against overestimation.

    Attributes:
        features: Widths of the hidden layers of each that state features and action go through together.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.

    Source:
        Fujimoto, van Hoof and Meger 2018, "Addressing Function Approximation Error in Actor-Critic Methods",
        https://arxiv.org/abs/1802.09477
    """

    features: Sequence[int] = (256,)
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check that `features` holds at least one positive integer."""
        check_fields(self, features=sequence(size()))
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array, *, action: Array) -> Array:
        """Give both values of actions.

        Args:
            features: `[batch, time, features]`.
            action: `[batch, time, actions]`.

        Returns:
            `[2, batch, time]`.
        """

        def value(module: ContinuousQNetwork, features: Array, action: Array) -> Array:
            return module(features, action=action)

        both = nn.vmap(
            value,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(None, None),  # pyright: ignore[reportArgumentType] (typed by its default)
            axis_size=2,
        )
        layers = ContinuousQNetwork(tuple(self.features), hidden=self.hidden, activation=self.activation, name="q")
        return both(layers, features, action)

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: it needs a `Box`."""
        check_box(type(self).__name__, None, space)

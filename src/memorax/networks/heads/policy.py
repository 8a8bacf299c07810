"""Policy heads: distributions over actions."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import initializers

from memorax.core import distributions
from memorax.core.checks import check, check_fields, real, size
from memorax.core.types import Array
from memorax.networks.checks import check_box, check_discrete, check_mask
from memorax.networks.heads.hidden import check_hidden, hidden_layers

# A small last layer makes the first policy nearly uniform: Andrychowicz et al. 2021, https://arxiv.org/abs/2006.05990.
small = initializers.orthogonal(0.01)
"""Initializer of the last layer of policies."""


class Categorical(nn.Module):
    """A categorical policy, for discrete actions.

    Attributes:
        action_dim: Number of actions.
        kernel_init: Initializer of the kernel.
        bias_init: Initializer of the bias.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.
    """

    action_dim: int
    kernel_init: initializers.Initializer = small
    bias_init: initializers.Initializer = initializers.zeros_init()
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check that `action_dim` is a positive integer."""
        check_fields(self, action_dim=size())
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array, action_mask: Array | None = None) -> distributions.Categorical:
        """Give the policy.

        Args:
            features: `[batch, time, features]`.
            action_mask: True where an action is allowed, `[batch, time, actions]`; None allows all.

        Returns:
            A distribution over `[batch, time]`.

        Raises:
            ValueError: If the mask is for another number of actions.
        """
        check_mask("Categorical", action_mask, self.action_dim)
        features = hidden_layers(self, features)
        logits = nn.Dense(self.action_dim, kernel_init=self.kernel_init, bias_init=self.bias_init)(features)
        return distributions.Categorical(logits, action_mask)

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: it needs a `Discrete` one of `action_dim` actions."""
        check_discrete("Categorical", self.action_dim, space)


class Gaussian(nn.Module):
    """A Gaussian policy with diagonal covariance, whose standard deviation does not depend on the state.

    Attributes:
        action_dim: Number of dimensions of an action: the numbers of a Box of any shape.
        initial_log_std: Natural logarithm of the standard deviation at the start.
        kernel_init: Initializer of the kernel.
        bias_init: Initializer of the bias.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.
    """

    action_dim: int
    initial_log_std: float = 0.0
    kernel_init: initializers.Initializer = small
    bias_init: initializers.Initializer = initializers.zeros_init()
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check that `action_dim` is a positive integer."""
        check_fields(self, action_dim=size(), initial_log_std=real())
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array) -> distributions.Normal:
        """Give the policy.

        Args:
            features: `[batch, time, features]`.

        Returns:
            A distribution over `[batch, time]`, events of `action_dim`.
        """
        features = hidden_layers(self, features)
        loc = nn.Dense(self.action_dim, kernel_init=self.kernel_init, bias_init=self.bias_init)(features)
        log_std = self.param("log_std", initializers.constant(self.initial_log_std), (self.action_dim,))
        return distributions.Normal(loc, jnp.broadcast_to(log_std, loc.shape))

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: it needs a `Box` of `action_dim` numbers."""
        check_box("Gaussian", self.action_dim, space)


class SquashedGaussian(nn.Module):
    """A tanh-squashed Gaussian policy, as in SAC; mean and standard deviation depend on the state.

    A scaled tanh keeps the log standard deviation in `[min_log_std, max_log_std]`; unlike clipping, it leaves a
    gradient near the bounds.

    Attributes:
        action_dim: Number of dimensions of an action: the numbers of a Box of any shape.
        min_log_std: Lower bound of the log standard deviation.
        max_log_std: Upper bound of the log standard deviation.
        kernel_init: Initializer of the kernels.
        bias_init: Initializer of the biases.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.

    Source:
        Haarnoja et al. 2018, "Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement Learning with a
        Stochastic Actor", https://arxiv.org/abs/1801.01290
    """

    action_dim: int
    min_log_std: float = -5.0
    max_log_std: float = 2.0
    kernel_init: initializers.Initializer = small
    bias_init: initializers.Initializer = initializers.zeros_init()
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ValueError: If the range of the log standard deviation is empty.
        """
        check_fields(self, action_dim=size(), min_log_std=real(), max_log_std=real())
        check("max_log_std", self.max_log_std, real(above=self.min_log_std))
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array) -> distributions.SquashedNormal:
        """Give the policy.

        Args:
            features: `[batch, time, features]`.

        Returns:
            A distribution over `[batch, time]`, events of `action_dim` in `[-1, 1]`.
        """
        features = hidden_layers(self, features)
        both = nn.Dense(2 * self.action_dim, kernel_init=self.kernel_init, bias_init=self.bias_init)(features)
        loc, raw = jnp.split(both, 2, axis=-1)
        middle = 0.5 * (self.min_log_std + self.max_log_std)
        half_range = 0.5 * (self.max_log_std - self.min_log_std)
        # Shifted so that an output of 0 means a standard deviation of 1 (or the nearest that the range holds).
        start = jnp.arctanh(jnp.clip(-middle / half_range, -0.99, 0.99))
        return distributions.SquashedNormal(loc, middle + half_range * jnp.tanh(start + raw / half_range))

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: it needs a finite `Box` of `action_dim` numbers."""
        check_box("SquashedGaussian", self.action_dim, space, bounded=True)


class Beta(nn.Module):
    """A policy of independent, unimodal Beta distributions on `[-1, 1]`.

    Attributes:
        action_dim: Number of dimensions of an action: the numbers of a Box of any shape.
        kernel_init: Initializer of the kernel.
        bias_init: Initializer of the bias.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.

    Source:
        Chou, Maturana and Scherer 2017, "Improving Stochastic Policy Gradients in Continuous Control with Deep
        Reinforcement Learning using the Beta Distribution", https://proceedings.mlr.press/v70/chou17a.html
    """

    action_dim: int
    kernel_init: initializers.Initializer = small
    bias_init: initializers.Initializer = initializers.zeros_init()
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check that `action_dim` is a positive integer."""
        check_fields(self, action_dim=size())
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array) -> distributions.Beta:
        """Give the policy.

        Args:
            features: `[batch, time, features]`.

        Returns:
            A distribution over `[batch, time]`, events of `action_dim` in `[-1, 1]`.
        """
        features = hidden_layers(self, features)
        both = nn.Dense(2 * self.action_dim, kernel_init=self.kernel_init, bias_init=self.bias_init)(features)
        alpha, beta = jnp.split(1.0 + jax.nn.softplus(both), 2, axis=-1)
        return distributions.Beta(alpha, beta)

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: it needs a finite `Box` of `action_dim` numbers."""
        check_box("Beta", self.action_dim, space, bounded=True)

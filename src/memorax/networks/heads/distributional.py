"""Distributional value heads: C51, and histograms of HL-Gauss."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from flax.linen import initializers

from memorax.core.broadcasting import with_rank
from memorax.core.checks import check, check_fields, real, size
from memorax.core.types import Array
from memorax.networks.checks import check_discrete, check_mask
from memorax.networks.heads.hidden import check_hidden, hidden_layers
from memorax.networks.heads.value import MASKED_VALUE, allowed_actions

_orthogonal = initializers.orthogonal(1.0)
_zeros = initializers.zeros_init()


@struct.dataclass
class ValueDistribution:
    """A categorical distribution over a fixed set of values.

    Attributes:
        logits: Unnormalized log-probabilities, `[..., values]`.
        values: The support, evenly spaced and ascending, `[values]`.
        mask: True where an action is allowed, `[...]`; None where all are, or where there is no axis of actions.
    """

    logits: Array
    values: Array
    mask: Array | None = None

    @property
    def probabilities(self) -> Array:
        """Normalized, `[..., values]`."""
        return jax.nn.softmax(self.logits, axis=-1)

    def mean(self) -> Array:
        """Expected values, `[...]`; -1e9 where an action is masked."""
        mean = jnp.sum(self.probabilities * with_rank(self.values, self.logits.ndim), axis=-1)
        return mean if self.mask is None else jnp.where(self.mask, mean, MASKED_VALUE)


@struct.dataclass
class C51Values(ValueDistribution):
    """A distribution of returns; its targets are distributions too, projected onto the support."""


@struct.dataclass
class HLGaussValues(ValueDistribution):
    """A histogram of an expected return; its targets are numbers, smoothed over the bins by a Gaussian.

    Its values are the centers of the bins.
    """


class HLGaussVNetwork(nn.Module):
    """A state-value function V(s) as a histogram that is learned by cross-entropy (HL-Gauss).

    Pad the range by three bins at either end: nearer to it the Gaussian of a target is cut off, which draws its mean
    inwards. With the defaults a target of 10 is learned as 9.86, one of 9.4 as 9.40.

    Attributes:
        num_bins: Number of bins, at least 2.
        v_min: Lower end of the first bin, in units of the return.
        v_max: Upper end of the last bin.
        kernel_init: Initializer of the kernel.
        bias_init: Initializer of the bias.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.

    Source:
        Farebrother et al. 2024, "Stop Regressing: Training Value Functions via Classification for Scalable Deep RL",
        https://arxiv.org/abs/2403.03950
    """

    num_bins: int = 101
    v_min: float = -10.0
    v_max: float = 10.0
    kernel_init: initializers.Initializer = _orthogonal
    bias_init: initializers.Initializer = _zeros
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check the bins."""
        _check_range(self, "num_bins")
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array) -> HLGaussValues:
        """Give a histogram over `[batch, time]` for features `[batch, time, features]`."""
        features = hidden_layers(self, features)
        logits = nn.Dense(self.num_bins, kernel_init=self.kernel_init, bias_init=self.bias_init)(features)
        return HLGaussValues(logits, _centers(self.num_bins, self.v_min, self.v_max))


class HLGaussQNetwork(nn.Module):
    """Action values Q(s, a) of discrete actions as histograms that are learned by cross-entropy (HL-Gauss).

    Pad the range by three bins at either end: nearer to it the Gaussian of a target is cut off, which draws its mean
    inwards. With the defaults a target of 10 is learned as 9.86, one of 9.4 as 9.40.

    Attributes:
        action_dim: Number of actions.
        num_bins: Number of bins, at least 2.
        v_min: Lower end of the first bin, in units of the return (of the rescaled one where the algorithm rescales).
        v_max: Upper end of the last bin.
        dueling: Whether logits are those of a state value plus those of advantages minus their mean.
        kernel_init: Initializer of the kernels.
        bias_init: Initializer of the biases.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.

    Source:
        Farebrother et al. 2024, "Stop Regressing: Training Value Functions via Classification for Scalable Deep RL",
        https://arxiv.org/abs/2403.03950
    """

    action_dim: int
    num_bins: int = 101
    v_min: float = -10.0
    v_max: float = 10.0
    dueling: bool = False
    kernel_init: initializers.Initializer = _orthogonal
    bias_init: initializers.Initializer = _zeros
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_fields(self, action_dim=size())
        _check_range(self, "num_bins")
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array, action_mask: Array | None = None) -> HLGaussValues:
        """Give histograms of the values of all actions.

        Args:
            features: `[batch, time, features]`.
            action_mask: True where an action is allowed, `[batch, time, actions]`; None allows all.

        Returns:
            Over `[batch, time, actions]`.

        Raises:
            ValueError: If the mask is for another number of actions.
        """
        check_mask("HLGaussQNetwork", action_mask, self.action_dim)
        features = hidden_layers(self, features)
        logits = _ActionLogits(self.action_dim, self.num_bins, self.dueling, self.kernel_init, self.bias_init)(features)
        return HLGaussValues(logits, _centers(self.num_bins, self.v_min, self.v_max), _flags(action_mask))

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: it needs a `Discrete` one of `action_dim` actions."""
        check_discrete("HLGaussQNetwork", self.action_dim, space)


class C51QNetwork(nn.Module):
    """The distribution of the return of each discrete action, as in C51.

    Attributes:
        action_dim: Number of actions.
        num_atoms: Number of atoms of the support, at least 2.
        v_min: The lowest return (the lowest rescaled one where the algorithm rescales).
        v_max: The highest return.
        dueling: Whether logits are those of a state value plus those of advantages minus their mean.
        kernel_init: Initializer of the kernels.
        bias_init: Initializer of the biases.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.

    Source:
        Bellemare, Dabney and Munos 2017, "A Distributional Perspective on Reinforcement Learning",
        https://arxiv.org/abs/1707.06887
    """

    action_dim: int
    num_atoms: int = 51
    v_min: float = -10.0
    v_max: float = 10.0
    dueling: bool = False
    kernel_init: initializers.Initializer = _orthogonal
    bias_init: initializers.Initializer = _zeros
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_fields(self, action_dim=size())
        _check_range(self, "num_atoms")
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array, action_mask: Array | None = None) -> C51Values:
        """Give the distributions of the returns of all actions.

        Args:
            features: `[batch, time, features]`.
            action_mask: True where an action is allowed, `[batch, time, actions]`; None allows all.

        Returns:
            Over `[batch, time, actions]`.

        Raises:
            ValueError: If the mask is for another number of actions.
        """
        check_mask("C51QNetwork", action_mask, self.action_dim)
        features = hidden_layers(self, features)
        layer = _ActionLogits(self.action_dim, self.num_atoms, self.dueling, self.kernel_init, self.bias_init)
        atoms = jnp.linspace(self.v_min, self.v_max, self.num_atoms, dtype=jnp.float32)
        return C51Values(layer(features), atoms, _flags(action_mask))

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: it needs a `Discrete` one of `action_dim` actions."""
        check_discrete("C51QNetwork", self.action_dim, space)


class _ActionLogits(nn.Module):
    """Logits of `size` values for each action, `[..., actions, size]`."""

    action_dim: int
    size: int
    dueling: bool
    kernel_init: initializers.Initializer
    bias_init: initializers.Initializer

    @nn.compact
    def __call__(self, features: Array) -> Array:
        def logits(actions: int, name: str) -> Array:
            layer = nn.Dense(actions * self.size, kernel_init=self.kernel_init, bias_init=self.bias_init, name=name)
            return layer(features).reshape(*features.shape[:-1], actions, self.size)

        advantage = logits(self.action_dim, "advantage")
        if not self.dueling:
            return advantage
        return logits(1, "value") + advantage - jnp.mean(advantage, axis=-2, keepdims=True)


def _check_range(head: Any, count: str) -> None:
    check_fields(head, **{count: size(2)}, v_min=real(), v_max=real())
    check("v_max", head.v_max, real(above=head.v_min))


def _centers(num_bins: int, low: float, high: float) -> Array:
    half = 0.5 * (high - low) / num_bins
    return jnp.linspace(low + half, high - half, num_bins, dtype=jnp.float32)


def _flags(mask: Array | None) -> Array | None:
    return None if mask is None else allowed_actions(mask)

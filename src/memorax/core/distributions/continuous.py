"""Distributions over continuous actions."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.scipy.special import betaln, digamma

from memorax.core.types import Array, Key

# 64 nodes: the entropy of a squashed normal errs by 3e-6 nats at scales up to 2, 1.3e-3 at 4, 3e-2 at 8.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_LOG_2 = float(np.log(2.0))
_LOG_2PI = float(np.log(2.0 * np.pi))


@struct.dataclass
class Normal:
    """A diagonal normal over action vectors; the last axis is one event.

    Attributes:
        loc: Mean, `[..., dimensions]`.
        log_scale: Natural logarithm of the standard deviation, `[..., dimensions]`.
    """

    loc: Array
    log_scale: Array
    bounded: ClassVar[bool] = False

    def sample(self, key: Key) -> Array:
        """Draw actions `[..., dimensions]`; differentiable in the parameters."""
        shape = jnp.broadcast_shapes(self.loc.shape, self.log_scale.shape)
        return self.loc + jnp.exp(self.log_scale) * jax.random.normal(key, shape, self.loc.dtype)

    def log_prob(self, action: Array) -> Array:
        """Log-density of actions `[..., dimensions]`, summed over the last axis."""
        standardized = (action - self.loc) * jnp.exp(-self.log_scale)
        return jnp.sum(-0.5 * jnp.square(standardized) - self.log_scale - 0.5 * _LOG_2PI, axis=-1)

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """Draw actions `[..., dimensions]` and give their log-densities `[...]`."""
        action = self.sample(key)
        return action, self.log_prob(action)

    def entropy(self) -> Array:
        """Differential entropy `[...]`, in nats."""
        log_scale = jnp.broadcast_to(self.log_scale, jnp.broadcast_shapes(self.loc.shape, self.log_scale.shape))
        return jnp.sum(log_scale + 0.5 * (1.0 + _LOG_2PI), axis=-1)

    def mode(self) -> Array:
        """The mean, `[..., dimensions]`."""
        return jnp.broadcast_to(self.loc, jnp.broadcast_shapes(self.loc.shape, self.log_scale.shape))


@struct.dataclass
class SquashedNormal:
    """The hyperbolic tangent of a diagonal normal: actions in `[-1, 1]`; the last axis is one event.

    Attributes:
        loc: Mean before the tangent, `[..., dimensions]`.
        log_scale: Natural logarithm of the standard deviation before the tangent, `[..., dimensions]`.
    """

    loc: Array
    log_scale: Array
    bounded: ClassVar[bool] = True

    def sample(self, key: Key) -> Array:
        """Draw actions `[..., dimensions]`; differentiable in the parameters."""
        return jnp.tanh(self._normal().sample(key))

    def log_prob(self, action: Array) -> Array:
        """Log-density of actions `[..., dimensions]`, summed over the last axis.

        Actions at a bound are moved one rounding step inside it.
        """
        limit = 1.0 - float(jnp.finfo(self.loc.dtype).eps)
        return self._log_density(jnp.arctanh(jnp.clip(action, -limit, limit)))

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """Draw actions `[..., dimensions]` and give their log-densities `[...]`, exact also where tanh saturates."""
        before = self._normal().sample(key)
        return jnp.tanh(before), self._log_density(before)

    def entropy(self) -> Array:
        """Differential entropy `[...]`, in nats: that of the normal plus `E[log(1 - tanh(u)^2)]` by quadrature."""
        nodes = jnp.asarray(_NODES, self.loc.dtype)
        weights = jnp.asarray(_WEIGHTS / np.sqrt(2.0 * np.pi), self.loc.dtype)
        nodes = jnp.expand_dims(nodes, range(self.loc.ndim))
        before = self.loc[..., None] + jnp.exp(self.log_scale)[..., None] * nodes
        return self._normal().entropy() + jnp.sum(_log_derivative_of_tanh(before) @ weights, axis=-1)

    def mode(self) -> Array:
        """The tangent of the mean, `[..., dimensions]`: the median, which is what greedy acting wants."""
        return jnp.tanh(self._normal().mode())

    def _normal(self) -> Normal:
        return Normal(self.loc, self.log_scale)

    def _log_density(self, before: Array) -> Array:
        return self._normal().log_prob(before) - jnp.sum(_log_derivative_of_tanh(before), axis=-1)


@struct.dataclass
class Beta:
    """Independent Beta distributions stretched to `[-1, 1]`; the last axis is one event.

    Attributes:
        alpha: First shape parameter, `[..., dimensions]`, above 1 for a density with one peak.
        beta: Second shape parameter, `[..., dimensions]`, likewise.
    """

    alpha: Array
    beta: Array
    bounded: ClassVar[bool] = True

    def sample(self, key: Key) -> Array:
        """Draw actions `[..., dimensions]`; differentiable in the parameters."""
        return 2.0 * jax.random.beta(key, self.alpha, self.beta) - 1.0

    def log_prob(self, action: Array) -> Array:
        """Log-density of actions `[..., dimensions]`, summed over the last axis.

        Actions at a bound are moved one rounding step inside it.
        """
        limit = 1.0 - float(jnp.finfo(self.alpha.dtype).eps)
        action = jnp.clip(action, -limit, limit)
        # Not log1p: XLA's CPU compiler (jaxlib 0.10.2) sums expressions with two of them wrongly.
        below = (self.alpha - 1.0) * jnp.log(0.5 * (1.0 + action))
        above = (self.beta - 1.0) * jnp.log(0.5 * (1.0 - action))
        return jnp.sum(below + above - betaln(self.alpha, self.beta) - _LOG_2, axis=-1)

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """Draw actions `[..., dimensions]` and give their log-densities `[...]`."""
        action = self.sample(key)
        return action, self.log_prob(action)

    def entropy(self) -> Array:
        """Differential entropy `[...]`, in nats."""
        total = self.alpha + self.beta
        entropy = betaln(self.alpha, self.beta) + _LOG_2 + (total - 2.0) * digamma(total)
        entropy = entropy - (self.alpha - 1.0) * digamma(self.alpha) - (self.beta - 1.0) * digamma(self.beta)
        return jnp.sum(entropy, axis=-1)

    def mode(self) -> Array:
        """The peak of the density, `[..., dimensions]`; 0 where the density is flat."""
        excess = self.alpha + self.beta - 2.0
        return jnp.where(excess > 0, (self.alpha - self.beta) / jnp.where(excess > 0, excess, 1.0), 0.0)


def _log_derivative_of_tanh(x: Array) -> Array:
    """`log(1 - tanh(x)^2)` without the cancellation of that form."""
    return 2.0 * (_LOG_2 - x - jax.nn.softplus(-2.0 * x))

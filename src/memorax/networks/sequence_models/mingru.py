"""The minimal gated recurrent unit (minGRU)."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import boolean, check_fields, floating, optional, size
from memorax.core.types import Array, Key
from memorax.kernels.linear_scan import linear_scan
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class MinGRUConfig:
    """Hyper-parameters of a minimal gated recurrent unit."""

    features: int = 64
    """Width of the state, which is the output."""
    log_space: bool = False
    """Whether to compute the recurrence in log-space. Results are the same; the default is stable too, and faster."""
    dtype: Any = None
    """Type of the projections and of the output; None: that of the inputs. The gates, the recurrence and the carry are
    kept in float32 at least."""

    def __post_init__(self) -> None:
        """Check the size.

        Raises:
            TypeError: If it is not an integer.
            ValueError: If it is below 1.
        """
        check_fields(self, features=size(), log_space=boolean(), dtype=optional(floating()))


class MinGRUCell(ConfiguredModule):
    """A minimal gated recurrent unit (minGRU): its gate depends on the input only, not on the state.

    `z_t = σ(W_z x_t)`, `h_t = (1 - z_t) h_{t-1} + z_t g(W_h x_t)` with `g(a) = a + 1/2` above zero and `σ(a)` below, so
    that states stay positive. `y_t = h_t`. The initial state is zero, where the paper applies `g` to an initial state.
    The carry is the state `[batch, features]`.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `MinGRUConfig`.

    Source:
        Feng et al. 2024, "Were RNNs All We Needed?", https://arxiv.org/abs/2410.01201
    """

    config: MinGRUConfig = MinGRUConfig()

    @configured_by(MinGRUConfig)
    def __init__(self) -> None: ...

    recurrent_parameters: ClassVar[tuple[str, ...]] = ("gate_kernel", "hidden_kernel")
    """Parameters that influence the state; unit `j` depends on slice `[..., j]` of each."""

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Array:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        return jnp.zeros((input_shape[0], self.config.features))

    @nn.compact
    def __call__(self, carry: Array, inputs: Array, done: Array) -> tuple[Array, Array]:
        """Compute a sequence, see `Memoroid`."""
        config = self.config
        x = inputs.astype(config.dtype or inputs.dtype)
        shape = (inputs.shape[-1], config.features)
        kernels = [self.param(name, nn.initializers.lecun_normal(), shape) for name in self.recurrent_parameters]
        # One wide product takes half the time of two.
        gate, hidden = jnp.split(wide(x @ jnp.concatenate(kernels, axis=1).astype(x.dtype)), 2, axis=-1)
        if config.log_space:
            last, states = _log_scan(gate, hidden, done, carry)
        else:
            last, states = linear_scan(jax.nn.sigmoid(-gate), jax.nn.sigmoid(gate) * _positive(hidden), done, carry)
        return last, states.astype(x.dtype)


def _positive(x: Array) -> Array:
    return jnp.where(x >= 0, x + 0.5, jax.nn.sigmoid(x))


def _log_scan(gate: Array, hidden: Array, done: Array, carry: Array) -> tuple[Array, Array]:
    """The recurrence of `log h`; a state of zero is a finite, very negative number."""
    nothing = -1e30
    log_positive = jnp.where(hidden >= 0, jnp.log(nn.relu(hidden) + 0.5), -jax.nn.softplus(-hidden))
    log_keep, log_new = -jax.nn.softplus(gate), log_positive - jax.nn.softplus(-gate)
    log_carry = jnp.where(carry > 0, jnp.log(jnp.where(carry > 0, carry, 1)), nothing).astype(log_new.dtype)

    def step(log_state: Array, now: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        log_keep, log_new, done = now
        log_state = jnp.where(done[:, None], nothing, log_state)
        log_state = jnp.logaddexp(log_keep + log_state, log_new)
        return log_state, log_state

    if gate.shape[1] == 1:
        _, log_states = step(log_carry, (log_keep[:, 0], log_new[:, 0], done[:, 0]))
        states = jnp.exp(log_states)[:, None]
    else:
        _, log_states = jax.lax.scan(step, log_carry, (log_keep.swapaxes(0, 1), log_new.swapaxes(0, 1), done.T))
        states = jnp.exp(log_states).swapaxes(0, 1)
    return states[:, -1].astype(carry.dtype), states


MinGRU = torso_of(MinGRUConfig, MinGRUCell, Memoroid, "A minimal gated recurrent unit")

"""Recurrent trace units."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import boolean, check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.linear_scan import linear_scan
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.synonyms import synonym, torso, with_synonyms
from memorax.networks.sequence_models.rnn import RNN


@with_synonyms
@dataclasses.dataclass(frozen=True)
class RTUConfig:
    """Hyper-parameters of recurrent trace units."""

    features: int = 64
    """Width of the output. A linear layer follows where it is not `2 * state_dim`, the width of the units' outputs."""
    state_dim: int = 64
    """Number of units, each a pair of numbers that a step rotates and scales."""
    linear: bool = False
    """Whether the recurrence is linear, with the ReLU after it, which is faster on long sequences."""
    r_min: float = 0.0
    """Smallest initial radius of the eigenvalues, in [0, 1]."""
    r_max: float = 1.0
    """Largest initial radius, in [r_min, 1]."""
    max_phase: float = 6.28
    """Largest initial angle of the eigenvalues, in radians."""
    dtype: Any = None
    """Type of activations and projections; None: that of the inputs. The recurrence is kept in float32 at least."""
    hidden_dim: int = synonym("state_dim")
    """Second name of `state_dim`."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a field is out of range.
        """
        check_fields(
            self,
            features=size(),
            state_dim=size(),
            linear=boolean(),
            r_min=real(0, 1),
            r_max=real(self.r_min, 1),
            max_phase=real(above=0),
            dtype=optional(floating()),
        )


class RTUCell(ConfiguredModule):
    """Recurrent trace units (RTU): a diagonal recurrence with complex eigenvalues, written in real numbers, for RTRL.

    With `r = exp(-exp(ν))`, `θ = exp(ϑ)`, `g = r cos θ`, `φ = r sin θ`, `γ = sqrt(1 - r²)`:
    `a_t = f(g a_{t-1} - φ b_{t-1} + γ W_1 x_t)`, `b_t = f(g b_{t-1} + φ a_{t-1} + γ W_2 x_t)`. In the
    non-linear kind `f` is the ReLU and the output is `[a; b]`; in the linear kind `f` is the identity and the output is
    `ReLU([a; b])`. Differs from the paper by the linear layer at the end, where `features` is not `2 * state_dim`. The
    carry is `(a, b)`, each `[batch, state_dim]`.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `RTUConfig`.

    Source:
        Elelimy et al. 2024, "Real-Time Recurrent Learning using Trace Units in Reinforcement Learning",
        https://arxiv.org/abs/2409.01449
    """

    config: RTUConfig = RTUConfig()

    @configured_by(RTUConfig)
    def __init__(self) -> None: ...

    recurrent_parameters: ClassVar[tuple[str, ...]] = ("nu_log", "theta_log", "kernel_1", "kernel_2")
    """Parameters that influence the state; unit `j` depends on slice `[..., j]` of each."""

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        zeros = jnp.zeros((input_shape[0], self.config.state_dim))
        return zeros, zeros

    def __call__(self, carry: tuple[Array, Array], inputs: Array) -> tuple[tuple[Array, Array], Array]:
        """Compute a step: `inputs` `[batch, features]`."""
        carry, outputs = self.unroll(carry, inputs[:, None], jnp.zeros((inputs.shape[0], 1), bool))
        return carry, outputs[:, 0]

    @nn.compact
    def unroll(self, carry: tuple[Array, Array], inputs: Array, done: Array) -> tuple[tuple[Array, Array], Array]:
        """Compute a sequence: `inputs` `[batch, time, features]`, `done` `[batch, time]`."""
        config, units = self.config, self.config.state_dim
        x = inputs.astype(config.dtype or inputs.dtype)
        nu_log, theta_log = self.param("nu_log", self._init_radius), self.param("theta_log", self._init_phase)
        init, shape = nn.initializers.lecun_normal(), (inputs.shape[-1], units)
        kernels = jnp.concatenate([self.param(name, init, shape) for name in ("kernel_1", "kernel_2")], axis=1)

        shrink, angle = -jnp.exp(nu_log), jnp.exp(theta_log)
        rotation = jnp.exp(shrink) * jnp.cos(angle), jnp.exp(shrink) * jnp.sin(angle)
        gamma = jnp.sqrt(jnp.maximum(-jnp.expm1(2 * shrink), 1e-16))[None, None]
        driven = wide(x @ kernels.astype(x.dtype))
        driven = gamma * driven[..., :units], gamma * driven[..., units:]
        if config.linear:
            carry, states = linear_scan(rotation, driven, done, carry)
            outputs = nn.relu(jnp.concatenate(states, axis=-1))
        else:
            carry, states = _rectified_scan(rotation, driven, done, carry)
            outputs = jnp.concatenate(states, axis=-1)
        outputs = outputs.astype(x.dtype)
        if config.features != 2 * units:
            outputs = nn.Dense(config.features, dtype=x.dtype, name="output")(outputs)
        return carry, outputs

    @nn.nowrap
    def _init_radius(self, key: Key) -> Array:
        """`ν` such that the eigenvalues are uniform over the ring."""
        low, high = self.config.r_min**2, self.config.r_max**2
        square = jax.random.uniform(key, (self.config.state_dim,), minval=low, maxval=high)
        return jnp.log(-0.5 * jnp.log(jnp.clip(square, 1e-6, 1 - 1e-6)))

    @nn.nowrap
    def _init_phase(self, key: Key) -> Array:
        angle = jax.random.uniform(key, (self.config.state_dim,), maxval=self.config.max_phase)
        return jnp.log(jnp.maximum(angle, 1e-6))


Pair = tuple[Array, Array]


def _rectified_scan(rotation: Pair, driven: Pair, done: Array, carry: Pair) -> tuple[Pair, Pair]:
    """`linear_scan` of a constant rotation with a rectifier around every step."""
    g, phi = rotation[0][None], rotation[1][None]
    start = carry[0].astype(driven[0].dtype), carry[1].astype(driven[0].dtype)

    def step(state: Pair, now: tuple[Pair, Array]) -> tuple[Pair, Pair]:
        (new_a, new_b), done = now
        a, b = jnp.where(done[:, None], 0, state[0]), jnp.where(done[:, None], 0, state[1])
        state = nn.relu(g * a - phi * b + new_a), nn.relu(g * b + phi * a + new_b)
        return state, state

    if done.shape[1] == 1:
        last, _ = step(start, ((driven[0][:, 0], driven[1][:, 0]), done[:, 0]))
        states = last[0][:, None], last[1][:, None]
    else:
        last, states = jax.lax.scan(step, start, ((driven[0].swapaxes(0, 1), driven[1].swapaxes(0, 1)), done.T))
        states = states[0].swapaxes(0, 1), states[1].swapaxes(0, 1)
    return (last[0].astype(carry[0].dtype), last[1].astype(carry[1].dtype)), states


@torso(RTUConfig, state_dim=None)
def RTU(features: int, **options: Any) -> RNN:  # noqa: N802 (reads as the class it stands for)
    """Recurrent trace units as a torso.

    Args:
        features: Width of the output; `hidden_dim` is a second name of it.
        state_dim: Number of units; None: `features`.
        **options: Further fields of `RTUConfig`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If an argument is out of range.

    Source:
        Elelimy et al. 2024, "Real-Time Recurrent Learning using Trace Units in Reinforcement Learning",
        https://arxiv.org/abs/2409.01449
    """
    options.setdefault("state_dim", features)
    return RNN(cell=RTUCell(RTUConfig(features=features, **options)))

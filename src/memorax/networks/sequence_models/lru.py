"""The linear recurrent unit (LRU)."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.linear_scan import linear_scan
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import synonym, torso, with_synonyms


@with_synonyms
@dataclasses.dataclass(frozen=True)
class LRUConfig:
    """Sizes and initial eigenvalues of a linear recurrent unit."""

    features: int = 64
    """Width of the output."""
    state_dim: int = 64
    """Number of complex states."""
    r_min: float = 0.0
    """Smallest initial radius of the eigenvalues, in [0, 1]; 0.9 for long memory."""
    r_max: float = 1.0
    """Largest initial radius, in [r_min, 1]; 0.999 for long memory."""
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
            r_min=real(0, 1),
            r_max=real(self.r_min, 1),
            max_phase=real(above=0),
            dtype=optional(floating()),
        )


class LRUCell(ConfiguredModule):
    """A linear recurrent unit: a diagonal linear recurrence with complex eigenvalues.

    `h_t = λ h_{t-1} + γ (B x_t)`, `y_t = Re(C h_t) + D x_t`, with `λ = exp(-exp(ν) + i exp(ϑ))` inside the unit circle
    and `γ` initialized to `sqrt(1 - |λ|²)`. `D` is a diagonal where the input is as wide as the output, as in the
    paper, and a matrix elsewhere. The carry is the real and the imaginary part of the state, each
    `[batch, state_dim]`.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `LRUConfig`.

    Source:
        Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long Sequences",
        https://arxiv.org/abs/2303.06349
    """

    config: LRUConfig = LRUConfig()

    @configured_by(LRUConfig)
    def __init__(self) -> None: ...

    recurrent_parameters: ClassVar[tuple[str, ...]] = ("nu_log", "theta_log", "gamma_log", "B_re", "B_im")
    """Parameters that influence the state; unit `j` depends on slice `[..., j]` of each."""

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        zeros = jnp.zeros((input_shape[0], self.config.state_dim))
        return zeros, zeros

    @nn.compact
    def __call__(self, carry: tuple[Array, Array], inputs: Array, done: Array) -> tuple[tuple[Array, Array], Array]:
        """Compute a sequence, see `Memoroid`."""
        config, width, units = self.config, inputs.shape[-1], self.config.state_dim
        x = inputs.astype(config.dtype or inputs.dtype)
        nu_log = self.param("nu_log", self._init_radius)
        theta_log = self.param("theta_log", self._init_phase)
        gamma_log = self.param("gamma_log", lambda _: 0.5 * jnp.log(-jnp.expm1(-2 * jnp.exp(nu_log))))
        into, out = nn.initializers.normal((2 * width) ** -0.5), nn.initializers.normal(units**-0.5)
        b = [self.param(name, into, (width, units)) for name in ("B_re", "B_im")]
        c_re, c_im = (self.param(name, out, (units, config.features)) for name in ("C_re", "C_im"))
        same = width == config.features
        shape = (width,) if same else (width, config.features)
        d = self.param("D", nn.initializers.normal(1.0 if same else width**-0.5), shape).astype(x.dtype)

        driven = x @ jnp.concatenate([jnp.exp(gamma_log)[None] * part for part in b], axis=1).astype(x.dtype)
        radius, angle = jnp.exp(-jnp.exp(nu_log)), jnp.exp(theta_log)
        decay = radius * jnp.cos(angle), radius * jnp.sin(angle)
        carry, states = linear_scan(decay, (wide(driven[..., :units]), wide(driven[..., units:])), done, carry)
        read = jnp.concatenate([c_re, -c_im]).astype(x.dtype)
        y = jnp.concatenate(states, axis=-1).astype(x.dtype) @ read
        return carry, y + (x * d[None, None] if same else x @ d)

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


@torso(LRUConfig, state_dim=None)
def LRU(features: int, **options: Any) -> Memoroid:  # noqa: N802 (reads as the class it stands for)
    """A linear recurrent unit as a torso.

    Args:
        features: Width of the output; `hidden_dim` is a second name of it.
        state_dim: Number of complex states; None: `features`.
        **options: Further fields of `LRUConfig`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If an argument is out of range.

    Source:
        Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long Sequences",
        https://arxiv.org/abs/2303.06349
    """
    options.setdefault("state_dim", features)
    return Memoroid(cell=LRUCell(LRUConfig(features=features, **options)))

"""S5: the simplified state space layer."""

import dataclasses
import functools
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import boolean, check, check_fields, choice, divides, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.linear_scan import linear_scan
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import synonym, torso, with_synonyms


@with_synonyms
@dataclasses.dataclass(frozen=True)
class S5Config:
    """Hyper-parameters of an S5 layer."""

    features: int = 64
    """Width of the output."""
    state_dim: int = 64
    """Number of states; with conjugate symmetry half of them are computed."""
    blocks: int = 1
    """Number of blocks of the HiPPO initialization; divides `state_dim`."""
    conj_sym: bool = True
    """Whether states come in conjugate pairs, of which one is computed; needs an even number of states in a block."""
    clip_eigs: bool = True
    """Whether eigenvalues are kept in the left half-plane, which bounds states in episodes of any length."""
    dt_min: float = 1e-3
    """Smallest initial time step."""
    dt_max: float = 1e-1
    """Largest initial time step."""
    discretization: Literal["zoh", "bilinear"] = "zoh"
    """Discretization of continuous time: zero-order hold (`"zoh"`) or the bilinear (Tustin) method."""
    dtype: Any = None
    """Type of activations and projections; None: that of the inputs. The recurrence is kept in float32 at least."""
    hidden_dim: int = synonym("state_dim")
    """Second name of `state_dim`."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a field is out of range, or sizes do not divide.
        """
        check_fields(
            self,
            **dict.fromkeys(("features", "state_dim", "blocks"), size()),
            **dict.fromkeys(("conj_sym", "clip_eigs"), boolean()),
            dt_min=real(above=0),
            dt_max=real(above=0),
            discretization=choice("zoh", "bilinear"),
            dtype=optional(floating()),
        )
        divides(("blocks", self.blocks), ("state_dim", self.state_dim), "blocks of equal size")
        if self.conj_sym and self.state_dim // self.blocks % 2:
            got = f"{self.state_dim} / {self.blocks}; or set `conj_sym=False`"
            raise ValueError(f"`state_dim` / `blocks` must be even for conjugate pairs, got {got}")
        check("dt_max", self.dt_max, real(self.dt_min))

    @property
    def modes(self) -> int:
        """Number of complex states that are stored."""
        return self.state_dim // 2 if self.conj_sym else self.state_dim


class S5Cell(ConfiguredModule):
    """An S5 layer: a diagonal state space model in continuous time, discretized with a learned step per state.

    `h' = Λ h + B x`, `y = κ Re(C h) + D x`; after discretization `h_t = Λ̄ h_{t-1} + B̄ x_t` with `Λ̄ = exp(Λ Δ)`,
    `B̄ = (Λ̄ - 1) / Λ B`. `κ` is 2 with conjugate symmetry, else 1. Differs from the official code in that real parts of
    `Λ` are kept below -1e-4 by default. `D` is a diagonal where the input is as wide as the output, as in the paper,
    and a matrix elsewhere. The carry is the real and the imaginary part of the stored states, each `[batch, modes]`.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `S5Config`.

    Source:
        Smith et al. 2023, "Simplified State Space Layers for Sequence Modeling", https://arxiv.org/abs/2208.04933
    """

    config: S5Config = S5Config()

    @configured_by(S5Config)
    def __init__(self) -> None: ...

    recurrent_parameters: ClassVar[tuple[str, ...]] = ("Lambda_re", "Lambda_im", "log_step", "B_re", "B_im")
    """Parameters that influence the state; unit `j` depends on slice `[..., j]` of each."""

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        zeros = jnp.zeros((input_shape[0], self.config.modes))
        return zeros, zeros

    @nn.compact
    def __call__(self, carry: tuple[Array, Array], inputs: Array, done: Array) -> tuple[tuple[Array, Array], Array]:
        """Compute a sequence, see `Memoroid`."""
        config, width, modes = self.config, inputs.shape[-1], self.config.modes
        x = inputs.astype(config.dtype or inputs.dtype)
        c_re, c_im = self._complex("C", (modes, config.features), lambda key: _draw_outputs(config, key))
        same = width == config.features
        shape = (width,) if same else (width, config.features)
        d = self.param("D", nn.initializers.normal(1.0 if same else width**-0.5), shape).astype(x.dtype)

        decay, scaled = self._discretize(width)
        driven = x @ jnp.concatenate(scaled, axis=1).astype(x.dtype)
        carry, states = linear_scan(decay, (wide(driven[..., :modes]), wide(driven[..., modes:])), done, carry)
        read = (2 if config.conj_sym else 1) * jnp.concatenate([c_re, -c_im]).astype(x.dtype)
        y = jnp.concatenate(states, axis=-1).astype(x.dtype) @ read
        return carry, y + (x * d if same else x @ d)

    def _complex(self, name: str, shape: tuple[int, ...], draw: Any) -> tuple[Array, Array]:
        """Two parameters, real and imaginary part of what `draw` makes of one key."""
        key = self.make_rng("params") if self.is_initializing() else None

        def part(take: Any) -> Any:
            return lambda _: jnp.zeros(shape) if key is None else take(draw(key)).astype(jnp.float32)

        return self.param(f"{name}_re", part(jnp.real)), self.param(f"{name}_im", part(jnp.imag))

    def _discretize(self, width: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """The decays `[modes]` and the input matrix `[width, modes]`."""
        config = self.config
        real, imaginary = self._complex("Lambda", (config.modes,), lambda _: _spectrum(config)[0])
        b_re, b_im = self._complex("B", (width, config.modes), lambda key: _draw_inputs(config, key, width))
        low, high = np.log(config.dt_min), np.log(config.dt_max)
        steps = self.param("log_step", lambda key: jax.random.uniform(key, (config.modes,), minval=low, maxval=high))
        if config.clip_eigs:
            real = jnp.minimum(real, -1e-4)
        eigenvalue, step = jax.lax.complex(real, imaginary), jnp.exp(steps)
        if config.discretization == "zoh":
            decay = jnp.exp(eigenvalue * step)
            scale = (decay - 1) / eigenvalue
        else:
            scale = 1 / (1 - 0.5 * step * eigenvalue)
            decay = scale * (1 + 0.5 * step * eigenvalue)
            scale = scale * step
        scale_re, scale_im = scale.real[None], scale.imag[None]
        scaled = scale_re * b_re - scale_im * b_im, scale_re * b_im + scale_im * b_re
        return (decay.real, decay.imag), scaled


@functools.cache
def _hippo(size: int, modes: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of the normal part of HiPPO-LegS, the first `modes` of them by frequency."""
    n = np.arange(size)
    lower = -np.sqrt(np.outer(2 * n + 1, 2 * n + 1)) / 2
    skew = np.tril(lower, -1) - np.tril(lower, -1).T
    frequency, vectors = np.linalg.eigh(-1j * skew)
    return -0.5 + 1j * frequency[:modes], vectors[:, :modes]


def _spectrum(config: S5Config) -> tuple[Array, np.ndarray]:
    """All blocks' eigenvalues `[modes]`, and the eigenvectors `[state_dim, modes]`."""
    values, vectors = _hippo(config.state_dim // config.blocks, config.modes // config.blocks)
    return jnp.asarray(np.tile(values, config.blocks)), np.kron(np.eye(config.blocks), vectors)


def _draw_inputs(config: S5Config, key: Key, width: int) -> Array:
    """A real matrix in the basis of the eigenvectors, transposed: `[width, modes]`."""
    real = nn.initializers.lecun_normal()(key, (config.state_dim, width))
    return (jnp.asarray(_spectrum(config)[1].conj().T) @ real).T


def _draw_outputs(config: S5Config, key: Key) -> Array:
    """A complex matrix in the basis of the eigenvectors, transposed: `[modes, features]`."""
    shape = (2, config.state_dim, config.features)
    real, imaginary = nn.initializers.lecun_normal(batch_axis=0)(key, shape)
    return ((real + 1j * imaginary).T @ _spectrum(config)[1]).T


@torso(S5Config, state_dim=None)
def S5(features: int, **options: Any) -> Memoroid:  # noqa: N802 (reads as the class it stands for)
    """A simplified state space layer as a torso.

    Args:
        features: Width of the output; `hidden_dim` is a second name of it.
        state_dim: Number of states; None: `features`, rounded up to an even number for conjugate pairs.
        **options: Further fields of `S5Config`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If an argument is out of range.

    Source:
        Smith et al. 2023, "Simplified State Space Layers for Sequence Modeling", https://arxiv.org/abs/2208.04933
    """
    options.setdefault("state_dim", features + features % 2)
    return Memoroid(cell=S5Cell(S5Config(features=features, **options)))

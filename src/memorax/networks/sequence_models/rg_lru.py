"""The real-gated linear recurrent unit (RG-LRU) of Griffin."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check, check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.linear_scan import linear_scan
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import synonym, torso, with_synonyms


@with_synonyms
@dataclasses.dataclass(frozen=True)
class RGLRUConfig:
    """Hyper-parameters of a real-gated linear recurrent unit."""

    features: int = 64
    """Width of the output."""
    state_dim: int = 64
    """Number of states."""
    decay_min: float = 0.9
    """Smallest initial decay with an open recurrence gate, in (0, 1)."""
    decay_max: float = 0.999
    """Largest initial decay with an open recurrence gate, in (0, 1)."""
    dtype: Any = None
    """Type of activations and projections; None: that of the inputs. The gates and the recurrence are kept in float32
    at least."""
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
            decay_min=real(above=0, below=1),
            decay_max=real(above=0, below=1),
            dtype=optional(floating()),
        )
        check("decay_max", self.decay_max, real(self.decay_min, below=1))


class RGLRUCell(ConfiguredModule):
    """A real-gated linear recurrent unit: a real diagonal recurrence whose decay and input are gated by the input.

    `r_t = σ(W_r x_t + b_r)`, `i_t = σ(W_i x_t + b_i)`, `log a_t = -8 softplus(Λ) r_t`,
    `h_t = a_t h_{t-1} + sqrt(1 - a_t²) (i_t V x_t)`, `y_t = h_t`. `V` is the linear layer before the
    recurrence in Griffin's block; the gates are full matrices of `x`. An output layer follows where `features` is not
    `state_dim`. Griffin's code omits the factor `sqrt(1 - a_t²)` at the first step of a sequence; here all steps are
    alike, so that an episode may start anywhere in a sequence. The carry is the
    state `[batch, state_dim]`.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `RGLRUConfig`.

    Source:
        De et al. 2024, "Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language Models",
        https://arxiv.org/abs/2402.19427
    """

    config: RGLRUConfig = RGLRUConfig()

    @configured_by(RGLRUConfig)
    def __init__(self) -> None: ...

    recurrent_parameters: ClassVar[tuple[str, ...]] = (
        "Lambda",
        "reset_kernel",
        "reset_bias",
        "input_kernel",
        "input_bias",
        "value_kernel",
    )
    """Parameters that influence the state; unit `j` depends on slice `[..., j]` of each."""

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Array:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        return jnp.zeros((input_shape[0], self.config.state_dim))

    @nn.compact
    def __call__(self, carry: Array, inputs: Array, done: Array) -> tuple[Array, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, units = self.config, self.config.state_dim
        x = inputs.astype(config.dtype or inputs.dtype)

        shape, init = (x.shape[-1], units), nn.initializers.lecun_normal()
        kernels = [self.param(f"{name}_kernel", init, shape) for name in ("reset", "input", "value")]
        biases = [
            self.param(f"{name}_bias", nn.initializers.zeros, (units,))[None, None] for name in ("reset", "input")
        ]
        # One wide product takes half the time of several.
        reset, write, value = jnp.split(wide(x @ jnp.concatenate(kernels, axis=1).astype(x.dtype)), 3, axis=-1)
        reset, write = jax.nn.sigmoid(reset + biases[0]), jax.nn.sigmoid(write + biases[1])

        log_decay = -8 * jax.nn.softplus(self.param("Lambda", self._init_decay))[None, None] * reset
        # Bounded below, which bounds the slope of the root: a decay near 1 would make it infinite.
        room = jnp.maximum(-jnp.expm1(2 * log_decay), 2.5e-7)
        carry, states = linear_scan(jnp.exp(log_decay), jnp.sqrt(room) * write * value, done, carry)
        states = states.astype(x.dtype)
        if config.features != units:
            states = nn.Dense(config.features, dtype=x.dtype, name="output")(states)
        return carry, states

    @nn.nowrap
    def _init_decay(self, key: Key) -> Array:
        """`Λ` such that the decays of open gates are uniform."""
        low, high = self.config.decay_min, self.config.decay_max
        decay = jax.random.uniform(key, (self.config.state_dim,), minval=low, maxval=high)
        return jnp.log(jnp.expm1(-jnp.log(decay) / 8))


@torso(RGLRUConfig, state_dim=None)
def RGLRU(features: int, **options: Any) -> Memoroid:  # noqa: N802 (reads as the class it stands for)
    """A real-gated linear recurrent unit as a torso.

    Args:
        features: Width of the output; `hidden_dim` is a second name of it.
        state_dim: Number of states; None: `features`.
        **options: Further fields of `RGLRUConfig`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If an argument is out of range.

    Source:
        De et al. 2024, "Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language Models",
        https://arxiv.org/abs/2402.19427
    """
    options.setdefault("state_dim", features)
    return Memoroid(cell=RGLRUCell(RGLRUConfig(features=features, **options)))

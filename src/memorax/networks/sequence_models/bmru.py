"""The bistable memory recurrent unit."""

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
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class BMRUConfig:
    """Hyper-parameters of a bistable memory recurrent unit."""

    features: int = 64
    """Number of units, which is the width of the output."""
    threshold: float = 1.0
    """Initial bias of the thresholds, at least 0: the higher, the longer a unit keeps its state."""
    slope: float = 1.0
    """Steepness of the smooth step whose derivative stands for that of the step function, above 0."""
    dtype: Any = None
    """Type of the output; None: that of the inputs. Everything else is computed in float32 at least: the rounding of a
    candidate beside its threshold would set a unit."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a field is of another type.
            ValueError: If a field is out of range.
        """
        check_fields(self, features=size(), threshold=real(0), slope=real(above=0), dtype=optional(floating()))


class BMRUCell(ConfiguredModule):
    """A bistable memory recurrent unit (BMRU): a unit with two states, which it keeps until an input moves it.

    `c_t = W_c x_t + b_c`, `β_t = |W_β x_t + b_β|`, and for each unit

        h_t = α where c_t > β_t,   h_t = -α where c_t < -β_t,   h_t = h_{t-1} between them,

    with a level `α` for each unit, 1 at first; `y_t = h_t`. This is hysteresis: a weak input leaves the state as it
    is for any number of steps, so what was stored in short episodes is still there in longer ones. Gates depend on
    the input only, so the recurrence is a linear scan: with `u_t = H(c_t - β_t)` and `d_t = H(-c_t - β_t)`, where `H`
    is the step function, `h_t = (1 - u_t - d_t) h_{t-1} + α (u_t - d_t)`. The carry is `h` `[batch, features]`, zero
    until a unit is first set.

    The gradient of `H(s)` is replaced by `1 / (1 + (π slope s)²)`, that of an arc tangent. That and the initial values
    are this package's choice: `W` have Flax's initialization, `b_c` is zero.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `BMRUConfig`.

    Source:
        De Geeter et al. 2026, "Parallelizable memory recurrent units", https://arxiv.org/abs/2601.09495; Bakija et al.
        2026, "On the Importance of Multistability for Horizon Generalization in Reinforcement Learning",
        https://arxiv.org/abs/2605.12206
    """

    config: BMRUConfig = BMRUConfig()

    @configured_by(BMRUConfig)
    def __init__(self) -> None: ...

    recurrent_parameters: ClassVar[tuple[str, ...]] = (
        "candidate_kernel",
        "threshold_kernel",
        "candidate_bias",
        "threshold_bias",
        "level",
    )
    """Parameters that influence the state; unit `j` depends on slice `[..., j]` of each."""

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Array:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        return jnp.zeros((input_shape[0], self.config.features))

    @nn.compact
    def __call__(self, carry: Array, inputs: Array, done: Array) -> tuple[Array, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, x = self.config, wide(inputs)
        width = config.features
        names, starts = ("candidate", "threshold"), (0.0, config.threshold)
        kernels = [self.param(f"{name}_kernel", nn.initializers.lecun_normal(), (x.shape[-1], width)) for name in names]
        biases = [
            self.param(f"{name}_bias", nn.initializers.constant(start), (width,))
            for name, start in zip(names, starts, strict=True)
        ]
        level = wide(self.param("level", nn.initializers.ones, (width,)))[None, None]
        # One wide product takes half the time of two.
        both = (
            x @ jnp.concatenate(kernels, axis=1).astype(x.dtype) + jnp.concatenate(biases).astype(x.dtype)[None, None]
        )
        candidate, threshold = both[..., :width], jnp.abs(both[..., width:])
        up, down = _step(candidate - threshold, config.slope), _step(-candidate - threshold, config.slope)
        last, states = linear_scan(1 - up - down, level * (up - down), done, carry)
        return last, states.astype(config.dtype or inputs.dtype)


def _step(x: Array, slope: float) -> Array:
    """One where `x` is above zero, else zero, with the derivative of an arc tangent."""
    smooth = jnp.arctan(jnp.pi * slope * x) / (jnp.pi * slope)
    return (x > 0).astype(x.dtype) + (smooth - jax.lax.stop_gradient(smooth))


BMRU = torso_of(BMRUConfig, BMRUCell, Memoroid, "A bistable memory recurrent unit")

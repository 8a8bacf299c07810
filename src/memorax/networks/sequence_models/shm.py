"""Stable Hadamard memory (SHM)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import boolean, check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.remat import scan_chunks
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.synonyms import torso
from memorax.networks.sequence_models.rnn import RNN

_CHUNK = 16
"""Steps whose memories exist at the same time."""
_FIRST_COUNTER = 1470
"""The counter that is hashed at an episode's start; the first 39 steps have different rows of a table of 128."""


@dataclasses.dataclass(frozen=True)
class SHMConfig:
    """Hyper-parameters of a stable Hadamard memory."""

    features: int = 64
    """Width of the output."""
    memory_dim: int = 64
    """Side of the memory matrix."""
    num_thetas: int = 128
    """Rows of the table of calibration vectors."""
    sample_theta: bool = True
    """Whether each step uses another row of the table, as in the paper; else there is one row for all steps."""
    clip: float | None = None
    """Bound of the entries of the memory, 100 in the authors' code for tasks; None: no bound, as in the paper."""
    shortcut: bool = False
    """Whether a linear map of the layer-normed input is added to what is read from the memory, as in the authors' code
    for tasks."""
    output_features: int | None = None
    """Width of the output in `SHMConfig(features=64, output_features=32)`, as published code has it: `features` is the
    side of the memory there. What is built has `memory_dim=64, features=32`, and None here."""
    dtype: Any = None
    """Type of activations and projections; None: that of the inputs. The memory is kept in float32 at least."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a field is out of range.
        """
        check_fields(
            self,
            features=size(),
            memory_dim=size(),
            num_thetas=size(),
            sample_theta=boolean(),
            clip=optional(real(above=0)),
            shortcut=boolean(),
            output_features=optional(size()),
            dtype=optional(floating()),
        )
        if self.output_features is not None:
            default = type(self).memory_dim
            if self.memory_dim not in (default, self.features):
                raise ValueError(
                    f"`memory_dim` is called `features` where `output_features` is given, got memory_dim="
                    f"{self.memory_dim} and features={self.features}; write `features` and `memory_dim`"
                )
            object.__setattr__(self, "memory_dim", self.features)
            object.__setattr__(self, "features", self.output_features)
            object.__setattr__(self, "output_features", None)


class SHMCell(ConfiguredModule):
    """Stable Hadamard memory: a matrix that is calibrated entry by entry, and written by outer products.

    With `x̂ = LN(x)`: `v = W_v x̂`, `k` and `q` the rectified `W_k x̂` and `W_q x̂` divided by their sums, `η = σ(w x̂)`,
    `c = W_c x̂`; `M_t = M_{t-1} ∘ (1 + tanh(θ_t cᵀ)) + (η v) kᵀ`, `y_t = W_o (M_t q) + b`. `θ_t` is a row of a learned
    table, chosen by a fixed hash of the number of steps since the episode's start. The paper chooses it at random; here
    acting and learning compute the same. The carry is `M` `[batch, memory_dim, memory_dim]` and that
    number, int32 `[batch]`.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `SHMConfig`.

    Source:
        Le et al. 2025, "Stable Hadamard Memory: Revitalizing Memory-Augmented Agents for Reinforcement Learning",
        https://arxiv.org/abs/2410.10132
    """

    config: SHMConfig = SHMConfig()

    @configured_by(SHMConfig)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        batch, side = input_shape[0], self.config.memory_dim
        return jnp.zeros((batch, side, side)), jnp.zeros((batch,), jnp.int32)

    def __call__(self, carry: tuple[Array, Array], inputs: Array) -> tuple[tuple[Array, Array], Array]:
        """Compute a step: `inputs` `[batch, features]`."""
        carry, outputs = self.unroll(carry, inputs[:, None], jnp.zeros((inputs.shape[0], 1), bool))
        return carry, outputs[:, 0]

    @nn.compact
    def unroll(self, carry: tuple[Array, Array], inputs: Array, done: Array) -> tuple[tuple[Array, Array], Array]:
        """Compute a sequence: `inputs` `[batch, time, features]`, `done` `[batch, time]`."""
        config, side = self.config, self.config.memory_dim
        memory, age = carry
        dtype = config.dtype or inputs.dtype
        x = nn.LayerNorm(epsilon=1e-5, dtype=wide(inputs).dtype, name="norm")(inputs).astype(dtype)

        def project(name: str, width: int = side) -> Array:
            init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
            return wide(nn.Dense(width, use_bias=False, kernel_init=init, dtype=dtype, name=name)(x))

        key, query = (_share(nn.relu(project(name))) for name in ("key", "query"))
        value = jax.nn.sigmoid(project("strength", 1)) * project("value")
        rows = config.num_thetas if config.sample_theta else 1
        table = self.param("theta", nn.initializers.xavier_uniform(), (rows, side))
        ages = _ages(done, age)
        now = table[_hash(ages) % rows], project("calibration"), value, key, query, done
        memory, read = scan_chunks(self._run, memory, now, _CHUNK)
        read = read.astype(dtype)
        if config.shortcut:
            read += nn.Dense(side, dtype=dtype, name="shortcut")(x)
        outputs = nn.Dense(config.features, dtype=dtype, name="output")(read)
        return (memory, ages[:, -1] + 1), outputs

    @nn.nowrap
    def _run(self, memory: Array, sequence: tuple[Array, ...]) -> tuple[Array, Array]:
        """Calibrate, write and read in sequence: each part `[batch, time, ...]`."""

        def step(memory: Array, now: tuple[Array, ...]) -> tuple[Array, Array]:
            theta, calibration, value, key, query, done = now
            kept = jnp.where(done[:, None, None], 0, memory)
            state = kept * (1 + jnp.tanh(theta[:, :, None] * calibration[:, None])) + value[:, :, None] * key[:, None]
            if self.config.clip is not None:
                state = jnp.clip(state, -self.config.clip, self.config.clip)
            return state.astype(memory.dtype), jnp.sum(state * query[:, None], axis=-1)

        if sequence[-1].shape[1] == 1:
            memory, read = step(memory, tuple(x[:, 0] for x in sequence))
            return memory, read[:, None]
        memory, read = jax.lax.scan(step, memory, tuple(x.swapaxes(0, 1) for x in sequence))
        return memory, read.swapaxes(0, 1)


def _share(x: Array) -> Array:
    return x / (1e-5 + jnp.sum(x, axis=-1, keepdims=True))


def _ages(done: Array, age: Array) -> Array:
    """Steps since the episode's start, `[batch, time]`; `age` is that of the first step unless it starts an episode."""
    time = jnp.arange(done.shape[1], dtype=jnp.int32)
    last = jax.lax.cummax(jnp.where(done, time, -1), axis=1)
    return jnp.where(last < 0, age[:, None] + time, time - last)


def _hash(x: Array) -> Array:
    """Scatter counters over 31 bits: multiplications and shifts that leave no pattern in the low bits."""
    x = x.astype(jnp.uint32) + _FIRST_COUNTER
    for factor, shift in ((0x9E3779B1, 16), (0x85EBCA77, 13), (0xC2B2AE3D, 16)):
        x = (x + 1) * jnp.uint32(factor)
        x ^= x >> shift
    return (x >> 1).astype(jnp.int32)


@torso(SHMConfig, memory_dim=None)
def SHM(features: int, **options: Any) -> RNN:  # noqa: N802 (reads as the class it stands for)
    """A stable Hadamard memory as a torso.

    Args:
        features: Width of the output; `hidden_dim` is a second name of it.
        memory_dim: Side of the memory matrix; None: `features`.
        **options: Further fields of `SHMConfig`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If an argument is out of range.

    Source:
        Le et al. 2025, "Stable Hadamard Memory: Revitalizing Memory-Augmented Agents for Reinforcement Learning",
        https://arxiv.org/abs/2410.10132
    """
    options.setdefault("memory_dim", features)
    return RNN(cell=SHMCell(SHMConfig(features=features, **options)))

"""A pseudo-random number generator for single steps: the numbers of `jax.random`, at less cost.

On a CPU JAX computes its hash, Threefry, by a loop that the compiler cannot merge with anything. Where a step needs a
few numbers, these loops take longer than all the rest of it. Here the hash is unrolled, so that it is compiled into
what uses the numbers. `split`, `bits` and `uniform` return exactly what their namesakes in `jax.random` return.

It pays for a number or two. Fused code is computed again for each element of its result: where many numbers are drawn
together, or one is broadcast to many elements, use `jax.random`.

Source: Salmon et al. (2011), Parallel Random Numbers: As Easy as 1, 2, 3, https://doi.org/10.1145/2063384.2063405.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.types import Array, Key

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def _hash(key: Array, number: int) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds of the numbers from 0 on, uint32 `[number]` twice; the key is uint32 `[2]`."""
    words = key[0], key[1], key[0] ^ key[1] ^ _PARITY
    x, y = jnp.broadcast_to(words[0], (number,)), jnp.arange(number, dtype=jnp.uint32) + words[1]
    for group in range(5):
        for turn in _ROTATIONS[group % 2]:
            x = x + y
            y = x ^ (y << np.uint32(turn) | y >> np.uint32(32 - turn))
        x, y = x + words[(group + 1) % 3], y + words[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def _words(key: Key) -> Array | None:
    """A key's two words; None for keys of other generators than Threefry."""
    data = jax.random.key_data(key)
    return data if data.shape == (2,) else None


def split(key: Key, number: int = 2) -> Key:
    """New keys, `[number]`."""
    words = _words(key)
    if words is None:
        return jax.random.split(key, number)
    data = jnp.stack(_hash(words, number), axis=-1)
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return jax.random.wrap_key_data(data, impl="threefry2x32") if typed else data


def bits(key: Key, shape: tuple[int, ...] = ()) -> Array:
    """Random words, uint32."""
    words = _words(key)
    if words is None:
        return jax.random.bits(key, shape)
    x, y = _hash(words, math.prod(shape))
    return (x ^ y).reshape(shape)


def uniform(key: Key, shape: tuple[int, ...] = ()) -> Array:
    """Uniform numbers in [0, 1), float32."""
    # The bits of a number in [1, 2), all of which are equally far apart.
    return jax.lax.bitcast_convert_type(bits(key, shape) >> np.uint32(9) | np.uint32(0x3F800000), jnp.float32) - 1.0


def integers(key: Key, number: Array | np.ndarray | int, shape: tuple[int, ...] = ()) -> Array:
    """Uniform integers in `[0, number)`, int32; probabilities are equal up to 2**-32.

    Args:
        key: Randomness.
        number: How many integers to choose from, at least 1; broadcasts to `shape`.
        shape: Shape of the result.

    Returns:
        The integers: the upper halves of the 64-bit products of random words and `number`.
    """
    half, low = np.uint32(16), np.uint32(0xFFFF)
    word, number = bits(key, shape), jnp.asarray(number).astype(jnp.uint32)
    first = (word >> half) * (number & low) + ((word & low) * (number & low) >> half)
    second = (word & low) * (number >> half) + (first & low)
    return ((word >> half) * (number >> half) + (first >> half) + (second >> half)).astype(jnp.int32)


def fair_coin(key: Key, shape: tuple[int, ...] = ()) -> Array:
    """Fair coin flips, bool."""
    return bits(key, shape) >> np.uint32(31) == 1

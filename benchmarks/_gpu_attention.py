"""The attention that `benchmarks.gpu` times, beside JAX's own."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
from benchmarks._gpu import Case, Row
from benchmarks._gpu_speed import Built, gradient_of, normal, random_resets

from memorax.kernels.attention import empty_cache, window_attention

WAYS = (("float32", "memorax"), ("float32", "xla"), ("bfloat16", "memorax"), ("bfloat16", "cudnn"))
"""Types and implementations; cuDNN has none in float32."""


def attention_cases(
    shape: tuple[int, int, int, int], windows: tuple[int, ...], steps: tuple[int, int], copy_gbs: float
) -> Iterator[Case]:
    """Time attention over a sliding window, and one step of it with its cache.

    Args:
        shape: Batch, time, heads, and dimension of a head.
        windows: How far back attention sees.
        steps: Batch and window of the single step.
        copy_gbs: What a copy of memory reaches.
    """
    tokens = shape[0] * shape[1]
    for window in windows:
        for kind, way in WAYS:
            row = {"shape": shape, "window": window, "dtype": kind, "way": way}
            rates = partial(lambda tokens, seconds: {"tokens_per_second": tokens / seconds}, tokens)
            yield Case(row, partial(_attention, shape, window, kind, way), rates)
    batch, window = steps
    bytes_ = 4e-9 * batch * shape[2] * shape[3] * window * 2

    def shares(seconds: float) -> Row:
        """The cache is read once; only a row of it must be written."""
        return {"gbs": bytes_ / seconds, "share_of_copy": bytes_ / seconds / copy_gbs}

    row = {"shape": (batch, 1, *shape[2:]), "window": window, "dtype": "float32", "way": "memorax, a step"}
    yield Case(row, partial(_attention_step, batch, window, shape[2:]), shares)


def _attention(shape: tuple[int, int, int, int], window: int, kind: str, way: str) -> Built:
    batch, length, heads, size = shape
    x = tuple(normal(i, *shape, dtype=jnp.dtype(kind)) for i in range(3))
    reset = random_resets(batch, length)

    def run(x: tuple[jax.Array, ...], reset: jax.Array) -> jax.Array:
        if way == "memorax":
            return window_attention(*x, reset, empty_cache(batch, heads, window, size))[1]
        local = (window - 1, 0)
        return jax.nn.dot_product_attention(*x, is_causal=True, local_window_size=local, implementation=way)

    weights = normal(8, *shape, dtype=jnp.dtype(kind))
    return lambda x, reset, weights: gradient_of(run, weights)(x, reset), (x, reset, weights)


def _attention_step(batch: int, window: int, head: tuple[int, int]) -> Built:
    heads, size = head
    x = tuple(normal(i, batch, 1, heads, size) for i in range(3))
    cache = empty_cache(batch, heads, window, size)
    cache = cache._replace(keys=normal(5, *cache.keys.shape), values=normal(6, *cache.values.shape))
    cache = cache._replace(steps=jnp.full_like(cache.steps, 3 * window // 2))
    return lambda x, reset, cache: window_attention(*x, reset, cache), (x, jnp.zeros((batch, 1), bool), cache)

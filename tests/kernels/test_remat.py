import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.remat import scan_chunks


def accumulate(carry, sequence):
    """A decaying sum of squares, with some room taken per step."""
    x, weight = sequence

    def step(carry, now):
        x, weight = now
        carry = 0.9 * carry + jnp.sum(jnp.tanh(weight[:, None, None] * x[..., None] * jnp.arange(40.0)), -1)
        return carry, jnp.sin(carry)

    carry, outputs = jax.lax.scan(step, carry, (x.swapaxes(0, 1), weight.T))
    return carry, outputs.swapaxes(0, 1)


@pytest.mark.parametrize("length", [3, 5, 10, 13])
def test_chunks_equal_the_whole(length):
    x = jax.random.normal(jax.random.key(0), (2, length, 7))
    weight = jnp.linspace(0.1, 1, 2 * length).reshape(2, length)
    carry = jnp.ones((2, 7))

    def loss(run, carry, x):
        last, outputs = run(carry, (x, weight))
        return jnp.sum(outputs**2) + jnp.sum(last), outputs

    def chunked(carry, sequence):
        return scan_chunks(accumulate, carry, sequence, 5)

    run = jax.jit(jax.value_and_grad(loss, (1, 2), has_aux=True), static_argnums=0)
    (got, outputs), slopes = run(chunked, carry, x)
    (want, want_outputs), want_slopes = run(accumulate, carry, x)
    np.testing.assert_allclose(outputs, want_outputs, rtol=1e-6)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    for a, b in zip(slopes, want_slopes, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_insides_of_chunks_are_not_kept():
    x, weight, carry = jnp.ones((2, 512, 7)), jnp.ones((2, 512)), jnp.ones((2, 7))

    def memory(run):
        gradient = jax.grad(lambda x: jnp.sum(run(carry, (x, weight))[1]))
        return jax.jit(gradient).lower(x).compile().memory_analysis().temp_size_in_bytes

    chunked = memory(lambda carry, sequence: scan_chunks(accumulate, carry, sequence, 16))
    assert chunked < memory(accumulate) / 4

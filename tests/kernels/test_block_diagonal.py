import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels import block_diagonal
from memorax.kernels.block_diagonal import block_diagonal_product

SHAPES = [(1, 5, 7), (4, 3, 2), (5, 20, 12), (3, 70, 70)]  # one matrix; one for all, for some, for each of the blocks


@pytest.mark.parametrize("cpu", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_a_product_for_each_block(monkeypatch, shape, cpu):
    monkeypatch.setattr(block_diagonal, "on_cpu", lambda: cpu)
    keys = jax.random.split(jax.random.key(0), 3)
    count, rows, columns = shape
    x = jax.random.normal(keys[0], (2, 3, count * rows))
    blocks = jax.random.normal(keys[1], shape)
    cotangent = jax.random.normal(keys[2], (2, 3, count * columns))

    def plain(x, blocks):
        parts = np.split(np.asarray(x, float), count, axis=-1)
        return np.concatenate([p @ np.asarray(b, float) for p, b in zip(parts, blocks, strict=True)], axis=-1)

    got, pull = jax.vjp(jax.jit(block_diagonal_product), x, blocks)
    to_x, to_blocks = pull(cotangent)
    np.testing.assert_allclose(got, plain(x, blocks), rtol=0, atol=1e-5)
    np.testing.assert_allclose(to_x, plain(cotangent, blocks.swapaxes(1, 2)), rtol=0, atol=1e-5)
    outer = np.einsum("btni,btnj->nij", x.reshape(2, 3, count, rows), cotangent.reshape(2, 3, count, columns))
    np.testing.assert_allclose(to_blocks, outer, rtol=0, atol=1e-5)


def test_what_is_not_finite_in_a_block_stays_in_its_columns():
    """A zero beside it is no factor of it."""
    x, blocks = jnp.ones((2, 8)), jnp.ones((4, 2, 3)).at[1].set(jnp.inf)
    finite = jnp.isfinite(block_diagonal_product(x, blocks)).reshape(2, 4, 3)
    np.testing.assert_array_equal(finite.all((0, 2)), [True, False, True, True])


def test_of_many_blocks_there_are_few_products():
    program = jax.make_jaxpr(block_diagonal_product)(jnp.ones((2, 4 * 1024)), jnp.ones((1024, 4, 4)))
    assert 1 < str(program).count("dot_general") <= 17

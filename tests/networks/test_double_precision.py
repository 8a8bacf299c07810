"""Models where JAX has 64-bit types."""

import jax
import jax.numpy as jnp
import pytest

from memorax.networks.sequence_models import MODELS

FEATURES = 5


def types(tree):
    return [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


def as_type(tree, dtype):
    def cast(leaf):
        return jax.ShapeDtypeStruct(leaf.shape, dtype if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.dtype)

    return jax.tree.map(cast, tree)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS.names())
def test_carry_keeps_its_types(name, dtype):
    """Inputs and parameters of either type; single steps and sequences."""
    entry = MODELS.get(name)
    with jax.enable_x64(True):
        model = entry(11, **entry.example)
        carry = jax.eval_shape(lambda: model.initialize_carry(jax.random.key(0), (2, FEATURES)))
        for length in (1, 4):
            inputs, done = jax.ShapeDtypeStruct((2, length, FEATURES), dtype), jax.ShapeDtypeStruct((2, length), bool)
            params = as_type(jax.eval_shape(model.init, jax.random.key(0), inputs, done), dtype)
            after, outputs = jax.eval_shape(model.apply, params, inputs, done, carry)
            assert types(after) == types(carry)
            assert outputs.dtype == dtype

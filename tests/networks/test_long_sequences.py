"""Long sequences are computed in chunks of time on CPUs, and nobody can tell but by the memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks.blocks import FFN, MoE, Residual, Stack, stack
from memorax.networks.sequence_models import MODELS, rnn
from memorax.networks.sequence_models.parts import long, memoroid

LENGTH = 2 * 8 + 3


@pytest.fixture
def short_chunks(monkeypatch):
    for module in (rnn, memoroid, stack):
        monkeypatch.setattr(module, "CHUNK", 8)
    return lambda limit: monkeypatch.setattr(long, "LONG", limit)


@pytest.mark.parametrize(
    "name", ["lru", "slstm", "shm", "gtrxl", *(pytest.param(x, marks=pytest.mark.slow) for x in ("mamba2", "xlstm"))]
)
def test_chunks_give_what_the_whole_gives(short_chunks, name):
    entry = MODELS.get(name)
    model = entry(6, **entry.example)
    inputs = jax.random.normal(jax.random.key(0), (2, LENGTH, 5))
    done = jnp.zeros((2, LENGTH), bool).at[0, [3, 8]].set(True).at[1, 16].set(True)
    params = jax.jit(model.init)(jax.random.key(1), inputs, done)
    params = jax.tree.map(lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), params)
    carry = jax.jit(model.apply)(params, inputs[::-1], done)[0]

    def compute(limit):
        short_chunks(limit)

        def loss(params, inputs, carry):  # a function of its own each time: JAX keeps what it has traced
            after, outputs = model.apply(params, inputs, done, carry)
            ends = sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(after) if jnp.issubdtype(x.dtype, jnp.floating))
            return jnp.sum(jnp.sin(3 * outputs)) + ends, (after, outputs)

        compiled = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True, allow_int=True))
        return compiled(params, inputs, carry), str(jax.make_jaxpr(loss)(params, inputs, carry))

    # xLSTM divides by normalizers near zero: rounding alone moves its outputs by 1e-5, compared with 64 bits.
    within = 1e-5 if name == "xlstm" else 2e-6
    (want, plain), (got, chunked) = compute(LENGTH + 1), compute(LENGTH)
    assert chunked.count("scan[") > plain.count("scan[")
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        if jnp.issubdtype(x.dtype, jnp.floating):
            np.testing.assert_allclose(x, y, rtol=0, atol=within * max(1.0, float(jnp.max(jnp.abs(y)))))


@pytest.mark.parametrize("name", ["lru", "slstm"])
def test_insides_of_chunks_are_not_kept(monkeypatch, name):
    model = MODELS.get(name)(32)
    inputs, done = jnp.ones((4, long.LONG, 32)), jnp.zeros((4, long.LONG), bool)
    params = jax.jit(model.init)(jax.random.key(1), inputs[:, :2], done[:, :2])

    def memory():
        gradient = jax.jit(jax.grad(lambda p, x: jnp.sum(jnp.square(model.apply(p, x, done)[1])), (0, 1)))
        return gradient.lower(params, inputs).compile().memory_analysis().temp_size_in_bytes

    chunked = memory()
    monkeypatch.setattr(long, "LONG", 2 * long.LONG)
    assert chunked < memory() / 2


def test_a_cell_from_elsewhere_sees_the_whole_sequence(short_chunks):
    import flax.linen as nn

    from memorax.networks import Memoroid

    class Length(nn.Module):
        @nn.nowrap
        def initialize_carry(self, key, input_shape):
            return jnp.zeros((input_shape[0], 1))

        def __call__(self, carry, inputs, done):
            return carry, jnp.full_like(inputs, inputs.shape[1])

    short_chunks(LENGTH)
    outputs = Memoroid(Length()).apply({}, jnp.ones((2, LENGTH, 1)), jnp.zeros((2, LENGTH), bool))[1]
    np.testing.assert_array_equal(outputs, LENGTH)


@pytest.mark.parametrize("block", [MoE(FFN(hidden_dim=3), num_experts=2), FFN(hidden_dim=3, dropout_rate=0.5)])
def test_stacks_that_sow_or_drop_out_see_the_whole_sequence(short_chunks, block):
    short_chunks(LENGTH)
    model = Stack(blocks=[Residual(block)])
    inputs, done = jax.random.normal(jax.random.key(0), (2, LENGTH, 4)), jnp.zeros((2, LENGTH), bool)
    params = model.init(jax.random.key(1), inputs, done)

    def run(params):
        return model.apply(params, inputs, done, mutable="losses", rngs={"dropout": jax.random.key(2)})

    (_, outputs), sown = run(params)
    short_chunks(LENGTH + 1)
    (_, want), want_sown = run(params)
    np.testing.assert_array_equal(outputs, want)
    assert jax.tree.structure(sown) == jax.tree.structure(want_sown)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS.names())
def test_the_gradient_of_a_long_sequence_takes_less_than_a_gibibyte(name):
    model, key = MODELS.get(name)(128), jax.random.key(0)
    inputs, done = jax.ShapeDtypeStruct((32, 4096, 128), float), jax.ShapeDtypeStruct((32, 4096), bool)
    params = jax.eval_shape(lambda: model.init(key, jnp.zeros((1, 2, 128)), jnp.zeros((1, 2), bool)))
    carry = jax.eval_shape(lambda: model.initialize_carry(key, (32, 128)))
    gradient = jax.jit(jax.grad(lambda p, x, done, c: jnp.mean(jnp.square(model.apply(p, x, done, c)[1])), (0, 1)))
    compiled = gradient.lower(params, inputs, done, carry).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 2**30

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels import recurrence
from memorax.networks import RNN

BATCH, TIME, FEATURES, HIDDEN = 3, 37, 5, 11
CELLS = [nn.GRUCell, nn.LSTMCell, nn.OptimizedLSTMCell, nn.SimpleCell]


@pytest.fixture(params=["small", "large"])
def size(request, monkeypatch):
    """Both ways to run the scans on a CPU, whatever the size of the batch."""
    monkeypatch.setattr(recurrence, "LARGE_BATCH", 1 if request.param == "large" else 1000)


@pytest.fixture(params=["small", "large", "gpu"])
def form(request, monkeypatch):
    """All ways to run the scans."""
    monkeypatch.setattr(recurrence, "LARGE_BATCH", 1 if request.param == "large" else 1000)
    if request.param == "gpu":
        monkeypatch.setattr(recurrence, "on_cpu", lambda: False)
        monkeypatch.setattr(recurrence, "unroll", lambda: 3)


def difference(got, want):
    def one(a, b):
        return float(np.max(np.abs(a - b)) / max(1e-3, np.max(np.abs(b))))

    # Python's `max` would drop a NaN.
    return float(np.max(jax.tree.leaves(jax.tree.map(one, got, want))))


def problem(cell, dtype=jnp.float32):
    key = jax.random.key(0)
    inputs = jax.random.normal(key, (BATCH, TIME, FEATURES), dtype)
    done = jax.random.bernoulli(jax.random.key(1), 0.15, (BATCH, TIME)).at[:, 0].set(jnp.array([True, False, False]))
    fused, plain = (RNN(cell(HIDDEN, param_dtype=dtype), fused=fused) for fused in (True, False))
    params = plain.init(key, inputs, done)
    jax.tree.map(np.testing.assert_array_equal, fused.init(key, inputs, done), params)
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(key, x.shape, x.dtype), params)
    carry = jax.tree.map(lambda x: jax.random.normal(key, x.shape, x.dtype), fused.initialize_carry(key, (BATCH, None)))
    return fused, plain, (params, inputs, carry), done


def results(model, done):
    def loss(*arguments):
        params, inputs, carry = arguments
        carry, outputs = model.apply(params, inputs, done, carry)
        total = jnp.sum(jnp.sin(3 * outputs)) + sum(jnp.sum(jnp.cos(x)) for x in jax.tree.leaves(carry))
        return total, (carry, outputs)

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))


@pytest.mark.parametrize("cell", CELLS)
def test_kernel_equals_plain_scan(cell, form):
    fused, plain, arguments, done = problem(cell)
    (_, got), got_gradients = results(fused, done)(*arguments)
    (_, want), want_gradients = results(plain, done)(*arguments)
    assert difference(got, want) < 1e-6
    assert difference(got_gradients, want_gradients) < 1e-4


@pytest.mark.parametrize("cell", [nn.GRUCell, nn.LSTMCell, nn.SimpleCell])
def test_gradient_in_double_precision(cell, form):
    with jax.enable_x64(True):
        fused, plain, arguments, done = problem(cell, jnp.float64)
        (_, got), got_gradients = results(fused, done)(*arguments)
        (_, want), want_gradients = results(plain, done)(*arguments)
        assert got[1].dtype == jnp.float64
        assert difference(got, want) < 1e-12
        assert difference(got_gradients, want_gradients) < 1e-9


def test_gradient_survives_nan_before_a_reset(form):
    fused, _, (params, inputs, carry), done = problem(nn.GRUCell)
    done = done.at[:, 0].set(True)
    poison = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), carry)
    _, (by_params, by_inputs, by_carry) = results(fused, done)(params, inputs, poison)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((by_params, by_inputs)))
    assert not jnp.any(by_carry)


def test_low_precision_inputs_leave_the_recurrence_in_float32():
    fused, plain, (params, inputs, carry), done = problem(nn.GRUCell)
    low = inputs.astype(jnp.bfloat16)
    (got_carry, got), (_, want) = fused.apply(params, low, done, carry), plain.apply(params, low, done, carry)
    assert got.dtype == got_carry.dtype == jnp.float32
    assert difference(got, want) < 1e-6


@pytest.mark.parametrize("lift", [jax.checkpoint, jax.jit, jax.vmap], ids=["checkpoint", "jit", "vmap"])
def test_gradient_under_transformations(lift):
    fused, plain, (params, inputs, carry), done = problem(nn.LSTMCell)
    arguments = jax.tree.map(lambda x: jnp.stack([x, 0.9 * x]), (params, inputs, carry))

    def gradient(model):
        def loss(params, inputs, carry):
            return jnp.sum(jnp.square(model.apply(params, inputs, done, carry)[1]))

        return jax.jit(lambda xs: jax.lax.map(lambda x: jax.grad(loss, (0, 1, 2))(*x), xs))

    def lifted(xs):
        def loss(params, inputs, carry):
            return jnp.sum(jnp.square(fused.apply(params, inputs, done, carry)[1]))

        if lift is not jax.vmap:
            return jax.lax.map(lambda x: jax.grad(lift(loss), (0, 1, 2))(*x), xs)
        return lift(jax.grad(loss, (0, 1, 2)))(*xs)

    assert difference(jax.jit(lifted)(arguments), gradient(plain)(arguments)) < 1e-4


def test_gradient_needs_no_more_memory_than_the_plain_scan(size):
    def temporary(fused):
        model = RNN(nn.GRUCell(32), fused=fused)
        inputs, done = jnp.zeros((64, 1024, 32)), jnp.zeros((64, 1024), bool)
        params = jax.eval_shape(model.init, jax.random.key(0), inputs, done)
        gradient = jax.grad(lambda p: jnp.sum(jnp.square(model.apply(p, inputs, done)[1])))
        return jax.jit(gradient).lower(params).compile().memory_analysis().temp_size_in_bytes

    assert temporary(True) <= temporary(False)


@pytest.mark.parametrize(
    ("cell", "fused"),
    [
        (nn.GRUCell(4), True),
        (nn.GRUCell(4, dtype=jnp.float32), True),
        (nn.GRUCell(4, dtype=jnp.bfloat16), True),
        (nn.GRUCell(4, activation_fn=nn.relu), False),
        (nn.LSTMCell(4, gate_fn=nn.hard_sigmoid), False),
        (nn.SimpleCell(4, residual=True), False),
        (nn.MGUCell(4), False),
    ],
)
def test_only_exactly_known_cells_are_replaced(cell, fused):
    from memorax.networks.sequence_models.rnn import find_kernel

    assert (find_kernel(cell) is not None) is fused
    inputs, done = jnp.ones((2, 3, 5)), jnp.zeros((2, 3), bool)
    assert RNN(cell).init_with_output(jax.random.key(0), inputs, done)[0][1].shape == (2, 3, 4)


def test_subclass_of_a_known_cell_is_not_replaced():
    from memorax.networks.sequence_models.rnn import find_kernel

    class Own(nn.GRUCell):
        pass

    assert find_kernel(Own(4)) is None


@pytest.mark.parametrize("cell", [nn.GRUCell, nn.LSTMCell])
def test_low_precision_activations_have_nearly_the_same_gradient(cell, size):
    _, plain, arguments, done = problem(cell)
    half = RNN(cell(HIDDEN, dtype=jnp.bfloat16))
    (_, (carry, outputs)), got = results(half, done)(*arguments)
    (_, (_, want)), want_gradients = results(plain, done)(*arguments)
    assert outputs.dtype == jnp.bfloat16
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves((carry, got)))
    assert difference(outputs.astype(jnp.float32), want) < 2e-2
    assert difference(got, want_gradients) < 1e-1


def test_the_batch_decides_which_way(monkeypatch):
    inputs = jnp.zeros((5, recurrence.LARGE_BATCH, 2))
    assert recurrence._is_large(inputs)
    assert not recurrence._is_large(inputs[:, 1:])
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not recurrence._is_large(inputs)

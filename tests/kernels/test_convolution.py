import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.convolution import causal_convolution

BATCH, TIME, CHANNELS = 3, 9, 5
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, [0, 4, 5]] = True
RESET[2, TIME - 1] = True


def reference(inputs, kernel, reset, tail, bias):
    """Look back step by step, in float64."""
    taps = len(kernel)
    outputs = np.zeros(inputs.shape)
    for b in range(BATCH):
        window = [np.asarray(x, float) for x in tail[b]]
        for t in range(TIME):
            if reset[b, t]:
                window = [np.zeros(CHANNELS)] * (taps - 1)
            window.append(np.asarray(inputs[b, t], float))
            outputs[b, t] = sum(w * x for w, x in zip(kernel, window, strict=True)) + bias
            window.pop(0)
        tail[b] = np.reshape(window, (taps - 1, CHANNELS))
    return tail, outputs


def draw(taps):
    keys = jax.random.split(jax.random.key(3), 4)
    inputs = jax.random.normal(keys[0], (BATCH, TIME, CHANNELS))
    kernel = jax.random.normal(keys[1], (taps, CHANNELS))
    tail = jax.random.normal(keys[2], (BATCH, taps - 1, CHANNELS))
    return inputs, kernel, tail, jax.random.normal(keys[3], (CHANNELS,))


@pytest.mark.parametrize("taps", [1, 2, 4, 12])
def test_equals_the_definition(taps):
    inputs, kernel, tail, bias = draw(taps)
    got_tail, got = causal_convolution(inputs, kernel, jnp.asarray(RESET), tail, bias)
    want_tail, want = reference(np.asarray(inputs), np.asarray(kernel, float), RESET, np.array(tail, float), bias)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)
    np.testing.assert_allclose(got_tail, want_tail, rtol=0, atol=1e-7)


def test_any_split_equals_the_whole():
    inputs, kernel, tail, bias = draw(4)
    want_tail, want = causal_convolution(inputs, kernel, jnp.asarray(RESET), tail, bias)
    outputs = []
    for start, stop in ((0, 1), (1, 3), (3, 5), (5, 6), (6, TIME)):
        piece = inputs[:, start:stop], kernel, jnp.asarray(RESET[:, start:stop]), tail, bias
        tail, out = causal_convolution(*piece)
        outputs.append(out)
    np.testing.assert_allclose(jnp.concatenate(outputs, 1), want, atol=1e-6)
    np.testing.assert_array_equal(tail, want_tail)


def test_nothing_crosses_a_reset():
    inputs, kernel, tail, bias = draw(4)
    poisoned = inputs.at[0, 3].set(jnp.nan)
    _, want = causal_convolution(inputs, kernel, jnp.asarray(RESET), tail, bias)
    _, got = causal_convolution(poisoned, kernel, jnp.asarray(RESET), tail.at[0].set(jnp.nan), bias)
    np.testing.assert_array_equal(got[0, 4:], want[0, 4:])
    np.testing.assert_array_equal(got[1:], want[1:])


def test_the_tail_keeps_its_type():
    inputs, kernel, tail, _ = draw(4)
    half = inputs.astype(jnp.bfloat16)
    got_tail, got = causal_convolution(half, kernel.astype(jnp.bfloat16), jnp.asarray(RESET), tail)
    assert got_tail.dtype == tail.dtype
    assert got.dtype == jnp.bfloat16

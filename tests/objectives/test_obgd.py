"""Overshooting-bounded steps against their definition, and against what they promise."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from memorax.objectives import obgd, obgd_step_size

STEP = jax.jit(obgd_step_size)
numbers = st.floats(-50.0, 50.0, width=32)


def tree(values):
    """Two tensors, so that a norm per tensor is not that of all."""
    return {"kernel": jnp.asarray(values[:6], jnp.float32).reshape(2, 3), "bias": jnp.asarray(values[6:], jnp.float32)}


@settings(max_examples=80, deadline=None)
@given(st.lists(numbers, min_size=8, max_size=8), numbers, st.floats(0.01, 2.0), st.floats(0.5, 4.0))
def test_the_step_is_the_smaller_of_rate_and_bound(trace, error, rate, kappa):
    bound = kappa * max(abs(error), 1.0) * np.abs(trace).sum()
    expected = rate if bound == 0 else min(rate, 1.0 / bound)
    np.testing.assert_allclose(STEP(tree(trace), error, rate, kappa), expected, rtol=1e-5)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-1.0, 1.0, width=32), min_size=8, max_size=8), numbers, st.floats(1.0, 4.0))
def test_a_linear_prediction_does_not_overshoot(slope, error, kappa):
    trace = tree(slope)
    moved = float(STEP(trace, error, 1e6, kappa)) * error * sum(float(jnp.sum(z**2)) for z in trace.values())
    assert abs(moved) <= abs(error) / kappa * (1 + 1e-4)
    assert moved * error >= 0


@pytest.mark.parametrize(("trace", "rate"), [(jnp.zeros(3), 0.7), (jnp.ones(3), 0.0)])
def test_nothing_to_move_along_and_no_rate_give_finite_steps(trace, rate):
    assert obgd_step_size(trace, jnp.float32(5.0), rate, 2.0) == jnp.float32(rate)


def test_every_stream_has_its_step_and_the_parameters_move_by_the_mean():
    params, errors = tree([0.5] * 8), jnp.asarray([3.0, -0.2, 0.0])
    traces = jax.tree.map(lambda x: jnp.stack([x, -2 * x, x + 2]), params)
    moved, steps = obgd(params, traces, errors, learning_rate=0.4, kappa=2.0)
    own = [jax.tree.map(lambda z, i=i: z[i], traces) for i in range(3)]
    expected = [obgd_step_size(trace, error, 0.4, 2.0) for trace, error in zip(own, errors, strict=True)]
    np.testing.assert_allclose(steps, expected, rtol=1e-6)
    assert len(set(np.asarray(steps).tolist())) == 3
    for name in params:
        change = sum(steps[i] * errors[i] * traces[name][i] for i in range(3)) / 3
        np.testing.assert_allclose(moved[name], params[name] + change, rtol=1e-5)

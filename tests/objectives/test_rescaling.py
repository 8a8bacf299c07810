import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.objectives import rescale, unscale

RETURNS = np.concatenate([[0.0], np.logspace(-6, 6, 49), -np.logspace(-6, 6, 37)]).astype(np.float32)


def test_rescaling_follows_its_formula():
    x = RETURNS.astype(np.float64)
    expected = np.sign(x) * (np.sqrt(np.abs(x) + 1.0) - 1.0) + 1e-3 * x
    np.testing.assert_allclose(rescale(jnp.asarray(RETURNS)), expected, rtol=3e-6, atol=1e-12)


def test_each_is_the_inverse_of_the_other():
    np.testing.assert_allclose(unscale(rescale(jnp.asarray(RETURNS))), RETURNS, rtol=2e-5)
    np.testing.assert_allclose(rescale(unscale(jnp.asarray(RETURNS[:40]))), RETURNS[:40], rtol=2e-5)


def test_both_rise_everywhere():
    x = np.sort(RETURNS)
    assert (np.diff(rescale(jnp.asarray(x))) > 0).all()
    assert (np.diff(unscale(jnp.asarray(x))) > 0).all()


@pytest.mark.parametrize(("function", "slope"), [(rescale, 0.501), (unscale, 1 / 0.501)])
def test_the_slope_at_zero_is_finite(function, slope):
    np.testing.assert_allclose(jax.grad(function)(jnp.float32(1e-7)), slope, rtol=1e-4)

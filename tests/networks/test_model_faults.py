"""Faults of single models that were found from outside."""

import jax
import jax.numpy as jnp
import numpy as np

from memorax.networks.sequence_models import FFM, SHM
from memorax.networks.sequence_models.shm import _hash


def test_trace_of_ffm_above_its_bound_can_come_back():
    model = FFM(5, memory_size=3, context_size=2)
    inputs, done = jax.random.normal(jax.random.key(0), (2, 6, 4)), jnp.zeros((2, 6), bool)
    params = jax.jit(model.init)(jax.random.key(1), inputs, done)
    alpha = params["params"]["cell"]["alpha"].at[-1].set(0.01)
    params["params"]["cell"]["alpha"] = alpha
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(model.apply(p, inputs, done)[1]))))(params)
    assert float(jnp.abs(gradient["params"]["cell"]["alpha"][-1])) > 0
    params["params"]["cell"]["alpha"] = alpha.at[-1].set(-1e-8)
    at_the_bound = model.apply(params, inputs, done)[1]
    params["params"]["cell"]["alpha"] = alpha.at[-1].set(0.5)
    np.testing.assert_array_equal(model.apply(params, inputs, done)[1], at_the_bound)


def test_first_steps_of_an_episode_have_rows_of_their_own_in_shm():
    rows = np.asarray(_hash(jnp.arange(32)) % 128)
    assert len(set(rows.tolist())) == len(rows)


def test_shortcut_of_shm_does_not_depend_on_the_scale_of_its_inputs():
    """It maps the layer-normed input, as in the authors' code."""
    model = SHM(5, memory_dim=3, shortcut=True)
    inputs, done = jax.random.normal(jax.random.key(0), (2, 6, 16)), jnp.zeros((2, 6), bool)
    params = jax.jit(model.init)(jax.random.key(1), inputs, done)
    outputs, scaled = (model.apply(params, scale * inputs, done)[1] for scale in (1, 100))
    np.testing.assert_allclose(outputs, scaled, atol=1e-4)

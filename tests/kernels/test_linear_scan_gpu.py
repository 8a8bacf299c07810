"""The kernel for GPUs, interpreted on a CPU, and lowered for a GPU without one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels import linear_scan as module
from memorax.kernels import linear_scan_gpu
from memorax.kernels.linear_scan import linear_scan

try:  # public from JAX 0.11 on
    from jax.experimental.pallas.mosaic_gpu import force_gpu_interpret_mode as interpreted
except ImportError:
    from jax._src.pallas.mosaic_gpu.interpret.params import force_gpu_interpret_mode as interpreted

BATCH, TIME, UNITS = 2, 11, 5  # a stretch of 8 steps, and 3 alone
CASES = [("real", False), ("real", True), ("complex", False), ("complex", True)]


def draw(kind, steady):
    rng = np.random.default_rng(2)

    def normal(*shape):
        return tuple(jnp.float32(rng.normal(size=shape)) for _ in range(2 if kind == "complex" else 1))

    a = tuple(0.5 * x for x in normal(*((UNITS,) if steady else (BATCH, TIME, UNITS))))
    reset = rng.uniform(size=(BATCH, TIME)) < 0.2
    reset[0, [0, TIME - 1]] = True
    return (a, normal(BATCH, TIME, UNITS), normal(BATCH, UNITS)), jnp.asarray(reset)


def results(method, reset):
    """States and gradients; the weights differ, so that no two cotangents are alike."""

    def loss(x):
        a, b, first = x if len(x[0]) == 2 else (parts[0] for parts in x)
        last, states = linear_scan(a, b, reset, first, method=method)
        total = sum(jnp.sum(jnp.sin(1.5 * y)) for y in jax.tree.leaves(states))
        return total + sum(jnp.sum(jnp.cos(y)) for y in jax.tree.leaves(last)), (last, states)

    return jax.grad(loss, has_aux=True)


def compare(got, want):
    def one(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * max(1.0, np.max(np.abs(b))))

    jax.tree.map(one, got, want)


@pytest.mark.parametrize(("kind", "steady"), CASES)
def test_states_and_gradients_equal_those_of_the_sequential_form(kind, steady):
    x, reset = draw(kind, steady)
    with interpreted():
        got = jax.jit(results("pallas", reset))(x)
    compare(got, jax.jit(results("sequential", reset))(x))


def test_a_mapped_axis_is_one_of_rows():
    x, reset = draw("real", True)
    seeds = jax.tree.map(lambda x: jnp.stack([x, 0.5 * x]), x)
    with interpreted():
        got = jax.jit(jax.vmap(results("pallas", reset)))(seeds)
    compare(got, jax.jit(jax.vmap(results("sequential", reset)))(seeds))


def test_a_reset_stops_a_nan():
    x, reset = draw("real", False)
    reset = reset.at[:, 0].set(True)
    x = *x[:2], (jnp.full((BATCH, UNITS), jnp.nan),)
    with interpreted():
        gradients, (_, states) = jax.jit(results("pallas", reset))(x)
    assert jnp.isfinite(states).all()
    assert all(bool(jnp.isfinite(y).all()) for y in jax.tree.leaves(gradients[:2]))
    assert not jnp.any(gradients[2][0])


@pytest.mark.parametrize(("kind", "steady"), CASES)
def test_the_kernel_can_be_lowered_for_a_gpu(kind, steady):
    x, reset = draw(kind, steady)
    program = jax.jit(results("pallas", reset)).trace(x).lower(lowering_platforms=("cuda",)).as_text()
    assert program.count("custom_call @mosaic_gpu") == 2  # one each way


def test_support_is_asked_of_the_device(monkeypatch):
    class Device:
        compute_capability = "9.0"

    assert not linear_scan_gpu.is_supported(jnp.float32, 128)
    monkeypatch.setattr(jax, "devices", lambda: [Device()])
    assert linear_scan_gpu.is_supported(jnp.float32, 256)
    assert not linear_scan_gpu.is_supported(jnp.float32, 100)
    assert not linear_scan_gpu.is_supported(jnp.float64, 256)
    monkeypatch.setattr(Device, "compute_capability", "8.0")
    assert not linear_scan_gpu.is_supported(jnp.float32, 256)


def test_a_gpu_runs_the_kernel_where_it_can(monkeypatch):
    class Device:
        compute_capability = "9.0"

    monkeypatch.setattr(module, "on_cpu", lambda: False)
    monkeypatch.setattr(module, "GPU_METHOD", "pallas")
    monkeypatch.setattr(jax, "devices", lambda: [Device()])

    def kernels(units):
        x = jnp.ones((BATCH, TIME, units))
        reset, first = jnp.zeros((BATCH, TIME), bool), jnp.zeros((BATCH, units))
        run = jax.jit(lambda x: linear_scan(x, x, reset, first)[1])
        return run.trace(x).lower(lowering_platforms=("cuda",)).as_text().count("mosaic_gpu")

    assert kernels(128)
    assert not kernels(100)

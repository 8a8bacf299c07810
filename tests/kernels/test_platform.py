import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from memorax.kernels import platform, selective_scan, slstm
from memorax.kernels.linear_scan import linear_scan
from memorax.kernels.selective_scan import selective_scan as run_selective_scan
from memorax.kernels.slstm import initial_state
from memorax.kernels.slstm import slstm as run_slstm

BATCH, TIME, WIDTH = 2, 11, 6


@pytest.fixture
def gpu(monkeypatch):
    """A process whose default backend is a GPU, as far as tracing can tell."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(platform, "GPU_UNROLL", 4)


def loop_lengths(jaxpr):
    """The number of iterations of every loop, in order."""
    lengths = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            lengths.append(equation.params["length"])
        for inner in jaxprs_in_params(equation.params):
            lengths += loop_lengths(inner)
    return lengths


def lengths_of_a_linear_scan():
    a, reset, first = jnp.ones((1, 64, 2)), jnp.zeros((1, 64), bool), jnp.zeros((1, 2))
    return loop_lengths(jax.make_jaxpr(lambda a: linear_scan(a, a, reset, first))(a).jaxpr)


def test_a_cpu_actor_in_a_process_with_a_gpu_gets_the_forms_of_a_cpu(gpu):
    assert not platform.on_cpu()
    assert platform.unroll() == 4
    assert lengths_of_a_linear_scan() == []  # the associative form has no loop
    with jax.default_device(jax.devices("cpu")[0]):
        assert platform.on_cpu()
        assert platform.unroll() == 1
        assert platform.precision() == jax.lax.Precision.HIGHEST
        assert lengths_of_a_linear_scan() == [64]


def test_a_platform_can_be_named(gpu):
    with jax.default_device("cpu"):
        assert platform.on_cpu()


def draw(*shape):
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape), jnp.float32)


def sequential(name, reset):
    """A sequential kernel of one pytree of arrays, and the arrays."""
    if name == "slstm":
        x = draw(BATCH, TIME, 2, 4 * WIDTH), draw(2, WIDTH, 4 * WIDTH) / WIDTH**0.5
        return lambda x: run_slstm(*x, reset, initial_state(BATCH, 2 * WIDTH)), x
    shapes = (BATCH, TIME, WIDTH), (BATCH, TIME, WIDTH), (BATCH, TIME, 3), (BATCH, TIME, 3)
    x = tuple(0.3 * draw(*shape) + 0.1 * i for i, shape in enumerate(shapes)), draw(3, WIDTH), draw(BATCH, 3, WIDTH)

    def run(x):
        (inputs, step, write, read), rates, state = x
        sequence = inputs, jax.nn.softplus(step), write, read
        return run_selective_scan(sequence, -jnp.exp(rates), reset, state, chunk=5)

    return run, x


@pytest.mark.parametrize("module", [slstm, selective_scan], ids=["slstm", "selective_scan"])
def test_steps_taken_together_change_nothing(module, monkeypatch):
    reset = jnp.asarray(np.random.default_rng(3).uniform(size=(BATCH, TIME)) < 0.2)
    run, x = sequential(module.__name__.rsplit(".", 1)[-1], reset)

    def loss(x):
        results = run(x)
        return sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(results)), results

    def results():
        return jax.jit(jax.grad(loss, has_aux=True))(x)

    want = results()
    asked = []
    monkeypatch.setattr(module, "unroll", lambda: asked.append(4) or 4)
    got = results()
    assert asked
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * np.max(np.abs(b))), got, want)

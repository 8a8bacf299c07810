"""Models whose memory is a vector or a few: their equations in double precision, and what is theirs alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax import networks
from memorax.networks import (
    RNN,
    FFMCell,
    FFMConfig,
    LRUCell,
    LRUConfig,
    MambaCell,
    MambaConfig,
    Memoroid,
    MinGRUCell,
    MinGRUConfig,
    MinLSTMCell,
    MinLSTMConfig,
    RGLRUCell,
    RGLRUConfig,
    RTUCell,
    RTUConfig,
    S5Cell,
    S5Config,
    SHMCell,
    SHMConfig,
)
from memorax.networks.sequence_models import S5, Mamba

BATCH, TIME, WIDTH = 3, 9, 5
DONE = np.zeros((BATCH, TIME), bool)
DONE[0, [0, 3, TIME - 1]] = True
DONE[1, [5, 6]] = True
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": "0"})


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


def positive(x):
    return np.where(x >= 0, x + 0.5, sigmoid(x))


def norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def over_time(step, state, *sequences):
    """Step through `[batch, time, ...]`, forgetting everything where an episode starts."""
    outputs = []
    for t in range(TIME):
        state = tuple(np.where(DONE[:, t].reshape(-1, *[1] * (x.ndim - 1)), 0, x) for x in state)
        state, output = step(state, *(x[:, t] for x in sequences))
        outputs.append(output)
    return np.stack(outputs, 1)


def linear(a, b):
    """`h = a h + b`, with `a` the same at all times or not."""
    a = np.broadcast_to(a, b.shape)

    def step(state, a, b):
        h = a * state[0] + b
        return (h,), h

    return over_time(step, (np.zeros_like(b[:, 0]),), a, b)


def lru(p, config, x):
    decay = np.exp(-np.exp(p["nu_log"]) + 1j * np.exp(p["theta_log"]))
    h = linear(decay, np.exp(p["gamma_log"]) * (x @ (p["B_re"] + 1j * p["B_im"])))
    return np.real(h @ (p["C_re"] + 1j * p["C_im"])) + (x * p["D"] if p["D"].ndim == 1 else x @ p["D"])


def s5(p, config, x):
    value, step = np.minimum(p["Lambda_re"], -1e-4) + 1j * p["Lambda_im"], np.exp(p["log_step"])
    if config.discretization == "zoh":
        decay, scale = np.exp(value * step), (np.exp(value * step) - 1) / value
    else:
        decay, scale = (1 + step * value / 2) / (1 - step * value / 2), step / (1 - step * value / 2)
    h = linear(decay, x @ (scale * (p["B_re"] + 1j * p["B_im"])))
    y = (2 if config.conj_sym else 1) * np.real(h @ (p["C_re"] + 1j * p["C_im"]))
    return y + (x * p["D"] if p["D"].ndim == 1 else x @ p["D"])


def mingru(p, config, x):
    z = sigmoid(x @ p["gate_kernel"])
    return linear(1 - z, z * positive(x @ p["hidden_kernel"]))


def minlstm(p, config, x):
    forget, write = (sigmoid(x @ p[f"{name}_kernel"] + p[f"{name}_bias"]) for name in ("forget", "input"))
    hidden = positive(x @ p["hidden_kernel"] + p["hidden_bias"])
    return linear(forget / (forget + write), write / (forget + write) * hidden)


def rg_lru(p, config, x):
    reset, write = (sigmoid(x @ p[f"{name}_kernel"] + p[f"{name}_bias"]) for name in ("reset", "input"))
    decay = np.exp(-8 * softplus(p["Lambda"]) * reset)
    h = linear(decay, np.sqrt(1 - decay**2) * write * (x @ p["value_kernel"]))
    return h @ p["output"]["kernel"] + p["output"]["bias"] if "output" in p else h


def rtu(p, config, x):
    r, angle = np.exp(-np.exp(p["nu_log"])), np.exp(p["theta_log"])
    g, phi, gamma = r * np.cos(angle), r * np.sin(angle), np.sqrt(1 - r**2)
    squash = (lambda x: x) if config.linear else (lambda x: np.maximum(x, 0))

    def step(state, x):
        a, b = state
        new_a = squash(g * a - phi * b + gamma * (x @ p["kernel_1"]))
        new_b = squash(g * b + phi * a + gamma * (x @ p["kernel_2"]))
        return (new_a, new_b), np.maximum(np.concatenate([new_a, new_b], -1), 0)

    y = over_time(step, (np.zeros((BATCH, config.state_dim)),) * 2, x)
    return y @ p["output"]["kernel"] + p["output"]["bias"] if "output" in p else y


def mamba(p, config, x):
    taps = config.conv_kernel_size
    u, gate = x @ p["input"]["kernel"], x @ p["gate"]["kernel"]

    def convolve(state, u):
        window = np.concatenate([state[0], u[:, None]], 1)
        return (window[:, 1:],), np.einsum("bkc,kc->bc", window, p["conv_kernel"]) + p["conv_bias"]

    u = over_time(convolve, (np.zeros((BATCH, taps - 1, config.channels)),), u)
    u = u * sigmoid(u)
    low, write, read = np.split(u @ p["select"]["kernel"], [config.rank, config.rank + config.state_dim], -1)
    delta = softplus(low @ p["step"]["kernel"] + p["step"]["bias"])
    rates = -np.exp(p["A_log"])

    def step(state, u, delta, write, read):
        h = np.exp(delta[:, None] * rates) * state[0] + (delta * u)[:, None] * write[:, :, None]
        return (h,), np.einsum("bnc,bn->bc", h, read) + p["D"] * u

    y = over_time(step, (np.zeros((BATCH, *rates.shape)),), u, delta, write, read)
    return (y * gate * sigmoid(gate)) @ p["output"]["kernel"]


def ffm(p, config, x):
    m, o = config.memory_size, config.features
    new, through, gates = np.split(x @ p["input"]["kernel"] + p["input"]["bias"], [m, m + o], -1)
    gates = sigmoid(gates)
    decay = np.exp(np.minimum(p["alpha"], -1e-8)[:, None] + 1j * p["omega"])
    states = linear(decay, np.broadcast_to((new * gates[..., :m])[..., None], (BATCH, TIME, *decay.shape)) + 0j)
    flat = states.reshape(BATCH, TIME, -1)
    z = np.concatenate([flat.real, flat.imag], -1) @ p["mix"] + p["mix_bias"]
    return gates[..., m:] * norm(z) + (1 - gates[..., m:]) * through


def shm(p, config, x):
    u = norm(x) * p["norm"]["scale"] + p["norm"]["bias"]
    share = lambda y: y / (1e-5 + y.sum(-1, keepdims=True))  # noqa: E731
    project = lambda name: u @ p[name]["kernel"]  # noqa: E731
    key, query = (share(np.maximum(project(name), 0)) for name in ("key", "query"))
    value = sigmoid(project("strength")) * project("value")
    table = p["theta"]

    def step(state, value, key, query, calibration):
        memory, age = state
        theta = np.stack([table[row(int(n)) % len(table)] for n in age])
        memory = memory * (1 + np.tanh(theta[:, :, None] * calibration[:, None])) + value[:, :, None] * key[:, None]
        memory = np.clip(memory, -(config.clip or np.inf), config.clip or np.inf)
        return (memory, age + 1), np.einsum("bij,bj->bi", memory, query)

    first = np.zeros((BATCH, config.memory_dim, config.memory_dim)), np.zeros(BATCH)
    read = over_time(step, first, value, key, query, project("calibration"))
    if config.shortcut:
        read = read + u @ p["shortcut"]["kernel"] + p["shortcut"]["bias"]
    return read @ p["output"]["kernel"] + p["output"]["bias"]


def row(n):
    """The row that a step reads: a hash in 32 bits, by whole numbers of any size."""
    n += 1470
    for factor, shift in ((0x9E3779B1, 16), (0x85EBCA77, 13), (0xC2B2AE3D, 16)):
        n = (n + 1) * factor % 2**32
        n ^= n >> shift
    return n >> 1


EQUATIONS = {
    "lru": (lru, LRUCell(features=11, state_dim=7)),
    "lru as wide as its input": (lru, LRUCell(features=WIDTH, state_dim=7)),
    "s5": (s5, S5Cell(features=11, state_dim=12, blocks=3)),
    "s5, bilinear, all modes": (s5, S5Cell(features=WIDTH, state_dim=7, conj_sym=False, discretization="bilinear")),
    "mingru": (mingru, MinGRUCell(features=11)),
    "mingru in logarithms": (mingru, MinGRUCell(features=11, log_space=True)),
    "minlstm": (minlstm, MinLSTMCell(features=11)),
    "rg_lru": (rg_lru, RGLRUCell(features=7, state_dim=7)),
    "rg_lru, read out": (rg_lru, RGLRUCell(features=11, state_dim=7)),
    "rtu": (rtu, RTUCell(features=14, state_dim=7)),
    "rtu, linear, read out": (rtu, RTUCell(features=11, state_dim=7, linear=True)),
    "mamba": (mamba, MambaCell(features=11, state_dim=3, step_rank=2, conv_kernel_size=3)),
    "ffm": (ffm, FFMCell(features=11, memory_size=3, context_size=4)),
    "shm": (shm, SHMCell(features=11, memory_dim=7, num_thetas=6)),
    "shm, clipped": (shm, SHMCell(features=11, memory_dim=7, sample_theta=False, clip=0.4, shortcut=True)),
}
CELLS = {
    name: EQUATIONS[name][1] for name in ("lru", "s5", "mingru", "minlstm", "rg_lru", "rtu", "mamba", "ffm", "shm")
}
DIAGONAL = ("lru", "s5", "mingru", "mingru in logarithms", "minlstm", "rg_lru", "rtu", "rtu, linear, read out")


def sequence_model(cell):
    return RNN(cell=cell) if isinstance(cell, RTUCell | SHMCell) else Memoroid(cell=cell)


@functools.cache
def prepared(name):
    """A model, its inputs, and parameters none of which is left at zero."""
    model = sequence_model(EQUATIONS[name][1])
    inputs = jax.random.normal(jax.random.key(1), (BATCH, TIME, WIDTH))
    params = begin(model, inputs, jnp.asarray(DONE))["params"]["cell"]
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(3)
    noisy = [x + jnp.float32(0.1 * rng.normal(size=x.shape)) for x in leaves]
    return model, inputs, jax.tree.unflatten(tree, noisy)


@pytest.mark.parametrize("name", EQUATIONS)
def test_equals_its_equations(name):
    model, inputs, params = prepared(name)
    got = quick(model.apply)({"params": {"cell": params}}, inputs, jnp.asarray(DONE))[1]
    exact = jax.tree.map(lambda x: np.asarray(x, float), params)
    want = EQUATIONS[name][0](exact, model.cell.config, np.asarray(inputs, float))
    assert np.max(np.abs(got - want)) < 1e-5 * max(1e-3, np.max(np.abs(want)))


@pytest.mark.parametrize("name", DIAGONAL)
def test_units_of_diagonal_cells_have_parameters_of_their_own(name):
    model, inputs, params = prepared(name)

    def last(params):
        carry, _ = model.apply({"params": {"cell": params}}, inputs, jnp.asarray(DONE))
        return [jnp.sum(part, axis=0) for part in jax.tree.leaves(carry)]

    for slopes in quick(jax.jacrev(last))(params):
        for parameter, slope in slopes.items():
            if parameter not in model.cell.recurrent_parameters:
                assert not any(np.any(x) for x in jax.tree.leaves(slope)), f"{parameter} influences the state"
                continue
            by_unit = np.abs(slope).reshape(slope.shape[0], -1, slope.shape[-1]).sum(1)
            assert np.count_nonzero(by_unit - np.diag(np.diag(by_unit))) == 0, f"units share {parameter}"
    assert set(model.cell.recurrent_parameters) <= set(params)


def test_a_step_of_the_cells_for_rnn_is_a_sequence_of_one():
    for name in ("rtu", "shm"):
        model, inputs, params = prepared(name)
        carry = model.initialize_carry(jax.random.key(0), (BATCH, WIDTH))
        stepped = quick(model.cell.apply)({"params": params}, carry, inputs[:, 0])
        whole = quick(model.apply)({"params": {"cell": params}}, inputs[:, :1], jnp.zeros((BATCH, 1), bool), carry)
        assert jax.tree.structure(stepped[0]) == jax.tree.structure(whole[0])
        np.testing.assert_allclose(stepped[1], whole[1][:, 0], rtol=1e-6, atol=1e-6)


def test_logarithms_agree_with_double_precision_at_a_usual_size():
    inputs, done = 3 * jax.random.normal(jax.random.key(0), (16, 128, 6)), jnp.zeros((16, 128), bool)
    linear_form, log_form = (Memoroid(cell=MinGRUCell(features=8, log_space=flag)) for flag in (False, True))
    params = begin(linear_form, inputs, done)

    def loss(params, model):
        outputs = model.apply(params, inputs, done)[1]
        return jnp.sum(jnp.square(outputs)), outputs

    run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
    (_, want), want_slopes = run(params, linear_form)
    (_, got), slopes = run(params, log_form)
    p = jax.tree.map(lambda x: np.asarray(x, float), params)["params"]["cell"]
    x = np.asarray(inputs, float)
    h, z = np.zeros((16, 8)), sigmoid(x @ p["gate_kernel"])
    for t in range(128):
        h = (1 - z[:, t]) * h + z[:, t] * positive(x[:, t] @ p["hidden_kernel"])
        np.testing.assert_allclose(got[:, t], h, rtol=1e-4)
        np.testing.assert_allclose(want[:, t], h, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(want_slopes), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.max(np.abs(b)))


def begin(model, inputs, done):
    return quick(model.init)(jax.random.key(1), inputs, done)


def start(cell):
    return begin(sequence_model(cell), jnp.zeros((1, 1, WIDTH)), jnp.zeros((1, 1), bool))["params"]["cell"]


def test_rings_of_eigenvalues():
    for cell in (
        LRUCell(state_dim=400, r_min=0.5, r_max=0.9, max_phase=2.0),
        RTUCell(state_dim=400, r_min=0.5, r_max=0.9, max_phase=2.0),
    ):
        params = start(cell)
        radius, angle = np.exp(-np.exp(params["nu_log"])), np.exp(params["theta_log"])
        assert radius.min() > 0.5
        assert radius.max() < 0.9
        assert abs(np.mean(radius**2) - (0.25 + 0.81) / 2) < 0.03  # uniform over the area
        assert 1.9 < angle.max() <= 2.0
    params = start(LRUCell(state_dim=9))
    radius = np.exp(-np.exp(params["nu_log"]))
    np.testing.assert_allclose(np.exp(params["gamma_log"]), np.sqrt(1 - radius**2), rtol=1e-4)


def test_s5_starts_from_hippo():
    params = start(S5Cell(features=3, state_dim=8, conj_sym=False))
    n = np.arange(8)
    q = np.sqrt(2 * n + 1)
    hippo = -(np.tril(np.outer(q, q), -1) + np.diag(n + 1.0))
    normal = hippo + np.outer(np.sqrt(n + 0.5), np.sqrt(n + 0.5))
    want = np.linalg.eigvals(normal)
    got = params["Lambda_re"] + 1j * params["Lambda_im"]
    np.testing.assert_allclose(np.sort(got.imag), np.sort(want.imag), rtol=1e-5)
    np.testing.assert_allclose(got.real, -0.5, rtol=1e-6)
    # The input matrix is a real one in another basis: mirrored frequencies have conjugate rows, up to a phase.
    size = np.linalg.norm(params["B_re"] + 1j * params["B_im"], axis=0)
    np.testing.assert_allclose(size, size[::-1], rtol=1e-4)
    assert np.all((params["log_step"] >= np.log(1e-3)) & (params["log_step"] <= np.log(1e-1)))

    halved = start(S5Cell(features=3, state_dim=16, blocks=2))
    assert halved["Lambda_im"].shape == (8,)
    np.testing.assert_allclose(halved["Lambda_im"][:4], np.sort(want.imag)[:4], rtol=1e-5)
    np.testing.assert_array_equal(halved["Lambda_im"][:4], halved["Lambda_im"][4:])


def test_s5_stores_one_of_each_conjugate_pair():
    inputs, done = jax.random.normal(jax.random.key(0), (BATCH, TIME, WIDTH)), jnp.asarray(DONE)
    half, whole = (Memoroid(cell=S5Cell(features=11, state_dim=8, conj_sym=flag)) for flag in (True, False))
    params = begin(half, inputs, done)["params"]["cell"]
    axis = {"C_re": 0, "C_im": 0}
    mirrored = {
        name: x if name == "D" else jnp.concatenate([x, -x if name.endswith("_im") else x], axis.get(name, -1))
        for name, x in params.items()
    }
    got = quick(whole.apply)({"params": {"cell": mirrored}}, inputs, done)[1]
    want = quick(half.apply)({"params": {"cell": params}}, inputs, done)[1]
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_s5_does_not_grow_unless_told_to():
    inputs, done = jnp.ones((1, 400, WIDTH)), jnp.zeros((1, 400), bool)
    for clip in (True, False):
        model = Memoroid(cell=S5Cell(features=3, state_dim=4, clip_eigs=clip))
        params = begin(model, inputs, done)
        params["params"]["cell"] |= {"Lambda_re": jnp.full(2, 2.0), "log_step": jnp.full(2, -1.0)}
        outputs = quick(model.apply)(params, inputs, done)[1]
        assert bool(jnp.max(jnp.abs(outputs)) < 100) == clip


def test_first_decays_and_steps():
    decay = np.exp(-8 * softplus(np.asarray(start(RGLRUCell(state_dim=300))["Lambda"], float)))
    assert 0.9 <= decay.min() < 0.905
    assert 0.99 < decay.max() <= 0.9991
    params = start(MambaCell(features=40, state_dim=5))
    step = softplus(np.asarray(params["step"]["bias"], float))
    assert 1e-3 <= step.min() < 2e-3
    assert 5e-2 < step.max() <= 0.1
    np.testing.assert_allclose(np.exp(params["A_log"][:, 7]), np.arange(1, 6), rtol=1e-5)
    params = start(FFMCell(memory_size=6, context_size=3))
    np.testing.assert_allclose(params["alpha"][jnp.array([0, -1])], [-0.67314, -0.0044972], rtol=1e-4)
    np.testing.assert_allclose(params["omega"], 2 * np.pi / np.array([1, 512.5, 1024]), rtol=1e-5)


def test_shm_takes_another_row_at_every_step():
    rows = np.array([row(n) % 128 for n in range(4096)])
    counts = np.bincount(rows, minlength=128)
    assert counts.min() > 0
    assert abs(counts.std() / np.sqrt(32) - 1) < 0.5  # as spread as random rows would be
    assert np.mean(rows[1:] == rows[:-1]) < 0.03
    assert start(SHMCell(memory_dim=7, num_thetas=6))["theta"].shape == (6, 7)
    assert start(SHMCell(memory_dim=7, num_thetas=6, sample_theta=False))["theta"].shape == (1, 7)


@pytest.mark.parametrize("name", CELLS)
def test_configuration_or_fields(name):
    cell = CELLS[name]
    kind, fields = type(cell), {f.name: getattr(cell.config, f.name) for f in dataclasses.fields(cell.config)}
    assert kind(config=cell.config) == kind(cell.config) == kind(**fields)
    assert getattr(networks, kind.__name__) is kind
    assert getattr(networks, type(cell.config).__name__) is type(cell.config)
    assert "Source:" in kind.__doc__
    assert next(iter(fields)) == "features"
    assert list(fields)[-1] == "dtype"


def test_published_forms():
    built = [
        RNN(cell=SHMCell(config=SHMConfig(features=64, output_features=32))),
        Memoroid(cell=LRUCell(config=LRUConfig(features=64, hidden_dim=64))),
        Memoroid(cell=S5Cell(config=S5Config(features=64, hidden_dim=64))),
        Memoroid(cell=MambaCell(features=64)),
        Memoroid(cell=MinGRUCell(config=MinGRUConfig(features=64))),
        Memoroid(cell=FFMCell(config=FFMConfig(features=64, memory_size=32, context_size=64))),
        RNN(cell=RTUCell(config=RTUConfig(features=64, hidden_dim=64))),
        Mamba(hidden_dim=64),
        S5(hidden_dim=64, state_dim=64),
    ]
    for model in built:
        inputs, done = jax.ShapeDtypeStruct((2, 3, 5), jnp.float32), jax.ShapeDtypeStruct((2, 3), bool)
        (_, outputs), _ = jax.eval_shape(
            lambda x, done, model=model: model.init_with_output(jax.random.key(0), x, done), inputs, done
        )
        assert outputs.shape == (2, 3, 32 if isinstance(model.cell, SHMCell) else 64)


REFUSED = [
    (LRUConfig, {"features": 0}, r"`features` must be at least 1, got 0"),
    (LRUConfig, {"hidden_dim": 0}, r"`hidden_dim` must be at least 1, got 0"),
    (LRUConfig, {"r_min": -0.1}, r"`r_min` must be in \[0, 1\], got -0.1"),
    (LRUConfig, {"r_min": 0.9, "r_max": 0.5}, r"`r_max` must be in \[0.9, 1\], got 0.5"),
    (LRUConfig, {"max_phase": 0.0}, r"`max_phase` must be above 0, got 0.0"),
    (RTUConfig, {"features": 0}, r"`features` must be at least 1, got 0"),
    (RTUConfig, {"r_max": 1.5}, r"`r_max` must be in \[0.0, 1\], got 1.5"),
    (RTUConfig, {"max_phase": -1.0}, r"`max_phase` must be above 0, got -1.0"),
    (S5Config, {"blocks": 3}, r"`blocks` \(3\) must divide `state_dim` \(64\) for blocks of equal size"),
    (
        S5Config,
        {"state_dim": 7},
        r"`state_dim` / `blocks` must be even for conjugate pairs, got 7 / 1; or set `conj_sym",
    ),
    (S5Config, {"dt_min": 0.5}, "`dt_max` must be at least 0.5, got 0.1"),
    (S5Config, {"discretization": "euler"}, r"`discretization` must be one of zoh, bilinear, got 'euler'"),
    (MinGRUConfig, {"features": -1}, r"`features` must be at least 1, got -1"),
    (MinLSTMConfig, {"features": -1}, r"`features` must be at least 1, got -1"),
    (RGLRUConfig, {"decay_max": 1.0}, "`decay_max` must be above 0 and below 1, got 1.0"),
    (MambaConfig, {"step_rank": 0}, r"`step_rank` must be at least 1 or None, got 0"),
    (MambaConfig, {"conv_kernel_size": 0}, r"`conv_kernel_size` must be at least 1, got 0"),
    (FFMConfig, {"memory_size": 0}, r"`memory_size` must be at least 1, got 0"),
    (FFMConfig, {"min_period": 0.0}, "`min_period` must be above 0, got 0.0"),
    (SHMConfig, {"num_thetas": 0}, r"`num_thetas` must be at least 1, got 0"),
    (SHMConfig, {"clip": 0.0}, r"`clip` must be above 0 or None, got 0.0"),
]


@pytest.mark.parametrize(("kind", "fields", "message"), REFUSED)
def test_wrong_fields_are_refused(kind, fields, message):
    with pytest.raises(ValueError, match=message):
        kind(**fields)
    with pytest.raises(TypeError, match=r"`features` must be an integer, got 2.5"):
        kind(features=2.5)

"""The memories with matrix states, against their equations in float64 with the models' own parameters."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks import Memoroid, sequence_models
from memorax.networks.sequence_models import (
    DeltaProductCell,
    DeltaProductConfig,
    GatedDeltaNet2Cell,
    GatedDeltaNetCell,
    GatedDeltaNetConfig,
    GLACell,
    GLAConfig,
    HGRN2Cell,
    HGRN2Config,
    KDACell,
    KDAConfig,
    LinearAttentionCell,
    LinearAttentionConfig,
    Mamba2Cell,
    Mamba2Config,
    Mamba3Cell,
    Mamba3Config,
    RetNetCell,
    RetNetConfig,
    RWKV7Cell,
    RWKV7Config,
    mLSTMCell,
    mLSTMConfig,
)

BATCH, TIME, WIDTH, FEATURES, HEADS = 2, 9, 6, 7, 3
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, 0], RESET[1, [2, 3, 8]] = True, True
SIZES = {"features": FEATURES, "num_heads": HEADS, "chunk_size": 4}
CONFIGS = {
    LinearAttentionCell: LinearAttentionConfig(**SIZES, head_dim=4),
    RetNetCell: RetNetConfig(**SIZES, head_dim=4, value_dim=5),
    Mamba2Cell: Mamba2Config(**SIZES, head_dim=5, state_dim=4),
    mLSTMCell: mLSTMConfig(**SIZES, inner_dim=12, qkv_block_size=2),
    GatedDeltaNetCell: GatedDeltaNetConfig(**SIZES, head_dim=4, value_dim=5),
    DeltaProductCell: DeltaProductConfig(**SIZES, head_dim=4, value_dim=5, num_householder=3),
    Mamba3Cell: Mamba3Config(**SIZES, head_dim=5, state_dim=8),
    RWKV7Cell: RWKV7Config(**SIZES, head_dim=4, gate_rank=2),
}
GATED = (GLACell, HGRN2Cell, KDACell, GatedDeltaNet2Cell)
"""Cells that are compared with stored numbers, not with equations here."""


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return np.logaddexp(0, x)


def rms(x, eps):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps)


def direction(x, eps=1e-6):
    return x / np.sqrt(np.sum(x**2, axis=-1, keepdims=True) + eps)


def rows(run):
    """Run `(p, config, x [time, width]) -> [time, features]` on every episode of every row alone."""

    def reference(p, config, inputs):
        outputs = np.zeros((BATCH, TIME, FEATURES))
        for row in range(BATCH):
            edges = sorted({0, *np.flatnonzero(RESET[row]).tolist(), TIME})
            for start, stop in itertools.pairwise(edges):
                outputs[row, start:stop] = run(p, config, inputs[row, start:stop])
        return outputs

    return reference


def convolve(x, kernel, bias=0.0):
    padded = np.concatenate([np.zeros((len(kernel) - 1, x.shape[1])), x])
    return np.stack([np.sum(padded[t : t + len(kernel)] * kernel, axis=0) for t in range(len(x))]) + bias


def heads(x, count=HEADS):
    return x.reshape(len(x), count, -1)


@rows
def linear_attention(p, config, x):
    q, k, v = (heads(x @ p[name]["kernel"]) for name in ("query", "key", "value"))
    q, k = (np.where(part > 0, part + 1, np.exp(part)) for part in (q, k))
    scores = np.einsum("thn,shn->hts", q, k) * np.tri(len(x))
    weights = scores / (scores.sum(-1, keepdims=True) + config.eps)
    return np.einsum("hts,shp->thp", weights, v).reshape(len(x), -1) @ p["out"]["kernel"]


@rows
def retnet(p, config, x):
    q, k, v = (heads(x @ p[name]["kernel"]) for name in ("query", "key", "value"))
    half, time = config.head_dim // 2, np.arange(len(x))
    angles = 10000.0 ** -np.linspace(0, 1, half)
    q, k = (part[..., :half] + 1j * part[..., half:] for part in (q, k / np.sqrt(config.head_dim)))
    turn = np.exp(1j * time[:, None] * angles)[:, None]  # the paper's absolute positions
    q, k = q * turn, k * turn
    scores = np.einsum("thn,shn->hts", q.conj(), k).real
    ages = time[:, None] - time
    kept = (1 - 2.0 ** (-5 - np.arange(HEADS)))[:, None, None] ** np.maximum(ages, 0) * (ages >= 0)
    o = rms(np.einsum("hts,shp->thp", scores * kept, v), config.eps).reshape(len(x), -1)
    return (o * silu(x @ p["gate"]["kernel"])) @ p["out"]["kernel"]


@rows
def mamba2(p, config, u):
    inner, states = HEADS * config.head_dim, config.state_dim
    z, mixed, delta = np.split(u @ p["in_proj"]["kernel"], [inner, 2 * inner + 2 * states], axis=-1)
    x, b, c = np.split(silu(convolve(mixed, p["conv_kernel"], p["conv_bias"])), [inner, inner + states], axis=-1)
    x, delta, rate = heads(x), softplus(delta + p["dt_bias"]), np.exp(p["A_log"])
    state, outputs = np.zeros((HEADS, states, config.head_dim)), []
    for t in range(len(u)):
        state = np.exp(-delta[t] * rate)[:, None, None] * state
        state += delta[t][:, None, None] * b[t][:, None] * x[t][:, None]
        outputs.append(np.einsum("hnp,n->hp", state, c[t]) + p["D"][:, None] * x[t])
    y = np.reshape(outputs, (len(u), inner)) * silu(z)
    return (rms(y, 1e-5) * p["norm"]["scale"]) @ p["out_proj"]["kernel"]


@rows
def mlstm(p, config, u):
    inner, width = config.inner_dim, config.inner_dim // HEADS
    x, z = np.split(u @ p["up"]["kernel"], 2, axis=-1)
    mixed = silu(convolve(x, p["conv_kernel"], p["conv_bias"]))

    def blocks(name, part):
        return np.einsum("tni,nij->tnj", part.reshape(len(u), -1, config.qkv_block_size), p[name]).reshape(part.shape)

    def cap(x):
        return x if config.gate_soft_cap is None else config.gate_soft_cap * np.tanh(x / config.gate_soft_cap)

    q, k, v = blocks("query", mixed), blocks("key", mixed), blocks("value", x)
    qkv = np.concatenate([q, k, v], axis=-1)
    write, forget = (qkv @ p[name]["kernel"] + p[name]["bias"] for name in ("write", "forget"))
    q, k, v = heads(q), heads(k) / np.sqrt(width), heads(v)
    matrix, normalizer, outputs = np.zeros((HEADS, width, width)), np.zeros((HEADS, width)), []
    for t in range(len(u)):
        keep, put = sigmoid(cap(forget[t])), np.exp(cap(write[t]))
        matrix = keep[:, None, None] * matrix + put[:, None, None] * k[t][:, :, None] * v[t][:, None]
        normalizer = keep[:, None] * normalizer + put[:, None] * k[t]
        bound = np.maximum(np.abs(np.sum(normalizer * q[t], axis=-1)), 1)
        outputs.append(np.einsum("hnp,hn->hp", matrix, q[t]) / bound[:, None])
    h = np.stack(outputs)
    h = h - h.mean(-1, keepdims=True)
    h = rms(h, 1e-5).reshape(len(u), inner) * p["norm_scale"] + p["skip"] * mixed
    return (h * silu(z)) @ p["down"]["kernel"]


def delta(p, config, u, many, largest):
    """Gated DeltaNet is DeltaProduct with one update for each step."""
    keys, values = HEADS * config.head_dim, HEADS * config.value_dim
    mixed = silu(convolve(u @ p["qkv"]["kernel"], p["conv_kernel"]))
    q, k, v = np.split(mixed, [keys, keys * (1 + many)], axis=-1)
    q = direction(heads(q)) / np.sqrt(config.head_dim)
    k, v = direction(k.reshape(len(u), many, HEADS, -1)), v.reshape(len(u), many, HEADS, -1)
    beta = largest * sigmoid(u @ p["beta"]["kernel"]).reshape(len(u), many, HEADS)
    decay = np.exp(-softplus(u @ p["decay"]["kernel"] + p["dt_bias"]) * np.exp(p["A_log"]))
    state, outputs = np.zeros((HEADS, config.head_dim, config.value_dim)), []
    for t in range(len(u)):
        state = decay[t][:, None, None] * state
        for j in range(many):
            error = v[t, j] - np.einsum("hnp,hn->hp", state, k[t, j])
            state = state + k[t, j][:, :, None] * (beta[t, j][:, None] * error)[:, None]
        outputs.append(np.einsum("hnp,hn->hp", state, q[t]))
    o = (rms(np.stack(outputs), config.eps) * p["norm"]["scale"]).reshape(len(u), values)
    return (o * silu(u @ p["gate"]["kernel"])) @ p["out"]["kernel"]


@rows
def mamba3(p, config, u):
    inner, states, pairs = HEADS * config.head_dim, config.state_dim, config.state_dim // 4
    widths = np.cumsum([inner, inner, states, states, HEADS, HEADS, HEADS])
    z, x, b, c, step, rate, trapezoid, angles = np.split(u @ p["in_proj"]["kernel"], widths, axis=-1)
    b, c = (
        (rms(part, 1e-5) * p[f"{name}_norm"]["scale"])[:, None] + p[f"{name}_bias"]
        for name, part in (("B", b), ("C", c))
    )
    x, step, part = heads(x), softplus(step + p["dt_bias"]), sigmoid(trapezoid)
    alpha = np.exp(-step * np.maximum(np.where(rate >= 0, 1 + rate, 1 / (1 + np.abs(rate))), config.decay_floor))
    state, before, outputs = np.zeros((HEADS, states, config.head_dim)), 0.0, []
    for t in range(len(u)):
        now = b[t][:, :, None] * x[t][:, None]
        state = state + ((1 - part[t]) * step[t])[:, None, None] * before
        turn = np.exp(-1j * np.pi * np.tanh(angles[t]) * step[t][:, None])[..., None]
        pair = turn * (state[:, :pairs] + 1j * state[:, pairs : 2 * pairs])
        state = np.concatenate([pair.real, pair.imag, state[:, 2 * pairs :]], axis=1)
        state = alpha[t][:, None, None] * state + (part[t] * step[t])[:, None, None] * now
        outputs.append(np.einsum("hnp,hn->hp", state, c[t]) + p["D"][:, None] * x[t])
        before = now
    return (np.reshape(outputs, (len(u), inner)) * silu(z)) @ p["out_proj"]["kernel"]


@rows
def rwkv7(p, config, u):
    """The authors' recurrence: `S ← S diag(w) + (S a) bᵀ + v kᵀ` with `a = -κ` and `b = κ * rate`, values first."""
    x = u @ p["in"]["kernel"]
    before = np.concatenate([np.zeros_like(x[:1]), x[:-1]])

    def low(name, inside):
        mixed = x + (before - x) * p[f"mix_{name}"]
        return heads(inside(mixed @ p[f"{name}_in"]["kernel"]) @ p[f"{name}_out"]["kernel"])

    r, k, v = (heads((x + (before - x) * p[f"mix_{name}"]) @ p[name]["kernel"]) for name in ("receive", "key", "value"))
    decay = np.exp(-np.exp(-softplus(-(low("decay", np.tanh) + p["decay_bias"])) - 0.5))
    rate = sigmoid(low("rate", lambda x: x) + p["rate_bias"])
    removed = k * p["key_scale"]
    removed = removed / np.maximum(np.linalg.norm(removed, axis=-1, keepdims=True), 1e-12)
    k = k * (1 + (rate - 1) * p["rate_scale"])
    state, outputs = np.zeros((HEADS, config.head_dim, config.head_dim)), []
    for t in range(len(u)):
        read = np.einsum("hvk,hk->hv", state, -removed[t])
        state = state * decay[t][:, None] + read[:, :, None] * (removed[t] * rate[t])[:, None]
        state = state + v[t][:, :, None] * k[t][:, None]
        outputs.append(np.einsum("hvk,hk->hv", state, r[t]))
    o = np.stack(outputs)
    o = rms_of_centred(o, config.eps) * p["norm_scale"] + p["norm_bias"]
    o = o + np.sum(r * k * p["bonus"], axis=-1, keepdims=True) * v
    return (o * low("gate", sigmoid)).reshape(len(u), -1) @ p["out"]["kernel"]


def rms_of_centred(x, eps):
    return rms(x - x.mean(-1, keepdims=True), eps)


REFERENCES = {
    LinearAttentionCell: linear_attention,
    RetNetCell: retnet,
    Mamba2Cell: mamba2,
    mLSTMCell: mlstm,
    GatedDeltaNetCell: rows(functools.partial(delta, many=1, largest=1)),
    DeltaProductCell: rows(functools.partial(delta, many=3, largest=2)),
    Mamba3Cell: mamba3,
    RWKV7Cell: rwkv7,
}


@functools.cache
def initialized(cell):
    inputs = jax.random.normal(jax.random.key(1), (BATCH, TIME, WIDTH))
    model = Memoroid(cell=cell(CONFIGS[cell]))
    return model, jax.jit(model.init)(jax.random.key(0), inputs, jnp.asarray(RESET))["params"]["cell"], inputs


@pytest.mark.parametrize("cell", CONFIGS, ids=lambda cell: cell.__name__)
def test_outputs_equal_the_equations(cell):
    model, params, inputs = initialized(cell)
    keys = iter(jax.random.split(jax.random.key(2), 99))
    params = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(next(keys), x.shape), params)  # nothing at zero
    _, got = jax.jit(model.apply)({"params": {"cell": params}}, inputs, jnp.asarray(RESET))
    exact = jax.tree.map(lambda x: np.asarray(x, float), (params, inputs))
    want = REFERENCES[cell](exact[0], CONFIGS[cell], exact[1])
    tolerance = 1e-3 if cell is mLSTMCell else 1e-5
    assert np.max(np.abs(got - want)) <= tolerance * np.max(np.abs(want))


def test_gates_of_mlstm_can_be_capped():
    _, params, inputs = initialized(mLSTMCell)
    config = mLSTMConfig(**SIZES, inner_dim=12, qkv_block_size=2, gate_soft_cap=1.5)
    got = Memoroid(cell=mLSTMCell(config)).apply({"params": {"cell": params}}, inputs, jnp.asarray(RESET))[1]
    exact = jax.tree.map(lambda x: np.asarray(x, float), (params, inputs))
    want = mlstm(exact[0], config, exact[1])
    assert np.max(np.abs(got - want)) <= 1e-3 * np.max(np.abs(want))
    uncapped = mlstm(exact[0], CONFIGS[mLSTMCell], exact[1])
    assert np.max(np.abs(want - uncapped)) > 1e-2 * np.max(np.abs(want))


@pytest.mark.parametrize("cell", [*CONFIGS, *GATED], ids=lambda cell: cell.__name__)
def test_both_forms_of_construction(cell):
    config = CONFIGS[cell] if cell in CONFIGS else cell.configuration(**SIZES, head_dim=4, value_dim=5)
    fields = {name: getattr(config, name) for name in type(config).__dataclass_fields__}
    assert cell(config=config) == cell(**fields) == cell(config)
    torso = getattr(sequence_models, cell.__name__.removesuffix("Cell"))
    assert torso(13).cell.config.features == torso(hidden_dim=13).cell.config.features == 13


@pytest.mark.parametrize("cell", [*CONFIGS, *GATED], ids=lambda cell: cell.__name__)
def test_sizes_are_checked(cell):
    config = cell.configuration
    for name in ("features", "num_heads", "chunk_size"):
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1( or None)?, got 0"):
            config(**{name: 0})
        with pytest.raises(TypeError, match=f"`{name}` must be an integer( or None)?, got 2.5"):
            config(**{name: 2.5})


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        (LinearAttentionConfig, {"eps": -1.0}, r"`eps` must be at least 0, got -1.0"),
        (RetNetConfig, {"head_dim": 5}, r"`head_dim` must be even for rotated keys, got 5; or set `rotation=False`"),
        (RetNetConfig, {"eps": 0.0}, r"`eps` must be above 0, got 0.0"),
        (Mamba2Config, {"num_groups": 3}, r"`num_groups` \(3\) must divide `num_heads` \(4\)"),
        (mLSTMConfig, {"num_heads": 7}, r"`num_heads` \(7\) must divide `inner_dim` \(64\)"),
        (mLSTMConfig, {"qkv_block_size": 5}, r"`qkv_block_size` \(5\) must divide `inner_dim` \(64\)"),
        (mLSTMConfig, {"eps": -1.0}, r"`eps` must be at least 0, got -1.0"),
        (mLSTMConfig, {"gate_soft_cap": 0.0}, r"`gate_soft_cap` must be above 0 or None, got 0.0"),
        (RWKV7Config, {"gate_rank": 0}, r"`gate_rank` must be at least 1 or None, got 0"),
        (GatedDeltaNetConfig, {"eps": 0.0}, r"`eps` must be above 0, got 0.0"),
        (DeltaProductConfig, {"eps": 0.0}, r"`eps` must be above 0, got 0.0"),
        (DeltaProductConfig, {"num_householder": 0}, r"`num_householder` must be at least 1, got 0"),
        (GLAConfig, {"gate_normalizer": 0.0}, r"`gate_normalizer` must be above 0, got 0.0"),
        (HGRN2Config, {"lower_bound": 1.0}, r"`lower_bound` must be at least 0 and below 1, got 1.0"),
        (KDAConfig, {"gate_rank": 0}, r"`gate_rank` must be at least 1 or None, got 0"),
        (Mamba3Config, {"num_groups": 3}, r"`num_groups` \(3\) must divide `num_heads` \(4\)"),
        (Mamba3Config, {"rope_fraction": 1.5}, r"`rope_fraction` must be in \[0, 1\], got 1.5"),
        (Mamba3Config, {"decay_floor": -1.0}, r"`decay_floor` must be at least 0, got -1.0"),
    ],
)
def test_fields_are_checked(config, fields, message):
    with pytest.raises(ValueError, match=message):
        config(**fields)


def test_parameters_start_as_published():
    params = {cell: initialized(cell)[1] for cell in (Mamba2Cell, mLSTMCell, GatedDeltaNetCell, Mamba3Cell)}
    for cell in (Mamba2Cell, GatedDeltaNetCell, Mamba3Cell):
        delta = softplus(np.asarray(params[cell]["dt_bias"], float))
        assert np.all((delta > 0.99e-3) & (delta < 0.101))
    wide = jax.jit(lambda: Mamba2Cell(num_heads=512, head_dim=1).init(jax.random.key(0), *_one(Mamba2Cell, 512)))()
    rates = np.exp(wide["params"]["A_log"])
    assert 1 <= rates.min() < 1.5
    assert 15.5 < rates.max() <= 16
    assert abs(np.median(rates) - 8.5) < 1  # uniform itself, not its logarithm
    assert np.all(np.exp(params[GatedDeltaNetCell]["A_log"]) <= 16)
    gates = params[mLSTMCell]
    np.testing.assert_allclose(gates["forget"]["bias"], np.linspace(3, 6, HEADS), rtol=1e-6)
    assert not np.any(gates["forget"]["kernel"])
    assert not np.any(gates["write"]["kernel"])
    assert abs(np.std(gates["up"]["kernel"]) / np.sqrt(2 / (5 * WIDTH)) - 1) < 0.2
    assert abs(np.std(gates["down"]["kernel"]) / (2 / np.sqrt(WIDTH)) - 1) < 0.2
    assert np.all(gates["skip"] == 1)
    for name in ("B_bias", "C_bias", "D"):
        assert np.all(params[Mamba3Cell][name] == 1)


def _one(cell, heads):
    carry = cell(num_heads=heads, head_dim=1).initialize_carry(jax.random.key(0), (1, 2))
    return carry, jnp.zeros((1, 1, 2)), jnp.zeros((1, 1), bool)


def test_linear_attention_gives_the_mean_of_what_it_saw():
    cell = LinearAttentionCell(features=2, num_heads=1, head_dim=2, eps=0.0)
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 2)), jnp.float32)
    params = {name: {"kernel": jnp.zeros((2, 2)) if name in ("query", "key") else jnp.eye(2)} for name in NAMES}
    carry = cell.initialize_carry(None, (1, 2))
    _, got = jax.jit(cell.apply)({"params": params}, carry, inputs, jnp.zeros((1, 5), bool))
    want = np.cumsum(inputs, axis=1) / np.arange(1, 6)[:, None]
    np.testing.assert_allclose(got, want, atol=1e-6)


NAMES = ("query", "key", "value", "out")


@pytest.mark.parametrize("cell", CONFIGS, ids=lambda cell: cell.__name__)
def test_low_precision_activations_leave_the_state_in_float32(cell):
    model, params, inputs = initialized(cell)
    low = Memoroid(cell=cell(**{**vars(CONFIGS[cell]), "dtype": jnp.bfloat16}))
    kinds = jax.eval_shape(low.apply, {"params": {"cell": params}}, inputs, jnp.asarray(RESET))
    assert kinds[1].dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(kinds[0]))
    half = jax.eval_shape(model.apply, {"params": {"cell": params}}, inputs.astype(jnp.bfloat16), jnp.asarray(RESET))
    assert half[1].dtype == jnp.bfloat16

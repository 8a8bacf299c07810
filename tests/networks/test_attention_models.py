"""Attention, segment recurrence and the sLSTM as models: equations, sizes, first values, errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks import RNN, SelfAttention, SelfAttentionConfig, SequenceModelWrapper, sLSTMCell, sLSTMConfig
from memorax.networks.blocks.segment_recurrence import SegmentRecurrence
from memorax.networks.positional_embeddings import POSITIONAL_EMBEDDINGS, ALiBi, LearnedPositionalEmbedding
from memorax.networks.positional_embeddings.alibi import slopes
from memorax.networks.positional_embeddings.relative import encode_distances
from memorax.networks.sequence_models import MODELS, Attention, sLSTM
from memorax.testing.sequence_model_properties import DONE, FEATURES, PROPERTIES, make_case

HIDDEN = 11

SMALL = {"features": HIDDEN, "num_heads": 2, "head_dim": 4, "context_length": 3}
NEVER = jnp.zeros(DONE.shape, bool)


def segment(kind="relative"):
    return SegmentRecurrence(SelfAttention(**SMALL, positional_embedding=kind), memory_length=2, features=FEATURES)


@pytest.fixture(scope="module")
def cases():
    """Every kind of positions, and segment recurrence, with parameters that leave nothing at zero."""
    made = {}

    def get(name):
        if name not in made:
            kind = name.removeprefix("segment-")
            model = segment(kind) if name != kind else SelfAttention(**SMALL, positional_embedding=kind)
            made[name] = make_case(model, receptive_field=3)
        return made[name]

    return get


@pytest.mark.parametrize("kind", ["alibi", "learned", "relative", "segment-learned"])
@pytest.mark.parametrize("name", ["stepwise", "forgets"])
def test_property(cases, kind, name):
    PROPERTIES[name](cases(kind))


@pytest.mark.parametrize(
    "name", ["stepwise", "forgets", "ignores_old_carry", "causal", "quarantines_nan", "stable_types", "gradients_agree"]
)
def test_property_of_segment_recurrence(cases, name):
    PROPERTIES[name](cases("segment-relative"))


def weights_of(case):
    return jax.tree.map(lambda x: np.asarray(x, float), case.params["params"])


@pytest.mark.parametrize("kind", ["rope", "alibi", "learned", "relative"])
def test_attention_equals_its_equations(cases, kind):
    case = cases(kind)
    weights, x = weights_of(case), np.asarray(case.inputs, float)
    carry, got = case.apply(case.params, case.inputs, jnp.asarray(DONE), None)
    for row in range(x.shape[0]):
        begin = 0
        for t in range(x.shape[1]):
            begin = t if DONE[row, t] else begin
            seen = np.arange(max(begin, t - 2), t + 1)
            inputs = x[row] + (weights["position"]["table"][np.arange(8) - begin] if kind == "learned" else 0)
            query = np.einsum("f,fhd->hd", inputs[t], weights["query"]["kernel"])
            key, value = (np.einsum("tf,fhd->thd", inputs[seen], weights[name]["kernel"]) for name in ("key", "value"))
            if kind == "rope":
                angle = np.exp(1j * seen[:, None, None] * np.asarray([1.0, 0.01]))
                pair = lambda a: a[..., :2] + 1j * a[..., 2:]  # noqa: E731
                scores = np.real(pair(query) * np.exp(1j * t * np.asarray([1.0, 0.01])) * np.conj(pair(key) * angle))
                scores = scores.sum(-1) / 2
            elif kind == "relative":
                place = weights["position"]
                far = np.einsum("df,fhe->dhe", encode_distances(3, 8), place["distance"]["kernel"])[t - seen]
                scores = (key * (query + place["key_bias"]) + far * (query + place["distance_bias"])).sum(-1) / 2
            else:
                scores = (key * query).sum(-1) / 2
                scores -= np.outer(t - seen, [2**-4, 2**-8]) if kind == "alibi" else 0
            share = np.exp(scores - scores.max(0))
            mixed = np.einsum("th,thd->hd", share / share.sum(0), value)
            want = np.einsum("hd,hdf->f", mixed, weights["output"]["kernel"])
            np.testing.assert_allclose(got[row, t], want, rtol=0, atol=2e-5)
    assert carry.keys.shape == (3, 2, 3, 4)


def test_slopes_for_any_number_of_heads():
    np.testing.assert_allclose(slopes(8), 2.0 ** -np.arange(1, 9))
    np.testing.assert_allclose(slopes(1), [2.0**-8])
    np.testing.assert_allclose(slopes(3), [2.0**-4, 2.0**-8, 2.0**-2])
    assert len(slopes(12)) == len(set(slopes(12))) == 12


def test_learned_positions_end_with_the_last_one():
    embedding = LearnedPositionalEmbedding(num_embeddings=3)
    inputs, steps = jnp.zeros((1, 4, 5)), jnp.asarray([[0, 2, 3, 1_000_000]])
    out, _ = embedding.init_with_output(jax.random.key(0), inputs, steps, method="embed")
    np.testing.assert_array_equal(out[0, 2], out[0, 1])
    np.testing.assert_array_equal(out[0, 3], out[0, 1])
    assert np.any(out[0, 0] != out[0, 1])


def test_segment_recurrence_sees_what_a_window_sees(cases):
    """The outputs are those of the layer with a window of one step more than the memory."""
    case = cases("segment-relative")
    alone = SelfAttention(**SMALL, positional_embedding="relative")
    params = {"params": case.params["params"]["module"]}
    for cuts in ((0, 8), (0, 1, 2, 5, 8)):
        carry, outputs = None, []
        for start, stop in itertools.pairwise(cuts):
            piece = case.inputs[:, start:stop], jnp.asarray(DONE[:, start:stop])
            carry, output = case.apply(case.params, *piece, carry)
            outputs.append(output)
        want = alone.apply(params, case.inputs, jnp.asarray(DONE))[1]
        np.testing.assert_allclose(jnp.concatenate(outputs, 1), want, rtol=0, atol=1e-5)


def test_segment_recurrence_learns_from_its_memory(cases):
    case = cases("segment-relative")

    def loss(kernel, carry):
        weights = case.params["params"]["module"]
        params = {"params": {"module": {**weights, "value": {"kernel": kernel}}}}
        return jnp.sum(jnp.sin(case.model.apply(params, case.inputs[:, :1], NEVER[:, :1], carry)[1]))

    kernel = case.params["params"]["module"]["value"]["kernel"]
    empty = case.carry._replace(inputs=jnp.zeros_like(case.carry.inputs))
    gradient = jax.jit(jax.grad(loss))
    learned, nothing = gradient(kernel, case.carry), gradient(kernel, empty)
    assert np.any(np.abs(learned - nothing) > 1e-3)


def test_slstm_equals_its_equations():
    case = make_case(sLSTM(HIDDEN, inner_dim=12, num_heads=3))
    weights = {name: x["kernel"] if name in ("into", "out") else x for name, x in case.params["params"]["cell"].items()}
    weights = {name: np.asarray(x, float) for name, x in weights.items()}
    _, got = case.apply(case.params, case.inputs, NEVER, None)
    x = np.asarray(case.inputs, float) @ weights["into"]
    past = np.concatenate([np.zeros((3, 3, 12)), x], axis=1)
    u = sum(past[:, tap : tap + 8] * weights["conv_kernel"][tap] for tap in range(4)) + weights["conv_bias"]
    u, x = (part.reshape(3, 8, 3, 4) for part in (u / (1 + np.exp(-u)), x))
    c = n = h = np.zeros((3, 3, 4))
    for t in range(8):
        gates = [
            np.einsum("bhd,hde->bhe", s[:, t], k)
            for s, k in zip((u, x), np.split(weights["kernel"], 2, -1), strict=True)
        ]
        gates = np.concatenate(gates, -1) + np.einsum("bhd,hdg->bhg", h, weights["recurrent"]) + weights["bias"]
        i, f, z, o = np.split(gates, 4, -1)
        f, o = 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-o))
        c, n = f * c + np.exp(i) * np.tanh(z), f * n + np.exp(i)
        h = o * c / n
        normal = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5)
        want = (normal.reshape(3, 12) * (1 + weights["norm"])) @ weights["out"]
        np.testing.assert_allclose(got[:, t], want, rtol=0, atol=1e-4)


def test_a_step_of_the_slstm_equals_its_unroll():
    cell = sLSTMCell(features=HIDDEN, inner_dim=12, num_heads=3)
    case = make_case(RNN(cell=cell))
    carry, want = case.apply(case.params, case.inputs[:, :1], NEVER[:, :1], case.carry)
    got_carry, got = cell.apply({"params": case.params["params"]["cell"]}, case.carry, case.inputs[:, 0])
    np.testing.assert_allclose(got, want[:, 0], rtol=0, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), got_carry, carry)


def test_first_values_of_the_slstm():
    cell = sLSTMCell(features=64, inner_dim=64, block_index=1, num_blocks=3)
    carry = cell.initialize_carry(jax.random.key(0), (2, None))
    params = cell.init(jax.random.key(0), carry, jnp.zeros((2, 64)))["params"]
    assert set(params) == {"conv_kernel", "conv_bias", "kernel", "bias", "recurrent", "norm"}  # no projection needed
    assert sum(x.size for x in params.values()) == 2 * 64 * 64 + 4 * 64 + 64 + 4 * 64 + 64
    assert not np.any(params["recurrent"])
    assert abs(float(jnp.std(params["kernel"])) / np.sqrt(2 / (5 * 16)) - 1) < 0.05
    write, forget, candidate, read = np.split(np.asarray(params["bias"]), 4, axis=-1)
    assert not np.any([write, candidate, read])
    np.testing.assert_allclose(forget[2], 5 - 12 * (np.arange(16) / 15) ** (0.3 + 1.3 / 2), rtol=1e-6)
    linear = sLSTMCell(forget_bias="linspace").init(jax.random.key(0), carry, jnp.zeros((2, 64)))["params"]["bias"]
    np.testing.assert_allclose(linear[1, 16:32], np.linspace(3, 6, 16), rtol=1e-6)


def test_published_forms():
    attention = SelfAttention(config=SelfAttentionConfig(features=64, num_heads=4, context_length=128))
    assert attention.initialize_carry(jax.random.key(0), (2, None)).keys.shape == (2, 4, 128, 16)
    assert SequenceModelWrapper(attention) is attention
    by_heads = SelfAttention(num_heads=3, head_dim=10)
    assert (by_heads.config.features, by_heads.config.dim) == (30, 10)
    assert SelfAttentionConfig().features == 64
    assert RNN(cell=sLSTMCell(config=sLSTMConfig(features=64, hidden_dim=64))) == sLSTM(64)


@pytest.mark.parametrize("width", [1, 7, 64])
def test_ready_torsos_have_any_width(width):
    for torso in (Attention(width), sLSTM(width), MODELS.get("attention")(width), MODELS.get("slstm")(width)):
        shape = jax.eval_shape(torso.init_with_output, jax.random.key(0), jnp.zeros((2, 3, 5)), NEVER[:2, :3])[0][
            1
        ].shape
        assert shape == (2, 3, width)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: SelfAttention(features=10), ValueError, r"`num_heads` \(4\) must divide `features` \(10\)"),
        (lambda: SelfAttention(num_heads=2.0), TypeError, r"`num_heads` must be an integer, got 2.0"),
        (lambda: SelfAttention(context_length=0), ValueError, r"`context_length` must be at least 1, got 0"),
        (lambda: SelfAttention(head_dim=3), ValueError, r"`head_dim` must be even for rotary positions, got 3"),
        (
            lambda: SelfAttention(positional_embedding="sine"),
            ValueError,
            r"`positional_embedding` must be one of rope, alibi, learned, relative or None, got 'sine'",
        ),
        (lambda: LearnedPositionalEmbedding(0), ValueError, r"`num_embeddings` must be at least 1, got 0"),
        (lambda: Attention(8, num_heads=0), ValueError, r"`num_heads` must be at least 1, got 0"),
        (lambda: sLSTM(8, num_heads=0), ValueError, r"`num_heads` must be at least 1, got 0"),
        (lambda: sLSTMCell(inner_dim=10), ValueError, r"`num_heads` \(4\) must divide `inner_dim` \(10\)"),
        (lambda: sLSTMCell(inner_dim=4), ValueError, r"`inner_dim` must be at least 2 \* `num_heads` \(8\)"),
        (lambda: sLSTMCell(forget_bias="one"), ValueError, r"`forget_bias` must be one of powerlaw, linspace"),
        (lambda: sLSTMCell(block_index=2, num_blocks=2), ValueError, r"`block_index` must be at most 1, got 2"),
        (lambda: SegmentRecurrence(RNN(cell=sLSTMCell()), 2), TypeError, r"`module` must be an attention layer"),
        (lambda: SegmentRecurrence(SelfAttention(), 0), ValueError, r"`memory_length` must be at least 1, got 0"),
        (lambda: SegmentRecurrence(SelfAttention(), 2, features=-1), ValueError, r"`features` must be at least 1"),
    ],
)  # fmt: skip
def test_wrong_sizes_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_segment_recurrence_refuses_other_widths():
    with pytest.raises(ValueError, match=r"`features` must be the width of the inputs, 5, got 64"):
        SegmentRecurrence(SelfAttention(), 2).init(jax.random.key(0), jnp.zeros((2, 3, 5)), NEVER[:2, :3])


def test_positional_embeddings_are_known_by_name():
    for name in ("rope", "alibi", "learned", "relative", None):
        assert name in POSITIONAL_EMBEDDINGS
    queries = jnp.zeros((1, 2, 3, 4))
    assert ALiBi()(queries, 5)[1].slopes.shape == (3,)

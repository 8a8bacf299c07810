"""Windowed attention against torch, rotary positions against transformers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.attention import NOWHERE, Positions, empty_cache, rotate, window_attention
from memorax.networks.positional_embeddings import RoPE

torch = pytest.importorskip("torch", reason="the oracle is written in torch; install the extra `oracle`")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

BATCH, HEADS, TIME, DIM, WINDOW = 2, 3, 40, 8, 7


def draw():
    inputs = [jax.random.normal(jax.random.key(i), (BATCH, TIME, HEADS, DIM)) for i in range(3)]
    return inputs, jnp.zeros((BATCH, TIME), bool).at[0, [0, 13, 14]].set(True)


def visible(reset):
    episode = np.cumsum(np.asarray(reset), axis=1)
    distance = np.arange(TIME)[:, None] - np.arange(TIME)
    return torch.from_numpy((distance >= 0) & (distance < WINDOW) & (episode[:, :, None] == episode[:, None]))[:, None]


def attend_in_torch(queries, keys, values, reset):
    tensors = (torch.from_numpy(np.array(x.swapaxes(1, 2))) for x in (queries, keys, values))
    mixed = torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=visible(reset))
    return mixed.numpy().swapaxes(1, 2)


def test_attention_equals_torch():
    inputs, reset = draw()
    _, got = window_attention(*inputs, reset, empty_cache(BATCH, HEADS, WINDOW, DIM), NOWHERE)
    np.testing.assert_allclose(got, attend_in_torch(*inputs, reset), rtol=0, atol=1e-6)


def test_rotary_attention_equals_transformers():
    """Their angles count from the sequence's start, ours from the window's."""
    llama = pytest.importorskip("transformers.models.llama.modeling_llama", reason="install the extra `oracle`")
    (queries, keys, values), reset = draw()
    frequencies = RoPE().keys(DIM).frequencies
    angles = np.arange(TIME)[:, None] * np.concatenate([frequencies, frequencies])
    cos, sin = (torch.from_numpy(f(angles)[None].astype(np.float32)) for f in (np.cos, np.sin))
    turned = llama.apply_rotary_pos_emb(
        *(torch.from_numpy(np.array(x.swapaxes(1, 2))) for x in (queries, keys)), cos, sin
    )
    theirs = [jnp.asarray(x.numpy()).swapaxes(1, 2) for x in turned]
    ours = rotate(queries.swapaxes(1, 2), np.arange(TIME), frequencies).swapaxes(1, 2)
    np.testing.assert_allclose(ours, theirs[0], rtol=0, atol=1e-5)
    want = attend_in_torch(*theirs, values, reset)
    positions, cache = Positions(frequencies=frequencies), empty_cache(BATCH, HEADS, WINDOW, DIM)
    for block in (None, 5):
        got = window_attention(queries, keys, values, reset, cache, positions, block=block)[1]
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)

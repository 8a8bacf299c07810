"""The gated delta rule against the one of Qwen3-Next in `transformers`."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.delta_rule import DeltaSteps, delta_rule

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch", reason="the oracle of the delta rule is written in torch; install `oracle`")
BATCH, TIME, HEADS, KEYS, VALUES = 2, 70, 3, 8, 5


@pytest.mark.parametrize("form", ["torch_recurrent_gated_delta_rule", "torch_chunk_gated_delta_rule"])
def test_equals_the_rule_of_transformers(form):
    pytest.importorskip("transformers", reason="the rule comes from transformers; install the extra `oracle`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.models.qwen3_next import modeling_qwen3_next as theirs

    draw = np.random.default_rng(0).normal
    query, key = (draw(size=(BATCH, TIME, HEADS, KEYS)).astype(np.float32) for _ in range(2))
    key /= np.linalg.norm(key, axis=-1, keepdims=True)
    value = draw(size=(BATCH, TIME, HEADS, VALUES)).astype(np.float32)
    log_decay = -0.2 * np.abs(draw(size=(BATCH, TIME, HEADS))).astype(np.float32)
    beta = np.random.default_rng(1).uniform(0, 2, (BATCH, TIME, HEADS)).astype(np.float32)
    tensors = {"query": query, "key": key, "value": value, "g": log_decay, "beta": beta}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = {name: torch.tensor(x) for name, x in tensors.items()}
        read, state = getattr(theirs, form)(**given, output_final_state=True)

    steps = DeltaSteps(query / np.sqrt(np.float32(KEYS)), key, value, beta, log_decay)
    fresh = jnp.zeros((BATCH, HEADS, KEYS, VALUES))
    got = jax.jit(delta_rule)(jax.tree.map(jnp.asarray, steps), jnp.zeros((BATCH, TIME), bool), fresh)
    for ours, tensor in zip(got, (state, read), strict=True):
        want = tensor.double().numpy()
        assert np.max(np.abs(np.asarray(ours, float) - want)) < 1e-5 * np.max(np.abs(want))

"""The real-gated linear recurrent unit against RecurrentGemma's of `transformers`."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks import Memoroid, RGLRUCell

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch", reason="the oracle of RG-LRU is written in torch; install the extra `oracle`")
pytest.importorskip("transformers", reason="the layer comes from transformers; install the extra `oracle`")
BATCH, TIME, FEATURES = 3, 37, 24


def test_equals_recurrent_gemma_behind_the_first_step():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.models.recurrent_gemma import RecurrentGemmaConfig
        from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRglru

        config = RecurrentGemmaConfig(hidden_size=FEATURES, lru_width=FEATURES, num_attention_heads=1)
        theirs = RecurrentGemmaRglru(config)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    weights = {name: jnp.asarray(value.numpy()) for name, value in theirs.state_dict().items()}
    params = {
        "Lambda": weights["recurrent_param"],
        "reset_kernel": weights["recurrent_gate_weight"][0],
        "reset_bias": weights["recurrent_gate_bias"][0],
        "input_kernel": weights["input_gate_weight"][0],
        "input_bias": weights["input_gate_bias"][0],
        "value_kernel": jnp.eye(FEATURES),
    }
    ours = Memoroid(cell=RGLRUCell(features=FEATURES, hidden_dim=FEATURES))
    inputs = jax.random.normal(jax.random.key(0), (BATCH, TIME, FEATURES))
    got = ours.apply({"params": {"cell": params}}, inputs, jnp.zeros((BATCH, TIME), bool))[1]
    # At position 0 theirs leaves out the factor of the input, which we keep: start behind it.
    positions = torch.arange(1, TIME + 1).expand(BATCH, TIME)
    with torch.no_grad():
        want = theirs(torch.tensor(np.asarray(inputs)), positions).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.max(np.abs(want)))

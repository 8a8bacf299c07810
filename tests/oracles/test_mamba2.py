"""Mamba-2 against the layer of `transformers`."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks import Mamba2Cell, Memoroid

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch", reason="the oracle of Mamba-2 is written in torch; install the extra `oracle`")
BATCH, TIME, FEATURES, HEADS, WIDTH, STATES = 3, 37, 24, 6, 8, 5


def test_equals_the_layer_of_transformers():
    pytest.importorskip("transformers", reason="the layer comes from transformers; install the extra `oracle`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.models.mamba2 import Mamba2Config
        from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

        config = Mamba2Config(
            hidden_size=FEATURES, num_heads=HEADS, head_dim=WIDTH, state_size=STATES, n_groups=1, chunk_size=16
        )
        theirs = Mamba2Mixer(config, layer_idx=0).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    weights = {name: jnp.asarray(value.numpy()) for name, value in theirs.state_dict().items()}
    params = {name: weights[name] for name in ("dt_bias", "A_log", "D")}
    params |= {name: {"kernel": weights[f"{name}.weight"].T} for name in ("in_proj", "out_proj")}
    params |= {"conv_kernel": weights["conv1d.weight"][:, 0].T, "conv_bias": weights["conv1d.bias"]}
    params["norm"] = {"scale": weights["norm.weight"]}
    ours = Memoroid(cell=Mamba2Cell(features=FEATURES, num_heads=HEADS, head_dim=WIDTH, state_dim=STATES))
    inputs = jax.random.normal(jax.random.key(0), (BATCH, TIME, FEATURES))
    _, got = jax.jit(ours.apply)({"params": {"cell": params}}, inputs, jnp.zeros((BATCH, TIME), bool))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = theirs(torch.tensor(np.asarray(inputs))).double().numpy()
    assert np.max(np.abs(np.asarray(got, float) - want)) < 1e-5 * np.max(np.abs(want))

"""Mamba against the layer of `transformers`, and its scan against `mambapy`."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.selective_scan import selective_scan
from memorax.networks import MambaCell, Memoroid

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch", reason="the oracle of Mamba is written in torch; install the extra `oracle`")
BATCH, TIME, FEATURES = 3, 37, 24


def error(got, want):
    want = want.detach().double().numpy()
    return np.max(np.abs(np.asarray(got, float) - want)) / np.max(np.abs(want))


def test_equals_the_layer_of_transformers():
    pytest.importorskip("transformers", reason="the layer comes from transformers; install the extra `oracle`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.models.mamba import MambaConfig
        from transformers.models.mamba.modeling_mamba import MambaMixer

        config = MambaConfig(hidden_size=FEATURES, state_size=5, expand=2, conv_kernel=4, time_step_rank=3)
        theirs = MambaMixer(config, layer_idx=0).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    weights = {name: jnp.asarray(value.numpy()) for name, value in theirs.state_dict().items()}
    into = weights["in_proj.weight"].T
    params = {
        "input": {"kernel": into[:, : 2 * FEATURES]},
        "gate": {"kernel": into[:, 2 * FEATURES :]},
        "conv_kernel": weights["conv1d.weight"][:, 0].T,
        "conv_bias": weights["conv1d.bias"],
        "select": {"kernel": weights["x_proj.weight"].T},
        "step": {"kernel": weights["dt_proj.weight"].T, "bias": weights["dt_proj.bias"]},
        "A_log": weights["A_log"].T,
        "D": weights["D"],
        "output": {"kernel": weights["out_proj.weight"].T},
    }
    ours = Memoroid(cell=MambaCell(features=FEATURES, state_dim=5, step_rank=3))
    inputs = jax.random.normal(jax.random.key(0), (BATCH, TIME, FEATURES))
    got = ours.apply({"params": {"cell": params}}, inputs, jnp.zeros((BATCH, TIME), bool))[1]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = theirs(torch.tensor(np.asarray(inputs)))
    assert error(got, want) < 1e-5


def test_the_scan_equals_that_of_mambapy():
    mambapy = pytest.importorskip("mambapy.mamba", reason="the scan comes from mambapy; install the extra `oracle`")
    theirs = mambapy.MambaBlock(mambapy.MambaConfig(d_model=FEATURES, n_layers=1, d_state=5, expand_factor=2))
    rng = np.random.default_rng(0)
    channels = 2 * FEATURES
    x, writes, reads = (rng.normal(size=(BATCH, TIME, n)).astype(np.float32) for n in (channels, 5, 5))
    steps = rng.uniform(0.01, 1, (BATCH, TIME, channels)).astype(np.float32)
    rates = -rng.uniform(0.1, 2, (channels, 5)).astype(np.float32)
    first = jnp.zeros((BATCH, 5, channels))
    _, got = selective_scan((x, steps, writes, reads), rates.T, jnp.zeros((BATCH, TIME), bool), first)
    arguments = (torch.tensor(y) for y in (x, steps, rates, writes, reads))
    want = theirs.selective_scan(*arguments, torch.zeros(channels))
    assert error(got, want) < 1e-5

"""The minimal gated recurrent unit against `minGRU-pytorch`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks import Memoroid, MinGRUCell

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch", reason="the oracle of MinGRU is written in torch; install the extra `oracle`")
peer = pytest.importorskip("minGRU_pytorch", reason="the oracle of MinGRU; install the extra `oracle`")
BATCH, TIME, FEATURES = 3, 37, 24


@pytest.mark.parametrize("log_space", [False, True])
def test_equals_mingru_pytorch(log_space):
    torch.manual_seed(0)
    theirs = peer.minGRU(FEATURES).double()
    hidden, gate = np.split(theirs.to_hidden_and_gate.weight.detach().numpy().T, 2, axis=1)
    params = {"hidden_kernel": jnp.float32(hidden), "gate_kernel": jnp.float32(gate)}
    ours = Memoroid(cell=MinGRUCell(features=FEATURES, log_space=log_space))
    inputs, done = jax.random.normal(jax.random.key(0), (BATCH, TIME, FEATURES)), jnp.zeros((BATCH, TIME), bool)
    carry, got = ours.apply({"params": {"cell": params}}, inputs, done)
    want, last = theirs(torch.tensor(np.asarray(inputs)).double(), return_next_prev_hidden=True)
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(carry, last[:, 0].detach().numpy(), rtol=1e-5, atol=1e-6)
    more = jax.random.normal(jax.random.key(1), (BATCH, 1, FEATURES))
    got = ours.apply({"params": {"cell": params}}, more, done[:, :1], carry)[1]
    want = theirs(torch.tensor(np.asarray(more)).double(), last)
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-5, atol=1e-6)

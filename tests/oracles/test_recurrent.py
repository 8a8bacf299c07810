"""GRU and LSTM against torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks.sequence_models import GRU, LSTM

torch = pytest.importorskip("torch", reason="the oracle is written in torch; install the extra `oracle`")

pytestmark = pytest.mark.slow

BATCH, TIME, FEATURES, HIDDEN = 3, 40, 5, 7
GATES = {"gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}


@pytest.mark.parametrize("name", GATES)
def test_equals_torch(name):
    model, oracle = {"gru": (GRU, torch.nn.GRU), "lstm": (LSTM, torch.nn.LSTM)}[name]
    model, oracle = model(HIDDEN), oracle(FEATURES, HIDDEN, batch_first=True)
    keys = jax.random.split(jax.random.key(0), 4)
    inputs, done = (
        jax.random.normal(keys[0], (BATCH, TIME, FEATURES)),
        jnp.zeros((BATCH, TIME), bool).at[:, 0].set(True),
    )
    params = jax.jit(model.init)(keys[1], inputs, done)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(keys[2], len(leaves))
    noisy = [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    params = jax.tree.unflatten(tree, noisy)
    cell = params["params"]["cell"]

    def stack(side, part):
        zero = np.zeros(HIDDEN, np.float32)
        return np.concatenate([np.asarray(cell[side + gate].get(part, zero)).T for gate in GATES[name]])

    for side, suffix in (("i", "ih"), ("h", "hh")):
        getattr(oracle, f"weight_{suffix}_l0").data = torch.from_numpy(stack(side, "kernel").copy())
        getattr(oracle, f"bias_{suffix}_l0").data = torch.from_numpy(stack(side, "bias").copy())
    theirs = torch.from_numpy(np.array(inputs)).requires_grad_()
    want, _ = oracle(theirs)
    want.sin().sum().backward()
    got = model.apply(params, inputs, done)[1]
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=0, atol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(jnp.sin(model.apply(params, x, done)[1])))(inputs)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=0, atol=1e-5)

"""The matrix memory of mLSTM against the recurrence of `transformers`."""

import functools
import importlib
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.mlstm import MLSTMSteps, mlstm

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch", reason="the oracle of mLSTM is written in torch; install the extra `oracle`")
BATCH, TIME, HEADS, KEYS, VALUES = 2, 70, 3, 8, 5


@pytest.fixture
def theirs(monkeypatch):
    """The module of transformers with a recurrence of its own; with the package xlstm it would defer to that."""
    utils = pytest.importorskip("transformers.utils", reason="install the extra `oracle`")
    name = "transformers.models.xlstm.modeling_xlstm"
    monkeypatch.setattr(utils, "is_xlstm_available", lambda: False)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module(name)
    sys.modules.pop(name)


@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_equals_the_recurrence_of_transformers(eps, theirs):
    draw = np.random.default_rng(0).normal
    query, key = (draw(size=(BATCH, TIME, HEADS, KEYS)).astype(np.float32) for _ in range(2))
    value = draw(size=(BATCH, TIME, HEADS, VALUES)).astype(np.float32)
    write, forget = (draw(size=(BATCH, TIME, HEADS)).astype(np.float32) for _ in range(2))
    tensors = [torch.tensor(np.ascontiguousarray(x.swapaxes(1, 2))) for x in (query, key, value, write, forget + 3)]
    want = theirs.mlstm_recurrent_sequence_native(*tensors, eps=eps).double().numpy().swapaxes(1, 2)

    steps = MLSTMSteps(query, key / np.sqrt(np.float32(KEYS)), value, write, forget + 3)
    steps = jax.tree.map(jnp.asarray, steps)
    # Their stabilizer starts at 0, which with an `eps` is not the same as any other start.
    start = jnp.zeros((BATCH, HEADS, KEYS, VALUES)), jnp.zeros((BATCH, HEADS, KEYS)), jnp.zeros((BATCH, HEADS))
    _, got = jax.jit(functools.partial(mlstm, eps=eps))(steps, jnp.zeros((BATCH, TIME), bool), start)
    assert np.max(np.abs(np.asarray(got, float) - want)) < 1e-4 * np.max(np.abs(want))

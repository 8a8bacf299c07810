"""The sLSTM against the layer of the `xlstm` package, in plain torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks import RNN, sLSTMCell

REASON = "the oracle of sLSTM is the `xlstm` package, in torch; install the extra `oracle`"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("xlstm", reason=REASON)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

BATCH, TIME, WIDTH, HEADS = 3, 40, 12, 3
DIM = WIDTH // HEADS


def test_equals_the_official_layer():
    layers = pytest.importorskip("xlstm.blocks.slstm.layer", reason=REASON)
    model = RNN(cell=sLSTMCell(features=WIDTH, hidden_dim=WIDTH, num_heads=HEADS))
    inputs, done = jax.random.normal(jax.random.key(0), (BATCH, TIME, WIDTH)), jnp.zeros((BATCH, TIME), bool)
    params = jax.jit(model.init)(jax.random.key(1), inputs, done)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    noisy = [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    params = jax.tree.unflatten(tree, noisy)

    plain = {"backend": "vanilla", "dtype": "float32", "enable_automatic_mixed_precision": False}
    layer = layers.sLSTMLayer(layers.sLSTMLayerConfig(embedding_dim=WIDTH, num_heads=HEADS, **plain))
    ours = {name: np.asarray(x) for name, x in params["params"]["cell"].items()}

    def put(parameter, array):
        assert tuple(parameter.shape) == array.shape
        parameter.data = torch.from_numpy(np.array(array))

    # The package's `fgate` drives the write gate, and its `igate` the forget gate.
    gates = ours["kernel"].reshape(HEADS, DIM, 4, DIM)
    for index, name in enumerate(("fgate", "igate", "zgate", "ogate")):
        put(getattr(layer, name).weight, gates[:, :, index].swapaxes(1, 2))
    put(layer.conv1d.conv.weight, ours["conv_kernel"].T[:, None])
    put(layer.conv1d.conv.bias, ours["conv_bias"])
    put(layer.group_norm.weight, ours["norm"])
    cell = layer.slstm_cell
    recurrent, bias = (torch.from_numpy(ours[name].copy()) for name in ("recurrent", "bias"))
    cell._recurrent_kernel_.data = cell._recurrent_kernel_ext2int(recurrent.reshape(HEADS, DIM, 4, DIM))
    cell._bias_.data = cell._bias_ext2int(bias.reshape(HEADS, 4, DIM))

    with torch.no_grad():
        want = layer(torch.from_numpy(np.array(inputs))).numpy()
    _, got = model.apply(params, inputs, done)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)

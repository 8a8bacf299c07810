import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks.architectures import frame_stack, gpt2, gtrxl, mamba2_stack, xlstm
from memorax.networks.blocks import GatedResidual
from memorax.networks.sequence_models import MODELS, Attention
from memorax.testing.sequence_model_properties import DONE, FEATURES

KEY = jax.random.key(0)
BATCH, TIME = DONE.shape
INPUTS = jax.random.normal(KEY, (BATCH, TIME, FEATURES))
WIDTH = 11
SMALL = {"num_heads": 2, "head_dim": 4, "memory_length": 3, "ffn_dim": 7}


def noisy(params):
    """Parameters of which none is zero."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(
        tree, [x + 0.2 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    )


def test_frame_stack_is_one_dense_layer_over_the_last_inputs():
    model = frame_stack(WIDTH, num_frames=3)
    params = noisy(jax.jit(model.init)(KEY, INPUTS, DONE))
    first, last = (params["params"][name]["network"]["dense"] for name in ("blocks_0", "blocks_2"))
    embedded = np.asarray(INPUTS, np.float64) @ first["kernel"] + first["bias"]
    _, outputs = jax.jit(model.apply)(params, INPUTS, DONE)
    for row in range(BATCH):
        for t in range(TIME):
            frames = np.zeros((3, WIDTH))
            for age in range(min(t, 2) + 1):
                if DONE[row, t - age + 1 : t + 1].any():
                    break
                frames[age] = embedded[row, t - age]
            want = np.maximum(frames.reshape(-1) @ last["kernel"] + last["bias"], 0)
            np.testing.assert_allclose(outputs[row, t], want, rtol=1e-4, atol=1e-5)


def test_gtrxl_gives_the_same_whatever_it_remembers():
    paper, cached = (gtrxl(WIDTH, num_layers=1, remember=kind, **SMALL) for kind in ("inputs", "keys"))
    params = noisy(jax.jit(cached.init)(KEY, INPUTS, DONE))
    renamed = jax.tree.map(lambda x: x, params)
    renamed["params"]["blocks_1"]["module"]["module"]["blocks_0"] = {
        "module": params["params"]["blocks_1"]["module"]["module"]["blocks_0"]
    }
    shapes = jax.eval_shape(paper.init, KEY, INPUTS, DONE)
    assert jax.tree.map(jnp.shape, renamed) == jax.tree.map(jnp.shape, shapes)
    _, want = jax.jit(cached.apply)(params, INPUTS, DONE)
    run, carry = jax.jit(paper.apply), paper.initialize_carry(KEY, (BATCH, None))
    for start, stop in ((0, 5), (5, TIME)):
        carry, got = run(renamed, INPUTS[:, start:stop], jnp.asarray(DONE[:, start:stop]), carry)
        np.testing.assert_allclose(got, want[:, start:stop], rtol=1e-4, atol=1e-5)


def test_a_layer_of_gtrxl_is_put_together_as_in_the_paper():
    params = noisy(jax.jit(gtrxl(WIDTH, num_layers=1, remember="keys", **SMALL).init)(KEY, INPUTS, DONE))
    p = params["params"]
    attention = Attention(WIDTH, num_heads=2, head_dim=4, context_length=4, positional_embedding="relative")

    def layer(x, p, sublayer):
        normed = nn.LayerNorm().apply({"params": p["module"]["norm"]}, x)
        outputs = jnp.maximum(sublayer(normed, p["module"]["module"]["blocks_0"]), 0)
        gate = {"params": {name: value for name, value in p.items() if name != "module"}}
        return GatedResidual(lambda _: outputs).apply(gate, x, DONE)[1]

    def ffn(x, p):
        up, down = p["network"]["up"], p["network"]["down"]
        return jnp.maximum(x @ up["kernel"] + up["bias"], 0) @ down["kernel"] + down["bias"]

    dense = p["blocks_0"]["network"]["dense"]
    x = INPUTS @ dense["kernel"] + dense["bias"]
    x = layer(x, p["blocks_1"], lambda x, p: attention.apply({"params": p}, x, jnp.asarray(DONE))[1])
    want = layer(x, p["blocks_2"], ffn)
    model = gtrxl(WIDTH, num_layers=1, remember="keys", **SMALL)
    np.testing.assert_allclose(jax.jit(model.apply)(params, INPUTS, DONE)[1], want, rtol=1e-4, atol=1e-5)


def kinds(stack):
    """What stands inside each residual block."""
    return [type(getattr(b.module.module, "cell", getattr(b.module.module, "network", None))).__name__ for b in stack]


def test_xlstm_follows_its_ratio():
    model = xlstm(50, ratio=(2, 1), repeats=2, num_heads=2)
    blocks = model.module.blocks[1:]
    assert kinds(blocks) == ["mLSTMCell", "mLSTMCell", "sLSTMCell", "GLU"] * 2
    memories = [block.module.module.cell.config for block in blocks if hasattr(block.module.module, "cell")]
    assert {config.num_blocks for config in memories} == {6}
    assert [memories[index].block_index for index in (2, 5)] == [2, 5]
    assert memories[0].hidden_dim == 100
    params = xlstm(300, ratio=(0, 1), repeats=2, num_heads=2).init(KEY, INPUTS[:, :1], DONE[:, :1])["params"]["module"]
    glu = params["blocks_2"]["module"]["module"]["network"]
    assert float(glu["up"]["kernel"].std()) == pytest.approx((2 / 1500) ** 0.5, rel=0.02)
    assert float(glu["gate"]["kernel"].std()) == pytest.approx((2 / 1500) ** 0.5, rel=0.02)
    assert float(glu["down"]["kernel"].std()) == pytest.approx(1 / 300**0.5, rel=0.02)
    assert "bias" not in params["blocks_1"]["module"]["norm"]


@pytest.mark.parametrize("build", [gtrxl, gpt2, mamba2_stack])
def test_each_layer_has_parameters_and_a_memory_of_its_own(build):
    def count(layers):
        model = build(16, num_layers=layers)
        params = jax.eval_shape(model.init, KEY, INPUTS, DONE)
        carry = model.initialize_carry(KEY, (BATCH, None))
        return [sum(x.size for x in jax.tree.leaves(tree)) for tree in (params, carry)]

    one, two, three = (count(layers) for layers in (1, 2, 3))
    assert np.subtract(two, one).tolist() == np.subtract(three, two).tolist()
    assert min(np.subtract(two, one)) > 0


def test_mamba2_is_twice_as_wide_inside_and_ends_in_a_norm():
    model = mamba2_stack(11, num_heads=4)
    assert model.module.blocks[1].module.module.cell.config.head_dim == 6
    params = jax.eval_shape(model.init, KEY, INPUTS, DONE)["params"]
    assert set(params["norm"]) == {"scale"}


@pytest.mark.parametrize("name", ["gtrxl", "xlstm", "gpt2", "mamba2_stack", "frame_stack"])
def test_defaults_have_the_width_that_is_asked_for(name):
    (_, outputs), _ = jax.eval_shape(MODELS.get(name)(24).init_with_output, KEY, INPUTS, DONE)
    assert outputs.shape == (BATCH, TIME, 24)


REFUSED = [
    (lambda: gtrxl(16, num_layers=0), ValueError, "`num_layers` must be at least 1, got 0"),
    (lambda: gtrxl(16, memory_length=0), ValueError, "`memory_length` must be at least 1, got 0"),
    (lambda: gtrxl(16, remember="values"), ValueError, "`remember` must be one of inputs, keys, got 'values'"),
    (lambda: gtrxl(16, layers=2), TypeError, "layers"),
    (lambda: gpt2(16, num_layers=1.5), TypeError, "`num_layers` must be an integer, got 1.5"),
    (lambda: gpt2(0), ValueError, "`features` must be at least 1, got 0"),
    (lambda: mamba2_stack(16, num_layers=0), ValueError, "`num_layers` must be at least 1, got 0"),
    (lambda: mamba2_stack(16, num_heads=0), ValueError, "`num_heads` must be at least 1, got 0"),
    (lambda: frame_stack(16, num_frames=0), ValueError, "`num_frames` must be at least 1, got 0"),
    (lambda: frame_stack(0), ValueError, "`features` must be at least 1, got 0"),
    (lambda: xlstm(16, ratio=(1,)), TypeError, r"`ratio` must be a pair of integers such as \(7, 1\), got \(1,\)"),
    (lambda: xlstm(16, ratio=(0, 0)), ValueError, r"`ratio` must hold one block or more, got \(0, 0\)"),
    (lambda: xlstm(16, ratio=(2, -1)), ValueError, r"`ratio` must be at least 0, got -1"),
    (lambda: xlstm(16, repeats=0), ValueError, "`repeats` must be at least 1, got 0"),
    (lambda: xlstm(16, num_heads=0), ValueError, "`num_heads` must be at least 1, got 0"),
]


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED)
def test_what_does_not_fit_is_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()

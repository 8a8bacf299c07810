from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks import FeatureExtractor, ViT, initializers
from memorax.networks.blocks import Projection, Stack
from memorax.networks.layers import (
    BlockDiagonalDense,
    CausalConv1d,
    Frames,
    MultiHeadLayerNorm,
    ParallelCausalConv1d,
    PatchEmbedding,
)
from memorax.testing.sequence_model_properties import DONE, PROPERTIES, make_case

HIDDEN = 11
KEY = jax.random.key(0)
CHECKS = [pytest.param(name, marks=[pytest.mark.slow] * (name == "transforms")) for name in PROPERTIES]
BATCH, TIME = DONE.shape
WIDTH = 6
INPUTS = jax.random.normal(KEY, (BATCH, TIME, WIDTH))
IMAGES = jax.random.randint(KEY, (2, 3, 4, 6, 5), 0, 256).astype(jnp.uint8)


def seen(inputs, row, t, age):
    """The input of `age` steps ago, zeros where the episode, or the sequence, had not begun."""
    past = list(range(t - age, t + 1))
    if past[0] < 0 or DONE[row, past[1:]].any():
        return np.zeros(inputs.shape[-1])
    return np.asarray(inputs[row, past[0]], np.float64)


@pytest.fixture(scope="module")
def case():
    convolutions = ParallelCausalConv1d(HIDDEN, kernel_sizes=(3, 1, 2))
    blocks = [Projection(HIDDEN), convolutions, Projection(HIDDEN), Frames(HIDDEN, 2), Projection(HIDDEN)]
    return make_case(Stack(blocks=blocks), receptive_field=4)


@pytest.mark.parametrize("name", CHECKS)
def test_layers_with_a_tail_keep_the_properties(case, name):
    PROPERTIES[name](case)


def test_convolutions_weigh_the_last_steps():
    layer = ParallelCausalConv1d(WIDTH, kernel_sizes=(2, 4), bias_init=nn.initializers.normal(1.0))
    (tail, outputs), variables = layer.init_with_output(KEY, INPUTS, jnp.asarray(DONE))
    assert tail.shape == (BATCH, 3, WIDTH)
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), variables["params"])
    for index, size in enumerate((2, 4)):
        kernel, bias = params[f"kernel_{index}"], params[f"bias_{index}"]
        assert kernel.shape == (size, WIDTH)
        assert size**-0.5 * 0.5 < np.abs(kernel).max() <= size**-0.5
        for row in range(BATCH):
            for t in range(TIME):
                want = bias + sum(kernel[size - 1 - age] * seen(INPUTS, row, t, age) for age in range(size))
                got = outputs[row, t, index * WIDTH : (index + 1) * WIDTH]
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_one_convolution_is_the_parallel_one_of_one_size():
    one, same = CausalConv1d(WIDTH, kernel_size=3), ParallelCausalConv1d(WIDTH, kernel_sizes=(3,))
    params = one.init(KEY, INPUTS, DONE)
    got = one.apply(params, INPUTS, DONE)
    want = same.apply({"params": params["params"]["convolution"]}, INPUTS, DONE)
    jax.tree.map(np.testing.assert_array_equal, got, want)
    assert one.initialize_carry(KEY, (BATCH, None)).shape == got[0].shape == (BATCH, 2, WIDTH)
    assert one.apply(params, INPUTS.astype(jnp.bfloat16), DONE)[1].dtype == jnp.bfloat16
    assert set(CausalConv1d(WIDTH, use_bias=False).init(KEY, INPUTS, DONE)["params"]["convolution"]) == {"kernel_0"}


def test_frames_are_the_last_inputs():
    carry, outputs = Frames(WIDTH, 3).apply({}, INPUTS, jnp.asarray(DONE))
    for row in range(BATCH):
        for t in range(TIME):
            want = np.concatenate([seen(INPUTS, row, t, age) for age in range(3)])
            np.testing.assert_array_equal(outputs[row, t], want.astype(np.float32))
    np.testing.assert_array_equal(carry[0], INPUTS[0, -2:])
    np.testing.assert_array_equal(carry[2], jnp.stack([jnp.zeros(WIDTH), INPUTS[2, -1]]))
    empty, alone = Frames(WIDTH, 1).apply({}, INPUTS, jnp.asarray(DONE))
    assert empty.shape == (BATCH, 0, WIDTH)
    np.testing.assert_array_equal(alone, INPUTS)


def test_heads_of_a_block_diagonal_layer_do_not_see_each_other():
    layer = BlockDiagonalDense(9, num_heads=3, bias_init=nn.initializers.normal(1.0))
    outputs, variables = layer.init_with_output(KEY, INPUTS)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    assert kernel.shape == (3, 2, 3)
    whole = jax.scipy.linalg.block_diag(*kernel)
    np.testing.assert_allclose(outputs, INPUTS @ whole + bias, rtol=1e-5, atol=1e-6)
    wide = BlockDiagonalDense(96, num_heads=2).init(KEY, jnp.zeros((1, 200)))["params"]["kernel"]
    assert float(jnp.std(wide)) == pytest.approx(100**-0.5, rel=0.05)
    bare = BlockDiagonalDense(9, num_heads=3, use_bias=False, dtype=jnp.bfloat16)
    assert set(bare.init(KEY, INPUTS)["params"]) == {"kernel"}
    assert bare.apply({"params": {"kernel": kernel}}, INPUTS).dtype == jnp.bfloat16


def test_each_head_is_normalized_alone():
    layer = MultiHeadLayerNorm(num_heads=2, use_bias=True)
    params = {"scale": jnp.arange(1.0, 7.0), "bias": jnp.arange(6.0)}
    assert jax.tree.map(jnp.shape, layer.init(KEY, INPUTS)["params"]) == {"scale": (WIDTH,), "bias": (WIDTH,)}
    heads = np.asarray(INPUTS, np.float64).reshape(BATCH, TIME, 2, 3)
    normed = (heads - heads.mean(-1, keepdims=True)) / np.sqrt(heads.var(-1, keepdims=True) + 1e-5)
    want = normed.reshape(INPUTS.shape) * params["scale"] + params["bias"]
    np.testing.assert_allclose(layer.apply({"params": params}, INPUTS), want, rtol=1e-5, atol=1e-5)
    assert MultiHeadLayerNorm(2, use_scale=False).apply({}, INPUTS.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_patches_are_squares_of_the_image_row_by_row():
    embedding = PatchEmbedding(features=7, patch_size=2)
    outputs, variables = embedding.init_with_output(KEY, IMAGES)
    projection = variables["params"]["projection"]
    squares = [IMAGES[:, :, y : y + 2, x : x + 2] for y in (0, 2) for x in (0, 2, 4)]
    flat = np.stack([np.asarray(s, np.float64).reshape(2, 3, -1) / 255 for s in squares], axis=2)
    np.testing.assert_allclose(outputs, flat @ projection["kernel"] + projection["bias"], rtol=1e-4, atol=1e-5)
    assert outputs.shape == (2, 3, 6, 7)


def test_vit_extracts_features_of_each_image_alone():
    vit = ViT(features=6, num_layers=1, num_heads=2, patch_size=2, hidden_dim=5)
    extractor = FeatureExtractor(vit)
    assert callable(extractor.observation_extractor)
    params = vit.init(KEY, IMAGES)
    apply = jax.jit(vit.apply)
    outputs = apply(params, IMAGES)
    assert outputs.shape == (2, 3, 6)
    changed = apply(params, IMAGES.at[1, 2].set(0))
    np.testing.assert_array_equal(outputs != changed, np.zeros((2, 3, 6), bool) | (np.arange(6).reshape(2, 3, 1) == 5))
    mirrored = apply(params, IMAGES[:, :, :, ::-1])  # positions matter
    assert jnp.abs(mirrored - outputs).max() > 1e-3
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(vit.apply(p, IMAGES)[..., :3] ** 2)))(params)
    for path, leaf in jax.tree.leaves_with_path(gradient):
        moves_all_scores_alike = path[-2:] == (jax.tree_util.DictKey("key"), jax.tree_util.DictKey("bias"))
        assert moves_all_scores_alike or jnp.any(leaf != 0), path


def test_initializers_have_the_deviations_of_their_papers():
    draw = partial(jax.random.fold_in, KEY)
    assert float(initializers.small(50)(draw(1), (50, 900)).std()) == pytest.approx((2 / 250) ** 0.5, rel=0.02)
    assert float(initializers.wang(49, 3)(draw(2), (900, 49)).std()) == pytest.approx(2 / 21, rel=0.02)


def run(layer, inputs=INPUTS, *more):
    return layer.init(KEY, inputs, *more)


REFUSED = [
    (lambda: CausalConv1d(0), ValueError, "`features` must be at least 1, got 0"),
    (lambda: CausalConv1d(3, kernel_size=2.5), TypeError, "`kernel_size` must be an integer, got 2.5"),
    (lambda: ParallelCausalConv1d(3, kernel_sizes=()), ValueError, "`kernel_sizes` must not be empty"),
    (lambda: run(CausalConv1d(3), INPUTS, DONE), ValueError, r"`inputs` must be `features` \(3\) wide, got 6"),
    (lambda: run(CausalConv1d(WIDTH), INPUTS, DONE.T), ValueError, "is it time-major"),
    (lambda: Frames(3, 0), ValueError, "`count` must be at least 1, got 0"),
    (lambda: run(Frames(3, 2), INPUTS, DONE), ValueError, r"`inputs` must be `features` \(3\) wide, got 6"),
    (lambda: BlockDiagonalDense(7, 2), ValueError, r"`features` must be a multiple of `num_heads` \(2\), got 7"),
    (lambda: run(BlockDiagonalDense(8, 4)), ValueError, r"wide as a multiple of `num_heads` \(4\), got 6"),
    (lambda: MultiHeadLayerNorm(2, epsilon=0.0), ValueError, "`epsilon` must be above 0, got 0.0"),
    (lambda: run(MultiHeadLayerNorm(4)), ValueError, r"wide as a multiple of `num_heads` \(4\), got 6"),
    (lambda: run(PatchEmbedding(3, 4), IMAGES), ValueError, r"of the images \(4, 6\), got 4; pad them"),
    (lambda: run(PatchEmbedding(3, 4), IMAGES[0, 0, 0]), ValueError, r"must be \[..., height, width, channels\]"),
    (lambda: ViT(features=6), ValueError, r"`features` must be a multiple of `num_heads` \(4\), got 6"),
    (lambda: ViT(num_layers=0), ValueError, "`num_layers` must be at least 1, got 0"),
    (lambda: ViT(hidden_dim=0), ValueError, "`hidden_dim` must be at least 1 or None, got 0"),
    (lambda: initializers.small(0), ValueError, "`features` must be at least 1, got 0"),
    (lambda: initializers.wang(3, 0), ValueError, "`num_blocks` must be at least 1, got 0"),
]


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED)
def test_what_does_not_fit_is_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()

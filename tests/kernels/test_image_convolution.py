"""Convolutions as products equal those of XLA."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.image_convolution import convolve_images, double_images
from memorax.learning.reconstruction import ImageDecoder
from memorax.networks import CNN

AXES = ("NHWC", "HWIO", "NHWC")
CASES = [
    ((9, 9), (3, 3), (1, 1), "VALID"),
    ((12, 9), (4, 3), (2, 1), "VALID"),
    ((11, 8), (3, 3), (2, 2), "SAME"),
    ((7, 10), (2, 5), (3, 2), "SAME"),
    ((5, 6), (3, 2), (2, 3), ((0, 2), (1, 0))),
]


def draw(*shape):
    return jax.random.normal(jax.random.key(sum(shape)), shape)


def with_gradients(function, images, kernel):
    """Outputs, and the gradients with regard to both of a sum that no two entries share."""
    outputs = function(images, kernel)
    weights = jnp.sin(jnp.arange(outputs.size, dtype=outputs.dtype)).reshape(outputs.shape)
    return outputs, *jax.grad(lambda *x: jnp.sum(weights * function(*x)), (0, 1))(images, kernel)


@pytest.mark.parametrize(("size", "kernel_size", "strides", "padding"), CASES)
def test_equals_a_convolution_of_xla(size, kernel_size, strides, padding):
    images, kernel = draw(2, *size, 3), draw(*kernel_size, 3, 4)

    def ours(images, kernel):
        return convolve_images(images, kernel, strides, padding)

    def theirs(images, kernel):
        return jax.lax.conv_general_dilated(images, kernel, strides, padding, dimension_numbers=AXES)

    assert "conv_general_dilated" not in str(jax.make_jaxpr(ours)(images, kernel))
    for mine, other in zip(with_gradients(ours, images, kernel), with_gradients(theirs, images, kernel), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"kernel_dilation": 2}, {"input_dilation": (1, 2)}, {"feature_group_count": 2}])
def test_leaves_what_is_unusual_to_xla(options):
    images = draw(2, 8, 9, 4)
    layer, usual = (
        nn.Conv(6, (3, 2), padding=((1, 1), (0, 1)), **options, **how)
        for how in ({"conv_general_dilated": convolve_images}, {})
    )
    params = usual.init(jax.random.key(0), images)
    np.testing.assert_array_equal(layer.apply(params, images), usual.apply(params, images))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 4, 5, 3)])
def test_doubling_equals_a_transposed_convolution_of_xla(shape):
    images, kernel = draw(*shape), draw(3, 3, shape[-1], 2)

    def theirs(images, kernel):
        return jax.lax.conv_transpose(images, kernel, (2, 2), "SAME")

    pairs = zip(with_gradients(double_images, images, kernel), with_gradients(theirs, images, kernel), strict=True)
    for mine, other in pairs:
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("module", [CNN((3,), (3,), (2,)), ImageDecoder((8, 8, 3))], ids=["CNN", "ImageDecoder"])
def test_no_module_convolves_slowly_on_a_cpu(module):
    inputs = draw(2, 5, 9, 9, 3) if isinstance(module, CNN) else draw(2, 5, 7)
    params = module.init(jax.random.key(0), inputs)
    gradient = jax.make_jaxpr(jax.grad(lambda x: jnp.sum(module.apply(x, inputs))))(params)
    assert "conv_general_dilated" not in str(gradient)


@pytest.mark.parametrize("function", [lambda x, k: convolve_images(x, k, (1, 1), "SAME"), double_images])
def test_a_gpu_is_given_the_convolution_itself(function, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "conv_general_dilated" in str(jax.make_jaxpr(function)(draw(1, 4, 4, 2), draw(3, 3, 2, 2)))

"""Gradients of convolutional networks in a training loop, beside Flax's layers: `python -m benchmarks.images`.

Times a loop of two updates, each by the gradient of a minibatch, for our `CNN` and for the same layers with Flax's
`Conv` as it comes. Both are compiled ahead and timed in turns; a ratio is the median over the rounds of Flax's time
divided by ours.
"""

import argparse
import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from benchmarks._report import add_output_option, write

from memorax.networks import CNN

BATCH, UPDATES = 128, 2
SMALL: dict[str, Any] = {"features": (16, 32), "kernel_sizes": (3, 3), "strides": (2, 2), "padding": "SAME"}
CASES: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "Atari": ((84, 84, 1), {}),
    "64 x 64 pixels": ((64, 64, 3), {}),
    "35 x 35 pixels": ((35, 35, 3), SMALL),
    "8 x 8 pixels": ((8, 8, 3), SMALL),
}
"""Shape of the images, and what differs from the network's defaults."""


class Plain(nn.Module):
    """The layers of a `CNN` as Flax has them.

    Attributes:
        like: The network.
    """

    like: CNN

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Map images to features."""
        x = images.astype(jnp.float32) / 255.0
        sizes = zip(self.like.features, self.like.kernel_sizes, self.like.strides, strict=True)
        for features, kernel_size, strides in sizes:
            assert isinstance(kernel_size, int) and isinstance(strides, int)  # noqa: S101, PT018
            convolution = nn.Conv(features, (kernel_size,) * 2, (strides,) * 2, self.like.padding)
            x = nn.relu(convolution(x))
        return x.reshape(len(x), -1)


def compile_loop(module: nn.Module, shape: tuple[int, ...], seeds: int) -> tuple[Any, Any, jax.Array]:
    """Compile the updates of `seeds` networks side by side; also their parameters and images."""
    shape = (seeds, BATCH, *shape)
    images = jax.random.randint(jax.random.key(0), shape, 0, 256, jnp.int32).astype(jnp.uint8)
    params = jax.vmap(module.init)(jax.random.split(jax.random.key(1), seeds), images)

    def update(params: Any, images: jax.Array) -> Any:
        gradient = jax.grad(lambda params: jnp.mean(jnp.square(jnp.asarray(module.apply(params, images)))))(params)
        return jax.tree.map(lambda x, dx: x - 1e-3 * dx, params, gradient)

    def loop(params: Any, images: jax.Array) -> Any:
        return jax.lax.fori_loop(0, UPDATES, lambda _, params: jax.vmap(update)(params, images), params)

    return jax.jit(loop).lower(params, images).compile(), params, images


def compare(name: str, seeds: int, rounds: int) -> dict[str, Any]:
    """Time both in turns."""
    shape, options = CASES[name]
    ours = CNN(**options)
    loops = {"memorax": compile_loop(ours, shape, seeds), "flax": compile_loop(Plain(ours), shape, seeds)}
    times: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(rounds + 1):
        for way, (compiled, params, images) in loops.items():
            start = time.perf_counter()
            jax.block_until_ready(compiled(params, images))
            if turn:
                times[way].append((time.perf_counter() - start) / UPDATES)
    result: dict[str, Any] = {"network": name, "seeds": seeds}
    for way, (compiled, *_) in loops.items():
        result[f"{way}_ms"] = 1e3 * float(np.median(times[way]))
        result[f"{way}_mib"] = compiled.memory_analysis().temp_size_in_bytes / 2**20
    return result | {"ratio": float(np.median(np.array(times["flax"]) / np.array(times["memorax"])))}


def main() -> None:
    """Run the comparison and print and write its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    add_output_option(parser, "images")
    options = parser.parse_args()
    results = []
    for name in CASES:
        for seeds in (1, 2):
            results.append(compare(name, seeds, options.rounds))
            print(results[-1], flush=True)
    write(options.out, {"batch": BATCH, "results": results})


if __name__ == "__main__":
    main()

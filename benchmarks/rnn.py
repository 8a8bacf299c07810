"""Compare the recurrent kernels with Flax's own scan: `python -m benchmarks.rnn`.

Times one gradient (with respect to parameters and inputs) of `RNN(cell)`, which resets inside the sequence, against
`flax.linen.RNN(cell)`, which does not. Both are compiled ahead and timed in turn in one process; a ratio is the median
over rounds of Flax's time divided by ours in the same round, so that what else the machine does falls on both.
"""

import argparse
import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from benchmarks._report import add_output_option, write

from memorax.networks import RNN

CELLS = {"gru": nn.GRUCell, "lstm": nn.LSTMCell, "lstm_optimized": nn.OptimizedLSTMCell, "simple": nn.SimpleCell}
SHAPES = ((16, 128, 128, 0), (64, 128, 128, 0), (256, 128, 128, 0), (1024, 128, 128, 0), (16, 128, 64, 4))
"""Batch, time, features and the number of seeds in a `vmap` (0: none)."""


def compile_gradients(cell: nn.RNNCellBase, shape: tuple[int, int, int, int]) -> tuple[Any, Any, tuple[Any, Any]]:
    """Compile Flax's and our gradient of the mean squared output.

    Args:
        cell: A recurrent cell.
        shape: Batch, time, features, seeds.

    Returns:
        Flax's function, ours, and the arguments of both.
    """
    batch, length, features, seeds = shape
    theirs, ours = nn.RNN(cell), RNN(cell=cell)
    key = jax.random.key(0)
    inputs = jax.random.normal(key, (batch, length, features))
    done = jax.random.bernoulli(key, 0.01, (batch, length))

    def their_loss(params: Any, inputs: jax.Array) -> jax.Array:
        return jnp.mean(jnp.square(theirs.apply(params, inputs)))

    def our_loss(params: Any, inputs: jax.Array) -> jax.Array:
        return jnp.mean(jnp.square(ours.apply(params, inputs, done)[1]))

    gradients = [jax.grad(loss, (0, 1)) for loss in (their_loss, our_loss)]
    if seeds:
        gradients = [jax.vmap(gradient) for gradient in gradients]
        arguments = (
            jax.vmap(theirs.init, (0, None))(jax.random.split(key, seeds), inputs),
            jnp.tile(inputs, (seeds, 1, 1, 1)),
        )
    else:
        arguments = (theirs.init(key, inputs), inputs)
    flax_function, our_function = (jax.jit(gradient).lower(*arguments).compile() for gradient in gradients)
    return flax_function, our_function, arguments


def compare(cell: nn.RNNCellBase, shape: tuple[int, int, int, int], seconds: float) -> dict[str, Any]:
    """Time both in turn for about so many seconds, at least five rounds."""
    flax_function, our_function, arguments = compile_gradients(cell, shape)
    for function in (flax_function, our_function):
        jax.block_until_ready(function(*arguments))
    times: list[tuple[float, float]] = []
    start = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        times.append((elapsed(flax_function, arguments), elapsed(our_function, arguments)))
    measured = np.array(times)
    return {
        "batch": shape[0],
        "time": shape[1],
        "features": shape[2],
        "seeds": shape[3],
        "rounds": len(times),
        "flax_ms": 1e3 * float(np.median(measured[:, 0])),
        "memorax_ms": 1e3 * float(np.median(measured[:, 1])),
        "ratio": float(np.median(measured[:, 0] / measured[:, 1])),
        "ratio_of_fastest": float(measured[:, 0].min() / measured[:, 1].min()),
        "flax_temporary_mib": flax_function.memory_analysis().temp_size_in_bytes / 2**20,
        "memorax_temporary_mib": our_function.memory_analysis().temp_size_in_bytes / 2**20,
    }


def elapsed(function: Any, arguments: tuple[Any, Any]) -> float:
    """Time one call, in seconds."""
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def main() -> None:
    """Run the comparison and print or write its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--shapes", nargs="+", type=int, choices=range(len(SHAPES)), default=range(len(SHAPES)))
    parser.add_argument("--seconds", type=float, default=5.0, help="time to spend on each comparison")
    add_output_option(parser, "rnn")
    options = parser.parse_args()
    results = []
    for name in options.cells:
        for index in options.shapes:
            shape = SHAPES[index]
            result = {"cell": name, **compare(CELLS[name](shape[2]), shape, options.seconds)}
            results.append(result)
            print({key: round(value, 2) if isinstance(value, float) else value for key, value in result.items()})
    write(options.out, {"results": results})


if __name__ == "__main__":
    main()

"""Chunked matrix memories beside the same recurrence laid out over time: `python -m benchmarks.kernels`.

Times one gradient of each kernel against two other ways to compute it: "materialized", an associative scan over the
states of all steps, as is usual in JAX, and "scan", step by step. All are compiled ahead and timed in turns; a ratio is
the median over the rounds of the other way's time divided by that of the chunks.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks._report import add_output_option, write

from memorax.kernels.delta_rule import DeltaSteps, delta_rule
from memorax.kernels.linear_attention import LinearSteps, linear_attention
from memorax.kernels.mlstm import EMPTY, MLSTMSteps, mlstm

BATCH, HEADS = 16, 4
CASES = ((128, 16), (128, 64), (1024, 16), (1024, 64))
"""Time, and dimension of keys and values."""
KERNELS = ("linear", "mlstm", "delta")
LIMIT_GIB = 6.0
"""What needs more temporary memory than this is compiled and not run."""
Arrays = dict[str, jax.Array]
Way = Callable[[Arrays], jax.Array]


def draw(length: int, size: int) -> Arrays:
    """Draw what all three kernels need, time behind the batch."""
    keys = jax.random.split(jax.random.key(0), 6)
    wide = [jax.random.normal(key, (BATCH, length, HEADS, size)) / size**0.5 for key in keys[:3]]
    narrow = [jax.random.normal(key, (BATCH, length, HEADS)) for key in keys[3:5]]
    reset = jax.random.bernoulli(keys[5], 0.01, (BATCH, length))
    return dict(zip(("query", "key", "value", "write", "forget"), [*wide, *narrow], strict=True)) | {"reset": reset}


def chunked(kernel: str) -> Way:
    """Our kernel."""

    def run(x: Arrays) -> jax.Array:
        q, k, v, fade = x["query"], x["key"], x["value"], jax.nn.log_sigmoid(x["forget"] + 3)
        empty = jnp.zeros((BATCH, HEADS, q.shape[-1], v.shape[-1]))
        if kernel == "linear":
            return linear_attention(LinearSteps(q, k, v, fade), x["reset"], empty)[1]
        if kernel == "delta":
            return delta_rule(DeltaSteps(q, k, v, jax.nn.sigmoid(x["write"]), fade), x["reset"], empty)[1]
        state = empty, jnp.zeros(empty.shape[:-1]), jnp.full(empty.shape[:2], EMPTY)
        return mlstm(MLSTMSteps(q, k, v, x["write"], x["forget"] + 3), x["reset"], state)[1]

    return run


def updates(kernel: str, x: Arrays) -> tuple[jax.Array, jax.Array]:
    """Give the factor and the summand of every step: `state' = factor state + summand`."""
    k, v = x["key"], x["value"]
    fade = jnp.where(x["reset"][..., None], 0.0, jax.nn.sigmoid(x["forget"] + 3))[..., None, None]
    if kernel == "delta":
        beta = jax.nn.sigmoid(x["write"])[..., None, None]
        keep = jnp.eye(k.shape[-1]) - beta * k[..., :, None] * k[..., None, :]
        return fade * keep, beta * k[..., :, None] * v[..., None, :]
    if kernel == "mlstm":  # the normalizer is one more column
        v = jnp.concatenate([v, jnp.ones_like(v[..., :1])], -1) * jnp.exp(x["write"])[..., None]
    return fade, k[..., :, None] * v[..., None, :]


def read(kernel: str, state: jax.Array, query: jax.Array) -> jax.Array:
    """Read the state by the query."""
    outputs = jnp.einsum("...np,...n->...p", state, query)
    if kernel != "mlstm":
        return outputs
    return outputs[..., :-1] / jnp.maximum(jnp.abs(outputs[..., -1:]), 1.0)


def apply(kernel: str, factor: jax.Array, state: jax.Array) -> jax.Array:
    """Apply a factor to a state, or to another factor."""
    return factor @ state if kernel == "delta" else factor * state


def materialized(kernel: str) -> Way:
    """An associative scan over the states of all steps."""

    def combine(first: Any, second: Any) -> Any:
        return apply(kernel, second[0], first[0]), apply(kernel, second[0], first[1]) + second[1]

    def run(x: Arrays) -> jax.Array:
        _, states = jax.lax.associative_scan(combine, updates(kernel, x), axis=1)
        return read(kernel, states, x["query"])

    return run


def stepwise(kernel: str) -> Way:
    """A scan over the steps."""

    def run(x: Arrays) -> jax.Array:
        def step(state: jax.Array, now: Arrays) -> tuple[jax.Array, jax.Array]:
            factor, summand = updates(kernel, now)
            state = apply(kernel, factor, state) + summand
            return state, read(kernel, state, now["query"])

        columns = x["value"].shape[-1] + (kernel == "mlstm")
        empty = jnp.zeros((BATCH, HEADS, x["key"].shape[-1], columns))
        over_time = jax.tree.map(lambda a: a.swapaxes(0, 1), x)
        return jax.lax.scan(step, empty, over_time)[1].swapaxes(0, 1)

    return run


WAYS: dict[str, Callable[[str], Way]] = {"chunks": chunked, "materialized": materialized, "scan": stepwise}


def compare(kernel: str, length: int, size: int, rounds: int) -> dict[str, Any]:
    """Time the three ways in turns."""
    x = draw(length, size)
    reset = x.pop("reset")

    def gradient(way: Way) -> Any:
        function = jax.grad(lambda x, reset: jnp.mean(jnp.square(way({**x, "reset": reset}))))
        start = time.perf_counter()
        compiled = jax.jit(function).lower(x, reset).compile()
        return compiled, time.perf_counter() - start

    ways = {name: gradient(make(kernel)) for name, make in WAYS.items()}
    memory = {name: way.memory_analysis().temp_size_in_bytes / 2**20 for name, (way, _) in ways.items()}
    runs = {name: way for name, (way, _) in ways.items() if memory[name] <= LIMIT_GIB * 1024}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, way in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(way(x, reset))
            if turn:
                times[name].append(time.perf_counter() - start)
    result: dict[str, Any] = {"kernel": kernel, "time": length, "size": size, "compile_seconds": ways["chunks"][1]}
    ours = np.array(times["chunks"])
    for name in WAYS:
        result[name] = {"temporary_mib": memory[name]}
        if name in times:
            result[name]["ms"] = 1e3 * float(np.median(times[name]))
            result[name]["ratio"] = float(np.median(np.array(times[name]) / ours))
    return result


def main() -> None:
    """Run the comparison and print and write its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kernels", nargs="+", choices=("linear", "mlstm", "delta"), default=("linear", "mlstm", "delta")
    )
    parser.add_argument("--cases", nargs="+", type=int, choices=range(len(CASES)), default=range(len(CASES)))
    parser.add_argument("--rounds", type=int, default=5)
    add_output_option(parser, "kernels")
    options = parser.parse_args()
    results = []
    for kernel in options.kernels:
        for case in options.cases:
            results.append(compare(kernel, *CASES[case], options.rounds))
            print(results[-1], flush=True)
    write(options.out, {"batch": BATCH, "heads": HEADS, "results": results})


if __name__ == "__main__":
    main()

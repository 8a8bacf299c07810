"""Compare the prioritized episode buffer with flashbax's: `python -m benchmarks.buffers`.

Both hold the same steps of 16 environments, may begin a sequence at any of them, and do what they do in a training
run: inside a compiled loop, the state donated to it. Before anything is timed the rings are full and their priorities
differ. A round is one loop of each operation in each library, in turn; times are medians over the rounds, and a ratio
is the median of flashbax's time for all three divided by ours in the same round, so that what else the machine does
falls on both. A sample is also timed as a single call from Python, which is what other libraries publish.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import flashbax
import jax
import jax.numpy as jnp
import numpy as np
from benchmarks._report import add_output_option, write

from memorax.buffers import get_full_start_flags, make_prioritised_episode_buffer

POSITIONS = (10_000, 100_000, 1_000_000, 10_000_000)
ROWS, BATCH, LENGTH = 16, 32, 20
"""Environments, sequences per sample, steps per sequence."""
REPEATS = 50
"""Of an operation in a loop."""
WARMUP = 5
"""Rounds that are not counted."""
ITEM = {
    "observation": jnp.zeros(4, jnp.float32),
    "action": jnp.zeros((), jnp.int32),
    "reward": jnp.zeros((), jnp.float32),
    "done": jnp.zeros((), bool),
}
OPERATIONS = ("add", "sample", "set", "call")
"""The last is a sample too, but alone."""


def make(library: str, positions: int) -> Any:
    """Make a prioritized buffer for so many steps."""
    if library == "memorax":
        sizes = (positions, ROWS * LENGTH, BATCH, LENGTH)
        return make_prioritised_episode_buffer(*sizes, get_full_start_flags, add_sequences=True, add_batch_size=ROWS)
    return flashbax.make_prioritised_trajectory_buffer(
        add_batch_size=ROWS,
        sample_batch_size=BATCH,
        sample_sequence_length=LENGTH,
        period=1,
        min_length_time_axis=LENGTH,
        max_length_time_axis=positions // ROWS,
    )


class Timed:
    """A buffer in a training loop.

    Args:
        library: Whose.
        positions: Steps it holds.
    """

    def __init__(self, library: str, positions: int) -> None:
        buffer = make(library, positions)
        self.state = jax.jit(buffer.init)(ITEM)
        self.bytes_per_step = sum(leaf.nbytes for leaf in jax.tree.leaves(self.state)) / positions
        self.fill(buffer, positions // ROWS)
        step = jax.tree.map(lambda x: jnp.ones((ROWS, 1, *x.shape), x.dtype), ITEM)
        keys = jax.random.split(jax.random.key(0), REPEATS)
        priorities = jax.random.uniform(jax.random.key(1), (REPEATS, BATCH)) + 0.1

        def add(state: Any) -> Any:
            return jax.lax.scan(lambda state, _: (buffer.add(state, step), None), state, length=REPEATS)[0]

        def sample(state: Any) -> Any:
            return jax.lax.scan(lambda _, key: (None, buffer.sample(state, key)), None, keys)[1]

        def prioritize(state: Any, indices: jax.Array) -> Any:
            def body(state: Any, new: Any) -> tuple[Any, None]:
                return buffer.set_priorities(state, *new), None

            return jax.lax.scan(body, state, (indices, priorities))[0]

        self.add = jax.jit(add, donate_argnums=0).lower(self.state).compile()
        self.sample = jax.jit(sample).lower(self.state).compile()
        indices = self.sample(self.state).indices
        self.call = jax.jit(buffer.sample).lower(self.state, keys[0]).compile()
        self.keys = list(keys)
        self.set = jax.jit(prioritize, donate_argnums=0).lower(self.state, indices).compile()

    def fill(self, buffer: Any, columns: int) -> None:
        """Fill the ring."""
        many = 100
        steps = jax.tree.map(lambda x: jnp.ones((ROWS, many, *x.shape), x.dtype), ITEM)

        def loop(state: Any) -> Any:
            return jax.lax.fori_loop(0, columns // many + 1, lambda _, state: buffer.add(state, steps), state)

        self.state = jax.block_until_ready(jax.jit(loop, donate_argnums=0)(self.state))

    def round(self) -> list[float]:
        """Do everything once; return the seconds of each operation."""
        self.state, added = elapsed(self.add, self.state)
        sample, drawn = elapsed(self.sample, self.state)
        self.state, prioritized = elapsed(self.set, self.state, sample.indices)
        calls = [elapsed(self.call, self.state, key)[1] for key in self.keys]
        return [seconds / REPEATS for seconds in (added, drawn, prioritized)] + [float(np.median(calls))]


def elapsed(function: Callable, *arguments: Any) -> tuple[Any, float]:
    """Time one call, in seconds."""
    start = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - start


def compare(positions: int, rounds: int) -> dict[str, Any]:
    """Time both libraries in turn."""
    buffers = {name: Timed(name, positions) for name in ("flashbax", "memorax")}
    seconds: dict[str, list[list[float]]] = {name: [] for name in buffers}
    for _ in range(rounds + WARMUP):
        for name, buffer in buffers.items():
            seconds[name].append(buffer.round())
    times = {name: np.array(measured[WARMUP:]) for name, measured in seconds.items()}
    result: dict[str, Any] = {"positions": positions, "rounds": rounds}
    for name, buffer in buffers.items():
        medians = 1e6 * np.median(times[name], axis=0)
        result |= {f"{name}_{op}_us": float(t) for op, t in zip(OPERATIONS, medians, strict=True)}
        result[f"{name}_bytes_per_step"] = buffer.bytes_per_step
    whole = {name: measured[:, :3].sum(axis=1) for name, measured in times.items()}
    result["ratio"] = float(np.median(whole["flashbax"] / whole["memorax"]))
    result["ratio_of_fastest"] = float(whole["flashbax"].min() / whole["memorax"].min())
    return result


def main() -> None:
    """Run the comparison and print or write its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", nargs="+", type=int, default=list(POSITIONS))
    parser.add_argument("--rounds", type=int, default=100)
    add_output_option(parser, "buffers")
    options = parser.parse_args()
    results = []
    for positions in options.positions:
        result = compare(positions, options.rounds)
        results.append(result)
        print({key: round(value, 2) if isinstance(value, float) else value for key, value in result.items()})
    item = sum(leaf.nbytes for leaf in jax.tree.leaves(ITEM))
    sizes = {"rows": ROWS, "batch": BATCH, "length": LENGTH, "item_bytes": item}
    write(options.out, {"sizes": sizes, "results": results})


if __name__ == "__main__":
    main()

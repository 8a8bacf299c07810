"""Speed, memory and compile time of every memory model beside other implementations: `python -m benchmarks.models`.

Throughput is one gradient, with respect to parameters and inputs, of the mean squared output; latency is one step with
the memory carried along. Models and peers are compiled ahead, live in one process and are timed in turns; a figure is
the median over the rounds. Peers reset inside sequences too, except Flax's own scan. `memax` (and `equinox` for its
other half) are used where installed. With `--add` the rows that were not measured now stay in the file of results.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks import _peers
from benchmarks._report import add_output_option, write

from memorax.networks.sequence_models import MODELS

BATCH, WIDTH = 32, 128
LENGTHS = (64, 1024, 4096)
LATENCY_BATCHES = (1, 64, 1024)
STEPS = 200
"""Steps of one round of latency."""
Apply = Callable[[Any, jax.Array, jax.Array, Any], tuple[Any, jax.Array]]


def ours(name: str) -> _peers.Peer:
    """Make a registered model a peer among the others."""
    model = MODELS.get(name)(WIDTH)

    def initialize(key: jax.Array, inputs: jax.Array, done: jax.Array) -> Any:
        return model.init(key, inputs, done)

    def carry(batch: int) -> Any:
        return model.initialize_carry(jax.random.key(0), (batch, WIDTH))

    return _peers.Peer(f"memorax:{name}", initialize, carry, model.apply)


def gradient(peer: _peers.Peer, length: int) -> tuple[Any, tuple[Any, ...], dict[str, float]]:
    """Compile the gradient over `length` steps; return it, its arguments, and what compiling cost."""
    key = jax.random.key(0)
    inputs = jax.random.normal(key, (BATCH, length, WIDTH))
    done = jax.random.bernoulli(key, 0.01, (BATCH, length))
    params = jax.jit(peer.initialize)(key, inputs[:1, :2], done[:1, :2])

    # Everything is an argument: what a program closes over, the compiler computes with.
    def loss(params: Any, inputs: jax.Array, done: jax.Array, carry: Any) -> jax.Array:
        return jnp.mean(jnp.square(peer.apply(params, inputs, done, carry)[1]))

    arguments = params, inputs, done, peer.carry(BATCH)
    start = time.perf_counter()
    function = jax.jit(jax.grad(loss, (0, 1))).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    mib = function.memory_analysis().temp_size_in_bytes / 2**20
    return function, arguments, {"compile_seconds": seconds, "temporary_mib": mib}


def throughput(peers: list[_peers.Peer], length: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Time all peers in turns at one length."""
    compiled = {peer.name: gradient(peer, length) for peer in peers}
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(rounds + 1):
        for name, (function, arguments, _) in compiled.items():
            start = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            if turn:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    for name, (_, arguments, costs) in compiled.items():
        parameters = sum(x.size for x in jax.tree.leaves(arguments[0]))
        tokens = BATCH * length / float(np.median(times[name]))
        yield {"model": name, "time": length, "parameters": parameters, "tokens_per_second": tokens, **costs}


def latency(peers: list[_peers.Peer], batch: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Time single steps of all peers in turns at one batch size."""
    inputs, done = jnp.ones((batch, 1, WIDTH)), jnp.zeros((batch, 1), bool)
    compiled: dict[str, tuple[Any, Any, Any]] = {}
    for peer in peers:
        params = jax.jit(peer.initialize)(jax.random.key(0), inputs[:1], done[:1])
        carry = peer.carry(batch)
        function = jax.jit(peer.apply).lower(params, inputs, done, carry).compile()
        compiled[peer.name] = function, params, carry
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(rounds + 1):
        for name, (function, params, first) in compiled.items():
            carry, steps = first, []
            for _ in range(STEPS):
                start = time.perf_counter()
                carry, output = function(params, inputs, done, carry)
                jax.block_until_ready((carry, output))
                steps.append(time.perf_counter() - start)
            if turn:
                times[name].append(float(np.median(steps)))
    for name in compiled:
        yield {"model": name, "batch": batch, "microseconds": 1e6 * float(np.median(times[name]))}


def report(row: dict[str, Any]) -> None:
    """Print a row of results."""
    print({key: round(value, 1) if isinstance(value, float) else value for key, value in row.items()}, flush=True)


def join(before: dict[str, Any], now: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Put rows that were measured now in the places of those before, and new ones behind them."""
    joined = {}
    for part, size in (("throughput", "time"), ("latency", "batch")):
        rows = {(row["model"], row[size]): row for row in (*before[part], *now[part])}
        joined[part] = sorted(rows.values(), key=lambda row, size=size: row[size])
    return joined


def main() -> None:
    """Run the comparison and print and write its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS.names(), default=MODELS.names())
    parser.add_argument("--lengths", nargs="*", type=int, default=LENGTHS)
    parser.add_argument("--batches", nargs="*", type=int, default=LATENCY_BATCHES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--add", action="store_true", help="keep the rows of the file that are not measured now")
    add_output_option(parser, "models")
    options = parser.parse_args()
    peers = [ours(name) for name in options.models] + ([] if options.no_peers else _peers.installed(WIDTH))
    results: dict[str, list[dict[str, Any]]] = {"throughput": [], "latency": []}
    for length in options.lengths:
        # What is too large for the machine at this length is left out, and said so.
        fitting = [peer for peer in peers if length <= peer.longest]
        # The longest sequences take most of the time, and their times vary least.
        for row in throughput(fitting, length, options.rounds if length <= 1024 else max(2, options.rounds // 2)):
            results["throughput"].append(row)
            report(row)
    for batch in options.batches:
        for row in latency(peers, batch, options.rounds):
            results["latency"].append(row)
            report(row)
    write(options.out, join(json.loads(options.out.read_text()), results) if options.add else results)


if __name__ == "__main__":
    main()

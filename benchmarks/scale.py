"""Count what each of several devices does and exchanges in an update: `python -m benchmarks.scale`.

Programs are compiled for so many devices, which a single processor plays, and are read, not run: matrix products,
memory and exchanges do not depend on what the devices are, times would. Strong scaling divides one batch
of environments among the devices of a seed; weak scaling gives every device as many environments as one device had.
One seed is trained, since seeds exchange nothing.
"""

import argparse
import dataclasses
import os
from typing import Any

_COUNTS = (1, 2, 4, 8, 64)
"""Numbers of devices."""
# Before JAX is imported.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={max(_COUNTS)}"

import jax
from benchmarks._report import add_output_option, write
from tests.compiled_programs import work

from memorax.experiment import build_agent, default_run
from memorax.experiment.devices import Devices
from memorax.experiment.run.programs import compile_interval, seed_keys

ENVS = 256
"""Environments in all, or of a device where scaling is weak; and sequences of a minibatch, likewise."""
SIZES: dict[str, dict[str, Any]] = {
    "ppo": {"num_steps": 128, "num_minibatches": 4, "update_epochs": 4},
    "pqn": {"num_steps": 128, "num_minibatches": 4, "update_epochs": 4},
    "r2d2": {"sequence_length": 20, "buffer_size": 1_000_000},
    "sac": {"sequence_length": 20, "buffer_size": 1_000_000},
}
"""Hyperparameters by algorithm."""
REPLAYED = ("r2d2", "sac")
"""Algorithms that learn from as many sequences at once as there are environments, each time that these make a step."""


def measure(algorithm: str, devices: int, envs: int) -> dict[str, Any]:
    """Compile an update, and count what one of the devices does in it."""
    config = default_run(algorithm)
    sizes = {"num_envs": envs, **SIZES[algorithm]}
    if algorithm in REPLAYED:
        sizes |= {"train_frequency": envs, "batch_size": envs}
    hyperparameters = dataclasses.replace(config.hyperparameters, **sizes)
    config = dataclasses.replace(config, seeds=1, hyperparameters=hyperparameters)
    agent = build_agent(config)
    mesh = Devices(devices, 1, envs)
    init_keys, keys, _ = seed_keys([0])
    state = jax.eval_shape(jax.vmap(agent.init), init_keys)
    if mesh.mesh is not None:
        where = mesh.shardings(state)
        state = jax.tree.map(lambda x, y: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=y), state, where)
    program = compile_interval(agent, mesh.place(keys), state, agent.steps_per_update, mesh)
    done, memory = work(program), program.memory_analysis()
    return {
        "devices": devices,
        "envs": envs,
        "steps": agent.steps_per_update,
        "parameters": sum(x.size for x in jax.tree.leaves(parameters(state.learner))),
        "products": done.products,
        "state_bytes": memory.argument_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "exchanges": sum(done.count.values()),
        "exchanged_bytes": sum(done.bytes.values()),
        "count_by_kind": done.count,
        "bytes_by_kind": done.bytes,
    }


def parameters(learner: Any) -> Any:
    """The parameters that are learned, without targets and optimizer states."""
    found = [getattr(part, "params", None) for part in vars(learner).values()]
    return [part for part in (*found, getattr(learner, "params", None)) if part is not None]


def main() -> None:
    """Measure, print and write a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, nargs="+", default=list(_COUNTS))
    parser.add_argument("--algorithms", nargs="+", default=list(SIZES), choices=list(SIZES))
    add_output_option(parser, "scale")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for algorithm in options.algorithms:
        for kind in ("strong", "weak"):
            rows = []
            for devices in options.devices:
                rows.append(measure(algorithm, devices, ENVS * (devices if kind == "weak" else 1)))
                show(algorithm, kind, rows[-1], rows[0])
            results[f"{algorithm}_{kind}"] = rows
    write(options.out, results)


def show(algorithm: str, kind: str, row: dict[str, Any], one: dict[str, Any]) -> None:
    """Print a line of the table in `docs/scale.md`."""
    ideal = one["products"] / (row["devices"] / one["devices"] if kind == "strong" else 1)
    cells = (
        algorithm,
        kind,
        row["devices"],
        row["envs"],
        f"{row['products'] / 1e6:,.0f}",
        f"{row['products'] / ideal:.2f}",
        f"{row['temporary_bytes'] / 2**20:.1f}",
        f"{row['exchanges']:,.0f}",
        f"{row['exchanged_bytes'] / 2**20:.2f}",
    )
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()

"""A small run on one device and on eight, for `test_devices.py`; writes the difference as JSON."""

import dataclasses
import json
import sys

import jax
import numpy as np
from tests.compiled_programs import work

from memorax.experiment import build_agent, default_run
from memorax.experiment.devices import Devices
from memorax.experiment.run.programs import compile_interval, initialize, seed_keys

ROLLOUT = {"num_steps": 16, "num_minibatches": 2, "update_epochs": 2, "truncation_length": 8}
REPLAY = {"train_frequency": 64, "batch_size": 64, "sequence_length": 12, "learning_starts": 64, "buffer_size": 4096}
UPDATES = 2


def small(algorithm, seeds):
    """A run with enough to do for eight devices, whose rewards are divided by statistics of all environments."""
    config = default_run(algorithm)
    known = config.hyperparameters.__dataclass_fields__
    sizes = {"num_envs": 64, "normalize_rewards": True} | ROLLOUT | REPLAY
    fields = {name: value for name, value in sizes.items() if name in known}
    hyperparameters = dataclasses.replace(config.hyperparameters, **fields)
    return dataclasses.replace(config, seeds=seeds, features=32, warmup=16 * 64, hyperparameters=hyperparameters)


def trained(config, number):
    """Train; give state and metrics before and after, and what the compiler says of the program of a device."""
    agent = build_agent(config)
    devices = Devices(number, config.seeds, config.hyperparameters.num_envs)
    devices.check(agent)
    init_keys, keys, _ = devices.place(seed_keys(config.seed_numbers()))
    state, _ = initialize(agent, init_keys, keys, config.warmup, devices=devices)
    before = jax.device_get(state.learner)
    program = compile_interval(agent, keys, state, UPDATES * agent.steps_per_update, devices)
    state, interval = program(keys, state)
    found = jax.device_get(dataclasses.replace(state, learner={"before": before, "after": state.learner}))
    memory = program.memory_analysis()
    costs = {
        "products": work(program).products,
        "state": memory.argument_size_in_bytes,
        "memory": memory.temp_size_in_bytes,
    }
    return found, jax.device_get(interval), costs


def distance(some, others):
    """The largest difference between the numbers of two trees."""
    pairs = zip(jax.tree.leaves(some), jax.tree.leaves(others), strict=True)
    return max(float(np.max(np.abs(x.astype(float) - y.astype(float)), initial=0.0)) for x, y in pairs)


def floats(tree):
    """The floating-point numbers of a tree; what counts steps always moves."""
    return [x for x in jax.tree.leaves(tree) if np.issubdtype(x.dtype, np.floating)]


def main(algorithm, seeds):
    """Compare."""
    config = small(algorithm, seeds)
    (one, logs, alone), (eight, eight_logs, shared) = (trained(config, number) for number in (1, 8))
    shares = {name: shared[name] / alone[name] for name in alone}
    apart = {
        "learner": distance(one.learner, eight.learner),
        "environments": distance(one.loop, eight.loop),
        "scales": distance(one.scales, eight.scales),
        "replay": distance(one.buffer, eight.buffer) if one.buffer is not None else 0.0,
        "metrics": distance(logs.values, eight_logs.values),
    }
    moved = distance(*(floats(one.learner[when]) for when in ("before", "after")))
    sys.stdout.write(json.dumps({"apart": apart, "moved": moved, "shares": shares}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""Environment steps per second of a whole PPO update: `python -m benchmarks.ppo`.

PPO with MLP(128) + GRU(128) on CartPole, 128 steps, 4 epochs of 4 minibatches, actor and critic on one trunk and on
two, beside the same agent whose recurrence is Flax's own cell under a plain scan. All are compiled ahead and timed in
turn in one process, as is a product of two 1024 x 1024 matrices: what an agent makes of the machine is the rate of its
matrix products as a share of the rate of that one.
"""

import argparse
import itertools
import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from benchmarks._report import add_output_option, write

from memorax.algorithms import PPO, PPOConfig
from memorax.environments import make
from memorax.networks import MLP, RNN, FeatureExtractor, Network, heads

WIDTH = 128
CONFIG = {"num_steps": 128, "update_epochs": 4, "num_minibatches": 4}
MATRIX = 1024


def build(num_envs: int, *, shared: bool, fused: bool) -> PPO:
    """Build the agent."""
    env, env_params = make("gymnax::CartPole-v1")

    def trunk() -> tuple[nn.Module, nn.Module]:
        extractor = FeatureExtractor(observation_extractor=MLP(features=(WIDTH,)))
        return extractor, RNN(cell=nn.GRUCell(features=WIDTH), fused=fused)

    actor_trunk = trunk()
    actor = Network(*actor_trunk, heads.Categorical(action_dim=2))
    critic = Network(*(actor_trunk if shared else trunk()), heads.VNetwork())
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(3e-4, eps=1e-5))
    return PPO(PPOConfig(num_envs=num_envs, **CONFIG), env, env_params, actor, critic, optimizer, optimizer)


def flops_per_step(state: Any) -> int:
    """Count the operations of the matrix products: once to act, and three times as many in each epoch to learn."""
    kernels = [x.size for x in jax.tree.leaves(state.learner.params) if x.ndim == 2]
    return 2 * sum(kernels) * (1 + 3 * CONFIG["update_epochs"])


def prepare(num_envs: int, steps: int, *, shared: bool, fused: bool) -> dict[str, Any]:
    """Compile training, and say what it took."""
    agent = build(num_envs, shared=shared, fused=fused)
    key = jax.random.key(0)
    state = agent.init(key)
    length = max(1, steps // agent.steps_per_update) * agent.steps_per_update
    start = time.perf_counter()
    lowered = jax.jit(lambda key, state: agent.train(key, state, length)).lower(key, state)
    middle = time.perf_counter()
    program = lowered.compile()
    end = time.perf_counter()
    memory = program.memory_analysis()
    result = {
        "num_envs": num_envs,
        "trunk": "shared" if shared else "separate",
        "cell": "memorax" if fused else "flax",
        "trace_seconds": middle - start,
        "compile_seconds": end - middle,
        "peak_memory_mib": (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 2**20,
        "flops_per_step": flops_per_step(state),
    }
    state = jax.block_until_ready(program(key, state))
    return {"result": result, "run": program, "arguments": (key, state), "steps": length, "times": []}


def elapsed(function: Any, *arguments: Any) -> float:
    """Time one call, in seconds."""
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def matmul_rate(seconds: float = 0.3) -> float:
    """Measure the rate of the matrix product, in GFLOP/s: the median of single calls."""
    x = jnp.ones((MATRIX, MATRIX))
    product = jax.jit(lambda x: x @ x)
    elapsed(product, x)
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds:
        times.append(elapsed(product, x))
    return 2 * MATRIX**3 / float(np.median(times)) / 1e9


def measure(envs: list[int], steps: int, rounds: int) -> dict[str, Any]:
    """Time all agents in turn."""
    results, rates = [], []
    for num_envs in envs:
        choices = itertools.product((True, False), (True, False))
        agents = [prepare(num_envs, steps, shared=shared, fused=fused) for shared, fused in choices]
        for _ in range(rounds):
            rates.append(matmul_rate())
            for agent in agents:
                agent["times"].append(elapsed(agent["run"], *agent["arguments"]))
        for agent in agents:
            speed = agent["steps"] / float(np.median(agent["times"]))
            gflops = speed * agent["result"]["flops_per_step"] / 1e9
            results.append(agent["result"] | {"steps_per_second": speed, "gflops": gflops})
            print({k: round(v, 2) if isinstance(v, float) else v for k, v in results[-1].items()}, flush=True)
    rate = float(np.median(rates))
    for result in results:
        result["share_of_matmul"] = result["gflops"] / rate
    return {"matmul_gflops": rate, "results": results}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", type=int, default=[64, 1024])
    parser.add_argument("--steps", type=int, default=32_768, help="environment steps in a timed call")
    parser.add_argument("--rounds", type=int, default=5)
    add_output_option(parser, "ppo")
    options = parser.parse_args()
    report = measure(options.envs, options.steps, options.rounds)
    print(f"matrix product: {report['matmul_gflops']:.0f} GFLOP/s")
    for result in report["results"]:
        print(f"{result['num_envs']} {result['trunk']} {result['cell']}: {result['share_of_matmul']:.1%}")
    write(options.out, report)


if __name__ == "__main__":
    main()

"""Environment steps per second of agents with a replay: `python -m benchmarks.replay_agents`.

DQN and R2D2 with MLP(128) + GRU(128) on CartPole: 16 environments, and for every 16 transitions an update on 32
sequences of 40 steps, of which 10 are burn-in. Both are measured with replays of several sizes, which are full before
anything is timed. Programs are compiled ahead, their state is donated to them, and they are timed in turn in one
process, as is a product of two 1024 x 1024 matrices: what an agent makes of the machine is the rate of its matrix
products as a share of the rate of that one.
"""

import argparse
import itertools
import time
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from benchmarks._report import add_output_option, write
from benchmarks.ppo import matmul_rate

from memorax.algorithms import ALGORITHMS
from memorax.environments import make
from memorax.networks import MLP, RNN, FeatureExtractor, Network, heads

WIDTH = 128
CONFIG = {"num_envs": 16, "train_frequency": 16, "batch_size": 32, "sequence_length": 40, "burn_in_length": 10}
FILL = 8_000
"""Transitions that are put into a replay at once before anything is timed."""


def build(algorithm: str, positions: int) -> Any:
    """Build an agent whose replay keeps so many transitions."""
    env, env_params = make("gymnax::CartPole-v1")
    agent, config = ALGORITHMS.get(algorithm)
    extractor = FeatureExtractor(observation_extractor=MLP(features=(WIDTH,)))
    network = Network(extractor, RNN(cell=nn.GRUCell(features=WIDTH)), heads.DiscreteQNetwork(action_dim=2))
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-4))
    return agent(config(**CONFIG, buffer_size=positions), env, env_params, network, optimizer)


def flops_per_step(state: Any) -> float:
    """Count the operations of the matrix products of a transition.

    To act is to use every weight once; to learn, once in each network for every step of a sequence, and twice more
    where gradients go, which is behind the burn-in.
    """
    kernels = [x.size for x in jax.tree.leaves(state.learner.online.params) if x.ndim == 2]
    length, burn_in = CONFIG["sequence_length"], CONFIG["burn_in_length"]
    drawn = CONFIG["batch_size"] / CONFIG["train_frequency"]
    return 2 * sum(kernels) * (1 + drawn * (2 * length + 2 * (length - burn_in)))


class Runner:
    """An agent in training whose replay is full.

    Attributes:
        result: What is known of it.
        times: Seconds of each timed call.
    """

    def __init__(self, algorithm: str, positions: int, steps: int) -> None:
        agent, self.key = build(algorithm, positions), jax.random.key(0)
        fill = jax.jit(lambda key, state: agent.warmup(key, state, FILL), donate_argnums=1)
        self.state = agent.init(self.key)
        while self.state.step < positions:
            self.state = fill(self.key, self.state)
        self.steps = max(1, steps // agent.steps_per_update) * agent.steps_per_update
        train = jax.jit(lambda key, state: agent.train(key, state, self.steps), donate_argnums=1)
        start = time.perf_counter()
        lowered = train.lower(self.key, self.state)
        middle = time.perf_counter()
        self.program = lowered.compile()
        end = time.perf_counter()
        memory = self.program.memory_analysis()
        self.result = {
            "algorithm": algorithm,
            "positions": positions,
            "trace_seconds": middle - start,
            "compile_seconds": end - middle,
            "peak_memory_mib": (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 2**20,
            "flops_per_step": flops_per_step(self.state),
        }
        self.times: list[float] = []
        self.run()

    def run(self) -> float:
        """Train for a while; return the seconds it took."""
        start = time.perf_counter()
        self.state = jax.block_until_ready(self.program(self.key, self.state))
        return time.perf_counter() - start


def measure(positions: list[int], steps: int, rounds: int) -> dict[str, Any]:
    """Time all agents in turn."""
    runners = [Runner(*choice, steps) for choice in itertools.product(("dqn", "r2d2"), positions)]
    rates = []
    for _ in range(rounds):
        rates.append(matmul_rate())
        for runner in runners:
            runner.times.append(runner.run())
    rate, results = float(np.median(rates)), []
    for runner in runners:
        speed = runner.steps / float(np.median(runner.times))
        gflops = speed * runner.result["flops_per_step"] / 1e9
        measured = {"steps_per_second": speed, "gflops": gflops, "share_of_matmul": gflops / rate}
        results.append(runner.result | measured)
        print({k: round(v, 2) if isinstance(v, float) else v for k, v in results[-1].items()}, flush=True)
    return {"matmul_gflops": rate, "sizes": CONFIG | {"width": WIDTH}, "results": results}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--steps", type=int, default=3_200, help="environment steps in a timed call")
    parser.add_argument("--rounds", type=int, default=7)
    add_output_option(parser, "replay_agents")
    options = parser.parse_args()
    write(options.out, measure(options.positions, options.steps, options.rounds))


if __name__ == "__main__":
    main()

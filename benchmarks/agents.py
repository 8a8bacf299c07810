"""Whole agents beside those of other libraries at equal work: `python -m benchmarks.agents`.

Each row is one piece of work: networks of the same sizes, the same environments, rollouts, epochs and minibatches. All
contenders of a row are compiled ahead, live in one process and are timed in turns, every other round in reverse; a
ratio is the median over the rounds of the peer's time per step by ours. Memorax runs with `lox.spool`, for the others
return their metrics too. `--purejaxrl`, `--popjaxrl` and `--purejaxql` name checkouts; what is not there is left out.
With `--add` the rows that were not measured now stay in the file of results.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from benchmarks import _agents_elsewhere as elsewhere
from benchmarks._agents_elsewhere import Contender
from benchmarks._report import add_output_option, write
from benchmarks.ppo import matmul_rate

from memorax import lox
from memorax.algorithms import DQN, PPO, PQN, SAC, DQNConfig, PPOConfig, PQNConfig, SACConfig
from memorax.environments import make
from memorax.networks import MLP, RNN, FeatureExtractor, Network, SequenceModelWrapper, heads

PPO_GRU = {16: (128, 16_384), 64: (128, 32_768), 256: (128, 65_536), 1024: (128, 131_072), 4096: (32, 131_072)}
"""PPO with a GRU: by the number of environments the length of a rollout, and the steps of a timed call."""
Peers = Callable[[argparse.Namespace], Iterator[Contender]]


def normalized_relu(x: jax.Array) -> jax.Array:
    """Normalize, then rectify, as the networks of PQN do."""
    return nn.relu(nn.LayerNorm()(x))


def feed_forward(head: nn.Module, activation: Callable[[jax.Array], jax.Array]) -> Network:
    """Two hidden layers of 64."""
    return Network(FeatureExtractor(MLP((64, 64), activation=activation)), SequenceModelWrapper(lambda x: x), head)


def ours(agent: Any, steps: int, *, seeds: int = 1, warmup: int = 0) -> Contender:
    """Make an agent a contender."""
    one = max(1, steps // agent.steps_per_update) * agent.steps_per_update
    keys = jax.random.split(jax.random.key(0), seeds)
    state = jax.jit(jax.vmap(agent.init))(keys)
    if warmup:
        state = jax.jit(jax.vmap(lambda key, state: agent.warmup(key, state, warmup)))(keys, state)

    def train(state: Any) -> tuple[Any, Any]:
        if seeds == 1:
            state, logs = lox.spool(agent.train)(keys[0], jax.tree.map(lambda x: x[0], state), one)
            return jax.tree.map(lambda x: x[None], state), logs
        return jax.vmap(lambda key, state: lox.spool(agent.train)(key, state, one))(keys, state)

    return Contender("memorax", train, state, one * seeds)


def ppo_feed_forward(envs: int, steps: int) -> Peers:
    """PPO with two networks of 64 x 64, as purejaxrl's."""
    config = {"envs": envs, "length": 128, "epochs": 4, "minibatches": 4, "steps": steps}

    def contenders(options: argparse.Namespace) -> Iterator[Contender]:
        actor = feed_forward(heads.Categorical(action_dim=2), nn.tanh)
        critic = feed_forward(heads.VNetwork(), nn.tanh)
        yield ours(_ppo(config, actor, critic), steps)
        if options.purejaxrl:
            yield elsewhere.purejaxrl(options.purejaxrl, "ppo.py", config)
        sizes = {"num_steps": 128, "num_epochs": 4, "num_minibatches": 4, "agent_kwargs": {"activation": "tanh"}}
        yield elsewhere.rejax("PPO", "CartPole-v1", config, **sizes)

    return contenders


def ppo_gru(envs: int) -> Peers:
    """PPO with a GRU of 128 units on one trunk, as purejaxrl's."""
    length, steps = PPO_GRU[envs]
    config = {"envs": envs, "length": length, "epochs": 4, "minibatches": 4, "steps": steps}

    def contenders(options: argparse.Namespace) -> Iterator[Contender]:
        trunk = FeatureExtractor(MLP((128,))), RNN(nn.GRUCell(features=128))
        actor = Network(*trunk, heads.Categorical(action_dim=2, hidden=(128,)))
        yield ours(_ppo(config, actor, Network(*trunk, heads.VNetwork(hidden=(128,)))), steps)
        if options.purejaxrl:
            yield elsewhere.purejaxrl(options.purejaxrl, "ppo_rnn.py", config)

    return contenders


def ppo_gru_wide(options: argparse.Namespace) -> Iterator[Contender]:
    """PPO with a GRU of 256 units and two layers before and after it, as popjaxrl's."""
    config = {"envs": 64, "length": 128, "epochs": 4, "minibatches": 4, "steps": 16_384}
    trunk = FeatureExtractor(MLP((128, 256), activation=nn.leaky_relu)), RNN(nn.GRUCell(features=256))
    actor = Network(*trunk, heads.Categorical(action_dim=2, hidden=(128, 128)))
    yield ours(_ppo(config, actor, Network(*trunk, heads.VNetwork(hidden=(128, 128)))), config["steps"])
    if options.popjaxrl and options.purejaxrl:
        yield elsewhere.popjaxrl(options.popjaxrl, options.purejaxrl, config)


def pqn_feed_forward(options: argparse.Namespace) -> Iterator[Contender]:
    """PQN with a network of 64 x 64 and layer norms, as rejax's."""
    config = {"envs": 64, "length": 64, "epochs": 4, "minibatches": 16, "steps": 131_072}
    env, params = make("gymnax::CartPole-v1")
    settings = PQNConfig(num_envs=64, num_steps=64, update_epochs=4, num_minibatches=16)
    network = feed_forward(heads.DiscreteQNetwork(action_dim=2), normalized_relu)
    yield ours(PQN(settings, env, params, network, _optimizer()), config["steps"])
    sizes = {"num_steps": 64, "num_epochs": 4, "num_minibatches": 16}
    yield elsewhere.rejax("PQN", "CartPole-v1", config, **sizes)
    if options.purejaxql and options.purejaxrl:
        yield elsewhere.purejaxql(options.purejaxql, options.purejaxrl, config)


def sac_feed_forward(options: argparse.Namespace) -> Iterator[Contender]:
    """SAC with networks of 64 x 64: 16 environments, and for 16 transitions an update on 256."""
    del options
    env, params = make("gymnax::Pendulum-v1")
    settings = SACConfig(num_envs=16, train_frequency=16, batch_size=256, buffer_size=100_000)
    actor = feed_forward(heads.SquashedGaussian(action_dim=1), nn.relu)
    critic = feed_forward(heads.ContinuousQNetwork(), nn.relu)
    optimizers = [_optimizer() for _ in range(3)]
    agent = SAC(settings, env, params, actor, critic, critic, *optimizers)
    yield ours(agent, 8_192, warmup=4_096)
    sizes = {"buffer_size": 100_000, "fill_buffer": 4_096, "batch_size": 256}
    yield elsewhere.rejax("SAC", "Pendulum-v1", {"envs": 16, "steps": 8_192}, **sizes)


def dqn_feed_forward(options: argparse.Namespace) -> Iterator[Contender]:
    """DQN with a network of 64 x 64: 16 environments, and for 16 transitions an update on 256."""
    del options
    env, params = make("gymnax::CartPole-v1")
    settings = DQNConfig(num_envs=16, train_frequency=16, batch_size=256, buffer_size=100_000)
    network = feed_forward(heads.DiscreteQNetwork(action_dim=2), nn.relu)
    yield ours(DQN(settings, env, params, network, _optimizer()), 16_384, warmup=4_096)
    sizes = {"buffer_size": 100_000, "fill_buffer": 4_096, "batch_size": 256}
    yield elsewhere.rejax("DQN", "CartPole-v1", {"envs": 16, "steps": 16_384}, **sizes)


def seeds(options: argparse.Namespace) -> Iterator[Contender]:
    """Sixteen seeds of PPO with a GRU of 64 units in one program, and one alone."""
    del options
    config = {"envs": 32, "length": 128, "epochs": 4, "minibatches": 4}
    trunk = FeatureExtractor(MLP((64,))), RNN(nn.GRUCell(features=64))
    actor, critic = Network(*trunk, heads.Categorical(action_dim=2)), Network(*trunk, heads.VNetwork())
    yield ours(_ppo(config, actor, critic), 8_192, seeds=16)
    yield ours(_ppo(config, actor, critic), 65_536)._replace(name="one seed")


def _ppo(config: dict[str, Any], actor: Network, critic: Network) -> PPO:
    env, params = make("gymnax::CartPole-v1")
    settings = PPOConfig(
        num_envs=config["envs"],
        num_steps=config["length"],
        update_epochs=config["epochs"],
        num_minibatches=config["minibatches"],
        value_coefficient=0.5,
    )
    return PPO(settings, env, params, actor, critic, _optimizer(), _optimizer())


def _optimizer() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(0.5), optax.adam(3e-4, eps=1e-5))


ROWS: dict[str, Peers] = {
    "PPO, MLP, 64 environments": ppo_feed_forward(64, 131_072),
    "PQN, MLP, 64 environments": pqn_feed_forward,
    "SAC, MLP, 16 environments": sac_feed_forward,
    "DQN, MLP, 16 environments": dqn_feed_forward,
    "PPO, MLP, 2,048 environments": ppo_feed_forward(2048, 262_144),
    "PPO, GRU(64), 16 seeds and one": seeds,
    "PPO, GRU(128), 16 environments": ppo_gru(16),
    "PPO, GRU(128), 64 environments": ppo_gru(64),
    "PPO, GRU(256), 64 environments": ppo_gru_wide,
    "PPO, GRU(128), 256 environments": ppo_gru(256),
    "PPO, GRU(128), 1,024 environments": ppo_gru(1024),
    "PPO, GRU(128), 4,096 environments": ppo_gru(4096),
}
"""Every piece of work, quick ones first."""


def prepare(contender: Contender) -> dict[str, Any]:
    """Compile a contender and call it once, untimed."""
    start = time.perf_counter()
    lowered = jax.jit(contender.function).lower(contender.state)
    middle = time.perf_counter()
    compiled = lowered.compile()
    end = time.perf_counter()
    state, _ = jax.block_until_ready(compiled(contender.state))
    memory = compiled.memory_analysis()
    result = {
        "library": contender.name,
        "steps": contender.steps,
        "trace_seconds": middle - start,
        "compile_seconds": end - middle,
        "memory_mib": (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 2**20,
    }
    return {"result": result, "run": compiled, "state": state, "steps": contender.steps, "times": [], "cpu": []}


def flops_per_step(state: Any, epochs: int = 4) -> int:
    """Count the operations of the matrix products of PPO: once to act, and three times as many to learn."""
    return 2 * sum(x.size for x in jax.tree.leaves(state.learner.params) if x.ndim == 3) * (1 + 3 * epochs)


def measure(name: str, contenders: Peers, options: argparse.Namespace) -> dict[str, Any]:
    """Time all contenders of one piece of work in turns."""
    prepared = [prepare(contender) for contender in contenders(options)]
    rates = []
    for turn in range(options.rounds):
        rates.append(matmul_rate())
        for one in prepared[:: -1 if turn % 2 else 1]:
            start, busy = time.perf_counter(), time.process_time()
            one["state"], _ = jax.block_until_ready(one["run"](one["state"]))
            one["times"].append((time.perf_counter() - start) / one["steps"])
            one["cpu"].append((time.process_time() - busy) / one["steps"])
    first, first_cpu = np.asarray(prepared[0]["times"]), np.asarray(prepared[0]["cpu"])
    for one in prepared:
        ratios = np.asarray(one["times"]) / first
        one["result"]["cpu_ratio"] = float(np.median(np.asarray(one["cpu"]) / first_cpu))
        speeds = 1 / np.asarray(one["times"])
        one["result"] |= {"steps_per_second": float(np.median(speeds)), "rounds": [round(float(x)) for x in speeds]}
        one["result"] |= {"ratio": float(np.median(ratios)), "ratios": [round(float(x), 3) for x in ratios]}
    row: dict[str, Any] = {"work": name, "matmul_gflops": float(np.median(rates))}
    if "GRU(128)" in name:
        gflops = prepared[0]["result"]["steps_per_second"] * flops_per_step(prepared[0]["state"]) / 1e9
        row["share_of_matmul"] = gflops / row["matmul_gflops"]
    return row | {"contenders": [one["result"] for one in prepared]}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("purejaxrl", "popjaxrl", "purejaxql"):
        parser.add_argument(f"--{name}", type=Path, help="a checkout of it")
    parser.add_argument("--only", default="", help="rows whose names contain this")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further row after so long")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--add", action="store_true", help="keep the rows of the file that are not measured now")
    add_output_option(parser, "agents")
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    if options.add and options.out.exists():
        rows = {row["work"]: row for row in json.loads(options.out.read_text())["results"]}
    start = time.perf_counter()
    for name, contenders in ROWS.items():
        if options.only not in name or time.perf_counter() - start > 60 * options.minutes:
            continue
        rows[name] = measure(name, contenders, options)
        for one in rows[name]["contenders"]:
            print(
                f"{name}: {one['library']} {one['steps_per_second']:,.0f} steps/s, {one['ratio']:.2f} "
                f"(processor time {one['cpu_ratio']:.2f})",
                flush=True,
            )
        write(options.out, {"results": [rows[name] for name in ROWS if name in rows]}, quiet=True)
        jax.clear_caches()


if __name__ == "__main__":
    main()

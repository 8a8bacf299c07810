"""Steps per second of PPO with an LSTM in environments that run in Python, end to end: acting, stepping and learning.

Run as `python -m benchmarks.host_environments [--out FILE] [--envs 64] [--steps 128] [--updates 2] [--only TEXT]
[--peers] [--cleanrl FOLDER]`. Environments whose library is not installed are left out. `environment alone` is the same
number of environments stepped with actions drawn beforehand, through the same batches; `groups` is in how many groups
they take turns with the policy, and `overlap` acts while it learns. Compiling is not counted. `--peers` adds, on Pong,
RecurrentPPO of sb3-contrib, and `--cleanrl` the script `ppo_atari_lstm.py` of a checkout of cleanrl, with the same
network, epochs and minibatches, each in the environments that it makes itself. The result is one JSON object.
"""

import argparse
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from benchmarks._host_peers import DENSE, EPOCHS, LSTM, MINIBATCHES, rate_of_cleanrl, rate_of_sb3
from benchmarks._report import add_output_option, write

from memorax.algorithms import PPO, PPOConfig
from memorax.core.spaces import Box
from memorax.environments import MissingExtraError, make
from memorax.environments.host import HostCopies
from memorax.environments.host.copies import wait
from memorax.networks import CNN, MLP, RNN, FeatureExtractor, Network, heads

ENVIRONMENTS = ("gymnasium::CartPole-v1", "ale::pong", "envpool::Pong-v5")
REPEATS = 3
VARIANTS: dict[str, dict[str, Any]] = {
    "groups 1": {"groups": 1},
    "groups 2": {"groups": 2},
    "overlap": {"overlap": True},
}


def build(env_id: str, num_envs: int, num_steps: int, **options: Any) -> Any:
    """PPO with an LSTM of 128 units behind the usual CNN, or an MLP for vectors; four epochs of four minibatches."""
    env, params = make(env_id, **options)
    space: Any = env.observation_space(params)
    image = isinstance(space, Box) and len(space.shape) == 3
    observe = nn.Sequential([CNN(), MLP((DENSE,))]) if image else MLP((LSTM,))
    trunk = FeatureExtractor(observe), RNN(nn.OptimizedLSTMCell(LSTM))
    action_space: Any = env.action_space(params)
    actor, critic = Network(*trunk, heads.Categorical(action_space.n)), Network(*trunk, heads.VNetwork())
    sizes = {"num_minibatches": MINIBATCHES, "update_epochs": EPOCHS}
    config = PPOConfig(num_envs=num_envs, num_steps=num_steps, **sizes)
    return PPO(config, env, params, actor, critic, optax.adam(2.5e-4), optax.adam(2.5e-4))


def rate_of_training(env_id: str, num_envs: int, num_steps: int, updates: int, repeats: int, **options: Any) -> float:
    """Steps per second of `updates` updates, the median of some repeats."""
    agent = build(env_id, num_envs, num_steps, **options)
    steps = updates * agent.steps_per_update
    first = agent.train(jax.random.key(1), agent.init(jax.random.key(0)), agent.steps_per_update)
    state = jax.block_until_ready(first)
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        state = jax.block_until_ready(agent.train(jax.random.key(1), state, steps))
        rates.append(steps / (time.perf_counter() - start))
    agent.close()
    return statistics.median(rates)


def rate_of_environment(env_id: str, num_envs: int, num_steps: int, repeats: int) -> float:
    """Steps per second of the environments alone."""
    env: Any = make(env_id)[0]
    copies = HostCopies(env, 1, num_envs)
    actions = np.random.default_rng(0).integers(env.action_space().n, size=(num_steps, 1, num_envs))
    copies.reset(np.zeros(1, np.uint32))
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        for action in actions:
            wait(copies.step(0, action))
        rates.append(actions.size / (time.perf_counter() - start))
    copies.close()
    return statistics.median(rates)


def main() -> None:
    """Measure everything that is installed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    add_output_option(parser, "host_environments")
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--updates", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--cleanrl", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for env_id in (name for name in ENVIRONMENTS if options.only in name):
        measures = {
            "environment alone": partial(rate_of_environment, env_id, options.envs, options.steps, options.repeats),
        }
        train = partial(rate_of_training, env_id, options.envs, options.steps, options.updates, options.repeats)
        for name, extra in VARIANTS.items():
            measures[name] = partial(train, **extra)
        sizes = options.envs, options.steps, options.updates
        if "pong" in env_id.lower() and options.peers:
            measures["sb3-contrib"] = partial(rate_of_sb3, *sizes)
        if "pong" in env_id.lower() and options.cleanrl is not None:
            measures["cleanrl"] = partial(rate_of_cleanrl, options.cleanrl, *sizes)
        try:
            for name, measure in measures.items():
                results.setdefault(env_id, {})[name] = round(measure())
                print(env_id, name, results[env_id][name], flush=True)
        except MissingExtraError as error:
            print(error)
    write(options.out, {"num_envs": options.envs, "num_steps": options.steps, "steps_per_second": results})


if __name__ == "__main__":
    main()

"""Steps per second of PPO with an LSTM in environments that run in Python, end to end: acting, stepping and learning.

Run as `python -m benchmarks.host_environments [--out FILE] [--envs 64] [--steps 128] [--updates 2] [--only TEXT]`.
Environments whose library is not installed are left out. `environment alone` is the same number of environments stepped
with actions drawn beforehand, through the same batches; `groups` is in how many groups they take turns with the policy.
Compiling is not counted. The result is one JSON object.
"""

import argparse
import statistics
import time
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from benchmarks._report import add_output_option, write

from memorax.algorithms import PPO, PPOConfig
from memorax.core.spaces import Box
from memorax.environments import MissingExtraError, make
from memorax.environments.host import HostCopies
from memorax.environments.host.copies import wait
from memorax.networks import CNN, MLP, RNN, FeatureExtractor, Network, heads

ENVIRONMENTS = ("gymnasium::CartPole-v1", "ale::pong", "envpool::Pong-v5")
FEATURES, REPEATS = 128, 3


def build(env_id: str, num_envs: int, num_steps: int, groups: int) -> Any:
    """PPO with an LSTM of 128 units behind the usual CNN, or an MLP for vectors; four minibatches, one epoch."""
    env, params = make(env_id, groups=groups)
    space: Any = env.observation_space(params)
    image = isinstance(space, Box) and len(space.shape) == 3
    observe = nn.Sequential([CNN(), MLP((FEATURES,))]) if image else MLP((FEATURES,))
    trunk = FeatureExtractor(observe), RNN(nn.OptimizedLSTMCell(FEATURES))
    action_space: Any = env.action_space(params)
    actor, critic = Network(*trunk, heads.Categorical(action_space.n)), Network(*trunk, heads.VNetwork())
    config = PPOConfig(num_envs=num_envs, num_steps=num_steps, num_minibatches=4, update_epochs=1)
    return PPO(config, env, params, actor, critic, optax.adam(2.5e-4), optax.adam(2.5e-4))


def rate_of_training(env_id: str, num_envs: int, num_steps: int, updates: int, groups: int) -> float:
    """Steps per second of `updates` updates, the median of some repeats."""
    agent = build(env_id, num_envs, num_steps, groups)
    steps = updates * agent.steps_per_update
    state = agent.train(jax.random.key(1), agent.init(jax.random.key(0)), agent.steps_per_update)
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        state = jax.block_until_ready(agent.train(jax.random.key(1), state, steps))
        rates.append(steps / (time.perf_counter() - start))
    agent.close()
    return statistics.median(rates)


def rate_of_environment(env_id: str, num_envs: int, num_steps: int) -> float:
    """Steps per second of the environments alone."""
    env: Any = make(env_id)[0]
    copies = HostCopies(env, 1, num_envs)
    actions = np.random.default_rng(0).integers(env.action_space().n, size=(num_steps, 1, num_envs))
    copies.reset(np.zeros(1, np.uint32))
    rates = []
    for _ in range(REPEATS):
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
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for env_id in (name for name in ENVIRONMENTS if options.only in name):
        measures = {
            "environment alone": partial(rate_of_environment, env_id, options.envs, options.steps),
            "groups 1": partial(rate_of_training, env_id, options.envs, options.steps, options.updates, 1),
            "groups 2": partial(rate_of_training, env_id, options.envs, options.steps, options.updates, 2),
        }
        try:
            for name, measure in measures.items():
                results.setdefault(env_id, {})[name] = round(measure())
                print(env_id, name, results[env_id][name], flush=True)
        except MissingExtraError as error:
            print(error)
    write(options.out, {"num_envs": options.envs, "num_steps": options.steps, "steps_per_second": results})


if __name__ == "__main__":
    main()

"""Eight random seeds in one program, by `jax.vmap`, and what they say together.

python examples/seeds_by_vmap.py
"""

import flax.linen as nn
import jax
import numpy as np
import optax

from memorax import MLP, PPO, RNN, FeatureExtractor, Network, PPOConfig, heads, lox, make
from memorax.experiment import bootstrap_interval, interquartile_mean


def main(num_steps: int = 200_000, seeds: int = 8) -> np.ndarray:
    """Train all seeds at once; give the mean return of each at the end."""
    env, env_params = make("memory::RepeatPreviousEasy")
    trunk = FeatureExtractor(observation_extractor=MLP(features=(32,))), RNN(cell=nn.GRUCell(features=32))
    actor = Network(*trunk, heads.Categorical(action_dim=4))
    critic = Network(*trunk, heads.VNetwork())
    optimizer = optax.adam(2e-3)
    agent = PPO(PPOConfig(num_envs=16, num_steps=64), env, env_params, actor, critic, optimizer, optimizer)

    def run(key: jax.Array) -> jax.Array:
        init_key, train_key, evaluation_key = jax.random.split(key, 3)
        state = agent.train(train_key, agent.init(init_key), num_steps)
        _, logs = lox.spool(agent.evaluate)(evaluation_key, state, num_episodes=20)
        return logs["returned_episode_returns"].mean()

    returns = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), seeds)))
    low, high = bootstrap_interval(returns, interquartile_mean)
    print("returns", returns.round(2))
    print(f"interquartile mean {interquartile_mean(returns):.2f}, 95 % interval [{low:.2f}, {high:.2f}]")
    return returns


if __name__ == "__main__":
    main()

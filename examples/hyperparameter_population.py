"""A population of learning rates trained in one program: a hyper-parameter that is an array is mapped like a seed.

python examples/hyperparameter_population.py
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from memorax import MLP, PPO, RNN, FeatureExtractor, Network, PPOConfig, heads, lox, make


def main(num_steps: int = 100_000, members: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Train a population; give its learning rates and the mean return of each."""
    env, env_params = make("memory::RepeatPreviousEasy")
    trunk = FeatureExtractor(observation_extractor=MLP(features=(32,))), RNN(cell=nn.GRUCell(features=32))
    actor = Network(*trunk, heads.Categorical(action_dim=4))
    critic = Network(*trunk, heads.VNetwork())
    config = PPOConfig(num_envs=8, num_steps=64)

    def run(key: jax.Array, learning_rate: jax.Array) -> jax.Array:
        optimizer = optax.adam(learning_rate)
        agent = PPO(config, env, env_params, actor, critic, optimizer, optimizer)
        init_key, train_key, evaluation_key = jax.random.split(key, 3)
        state = agent.train(train_key, agent.init(init_key), num_steps)
        _, logs = lox.spool(agent.evaluate)(evaluation_key, state, num_episodes=10)
        return logs["returned_episode_returns"].mean()

    rates = jnp.logspace(-4, -2, members)
    returns = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), members), rates))
    for rate, result in zip(np.asarray(rates), returns, strict=True):
        print(f"learning rate {rate:.5f}  mean return {result:+.2f}")
    print(f"best: {rates[int(np.argmax(returns))]:.5f}")
    return np.asarray(rates), returns


if __name__ == "__main__":
    main()

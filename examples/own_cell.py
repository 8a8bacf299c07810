"""A memory model of one's own: a recurrent cell in twenty lines, checked, and trained with PPO.

python examples/own_cell.py
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from memorax import MLP, PPO, RNN, FeatureExtractor, Network, PPOConfig, heads, lox, make
from memorax.testing import check_sequence_model


class LeakyCell(nn.Module):
    """A leaky integrator whose units forget at rates of their own: `h_t = a h_{t-1} + (1 - a) tanh(W x_t + U h_{t-1})`.

    Attributes:
        features: Width of state and output.
    """

    features: int

    @nn.nowrap
    def initialize_carry(self, key: jax.Array, input_shape: tuple[int, ...]) -> jax.Array:
        """Start with zeros."""
        return jnp.zeros((input_shape[0], self.features))

    @nn.compact
    def __call__(self, carry: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Take one step."""
        decay = nn.sigmoid(self.param("decay", nn.initializers.normal(2.0), (self.features,)))
        driven = nn.Dense(self.features)(inputs) + nn.Dense(self.features, use_bias=False)(carry)
        carry = decay * carry + (1 - decay) * jnp.tanh(driven)
        return carry, carry


def main(num_steps: int = 200_000, check: bool = True) -> float:
    """Check the cell, train an agent with it, and give the mean return of its last episodes."""
    if check:
        check_sequence_model(LeakyCell(features=5))
    env, env_params = make("memory::MemoryChain", length=8)
    trunk = FeatureExtractor(observation_extractor=MLP(features=(32,))), RNN(cell=LeakyCell(features=32))
    actor = Network(*trunk, heads.Categorical(action_dim=env.action_space(env_params).n))
    critic = Network(*trunk, heads.VNetwork())
    optimizer = optax.adam(2e-3)
    agent = PPO(PPOConfig(num_envs=16, num_steps=32), env, env_params, actor, critic, optimizer, optimizer)
    state = agent.init(jax.random.key(0))
    state, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=num_steps)
    ended = logs["returned_episode"][-100:]
    result = float(logs["returned_episode_returns"][-100:][ended].mean())
    print(f"mean return {result:.2f}; without memory it is 0 on average, at best 1")
    return result


if __name__ == "__main__":
    main()

"""Observations that are images: a convolutional feature extractor in front of the memory.

python examples/images.py
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from memorax import CNN, PPO, RNN, FeatureExtractor, Network, PPOConfig, heads, lox, make
from memorax.core.spaces import Box
from memorax.environments import Environment


class Seen(Environment):
    """RepeatPrevious through a camera: the agent sees the picture of the card, uint8 `[16, 16, 3]`."""

    def __init__(self) -> None:
        self.task, self.task_params = make("memory::RepeatPreviousEasy")

    @property
    def default_params(self):
        """Those of the task."""
        return self.task_params

    def reset_env(self, key, params):
        """Start an episode."""
        _, state = self.task.reset_env(key, params)
        return self.look(state), state

    def step_env(self, key, state, action, params):
        """Take a step."""
        _, state, reward, terminated, info = self.task.step_env(key, state, action, params)
        return self.look(state), state, reward, terminated, info

    def look(self, state):
        """Take a picture."""
        return self.task.render(state)[::3, ::3]

    def action_space(self, params=None):
        """A suit."""
        return self.task.action_space(params)

    def observation_space(self, params=None):
        """A picture."""
        return Box(0, 255, (16, 16, 3), jnp.uint8)


def main(num_steps: int = 300_000) -> float:
    """Train; give the mean return of the last episodes."""
    env = Seen()
    cnn = nn.Sequential([CNN(features=(16, 16), kernel_sizes=(4, 3), strides=(2, 1)), nn.Dense(32), nn.relu])
    trunk = FeatureExtractor(observation_extractor=cnn), RNN(cell=nn.GRUCell(features=32))
    actor = Network(*trunk, heads.Categorical(action_dim=4))
    critic = Network(*trunk, heads.VNetwork())
    optimizer = optax.adam(1e-3)
    agent = PPO(PPOConfig(num_envs=16, num_steps=64), env, None, actor, critic, optimizer, optimizer)
    state = agent.init(jax.random.key(0))
    state, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=num_steps)
    ended = logs["returned_episode"][-200:]
    result = float(logs["returned_episode_returns"][-200:][ended].mean())
    print(f"mean return {result:+.2f}, at best 1")
    return result


if __name__ == "__main__":
    main()

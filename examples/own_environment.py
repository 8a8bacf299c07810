"""An environment of one's own: a light blinks once, the agent says after a while how long ago that was.

python examples/own_environment.py
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

import memorax
from memorax.core.spaces import Box, Discrete
from memorax.environments import Environment, EnvState, register
from memorax.testing import check_environment

LENGTH = 5


@struct.dataclass
class BlinkState(EnvState):
    """State: the step in which the light blinks, int32."""

    when: jax.Array


class Blink(Environment):
    """Say in the last of `LENGTH` steps in which of them the light was on."""

    name = "Blink"

    def reset_env(self, key, params):
        """Choose when the light blinks."""
        state = BlinkState(time=jnp.int32(0), when=jax.random.randint(key, (), 0, LENGTH))
        return self.observe(state), state

    def step_env(self, key, state, action, params):
        """Wait; judge the answer in the last step."""
        last = state.time == LENGTH - 1
        reward = jnp.where(last & (action == state.when), 1.0, 0.0)
        state = state.replace(time=state.time + 1)
        return self.observe(state), state, reward, last, {}

    def observe(self, state):
        """Show the light, and whether an answer is due."""
        return jnp.stack([state.time == state.when, state.time == LENGTH - 1]).astype(jnp.float32)

    def action_space(self, params=None):
        """One of the steps."""
        return Discrete(LENGTH)

    def observation_space(self, params=None):
        """Two lights."""
        return Box(0.0, 1.0, (2,))


register("example::Blink", Blink)


def main(steps: int = 100_000, out: str = "runs/blink") -> float:
    """Check the environment, train an agent in it, and evaluate it."""
    check_environment(Blink())
    config = dataclasses.replace(memorax.default_run("ppo"), env="example::Blink", steps=steps, seeds=1)
    memorax.train(config, out)
    result = memorax.experiment.evaluate(out, episodes=50)["return"]["mean"]
    print(f"mean return {result:.2f}; a guess is right with probability {1 / LENGTH}")
    return result


if __name__ == "__main__":
    main()

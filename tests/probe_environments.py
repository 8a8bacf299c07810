"""Environments that each ask one question of an agent."""

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.environments import Environment


@struct.dataclass
class Params:
    """No parameters."""


@struct.dataclass
class ClockState:
    time: jax.Array
    length: jax.Array


class Clock(Environment):
    """Pays 1 for every step. Episodes of `min_length` to `max_length` steps end by `ends`; the observation is the time,
    or nothing.

    Does the agent know that an episode that was cut would have gone on?
    """

    def __init__(
        self, ends: str = "terminated", min_length: int = 3, max_length: int = 5, *, action_space=None, blind=False
    ) -> None:
        self.ends, self.lengths, self.blind = ends, (min_length, max_length), blind
        self._action_space = Discrete(3) if action_space is None else action_space

    name = "Clock"
    default_params = Params()

    def action_space(self, params=None):
        return self._action_space

    def observation_space(self, params=None):
        return Box(0.0, 1e6, (1,))

    def reset_env(self, key, params):
        length = jax.random.randint(key, (), self.lengths[0], self.lengths[1] + 1)
        return jnp.zeros(1), ClockState(jnp.zeros((), jnp.int32), length)

    def step_env(self, key, state, action, params):
        state = state.replace(time=state.time + 1)
        terminated = (state.time >= state.length) & (self.ends in ("terminated", "both"))
        observation = (0 if self.blind else 1) * state.time[None].astype(jnp.float32)
        return observation, state, jnp.float32(1.0), terminated, {}

    def is_truncated(self, state, params):
        return (state.time >= state.length) & (self.ends in ("truncated", "both"))


class Scaled(Clock):
    """A clock that shows the episode's length as well, and pays by it and by the action; all in units of its own.

    Does it matter to the agent in which units it sees and is paid?
    """

    def __init__(self, unit=1.0, pay=1.0, ends="truncated"):
        super().__init__(ends)
        self.unit, self.pay = unit, pay

    def show(self, state):
        return self.unit * (state.time + 3 * state.length).astype(jnp.float32)[None]

    def reset_env(self, key, params):
        _, state = super().reset_env(key, params)
        return self.show(state), state

    def step_env(self, key, state, action, params):
        _, state, _, terminated, info = super().step_env(key, state, action, params)
        return self.show(state), state, self.pay * (state.length + action - 3.0), terminated, info


@struct.dataclass
class RecallState:
    cue: jax.Array
    time: jax.Array


class Recall(Environment):
    """Shows one of two cues, then nothing, then pays 1 for naming the cue and -1 for the other, at the last step.

    Does the agent remember?
    """

    def __init__(self, delay: int = 3) -> None:
        self.delay = delay

    name = "Recall"
    default_params = Params()

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params=None):
        return Box(-1.0, 1.0, (2,))

    def reset_env(self, key, params):
        state = RecallState(jax.random.randint(key, (), 0, 2), jnp.zeros((), jnp.int32))
        return self.observe(state), state

    def observe(self, state):
        cue = jnp.where(state.time == 0, 2.0 * state.cue - 1.0, 0.0)
        return jnp.stack([cue, (state.time == self.delay).astype(jnp.float32)])

    def step_env(self, key, state, action, params):
        end = state.time == self.delay
        reward = jnp.where(end, jnp.where(action == state.cue, 1.0, -1.0), 0.0)
        state = state.replace(time=state.time + 1)
        return self.observe(state), state, reward, end, {}


class Masked(Clock):
    """A clock that forbids all actions but one, which goes round; pays -100 for a forbidden one.

    Does the agent respect the mask?
    """

    def __init__(self, where: str = "observation") -> None:
        super().__init__()
        self.where = where

    def mask(self, state):
        # A mask in `info` cannot describe the observation of `reset`, which has no `info`: all is allowed there.
        return (jnp.arange(3) == state.time % 3) | ((state.time == 0) & (self.where == "info"))

    def wrap(self, observation, state):
        return {"time": observation, "action_mask": self.mask(state)} if self.where == "observation" else observation

    def reset_env(self, key, params):
        observation, state = super().reset_env(key, params)
        return self.wrap(observation, state), state

    def step_env(self, key, state, action, params):
        allowed = self.mask(state)[action]
        observation, state, reward, terminated, _ = super().step_env(key, state, action, params)
        info = {} if self.where == "observation" else {"action_mask": self.mask(state) | terminated}
        return self.wrap(observation, state), state, jnp.where(allowed, reward, -100.0), terminated, info


class Loose(Clock):
    """Begins with Python numbers and ends up with arrays, as many environments do: does the state keep its types?"""

    def reset_env(self, key, params):
        return jnp.zeros(1), {"time": 0, "reward": 0}

    def step_env(self, key, state, action, params):
        state = {"time": state["time"] + 1, "reward": state["reward"] + 0.5}
        return jnp.ones(1) * state["time"], state, 1, state["time"] >= 4, {}

    def is_truncated(self, state, params):
        return False

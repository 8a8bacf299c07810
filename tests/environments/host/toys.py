"""Small environments of Gymnasium for tests, and a twin of one of them in JAX."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.environments import Environment, EnvState, as_host

LIMIT = 6
"""Steps after which an episode of a walk is truncated."""
GOAL = 3
"""Position at which it is terminated."""


class Walk(gymnasium.Env):
    """Walk right (1) or left (0); the reward is a tenth of the position."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
        super().reset(seed=seed)
        self.position = self.time = 0
        return self._observe(), {}

    def step(self, action: int) -> tuple:
        self.position += 1 if action == 1 else -1
        self.time += 1
        reward = 0.1 * self.position
        return self._observe(), reward, self.position >= GOAL, self.time >= LIMIT, {}

    def _observe(self) -> np.ndarray:
        return np.array([self.position, self.time], np.float32)


class Reusing(Walk):
    """A walk that writes every observation into the same array, as libraries in C do."""

    def __init__(self) -> None:
        self.array = np.zeros(2, np.float32)

    def _observe(self) -> np.ndarray:
        self.array[:] = self.position, self.time
        return self.array


class Fenced(Walk):
    """A walk in which a mask forbids to step below zero."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
        observation, _ = super().reset(seed=seed)
        return observation, self._mask()

    def step(self, action: int) -> tuple:
        return *super().step(action)[:4], self._mask()

    def _mask(self) -> dict[str, Any]:
        return {"action_mask": np.array([self.position > 0, True])}


class Shut(Walk):
    """Allows no action after its third step."""

    def step(self, action: int) -> tuple:
        *outcome, _ = super().step(action)
        return *outcome, {"action_mask": np.full(2, self.time < 3)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
        return super().reset(seed=seed)[0], {"action_mask": np.ones(2, bool)}


@struct.dataclass
class WalkState(EnvState):
    position: Any


class JaxWalk(Environment):
    """The same in JAX."""

    def reset_env(self, key: Any, params: Any) -> tuple:
        state = WalkState(jnp.int32(0), jnp.int32(0))
        return self._observe(state), state

    def step_env(self, key: Any, state: Any, action: Any, params: Any) -> tuple:
        state = WalkState(state.time + 1, state.position + jnp.where(action == 1, 1, -1))
        reward = jnp.float32(0.1) * state.position
        return self._observe(state), state, reward, state.position >= GOAL, {}

    def is_truncated(self, state: Any, params: Any) -> Any:
        return state.time >= LIMIT

    def _observe(self, state: Any) -> Any:
        return jnp.stack([state.position, state.time]).astype(jnp.float32)

    def action_space(self, params: Any = None) -> Discrete:
        return Discrete(2)

    def observation_space(self, params: Any = None) -> Box:
        return Box(-10.0, 10.0, (2,))


class Recall(gymnasium.Env):
    """A sign of two is shown in the first step; naming it in the last one pays 1, the other one -1."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length: int = 4) -> None:
        self.length = length

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
        super().reset(seed=seed)
        self.sign, self.time = int(self.np_random.integers(2)), 0
        return np.array([2 * self.sign - 1, 0], np.float32), {}

    def step(self, action: int) -> tuple:
        self.time += 1
        last = self.time == self.length
        reward = (1.0 if action == self.sign else -1.0) if last else 0.0
        return np.array([0, self.time == self.length - 1], np.float32), reward, last, False, {}


class Painted(Recall):
    """Paints itself, the greener the later, and opens a window where there is a display."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array", "human"], "render_fps": 4}
    display, shown = True, 0

    def __init__(self, length: int = 4, render_mode: str | None = None) -> None:
        super().__init__(length)
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
        if self.render_mode == "human":
            if not Painted.display:
                raise RuntimeError("No available video device")
            Painted.shown += 1
        return super().reset(seed=seed, options=options)

    def render(self) -> np.ndarray | None:
        if self.render_mode != "rgb_array":
            return None
        return np.full((700, 900, 3), (0, 50 * self.time, 0), np.uint8)


class Counter(gymnasium.Env):
    """Shows how many steps were taken in all, and in which episode; episodes end after `length` steps."""

    observation_space = gymnasium.spaces.Box(0, 1000, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(5)

    def __init__(self, length: int = 3, truncates: bool = False) -> None:
        self.length, self.truncates, self.total, self.episode = length, truncates, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
        super().reset(seed=seed)
        self.time, self.episode = 0, self.episode + 1
        return self._observe(), {}

    def step(self, action: int) -> tuple:
        self.time, self.total = self.time + 1, self.total + 1
        over = self.time == self.length
        return self._observe(), float(action), over and not self.truncates, over and self.truncates, {}

    def _observe(self) -> np.ndarray:
        return np.array([self.total, self.episode, self.time], np.float32)


class Breaking(Walk):
    """Breaks in its step of number `after`: raises an error, or kills its own process."""

    def __init__(self, after: int = 20, kill: bool = False) -> None:
        self.after, self.kill, self.total = after, kill, 0

    def step(self, action: int) -> tuple:
        self.total += 1
        if self.total == self.after and self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.total == self.after:
            raise RuntimeError("the robot fell over")
        return super().step(action)


def breaking_apart(**options: Any) -> Any:
    """The same in processes, as an environment of ours."""
    return as_host(partial(Breaking, **options), name="Robot", processes=True)


class WithGame(Breaking):
    """Runs a program of its own, as games do, which writes its number into a folder, and ends it when it is closed."""

    def __init__(self, folder: str, **options: Any) -> None:
        super().__init__(**options)
        self.game = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(folder, str(self.game.pid)).touch()

    def close(self) -> None:
        self.game.kill()
        self.game.wait()


def everything() -> gymnasium.Env:
    """An environment with a space of every kind, which shows the action that it took."""
    return _Everything()


class _Everything(gymnasium.Env):
    action_space = gymnasium.spaces.Dict(
        {
            "which": gymnasium.spaces.Discrete(3, start=5),
            "both": gymnasium.spaces.MultiDiscrete([2, 4]),
            "bits": gymnasium.spaces.MultiBinary(3),
            "force": gymnasium.spaces.Tuple([gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)]),
        }
    )
    observation_space = gymnasium.spaces.Dict(
        {
            **action_space.spaces,
            "words": gymnasium.spaces.Text(10),
            "picture": gymnasium.spaces.Box(0, 255, (2, 3, 1), np.uint8),
        }
    )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
        super().reset(seed=seed)
        self.action_space.seed(3)
        self.time = 0
        return self._observe(self.action_space.sample()), {}

    def step(self, action: Any) -> tuple:
        assert self.action_space.contains(action), action
        self.time += 1
        return self._observe(action), 1.0, self.time == 2, False, {}

    def _observe(self, action: Any) -> dict[str, Any]:
        return {**action, "words": "go", "picture": np.full((2, 3, 1), self.time, np.uint8)}

"""A pendulum: how it moves, and what the tasks that show only its angle share."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.drawing import draw_lines
from memorax.environments.memory.picture import BLACK, GREEN, ORANGE
from memorax.environments.memory.task import Task, choose

_TORQUE, _SPIN, _SECONDS = 2.0, 8.0, 0.05
_HALF_COST = 16.2736044 / 2


@struct.dataclass
class PendulumParams(EnvParams):
    """Parameters of both tasks.

    Attributes:
        max_steps_in_episode: Steps in an episode, int32.
        noise: Standard deviation of the noise on cosine and sine, float32.
    """

    max_steps_in_episode: Array | np.int32
    noise: Array | np.float32


@struct.dataclass
class PendulumState(EnvState):
    """State of both tasks.

    Attributes:
        time: Completed steps.
        physics: Angle (radians, 0 is upright), its velocity; float32 `[2]`.
    """

    physics: Array


class Pendulum(Task[PendulumState, PendulumParams]):
    """What the tasks share: physics, noise, the time limit."""

    _settings: ClassVar[dict[str, tuple[int, float]]]

    def __init__(self, difficulty: str = "Easy") -> None:
        """Hang the pendulum up.

        Args:
            difficulty: "Easy", "Medium" or "Hard".

        Raises:
            ValueError: If `difficulty` is unknown.
        """
        self.max_steps, self.noise = choose(difficulty, self._settings)
        self.difficulty = difficulty

    @property
    def name(self) -> str:
        """What the environment is called."""
        return f"{type(self).__name__}{self.difficulty}"

    @property
    def default_params(self) -> PendulumParams:
        """The parameters used where none are given."""
        return PendulumParams(max_steps_in_episode=np.int32(self.max_steps), noise=np.float32(self.noise))

    def draw_start(self, key: Key, params: PendulumParams) -> tuple[Array, Array]:
        """Draw angle and velocity, and standard normal noise for the first observation."""
        physics_key, noise_key = jax.random.split(key)
        most = np.array([np.pi, 1.0], np.float32)
        return jax.random.uniform(physics_key, (2,), minval=-most, maxval=most), self._draw_noise(noise_key)

    def _draw_noise(self, key: Key) -> Array:
        return jax.random.normal(key, (2,)) if self.noise else jnp.zeros((2,), jnp.float32)

    def start(self, drawn: tuple[Array, Array], params: PendulumParams) -> tuple[Array, PendulumState]:
        """Let go."""
        physics, noise = (jnp.asarray(value, jnp.float32) for value in drawn)
        return self._observe(physics, noise, params), PendulumState(time=jnp.zeros((), jnp.int32), physics=physics)

    def _observe(self, physics: Array, noise: Array, params: PendulumParams) -> Array:
        direction = jnp.stack([jnp.cos(physics[0]), jnp.sin(physics[0])])
        return jnp.clip(direction + params.noise * noise, -1.0, 1.0)

    def draw(self, key: Key, state: PendulumState, params: PendulumParams) -> Array:
        """Draw standard normal noise for the next observation, `[2]`."""
        return self._draw_noise(key)

    def transition(
        self, state: PendulumState, action: Array, drawn: Array, params: PendulumParams
    ) -> tuple[Array, PendulumState, Array, Array]:
        """Turn the axle; the cost is that of the state before."""
        angle, spin = state.physics
        torque = jnp.clip(jnp.asarray(action, jnp.float32).reshape(()), -_TORQUE, _TORQUE)
        tilt = jnp.mod(angle + np.pi, 2 * np.pi) - np.pi
        cost = tilt**2 + 0.1 * spin**2 + 0.001 * torque**2
        reward = (_HALF_COST - cost) / _HALF_COST / params.max_steps_in_episode
        spin = jnp.clip(spin + (15.0 * jnp.sin(angle) + 3.0 * torque) * _SECONDS, -_SPIN, _SPIN)
        physics = jnp.stack([angle + spin * _SECONDS, spin])
        observation = self._observe(physics, jnp.asarray(drawn, jnp.float32), params)
        return observation, PendulumState(time=state.time + 1, physics=physics), reward, jnp.zeros((), bool)

    def is_truncated(self, state: PendulumState, params: PendulumParams) -> Array:
        """Whether the time is up."""
        return state.time >= params.max_steps_in_episode

    def render(self, state: PendulumState, params: PendulumParams | None = None) -> Array:
        """The pendulum from the front, a meter a unit; the mark is where it is to stand."""
        angle, _ = state.physics
        rod = ((0.0, 0.0), (-jnp.sin(angle), jnp.cos(angle)), 0.08, ORANGE)
        mark, axle = ((0.0, 1.15), (0.0, 1.15), 0.05, GREEN), ((0.0, 0.0), (0.0, 0.0), 0.05, BLACK)
        return draw_lines([mark, rod, axle], (1.3, 1.3))

    def action_space(self, params: PendulumParams | None = None) -> Box:
        """A torque."""
        return Box(-_TORQUE, _TORQUE, (1,))

    def observation_space(self, params: PendulumParams | None = None) -> Box:
        """Cosine and sine."""
        return Box(-1.0, 1.0, (2,))

    def horizon(self, params: PendulumParams | None = None) -> int:
        """The time limit."""
        return int((params or self.default_params).max_steps_in_episode)

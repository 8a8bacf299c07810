"""Pendulums of which only the angle is observed, exact or noisy."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.lines import draw_lines
from memorax.environments.memory.parts.picture import BLACK, GREEN, ORANGE
from memorax.environments.memory.parts.task import Task, settings_for

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
        """Create the task.

        Args:
            difficulty: "Easy", "Medium" or "Hard".

        Raises:
            ValueError: If `difficulty` is unknown.
        """
        self.max_steps, self.noise = settings_for(difficulty, self._settings)
        self.difficulty = difficulty

    @property
    def name(self) -> str:
        """Name of the environment."""
        return f"{type(self).__name__}{self.difficulty}"

    @property
    def default_params(self) -> PendulumParams:
        """Parameters that `reset` and `step` use by default."""
        return PendulumParams(max_steps_in_episode=np.int32(self.max_steps), noise=np.float32(self.noise))

    def draw_start(self, key: Key, params: PendulumParams) -> tuple[Array, Array]:
        """Draw angle and velocity, and standard normal noise for the first observation."""
        physics_key, noise_key = jax.random.split(key)
        most = np.array([np.pi, 1.0], np.float32)
        return jax.random.uniform(physics_key, (2,), minval=-most, maxval=most), self._draw_noise(noise_key)

    def _draw_noise(self, key: Key) -> Array:
        return jax.random.normal(key, (2,)) if self.noise else jnp.zeros((2,), jnp.float32)

    def start(self, drawn: tuple[Array, Array], params: PendulumParams) -> tuple[Array, PendulumState]:
        """Start at the drawn angle and velocity."""
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
        """Apply a torque; the cost is that of the state before."""
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
        """Whether the time limit is reached."""
        return state.time >= params.max_steps_in_episode

    def render(self, state: PendulumState, params: PendulumParams | None = None) -> Array:
        """The pendulum from the front; the green mark is the upright position."""
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
        """The time limit, in steps."""
        return int((params or self.default_params).max_steps_in_episode)


class PositionOnlyPendulum(Pendulum):
    """Swing a pendulum up and balance it from angles alone; velocity follows from differences of remembered angles.

    * Observation: cosine and sine of the angle, float32 `[2]`.
    * Action: a torque in [-2, 2], `Box(-2, 2, (1,))`.
    * Reward: between `-1 / T` (hanging down at full speed) and `1 / T` (upright and still).
    * Length: T steps, ended by truncation.
    * Easy, Medium, Hard: T = 200, 150, 100.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    _settings: ClassVar = {"Easy": (200, 0.0), "Medium": (150, 0.0), "Hard": (100, 0.0)}

    def memory_length(self, params: PendulumParams | None = None) -> int:
        """Two consecutive angles determine the velocity."""
        return 1


class NoisyPositionOnlyPendulum(Pendulum):
    """Swing a pendulum up and balance it from noisy angles, which must be filtered over many steps.

    * Observation: cosine and sine of the angle plus normal noise, clipped to [-1, 1], float32 `[2]`.
    * Action: a torque in [-2, 2], `Box(-2, 2, (1,))`.
    * Reward: between `-1 / T` (hanging down at full speed) and `1 / T` (upright and still).
    * Length: T = 200 steps, ended by truncation.
    * Easy, Medium, Hard: standard deviation of the noise 0.1, 0.2, 0.3.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    _settings: ClassVar = {"Easy": (200, 0.1), "Medium": (200, 0.2), "Hard": (200, 0.3)}

"""Cart poles of which only a part is observed: positions, noisy positions, or velocities."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import boolean, check
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.lines import draw_lines
from memorax.environments.memory.parts.picture import BLUE, LIGHT, ORANGE
from memorax.environments.memory.parts.task import Task, clip_action, settings_for

_GRAVITY, _CART_MASS, _POLE_MASS, _HALF_POLE = 9.8, 1.0, 0.1, 0.5
_PUSH, _SECONDS = 10.0, 0.02
_FAR, _TILT = 2.4, 12 * 2 * np.pi / 360
_BOUNDS = np.array([2 * _FAR, 2 * _TILT], np.float32)


@struct.dataclass
class CartPoleParams(EnvParams):
    """Parameters: `max_steps_in_episode`, the time limit, int32; `noise`, its standard deviation, float32."""

    max_steps_in_episode: Array | np.int32
    noise: Array | np.float32


@struct.dataclass
class CartPoleState(EnvState):
    """State: `physics`, the position (m), its velocity, the angle of the pole (rad), its velocity, float32 `[4]`."""

    physics: Array


def step_physics(physics: Array, push_right: Array) -> Array:
    """Simulate cart and pole for 0.02 s (explicit Euler).

    Args:
        physics: Position, velocity, angle, angular velocity, float32 `[4]`.
        push_right: Whether the force points right, bool.

    Returns:
        The same, 0.02 s later.

    Source: Barto, Sutton & Anderson (1983), https://doi.org/10.1109/TSMC.1983.6313077.
    """
    _, velocity, angle, spin = physics
    mass = _CART_MASS + _POLE_MASS
    force = jnp.where(push_right, _PUSH, -_PUSH)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    push = (force + _POLE_MASS * _HALF_POLE * spin**2 * sin) / mass
    spin_up = (_GRAVITY * sin - cos * push) / (_HALF_POLE * (4 / 3 - _POLE_MASS * cos**2 / mass))
    speed_up = push - _POLE_MASS * _HALF_POLE * spin_up * cos / mass
    return physics + _SECONDS * jnp.stack([velocity, speed_up, spin, spin_up])


class CartPole(Task[CartPoleState, CartPoleParams]):
    """What the tasks share: physics, noise, the time limit; subclasses define the observation."""

    _settings: ClassVar[dict[str, tuple[int, float]]]

    def __init__(self, difficulty: str = "Easy") -> None:
        """Create the task; `difficulty` is "Easy", "Medium" or "Hard"."""
        self.max_steps, self.noise = settings_for(difficulty, self._settings)
        self.difficulty = difficulty

    @property
    def name(self) -> str:
        """Name of the environment."""
        return f"{type(self).__name__}{self.difficulty}"

    @property
    def default_params(self) -> CartPoleParams:
        """Parameters that `reset` and `step` use by default."""
        return CartPoleParams(max_steps_in_episode=np.int32(self.max_steps), noise=np.float32(self.noise))

    def draw_start(self, key: Key, params: CartPoleParams) -> tuple[Array, Array]:
        """Draw the initial physical state, and standard normal noise for the first observation."""
        physics_key, noise_key = jax.random.split(key)
        physics = jax.random.uniform(physics_key, (4,), minval=-0.05, maxval=0.05)
        return physics, self._draw_noise(noise_key)

    def _draw_noise(self, key: Key) -> Array:
        return jax.random.normal(key, (2,)) if self.noise else jnp.zeros((2,), jnp.float32)

    def start(self, drawn: tuple[Array, Array], params: CartPoleParams) -> tuple[Array, CartPoleState]:
        """Start near the upright position."""
        physics, noise = (jnp.asarray(value, jnp.float32) for value in drawn)
        return self._observe(physics, noise, params), CartPoleState(time=jnp.zeros((), jnp.int32), physics=physics)

    def _observe(self, physics: Array, noise: Array, params: CartPoleParams) -> Array:
        return jnp.clip(physics[::2] + params.noise * noise, -_BOUNDS, _BOUNDS)

    def draw(self, key: Key, state: CartPoleState, params: CartPoleParams) -> Array:
        """Draw standard normal noise for the next observation, `[2]`."""
        return self._draw_noise(key)

    def transition(
        self, state: CartPoleState, action: Array, drawn: Array, params: CartPoleParams
    ) -> tuple[Array, CartPoleState, Array, Array]:
        """Push the cart."""
        physics = step_physics(state.physics, clip_action(action, 2) == 1)
        fallen = (jnp.abs(physics[0]) > _FAR) | (jnp.abs(physics[2]) > _TILT)
        reward = jnp.ones((), jnp.float32) / params.max_steps_in_episode
        observation = self._observe(physics, jnp.asarray(drawn, jnp.float32), params)
        return observation, CartPoleState(time=state.time + 1, physics=physics), reward, fallen

    def is_truncated(self, state: CartPoleState, params: CartPoleParams) -> Array:
        """Whether the time limit is reached, also where the pole falls in the same step."""
        return state.time >= params.max_steps_in_episode

    def render(self, state: CartPoleState, params: CartPoleParams | None = None) -> Array:
        """Cart and pole from the side; the rail spans the positions that do not end the episode."""
        x, _, angle, _ = state.physics
        hinge, tip = (x, -0.5), (x + 2 * _HALF_POLE * jnp.sin(angle), 2 * _HALF_POLE * jnp.cos(angle) - 0.5)
        rail, pole = ((-_FAR, -0.6), (_FAR, -0.6), 0.04, LIGHT), (hinge, tip, 0.05, ORANGE)
        return draw_lines([rail, ((x - 0.2, -0.6), (x + 0.2, -0.6), 0.1, BLUE), pole], (_FAR + 0.3, 0.75))

    def action_space(self, params: CartPoleParams | None = None) -> Discrete:
        """Push left, push right."""
        return Discrete(2)

    def observation_space(self, params: CartPoleParams | None = None) -> Box:
        """Position and angle."""
        return Box(-_BOUNDS, _BOUNDS)

    def horizon(self, params: CartPoleParams | None = None) -> int:
        """The time limit, in steps."""
        return int((params or self.default_params).max_steps_in_episode)


class PositionOnlyCartPole(CartPole):
    """Balance a pole from positions alone; velocities follow from differences of remembered positions.

    * Observation: position of the cart and angle of the pole, float32 `[2]`.
    * Action: push left or right, `Discrete(2)`.
    * Reward: `1 / T` in every step, also in the one in which the pole falls.
    * Length: up to T steps; terminated where the cart leaves +-2.4 m or the pole 12 degrees, truncated at T (both
      flags may be set at once).
    * Easy, Medium, Hard: T = 200, 400, 600.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    optimal_return = 1.0
    _settings: ClassVar = {"Easy": (200, 0.0), "Medium": (400, 0.0), "Hard": (600, 0.0)}

    def memory_length(self, params: CartPoleParams | None = None) -> int:
        """Two consecutive positions determine the velocity."""
        return 1


class NoisyPositionOnlyCartPole(CartPole):
    """Balance a pole from noisy positions, which must be filtered over many steps.

    * Observation: position of the cart and angle of the pole plus normal noise, clipped to +-(4.8 m, 24 degrees),
      float32 `[2]`.
    * Action: push left or right, `Discrete(2)`.
    * Reward: `1 / T` in every step, also in the one in which the pole falls.
    * Length: up to T = 200 steps; terminated where the cart leaves +-2.4 m or the pole 12 degrees, truncated at T
      (both flags may be set at once).
    * Easy, Medium, Hard: standard deviation of the noise 0.1, 0.2, 0.3.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    _settings: ClassVar = {"Easy": (200, 0.1), "Medium": (200, 0.2), "Hard": (200, 0.3)}


class VelocityOnlyCartPole(CartPole):
    """Balance a pole from velocities alone; positions follow from sums of remembered velocities.

    The first observation of an episode shows velocities too; with `popgym_compat` it shows positions, as in the
    `popgym` package.

    * Observation: velocity of the cart and of the angle of the pole, float32 `[2]`.
    * Action: push left or right, `Discrete(2)`.
    * Reward: `1 / T` in every step, also in the one in which the pole falls.
    * Length: up to T steps; terminated where the cart leaves +-2.4 m or the pole 12 degrees, truncated at T (both
      flags may be set at once).
    * Easy, Medium, Hard: T = 200, 400, 600.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    optimal_return = 1.0
    _settings: ClassVar = {"Easy": (200, 0.0), "Medium": (400, 0.0), "Hard": (600, 0.0)}

    def __init__(self, difficulty: str = "Easy", *, popgym_compat: bool = False) -> None:
        """Create the task.

        Args:
            difficulty: "Easy", "Medium" or "Hard".
            popgym_compat: Whether the first observation of an episode shows positions instead of velocities.

        Raises:
            TypeError: If `popgym_compat` is not a boolean.
            ValueError: If `difficulty` is unknown.
        """
        super().__init__(difficulty)
        self.popgym_compat = check("popgym_compat", popgym_compat, boolean())

    def start(self, drawn: tuple[Array, Array], params: CartPoleParams) -> tuple[Array, CartPoleState]:
        """Start near the upright position."""
        observation, state = super().start(drawn, params)
        return (state.physics[::2] if self.popgym_compat else observation), state

    def _observe(self, physics: Array, noise: Array, params: CartPoleParams) -> Array:
        return physics[1::2]

    def observation_space(self, params: CartPoleParams | None = None) -> Box:
        """Two velocities without bounds."""
        return Box(-np.inf, np.inf, (2,))

"""A pole on a cart: what moves, and what the tasks that show only a part of it share."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.drawing import draw_lines
from memorax.environments.memory.picture import BLUE, LIGHT, ORANGE
from memorax.environments.memory.task import Task, choose, clipped

_GRAVITY, _CART_MASS, _POLE_MASS, _HALF_POLE = 9.8, 1.0, 0.1, 0.5
_PUSH, _SECONDS = 10.0, 0.02
_FAR, _TILT = 2.4, 12 * 2 * np.pi / 360
_BOUNDS = np.array([2 * _FAR, 2 * _TILT], np.float32)


@struct.dataclass
class CartPoleParams(EnvParams):
    """Parameters of the tasks.

    Attributes:
        max_steps_in_episode: After how many steps an episode is cut, int32.
        noise: Standard deviation of the noise on both positions, float32.
    """

    max_steps_in_episode: Array | np.int32
    noise: Array | np.float32


@struct.dataclass
class CartPoleState(EnvState):
    """State of the tasks.

    Attributes:
        time: Completed steps.
        physics: Position (meters), its velocity, angle of the pole (radians), its velocity; float32 `[4]`.
    """

    physics: Array


def swing(physics: Array, push_right: Array) -> Array:
    """Move cart and pole on by a fiftieth of a second (explicit Euler).

    Args:
        physics: Position, velocity, angle, angular velocity, float32 `[4]`.
        push_right: Whether the force points right, bool.

    Returns:
        The same, later.

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
    """What the tasks share: physics, noise, the time limit; subclasses say what is seen."""

    _settings: ClassVar[dict[str, tuple[int, float]]]

    def __init__(self, difficulty: str = "Easy") -> None:
        """Set up the cart.

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
    def default_params(self) -> CartPoleParams:
        """The parameters used where none are given."""
        return CartPoleParams(max_steps_in_episode=np.int32(self.max_steps), noise=np.float32(self.noise))

    def draw_start(self, key: Key, params: CartPoleParams) -> tuple[Array, Array]:
        """Draw where cart and pole begin, and standard normal noise for the first observation."""
        physics_key, noise_key = jax.random.split(key)
        physics = jax.random.uniform(physics_key, (4,), minval=-0.05, maxval=0.05)
        return physics, self._draw_noise(noise_key)

    def _draw_noise(self, key: Key) -> Array:
        return jax.random.normal(key, (2,)) if self.noise else jnp.zeros((2,), jnp.float32)

    def start(self, drawn: tuple[Array, Array], params: CartPoleParams) -> tuple[Array, CartPoleState]:
        """Set the pole up."""
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
        physics = swing(state.physics, clipped(action, 2) == 1)
        fallen = (jnp.abs(physics[0]) > _FAR) | (jnp.abs(physics[2]) > _TILT)
        reward = jnp.ones((), jnp.float32) / params.max_steps_in_episode
        observation = self._observe(physics, jnp.asarray(drawn, jnp.float32), params)
        return observation, CartPoleState(time=state.time + 1, physics=physics), reward, fallen

    def is_truncated(self, state: CartPoleState, params: CartPoleParams) -> Array:
        """Whether the time is up, also where the pole falls in that very step."""
        return state.time >= params.max_steps_in_episode

    def render(self, state: CartPoleState, params: CartPoleParams | None = None) -> Array:
        """Cart and pole from the side, a meter a unit; the rail ends where the cart must not be."""
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
        """The time limit."""
        return int((params or self.default_params).max_steps_in_episode)

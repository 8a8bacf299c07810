"""PassiveKeyToDoor and ActiveKeyToDoor: see a key, walk down a corridor, open the door of its color."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import check, real, size, steps
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.prng import integers
from memorax.environments.memory.parts.task import Task, clip_action


@struct.dataclass
class CorridorParams(EnvParams):
    """Parameters of both tasks.

    Attributes:
        length: Steps in the corridor, int32.
        noise: Standard deviation of the reward in the corridor, float32.
    """

    length: Array | np.int32
    noise: Array | np.float32


@struct.dataclass
class CorridorState(EnvState):
    """State of both tasks.

    Attributes:
        time: Completed steps.
        color: Color of the key, int32.
    """

    color: Array


class PassiveKeyToDoor(Task[CorridorState, CorridorParams]):
    """See the color of a key, walk down a corridor, open the door of that color.

    A test of memory without credit assignment: the decisive action is the last one. In the corridor actions have no
    effect and rewards are zero-mean noise.

    * Observation: float32 `[colors + 2]`: the color of the key (one-hot, at time 0), whether in the corridor, whether
      at the doors.
    * Action: one of the doors, or waiting, `Discrete(colors + 1)`; ignored before the doors.
    * Reward: at the doors 1 for the correct color, otherwise 0; in the corridor Gaussian noise.
    * Length: `length + 2` steps, ended by termination.
    * Returns: 1 with memory, `1 / colors` at best without it, `1 / (colors + 1)` at random; all in expectation.

    Source: Hung et al. (2019), Optimizing Agent Behavior over Long Time Scales by Transporting Value,
    https://arxiv.org/abs/1810.06721, simplified: rooms are corridors.
    """

    optimal_return = 1.0
    _looks: int = 0

    def __init__(self, length: int = 10, *, colors: int = 3, noise: float = 0.0) -> None:
        """Create the corridor.

        Args:
            length: Steps in the corridor, at least 1.
            colors: Number of doors, at least 2.
            noise: Standard deviation of the reward in the corridor, at least 0.

        Raises:
            TypeError: If `length` or `colors` is not an integer.
            ValueError: If an argument is too small.
        """
        self.length = check("length", length, steps())
        self.colors = check("colors", colors, size(2))
        self.noise = float(check("noise", noise, real(0)))
        self.memoryless_return = 1.0 / self.colors

    @property
    def default_params(self) -> CorridorParams:
        """Parameters that `reset` and `step` use by default."""
        return CorridorParams(length=np.int32(self.length), noise=np.float32(self.noise))

    def draw_start(self, key: Key, params: CorridorParams) -> Array:
        """Draw the color of the key."""
        return integers(key, self.colors)

    def start(self, drawn: Array, params: CorridorParams) -> tuple[Array, CorridorState]:
        """Show the key, or nothing in the active task."""
        state = CorridorState(time=jnp.zeros((), jnp.int32), color=jnp.asarray(drawn, jnp.int32))
        return self._observe(state, jnp.asarray(self._looks == 0), params), state

    def _observe(self, state: CorridorState, looking: Array, params: CorridorParams) -> Array:
        walked = state.time - self._looks
        color = jax.nn.one_hot(jnp.where((walked == 0) & looking, state.color, -1), self.colors)
        places = jnp.stack([(walked > 0) & (walked <= params.length), walked == params.length + 1])
        return jnp.concatenate([color, places]).astype(jnp.float32)

    def draw(self, key: Key, state: CorridorState, params: CorridorParams) -> Array:
        """Draw standard normal noise for the reward."""
        return jax.random.normal(key)

    def transition(
        self, state: CorridorState, action: Array, drawn: Array, params: CorridorParams
    ) -> tuple[Array, CorridorState, Array, Array]:
        """Look at the key, walk, or open a door."""
        action = clip_action(action, self.colors + 1)
        walked = state.time - self._looks
        last = walked >= params.length + 1
        inside = (walked > 0) & ~last
        noise = jnp.where(inside, params.noise * jnp.asarray(drawn, jnp.float32), 0.0)
        reward = jnp.where(last, (action == state.color).astype(jnp.float32), noise)
        looking = (action == self.colors) | jnp.asarray(self._looks == 0)
        state = CorridorState(time=state.time + 1, color=state.color)
        return self._observe(state, looking, params), state, reward, last

    def action_space(self, params: CorridorParams | None = None) -> Discrete:
        """The doors, and waiting."""
        return Discrete(self.colors + 1)

    def observation_space(self, params: CorridorParams | None = None) -> Box:
        """Key, corridor, doors."""
        return Box(0.0, 1.0, (self.colors + 2,))

    def horizon(self, params: CorridorParams | None = None) -> int:
        """Looking, walking and opening a door."""
        return int((params or self.default_params).length) + 2 + self._looks

    def memory_length(self, params: CorridorParams | None = None) -> int:
        """From the key to the doors."""
        return self.horizon(params) - 1 - self._looks

    def credit_length(self, params: CorridorParams | None = None) -> int:
        """The door is rewarded at once; looking at the key only at the door."""
        return self.horizon(params) if self._looks else 1


class ActiveKeyToDoor(PassiveKeyToDoor):
    """Wait for one step to see a key, walk down a corridor, open the door of its color.

    A test of memory and of credit assignment: only by waiting in the first step is the key seen in the second, which is
    rewarded at the door. The first observation is all zero.

    * Observation, * Action and * Reward: those of PassiveKeyToDoor. * Length: `length + 3` steps.

    Source: Hung et al. (2019), https://arxiv.org/abs/1810.06721, as for PassiveKeyToDoor.
    """

    _looks = 1

"""KeyToDoor: take a key, pick apples for a long time, open a door with the key."""

import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams
from memorax.environments.memory.chance import below, split
from memorax.environments.memory.rooms import (
    DOOR,
    ENTRANCES,
    RoomsState,
    apple_at,
    draw_apples,
    furnish,
    look_around,
    paint_room,
    walls,
)
from memorax.environments.memory.task import Task, clipped, whole

_RESPAWN, _PRIZE = 20, 5.0
_MOVES = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]], np.int32)


@struct.dataclass
class RoomsParams(EnvParams):
    """Parameters: steps in each room (`explore`, `length`, `reward`, int32) and what an apple pays (float32)."""

    explore: Array | np.int32
    length: Array | np.int32
    reward: Array | np.int32
    apple: Array | np.float32


class KeyToDoor(Task[RoomsState, RoomsParams]):
    """Take a key in one room, pick apples in the next for `length` steps, open the door of the last with the key.

    A test of credit assignment: taking the key pays nothing, and many apples lie between it and the door. Rooms change
    by time alone. The first (5 x 5) has the key in its upper two rows and the agent in its lower two; the second
    (5 x 9) has 10 apples on 22 cells, which grow again after 20 steps; the third (5 x 5) a door that is a wall to who
    has no key.

    * Observation: float32 `[125]`: 5 x 5 cells around the agent times wall, apple, key, door, and whether the key was
      taken in this very step (everywhere).
    * Action: north, south, west, east, `Discrete(4)`.
    * Reward: 5 for going through the door, which takes the key; `apple` for each apple.
    * Length: `explore + length + reward` steps, ended by termination.
    * Returns: with `apple=0` 5 for the best policy, which needs no memory; with apples not known in closed form.

    Source: Hung et al. (2019), Optimizing Agent Behavior over Long Time Scales by Transporting Value,
    https://arxiv.org/abs/1810.06721.
    """

    def __init__(self, length: int = 60, *, explore: int = 15, reward: int = 10, apple: float = 1.0) -> None:
        """Furnish the rooms.

        Args:
            length: Steps among the apples, at least 1.
            explore: Steps in the room of the key, at least 8, which suffice to reach it.
            reward: Steps in the room of the door, at least 4, which suffice to reach it.
            apple: What an apple pays, at least 0.

        Raises:
            TypeError, ValueError: If a number of steps is no integer, or an argument too small.
        """
        self.length = whole("length", length)
        self.explore, self.reward = whole("explore", explore, least=8), whole("reward", reward, least=4)
        if not 0 <= apple < np.inf:
            raise ValueError(f"`apple` must be at least 0 and finite, got {apple}")
        self.apple = float(apple)
        self.optimal_return = self.memoryless_return = _PRIZE if apple == 0 else None

    @property
    def default_params(self) -> RoomsParams:
        """The parameters used where none are given."""
        steps = (np.int32(n) for n in (self.explore, self.length, self.reward))
        return RoomsParams(*steps, apple=np.float32(self.apple))

    def draw_start(self, key: Key, params: RoomsParams) -> tuple[Array, Array, Array]:
        """Draw the places of agent and key, and which cells have an apple."""
        row_key, column_key, apple_key = split(key, 3)
        rows = below(row_key, 2, (2,)) + jnp.array([3, 0])
        columns = below(column_key, 5, (2,))
        return jnp.stack([rows[0], columns[0]]), jnp.stack([rows[1], columns[1]]), draw_apples(apple_key)

    def start(self, drawn: tuple[Array, Array, Array], params: RoomsParams) -> tuple[Array, RoomsState]:
        """Put the agent into the first room."""
        state = furnish(*drawn)
        return self._observe(state, state.taken, params), state

    def _room(self, time: Array, params: RoomsParams) -> Array:
        return (time >= params.explore).astype(jnp.int32) + (time >= params.explore + params.length)

    def _observe(self, state: RoomsState, lit: Array, params: RoomsParams) -> Array:
        return look_around(state, self._room(state.time, params), lit)

    def transition(
        self, state: RoomsState, action: Array, drawn: tuple[()], params: RoomsParams
    ) -> tuple[Array, RoomsState, Array, Array]:
        """Walk; take, eat, open."""
        room = self._room(state.time, params)
        target = state.place + jnp.asarray(_MOVES)[clipped(action, 4)]
        at_door = (room == 2) & jnp.all(target == DOOR)
        blocked = walls(target[0], target[1], room) | (at_door & ~state.has_key)
        place = jnp.where(blocked, state.place, target)
        opens = at_door & state.has_key
        takes = (room == 0) & jnp.all(place == state.key) & ~state.taken
        eaten = (room == 1) & apple_at(place) & (state.apples <= state.time)
        time = state.time + 1
        entered = self._room(time, params)
        state = RoomsState(
            time=time,
            place=jnp.where(entered > room, jnp.asarray(ENTRANCES)[entered], place),
            key=state.key,
            has_key=(state.has_key | takes) & ~opens,
            taken=state.taken | takes,
            apples=jnp.where(eaten, time + _RESPAWN, state.apples),
        )
        reward = jnp.where(opens, _PRIZE, 0.0) + params.apple * jnp.any(eaten)
        last = time >= params.explore + params.length + params.reward
        return self._observe(state, takes, params), state, reward, last

    def action_space(self, params: RoomsParams | None = None) -> Discrete:
        """North, south, west, east."""
        return Discrete(4)

    def observation_space(self, params: RoomsParams | None = None) -> Box:
        """Five layers of what is near."""
        return Box(0.0, 1.0, (125,))

    def horizon(self, params: RoomsParams | None = None) -> int:
        """The steps in all rooms."""
        given = params or self.default_params
        return int(given.explore) + int(given.length) + int(given.reward)

    def credit_length(self, params: RoomsParams | None = None) -> int:
        """At the least: from the last chance to take the key to the first chance to use it."""
        return int((params or self.default_params).length) + 5

    def render(self, state: RoomsState, params: RoomsParams | None = None) -> Array:
        """The room the agent is in, from above: apples green, key yellow, door blue, the agent a red disk."""
        return paint_room(state, self._room(state.time, self.default_params if params is None else params))

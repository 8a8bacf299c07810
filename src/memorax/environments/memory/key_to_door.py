"""KeyToDoor: take a key, collect apples for a long time, open a door with the key."""

import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import check, real, steps
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.picture import BLUE, GRAY, GREEN, RED, WHITE, YELLOW, characters, paint
from memorax.environments.memory.parts.prng import bits, integers, split
from memorax.environments.memory.parts.task import Task, clip_action

_HIGH, _WIDE, _NARROW, _SEEN = 5, 9, 5, 2
_APPLES, _FILLED = _HIGH * _WIDE // 2, 10
_NEVER = np.iinfo(np.int32).max
_REGROWTH, _PRIZE = 20, 5.0
_MOVES = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]], np.int32)
# Where the agent enters the second and the third room; row and column.
_ENTRANCES = np.array([[0, 0], [2, 4], [4, 2]], np.int32)
_DOOR = np.array([0, 2], np.int32)


@struct.dataclass
class RoomsState(EnvState):
    """State of KeyToDoor.

    Attributes:
        time: Completed steps.
        place: Row and column of the agent, int32 `[2]`.
        key: Row and column of the key, int32 `[2]`.
        has_key: Whether the agent holds the key.
        taken: Whether the key was taken.
        apples: Time from which each apple is there (again), int32 `[22]`; they are on every second cell.
    """

    place: Array
    key: Array
    has_key: Array
    taken: Array
    apples: Array


def _draw_apples(key: Key) -> Array:
    """Draw which of the places for apples have one, bool `[22]`, uniformly."""
    # By rank instead of sorting, from half words: the reset is computed in every step and must be cheap.
    words = bits(key, (_APPLES // 2,))
    number = jnp.concatenate([words >> 16, words & 0xFFFF])
    earlier = np.tri(_APPLES, k=-1, dtype=bool)
    return jnp.sum((number[:, None] > number[None]) | (earlier & (number[:, None] == number[None])), axis=1) < _FILLED


def _initial_state(place: Array, key: Array, filled: Array) -> RoomsState:
    """The initial state, from the places of agent and key and which apples there are."""
    no, apples = jnp.zeros((), bool), jnp.where(filled, 0, _NEVER)
    place, key = (jnp.asarray(x, jnp.int32) for x in (place, key))
    return RoomsState(jnp.zeros((), jnp.int32), place=place, key=key, has_key=no, taken=no, apples=apples)


def _is_wall(rows: Array, columns: Array, room: Array) -> Array:
    """Whether cells are outside a room (0, 1, 2); rows and columns broadcast."""
    return (rows < 0) | (rows >= _HIGH) | (columns < 0) | (columns >= jnp.where(room == 1, _WIDE, _NARROW))


def _apple_at(place: Array) -> Array:
    """Which apple of the second room has this place, one-hot bool `[22]`; all False where none has."""
    return 2 * jnp.arange(_APPLES) + 1 == _WIDE * place[0] + place[1]


def _has_apple(state: RoomsState, rows: Array, columns: Array) -> Array:
    """Whether cells of the second room have an apple now."""
    cells = _WIDE * rows + columns
    odd = (cells % 2 == 1) & ~_is_wall(rows, columns, jnp.int32(1))
    return odd & (state.apples <= state.time)[jnp.clip(cells // 2, 0, _APPLES - 1)]


def _layers(state: RoomsState, room: Array, rows: Array, columns: Array) -> list[Array]:
    """Where there are walls, apples, the key and the door, bool `[rows, columns]` each."""

    def at(place: Array | np.ndarray) -> Array:
        return (rows == place[0]) & (columns == place[1])

    apples = _has_apple(state, rows, columns) & (room == 1)
    return [_is_wall(rows, columns, room), apples, at(state.key) & (room == 0) & ~state.taken, at(_DOOR) & (room == 2)]


@struct.dataclass
class RoomsParams(EnvParams):
    """Parameters: steps in each room (`explore`, `length`, `reward`, int32) and the reward of an apple (float32)."""

    explore: Array | np.int32
    length: Array | np.int32
    reward: Array | np.int32
    apple: Array | np.float32


class KeyToDoor(Task[RoomsState, RoomsParams]):
    """Take a key in one room, collect apples in the next for `length` steps, open the door of the last with the key.

    A test of credit assignment: taking the key is not rewarded, and many apples come between it and the door. The room
    changes with time alone. The first (5 x 5) has the key in its upper two rows and the agent in its lower two; the
    second (5 x 9) has 10 apples on 22 cells, which grow again after 20 steps; the third (5 x 5) has a door that is a
    wall without the key.

    * Observation: float32 `[125]`: 5 x 5 cells around the agent times wall, apple, key, door, and whether the key was
      taken in this step (in all cells).
    * Action: north, south, west, east, `Discrete(4)`.
    * Reward: 5 for opening the door, which uses up the key; `apple` for each apple.
    * Length: `explore + length + reward` steps, ended by termination.
    * Returns: with `apple=0` 5 for the best policy, which needs no memory; with apples not known in closed form.

    Source: Hung et al. (2019), Optimizing Agent Behavior over Long Time Scales by Transporting Value,
    https://arxiv.org/abs/1810.06721.
    """

    def __init__(self, length: int = 60, *, explore: int = 15, reward: int = 10, apple: float = 1.0) -> None:
        """Create the rooms.

        Args:
            length: Steps among the apples, at least 1.
            explore: Steps in the room of the key, at least 8, which is enough to reach it.
            reward: Steps in the room of the door, at least 4, which is enough to reach it.
            apple: Reward of an apple, at least 0.

        Raises:
            TypeError: If an argument is not an integer.
            ValueError: If an argument is too small.
        """
        self.length = check("length", length, steps())
        self.explore, self.reward = check("explore", explore, steps(8)), check("reward", reward, steps(4))
        self.apple = float(check("apple", apple, real(0)))
        self.optimal_return = self.memoryless_return = _PRIZE if self.apple == 0 else None

    @property
    def default_params(self) -> RoomsParams:
        """Parameters that `reset` and `step` use by default."""
        steps = (np.int32(n) for n in (self.explore, self.length, self.reward))
        return RoomsParams(*steps, apple=np.float32(self.apple))

    def draw_start(self, key: Key, params: RoomsParams) -> tuple[Array, Array, Array]:
        """Draw the places of agent and key, and which cells have an apple."""
        row_key, column_key, apple_key = split(key, 3)
        rows = integers(row_key, 2, (2,)) + jnp.array([3, 0])
        columns = integers(column_key, 5, (2,))
        return jnp.stack([rows[0], columns[0]]), jnp.stack([rows[1], columns[1]]), _draw_apples(apple_key)

    def start(self, drawn: tuple[Array, Array, Array], params: RoomsParams) -> tuple[Array, RoomsState]:
        """Put the agent into the first room."""
        state = _initial_state(*drawn)
        return self._observe(state, state.taken, params), state

    def _room(self, time: Array, params: RoomsParams) -> Array:
        return (time >= params.explore).astype(jnp.int32) + (time >= params.explore + params.length)

    def _observe(self, state: RoomsState, took_key: Array, params: RoomsParams) -> Array:
        around = jnp.arange(2 * _SEEN + 1) - _SEEN
        rows, columns = (state.place[0] + around)[:, None], (state.place[1] + around)[None]
        layers = _layers(state, self._room(state.time, params), rows, columns)
        return jnp.stack([*layers, jnp.broadcast_to(took_key, layers[0].shape)]).astype(jnp.float32).ravel()

    def transition(
        self, state: RoomsState, action: Array, drawn: tuple[()], params: RoomsParams
    ) -> tuple[Array, RoomsState, Array, Array]:
        """Move; take the key, eat an apple, or open the door."""
        room = self._room(state.time, params)
        target = state.place + jnp.asarray(_MOVES)[clip_action(action, 4)]
        at_door = (room == 2) & jnp.all(target == _DOOR)
        blocked = _is_wall(target[0], target[1], room) | (at_door & ~state.has_key)
        place = jnp.where(blocked, state.place, target)
        opens = at_door & state.has_key
        takes = (room == 0) & jnp.all(place == state.key) & ~state.taken
        eaten = (room == 1) & _apple_at(place) & (state.apples <= state.time)
        time = state.time + 1
        entered = self._room(time, params)
        state = RoomsState(
            time=time,
            place=jnp.where(entered > room, jnp.asarray(_ENTRANCES)[entered], place),
            key=state.key,
            has_key=(state.has_key | takes) & ~opens,
            taken=state.taken | takes,
            apples=jnp.where(eaten, time + _REGROWTH, state.apples),
        )
        reward = jnp.where(opens, _PRIZE, 0.0) + params.apple * jnp.any(eaten)
        last = time >= params.explore + params.length + params.reward
        return self._observe(state, takes, params), state, reward, last

    def action_space(self, params: RoomsParams | None = None) -> Discrete:
        """North, south, west, east."""
        return Discrete(4)

    def observation_space(self, params: RoomsParams | None = None) -> Box:
        """Five layers of the cells around the agent."""
        return Box(0.0, 1.0, (125,))

    def horizon(self, params: RoomsParams | None = None) -> int:
        """The steps in all rooms."""
        given = params or self.default_params
        return int(given.explore) + int(given.length) + int(given.reward)

    def credit_length(self, params: RoomsParams | None = None) -> int:
        """The shortest possible: from the last step that can take the key to the first that can use it."""
        return int((params or self.default_params).length) + 5

    def render(self, state: RoomsState, params: RoomsParams | None = None) -> Array:
        """The room the agent is in, from above: apples green, key yellow, door blue, the agent a red disk."""
        room = self._room(state.time, self.default_params if params is None else params)
        layers = _layers(state, room, jnp.arange(_HIGH)[:, None], jnp.arange(_WIDE)[None])
        colors = jnp.full((_HIGH, _WIDE), WHITE)
        for layer, color in zip(layers, (GRAY, GREEN, YELLOW, BLUE), strict=True):
            colors = jnp.where(layer, color, colors)
        return paint(colors, jnp.zeros_like(colors).at[tuple(state.place)].set(characters("o")[0]), RED)

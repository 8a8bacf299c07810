"""The three rooms of KeyToDoor: what is where, what is seen of it, and pictures."""

import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.types import Array, Key
from memorax.environments.environment import EnvState
from memorax.environments.memory.chance import bits
from memorax.environments.memory.picture import BLUE, GRAY, GREEN, RED, WHITE, YELLOW, characters, paint

_HIGH, _WIDE, _NARROW, _SEEN = 5, 9, 5, 2
_APPLES, _FILLED = _HIGH * _WIDE // 2, 10
_NEVER = np.iinfo(np.int32).max
# Where the agent is put when the second and the third room begin; row and column.
ENTRANCES = np.array([[0, 0], [2, 4], [4, 2]], np.int32)
DOOR = np.array([0, 2], np.int32)


@struct.dataclass
class RoomsState(EnvState):
    """State of KeyToDoor.

    Attributes:
        time: Completed steps.
        place: Where the agent is, row and column, int32 `[2]`.
        key: Where the key lies or lay, int32 `[2]`.
        has_key: Whether the agent holds the key.
        taken: Whether the key was ever taken.
        apples: At what time each apple is there (again), int32 `[22]`; they lie on every second cell of the room.
    """

    place: Array
    key: Array
    has_key: Array
    taken: Array
    apples: Array


def draw_apples(key: Key) -> Array:
    """Draw which of the places for apples have one, bool `[22]`, all choices equally likely."""
    # By rank and not by sorting, from halves of words: a reset is computed in every step.
    words = bits(key, (_APPLES // 2,))
    chance = jnp.concatenate([words >> 16, words & 0xFFFF])
    earlier = np.tri(_APPLES, k=-1, dtype=bool)
    return jnp.sum((chance[:, None] > chance) | (earlier & (chance[:, None] == chance)), axis=1) < _FILLED


def furnish(place: Array, key: Array, filled: Array) -> RoomsState:
    """The state at the beginning: the places of agent and key, and which apples there are."""
    no, apples = jnp.zeros((), bool), jnp.where(filled, 0, _NEVER)
    place, key = (jnp.asarray(x, jnp.int32) for x in (place, key))
    return RoomsState(jnp.zeros((), jnp.int32), place=place, key=key, has_key=no, taken=no, apples=apples)


def walls(rows: Array, columns: Array, room: Array) -> Array:
    """Whether cells lie outside of a room (0, 1, 2); rows and columns broadcast."""
    return (rows < 0) | (rows >= _HIGH) | (columns < 0) | (columns >= jnp.where(room == 1, _WIDE, _NARROW))


def apple_at(place: Array) -> Array:
    """Which apple of the second room lies at a place, one-hot bool `[22]`; none at every other one."""
    return 2 * jnp.arange(_APPLES) + 1 == _WIDE * place[0] + place[1]


def _grown(state: RoomsState, rows: Array, columns: Array) -> Array:
    """Whether cells of the second room have an apple now; they grow on every second one, counted along the rows."""
    cells = _WIDE * rows + columns
    odd = (cells % 2 == 1) & ~walls(rows, columns, jnp.int32(1))
    return odd & (state.apples <= state.time)[jnp.clip(cells // 2, 0, _APPLES - 1)]


def _layers(state: RoomsState, room: Array, rows: Array, columns: Array) -> list[Array]:
    """Where there are walls, apples, the key and the door, bool `[rows, columns]` each."""

    def at(place: Array | np.ndarray) -> Array:
        return (rows == place[0]) & (columns == place[1])

    apples = _grown(state, rows, columns) & (room == 1)
    return [walls(rows, columns, room), apples, at(state.key) & (room == 0) & ~state.taken, at(DOOR) & (room == 2)]


def look_around(state: RoomsState, room: Array, lit: Array) -> Array:
    """The 5 x 5 cells around the agent, layer by layer, the last one `lit` or not; float32 `[125]`."""
    around = jnp.arange(2 * _SEEN + 1) - _SEEN
    layers = _layers(state, room, (state.place[0] + around)[:, None], state.place[1] + around)
    return jnp.stack([*layers, jnp.broadcast_to(lit, layers[0].shape)]).astype(jnp.float32).ravel()


def paint_room(state: RoomsState, room: Array) -> Array:
    """The room from above: apples green, key yellow, door blue, the agent a red disk; RGB as of `paint`."""
    layers = _layers(state, room, jnp.arange(_HIGH)[:, None], jnp.arange(_WIDE))
    colors = jnp.full((_HIGH, _WIDE), WHITE)
    for layer, color in zip(layers, (GRAY, GREEN, YELLOW, BLUE), strict=True):
        colors = jnp.where(layer, color, colors)
    return paint(colors, jnp.zeros_like(colors).at[tuple(state.place)].set(characters("o")[0]), RED)

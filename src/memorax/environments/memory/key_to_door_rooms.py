"""KeyToDoor: take a key, pick apples for a long time, open a door with the key."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.picture import BLUE, GRAY, GREEN, RED, WHITE, YELLOW, characters, paint
from memorax.environments.memory.task import Task, clipped, whole

_HIGH, _WIDE, _NARROW, _SEEN = 5, 9, 5, 2
_RESPAWN, _PRIZE = 20, 5.0
_MOVES = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]], np.int32)
_APPLES, _FILLED = _HIGH * _WIDE // 2, 10
# Where the agent is put when the second and the third room begin; row and column.
_ENTRANCES = np.array([[0, 0], [2, 4], [4, 2]], np.int32)
_DOOR = np.array([0, 2], np.int32)
_NEVER = np.iinfo(np.int32).max


@struct.dataclass
class RoomsParams(EnvParams):
    """Parameters: steps in each room (`explore`, `length`, `reward`, int32) and what an apple pays (float32)."""

    explore: Array | np.int32
    length: Array | np.int32
    reward: Array | np.int32
    apple: Array | np.float32


@struct.dataclass
class RoomsState(EnvState):
    """State: `place` and `key` (row, column), `has_key`, `taken`, and `apples` (when each is there again)."""

    place: Array
    key: Array
    has_key: Array
    taken: Array
    apples: Array


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
        row_key, column_key, apple_key = jax.random.split(key, 3)
        rows = jax.random.randint(row_key, (2,), 0, 2) + jnp.array([3, 0])
        columns = jax.random.randint(column_key, (2,), 0, 5)
        # By rank and not by sorting, from halves of words: a reset is computed in every step.
        words = jax.random.bits(apple_key, (_APPLES // 2,))
        chance = jnp.concatenate([words >> 16, words & 0xFFFF])
        earlier = np.tri(_APPLES, k=-1, dtype=bool)
        filled = jnp.sum((chance[:, None] > chance) | (earlier & (chance[:, None] == chance)), axis=1) < _FILLED
        return jnp.stack([rows[0], columns[0]]), jnp.stack([rows[1], columns[1]]), filled

    def start(self, drawn: tuple[Array, Array, Array], params: RoomsParams) -> tuple[Array, RoomsState]:
        """Put the agent into the first room."""
        place, key = (jnp.asarray(x, jnp.int32) for x in drawn[:2])
        no, apples = jnp.zeros((), bool), jnp.where(drawn[2], 0, _NEVER)
        state = RoomsState(jnp.zeros((), jnp.int32), place=place, key=key, has_key=no, taken=no, apples=apples)
        return self._observe(state, no, params), state

    def _room(self, time: Array, params: RoomsParams) -> Array:
        return (time >= params.explore).astype(jnp.int32) + (time >= params.explore + params.length)

    def _observe(self, state: RoomsState, lit: Array, params: RoomsParams) -> Array:
        room, around = self._room(state.time, params), jnp.arange(2 * _SEEN + 1) - _SEEN
        rows, columns = (state.place[0] + around)[:, None], state.place[1] + around
        walls, apples = _walls(rows, columns, room), _grown(state, rows, columns) & (room == 1)

        def at(place: Array | np.ndarray) -> Array:
            return (rows == place[0]) & (columns == place[1])

        key, door = at(state.key) & (room == 0) & ~state.taken, at(_DOOR) & (room == 2)
        return jnp.stack([walls, apples, key, door, jnp.broadcast_to(lit, (5, 5))]).astype(jnp.float32).ravel()

    def transition(
        self, state: RoomsState, action: Array, drawn: tuple[()], params: RoomsParams
    ) -> tuple[Array, RoomsState, Array, Array]:
        """Walk; take, eat, open."""
        room = self._room(state.time, params)
        target = state.place + jnp.asarray(_MOVES)[clipped(action, 4)]
        at_door = (room == 2) & jnp.all(target == _DOOR)
        blocked = _walls(target[0], target[1], room) | (at_door & ~state.has_key)
        place = jnp.where(blocked, state.place, target)
        opens = at_door & state.has_key
        takes = (room == 0) & jnp.all(place == state.key) & ~state.taken
        here = (room == 1) & (2 * jnp.arange(_APPLES) + 1 == _WIDE * place[0] + place[1])
        eaten = here & (state.apples <= state.time)
        time = state.time + 1
        entered = self._room(time, params)
        state = RoomsState(
            time=time,
            place=jnp.where(entered > room, jnp.asarray(_ENTRANCES)[entered], place),
            key=state.key,
            has_key=(state.has_key | takes) & ~opens,
            taken=state.taken | takes,
            apples=jnp.where(eaten, time + _RESPAWN, state.apples),
        )
        reward = jnp.where(opens, _PRIZE, 0.0) + params.apple * jnp.any(eaten)
        return (
            self._observe(state, takes, params),
            state,
            reward,
            time >= params.explore + params.length + params.reward,
        )

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
        """Paint the room from above: apples green, key yellow, door blue, the agent a red disk."""
        room = self._room(state.time, self.default_params if params is None else params)
        rows, columns = jnp.arange(_HIGH)[:, None], jnp.arange(_WIDE)
        colors = jnp.where(_walls(rows, columns, room), GRAY, WHITE)
        colors = jnp.where(_grown(state, rows, columns) & (room == 1), GREEN, colors)
        show_key = (room == 0) & ~state.taken
        colors = colors.at[tuple(state.key)].set(jnp.where(show_key, YELLOW, colors[tuple(state.key)]))
        colors = colors.at[tuple(_DOOR)].set(jnp.where(room == 2, BLUE, colors[tuple(_DOOR)]))
        return paint(colors, jnp.zeros_like(colors).at[tuple(state.place)].set(characters("o")[0]), RED)


def _walls(rows: Array, columns: Array, room: Array) -> Array:
    """Whether cells lie outside of a room; rows and columns broadcast."""
    return (rows < 0) | (rows >= _HIGH) | (columns < 0) | (columns >= jnp.where(room == 1, _WIDE, _NARROW))


def _grown(state: RoomsState, rows: Array, columns: Array) -> Array:
    """Whether cells of the second room have an apple now; they grow on every second one, counted along the rows."""
    cells = _WIDE * rows + columns
    odd = (cells % 2 == 1) & ~_walls(rows, columns, jnp.int32(1))
    return odd & (state.apples <= state.time)[jnp.clip(cells // 2, 0, _APPLES - 1)]

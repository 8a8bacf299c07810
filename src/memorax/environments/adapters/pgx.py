"""The games of Pgx, as `pgx::<id>`: those of one player, and those of several against an opponent."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.spaces import Box, Dict, Discrete
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.raw import Raw, RawEnvironment, check_name, import_library, key_data, pooled
from memorax.environments.environment import Environment, EnvParams
from memorax.environments.multi_agent import MultiAgentEnvironment

pgx = import_library("pgx", "pgx")

Opponent = Callable[[Key, Array, Array], Array]
"""`(key, observation, action_mask) -> action`, all of one game."""


def names() -> tuple[str, ...]:
    """Ids of all games of the library."""
    return tuple(sorted(pgx.available_envs()))


def make(
    name: str,
    *,
    opponent: str | Opponent = "random",
    max_steps: int | None = None,
    reset_pool: int | None = None,
    **kwargs: Any,
) -> tuple[Environment, PyTree]:
    """Make a game of Pgx.

    Args:
        name: Id in Pgx, for example `minatar-breakout` or `kuhn_poker`.
        opponent: Who plays the other seats of a game of several players: `random` (uniform over legal actions); a
            function of a key, an observation `[...]` and a mask of legal actions `[actions]`, such as the frozen
            policy of an earlier agent; or `self`, which makes an environment of several agents, one a seat, for
            self-play with MAPPO.
        max_steps: Steps after which an episode is truncated; None for never. MinAtar need not end by itself.
        reset_pool: How many resets are computed at once for the environments whose episode ended; None computes one
            for every environment in every step, which is the fastest as resets are cheap here.
        **kwargs: Arguments of the game's class where it is one of MinAtar, for example `sticky_action_prob`.

    Returns:
        The environment and its parameters, of which it has none.

    Raises:
        TypeError: If `opponent` cannot be called.
        ValueError: If Pgx has no such game, or no such opponent.
    """
    check_name("pgx", name, names())
    game = pgx.make(name)
    if kwargs:
        game = type(game)(**kwargs)
    if isinstance(opponent, str) and opponent == "self":
        if max_steps is not None or reset_pool is not None:
            raise ValueError("`max_steps` and `reset_pool` must be None where `opponent` is `self`; leave them out")
        return SelfPlay(name, game), EnvParams()
    return pooled(Pgx(name, game, opponent, max_steps), reset_pool)


def play_at_random(key: Key, observation: Array, action_mask: Array) -> Array:
    """Draw uniformly from the legal actions."""
    return jax.random.categorical(key, jnp.where(action_mask, 0.0, -jnp.inf))


class Pgx(RawEnvironment):
    """A game of Pgx, seen by the player 0, who moves first or later as the game's key decides.

    Between two moves of the agent the others move; rewards are those of player 0. An illegal action loses the game.

    Args:
        name: Id in Pgx.
        game: The library's game.
        opponent: Who plays the other seats.
        max_steps: Steps after which an episode is truncated.
    """

    def __init__(self, name: str, game: Any, opponent: str | Opponent, max_steps: int | None) -> None:
        if isinstance(opponent, str) and opponent != "random":
            raise ValueError(f"`opponent` must be `random`, `self` or a function, got `{opponent}`")
        if not isinstance(opponent, str) and not callable(opponent):
            raise TypeError(f"`opponent` must be `random`, `self` or a function, got {opponent!r}")
        self.opponent: Opponent = play_at_random if isinstance(opponent, str) else opponent
        super().__init__(
            name,
            game,
            observation_space=_observations(game),
            action_space=Discrete(game.num_actions),
            max_steps=max_steps,
        )

    def begin(self, key: Key, params: PyTree) -> tuple[Array, PyTree]:
        """Start a game; who moves before the agent has moved."""
        state = self.foreign.init(key)
        state, _ = self._others_move(jax.random.fold_in(key, 1), state)
        return self._look(state), state

    def advance(self, key: Key, inner: PyTree, action: Array, params: PyTree) -> Raw:
        """Move, and let the others move."""
        state = self.foreign.step(inner, action, key)
        state, reward = self._others_move(jax.random.fold_in(key, 1), state)
        return self._look(state), state, reward, state.terminated, state.truncated

    def _others_move(self, key: Key, state: PyTree) -> tuple[PyTree, Array]:
        """Play until it is the agent's turn or the game is over; the rewards of player 0 on the way."""
        reward = jnp.asarray(state.rewards[0], jnp.float32)
        if self.foreign.num_players == 1:
            return state, reward

        def waits(loop: tuple[Key, PyTree, Array]) -> Array:
            return (loop[1].current_player != 0) & ~(loop[1].terminated | loop[1].truncated)

        def move(loop: tuple[Key, PyTree, Array]) -> tuple[Key, PyTree, Array]:
            key, state, reward = loop
            key, choice_key, step_key = jax.random.split(key, 3)
            action = self.opponent(choice_key, state.observation, state.legal_action_mask)
            state = self.foreign.step(state, action, step_key)
            return key, state, reward + state.rewards[0]

        _, state, reward = jax.lax.while_loop(waits, move, (key, state, reward))
        return state, reward

    def _look(self, state: PyTree) -> Array:
        return state.observation if self.foreign.num_players == 1 else _seen_by(self.foreign, state, 0)

    def legal_actions(self, inner: PyTree) -> Array:
        """Which moves the rules allow."""
        return inner.legal_action_mask


class SelfPlay(MultiAgentEnvironment[Any, EnvParams]):
    """A game of Pgx in which every seat is an agent.

    In each step one of them moves; the others see the board from their sides, and their masks allow nothing but the
    action 0, which is ignored.

    Args:
        name: Id in Pgx.
        game: The library's game, of at least two players.
    """

    def __init__(self, name: str, game: Any) -> None:
        if game.num_players == 1:
            raise ValueError(f"`opponent` must not be `self` for `{name}`, which has one player")
        self._name, self.foreign, self.num_agents = name, game, game.num_players

    @property
    def name(self) -> str:
        """Name of the game in its own library."""
        return self._name

    def reset_env(self, key: Key, params: EnvParams) -> tuple[PyTree, PyTree]:
        """Start a game."""
        state = self.foreign.init(key_data(key))
        return self._look(state), state

    def step_env(
        self, key: Key, state: PyTree, action: Array, params: EnvParams
    ) -> tuple[PyTree, PyTree, Array, Array, dict[str, Any]]:
        """Let the agent move whose turn it is."""
        state = self.foreign.step(state, action[state.current_player], key_data(key))
        return self._look(state), state, state.rewards, state.terminated, {}

    def _look(self, state: PyTree) -> PyTree:
        seats = jnp.arange(self.num_agents)
        waits = jnp.arange(self.foreign.num_actions) == 0
        mask = jnp.where((seats == state.current_player)[:, None], state.legal_action_mask, waits)
        return {"action_mask": mask, "observation": jax.vmap(lambda seat: _seen_by(self.foreign, state, seat))(seats)}

    def is_truncated(self, state: PyTree, params: EnvParams) -> Array:
        """Whether the game was cut."""
        return state.truncated

    def agent_action_space(self, params: EnvParams | None = None) -> Discrete:
        """The moves of the game."""
        return Discrete(self.foreign.num_actions)

    def agent_observation_space(self, params: EnvParams | None = None) -> Dict:
        """The board as one seat sees it, and a mask of moves."""
        mask = Box(0, 1, (self.foreign.num_actions,), bool)
        return Dict({"action_mask": mask, "observation": _observations(self.foreign)})


def _seen_by(game: Any, state: PyTree, seat: Any) -> Array:
    return game.observe(state.replace(current_player=jnp.asarray(seat, state.current_player.dtype)))


def _observations(game: Any) -> Box:
    seen = jax.eval_shape(game.init, jax.random.key(0)).observation
    low, high = (0, 1) if seen.dtype == bool else (-jnp.inf, jnp.inf)
    return Box(low, high, seen.shape, seen.dtype)

"""The games of Pgx, as `pgx::<id>`: those of one player, and those of several against an opponent."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.raw import Raw, RawEnvironment, check_name, import_library, pooled
from memorax.environments.environment import Environment

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
        opponent: Who plays the other seats of a game of several players: `random` (uniform over legal actions), or a
            function of a key, an observation `[...]` and a mask of legal actions `[actions]`, such as the frozen
            policy of an earlier agent.
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
            raise ValueError(f"`opponent` must be `random` or a function, got `{opponent}`")
        if not isinstance(opponent, str) and not callable(opponent):
            raise TypeError(f"`opponent` must be `random` or a function, got {opponent!r}")
        self.opponent: Opponent = play_at_random if isinstance(opponent, str) else opponent
        seen = jax.eval_shape(game.init, jax.random.key(0)).observation
        high = 1 if seen.dtype == bool else jnp.inf
        low = 0 if seen.dtype == bool else -jnp.inf
        super().__init__(
            name,
            game,
            observation_space=Box(low, high, seen.shape, seen.dtype),
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
        if self.foreign.num_players == 1:
            return state.observation
        return self.foreign.observe(state.replace(current_player=jnp.zeros_like(state.current_player)))

    def legal_actions(self, inner: PyTree) -> Array:
        """Which moves the rules allow."""
        return inner.legal_action_mask

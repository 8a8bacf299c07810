"""Random walks through an environment, and how trees of arrays are compared in messages that name it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.spaces import ACTION_MASK
from memorax.core.types import PyTree
from memorax.environments import Environment
from memorax.testing.comparison import compiled

_NUM_ENVS = 3
_STEPS_WITHOUT_HORIZON = 700


@dataclass(frozen=True)
class Visit:
    """A random walk through an environment; arrays of the log are `[envs, time, ...]`."""

    env: Environment
    params: PyTree
    play: Callable[[jax.Array], dict[str, Any]]
    log: dict[str, Any]


def visit(env: Environment, params: PyTree, steps: int | None = None) -> Visit:
    """Play at random.

    Args:
        env: The environment.
        params: Its parameters.
        steps: Steps of each random walk; None for two episodes of the longest length.
    """
    steps = steps or 2 * (env.horizon(params) or _STEPS_WITHOUT_HORIZON) + 3

    def act(loop: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], dict[str, Any]]:
        observation, state = loop
        action_key, step_key = jax.random.split(key)
        action = env.action_space(params).sample(action_key)
        after, next_state, reward, terminated, truncated, info = env.step(step_key, state, action, params)
        log = {"key": step_key, "state": state, "action": action, "observation": observation, "after": after}
        log |= {"next_state": next_state, "reward": reward, "terminated": terminated, "truncated": truncated}
        log |= {"mask": info[ACTION_MASK]} if ACTION_MASK in info else {}
        return (after, next_state), log | {"final": info["final_observation"]}

    def walk(key: jax.Array) -> dict[str, Any]:
        reset_key, step_key = jax.random.split(key)
        return jax.lax.scan(act, env.reset(reset_key, params), jax.random.split(step_key, steps))[1]

    play = compiled(lambda key: jax.vmap(walk)(jax.random.split(key, _NUM_ENVS)))
    return Visit(env, params, play, play(jax.random.key(0)))


def rows(chosen: np.ndarray, log: dict[str, Any], *names: str) -> list[Any]:
    """The chosen rows of some entries of a log."""
    return [jax.tree.map(lambda x: x[chosen], log[name]) for name in names]


def is_key(leaf: Any) -> bool:
    """Whether an array holds typed random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def kind(x: Any) -> tuple:
    """Shape, dtype and weakness of an array."""
    return x.shape, x.dtype.name, bool(getattr(x, "weak_type", False))


def kinds(tree: Any) -> dict[str, tuple]:
    """Those of every leaf, by its place: states of other libraries need not compare as trees do."""
    return {jax.tree_util.keystr(path): kind(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def flat(tree: Any) -> Any:
    """Merge the axes of environments and time."""
    return jax.tree.map(lambda x: jax.lax.collapse(x, 0, 2), tree)


def require(env: Environment, what: str, got: Any, expected: Any) -> None:
    """Raise an AssertionError unless two values are equal."""
    assert got == expected, f"{env.name}: {what} {expected}, got {got}"


def _compare(env: Environment, what: str, got: Any, expected: Any, same: Callable[[Any, Any], None]) -> None:
    def leaf(path: Any, x: Any, y: Any) -> None:
        x, y = (jax.random.key_data(z) if is_key(z) else z for z in (jnp.asarray(x), jnp.asarray(y)))
        try:
            same(np.asarray(x), np.asarray(y))
        except AssertionError as error:
            raise AssertionError(f"{env.name}: {what}; {jax.tree_util.keystr(path)} {error}") from None

    jax.tree_util.tree_map_with_path(leaf, got, expected)


def require_equal(env: Environment, what: str, got: Any, expected: Any) -> None:
    """Raise an AssertionError unless all leaves are equal."""
    _compare(env, what, got, expected, np.testing.assert_array_equal)


def require_close(env: Environment, what: str, got: Any, expected: Any) -> None:
    """Raise an AssertionError unless all leaves are close."""
    _compare(env, what, got, expected, partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6))

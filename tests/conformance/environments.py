"""What must hold for every environment: it keeps its types, its spaces and the contract of the automatic reset.

`visit` plays an environment at random and writes everything down; each property takes such a `World` and raises
AssertionError where it does not hold.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.spaces import Box

NUM_ENVS = 3
UNBOUNDED = 700
"""Steps after which an environment without a stated horizon is expected to have ended an episode."""

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""`jax.jit` that compiles in half the time: these programs run once."""


@dataclass(frozen=True)
class World:
    """An environment and a random walk in it; arrays are `[envs, time, ...]`."""

    env: Any
    params: Any
    play: Callable[[jax.Array], dict[str, Any]]
    log: dict[str, Any]


def visit(env: Any, params: Any, steps: int | None = None) -> World:
    """Play at random long enough to see two ends, if there is a stated horizon."""
    steps = steps or 2 * (env.horizon(params) or UNBOUNDED) + 3

    def act(loop, key):
        observation, state = loop
        action_key, step_key = jax.random.split(key)
        action = env.action_space(params).sample(action_key)
        after, next_state, reward, terminated, truncated, info = env.step(step_key, state, action, params)
        log = {"key": step_key, "state": state, "action": action, "observation": observation, "after": after}
        log |= {"next_state": next_state, "reward": reward, "terminated": terminated, "truncated": truncated}
        return (after, next_state), log | {"final": info["final_observation"]}

    def walk(key):
        reset_key, step_key = jax.random.split(key)
        return jax.lax.scan(act, env.reset(reset_key, params), jax.random.split(step_key, steps))[1]

    play = jit(lambda key: jax.vmap(walk)(jax.random.split(key, NUM_ENVS)))
    return World(env, params, play, play(jax.random.key(0)))


def assert_equal(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_close(a: Any, b: Any) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


def avals(tree: Any) -> Any:
    return jax.tree.map(lambda x: (x.shape, np.dtype(x.dtype).name, x.weak_type), tree)


def flat(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def keeps_its_types(world: World) -> None:
    """Reset and step give the same types, all of them strong and at most 32 bits wide."""
    env, params, key = world.env, world.params, jax.random.key(0)
    started = jax.eval_shape(lambda: env.reset(key, params))
    action = env.action_space(params).sample(key)
    observation, state, reward, *ends, info = jax.eval_shape(lambda s: env.step(key, s, action, params), started[1])
    assert avals((observation, state)) == avals(started)
    assert avals(info["final_observation"]) == avals(observation)
    for leaf in jax.tree.leaves((started, state)):
        assert not leaf.weak_type
        assert leaf.dtype in (jnp.float32, jnp.int32, jnp.uint8, jnp.bool_)
    assert avals(reward) == ((), "float32", False)
    assert [avals(end) for end in ends] == [((), "bool", False)] * 2


def stays_in_its_spaces(world: World) -> None:
    """Observations, those before a reset too, have the declared shape, dtype and range; so have sampled actions."""
    observations, actions = (getattr(world.env, f"{kind}_space")(world.params) for kind in ("observation", "action"))
    for name in ("observation", "after", "final"):
        seen = flat(world.log[name])
        assert jax.vmap(observations.contains)(seen).all(), name
        assert jax.tree.map(lambda x: x.shape[1:], seen) == observations.shape
        assert jax.tree.map(lambda x: x.dtype, seen) == observations.dtype
    assert jax.vmap(actions.contains)(flat(world.log["action"])).all()


def resets_in_the_step_that_ends(world: World) -> None:
    """After an end come the first observation and state of a new episode; otherwise those of the raw step."""
    env, params, log = world.env, world.params, flat(world.log)

    def by_hand(key, state, action):
        step_key, reset_key = jax.random.split(key)
        raw = env.step_env(step_key, state, action, params)
        return raw[:4], env.is_truncated(raw[1], params), env.reset_env(reset_key, params)

    (observation, state, reward, terminated), truncated, fresh = jit(jax.vmap(by_hand))(
        log["key"], log["state"], log["action"]
    )
    done = np.asarray(terminated | truncated)
    assert done.any()
    assert not done.all()
    assert_equal((terminated, truncated), (log["terminated"], log["truncated"]))
    assert_close((observation, reward), (log["final"], log["reward"]))
    for ended, expected in ((True, fresh), (False, (observation, state))):
        rows = done == ended
        assert_close(*(jax.tree.map(lambda x, r=rows: x[r], t) for t in (expected, (log["after"], log["next_state"]))))


def ends_by_its_horizon(world: World) -> None:
    """Episodes end, none later than stated, and at the horizon at the latest whatever is done."""
    done = np.asarray(world.log["terminated"] | world.log["truncated"])
    assert done.any(axis=1).all()
    horizon = world.env.horizon(world.params)
    ends = [np.flatnonzero(row) for row in done]
    lengths = np.concatenate([np.diff(row, prepend=-1) for row in ends])
    assert horizon is None or lengths.max() <= horizon
    clocks = np.asarray(world.log["next_state"].time)
    assert (clocks[done] == 0).all()
    assert (clocks[~done] == np.asarray(world.log["state"].time)[~done] + 1).all()


def is_repeatable(world: World) -> None:
    """The same key gives the same episodes, another key and another row others."""
    log, again, other = (world.log, *(world.play(jax.random.key(i)) for i in (0, 1)))
    assert_equal((again["observation"], again["final"]), (log["observation"], log["final"]))
    rows = [np.asarray(x) for x in jax.tree.leaves(log["observation"])]
    assert not all(np.array_equal(*pair) for pair in zip(rows, jax.tree.leaves(other["observation"]), strict=True))
    assert not all((row == row[:1]).all() for row in rows)


def batches_like_one(world: World) -> None:
    """A row under `jax.vmap` is what the environment does alone."""
    log = jax.tree.map(lambda x: x[1, 2], {k: v for k, v in world.log.items() if k != "observation"})
    alone = jit(world.env.step)(log["key"], log["state"], log["action"], world.params)
    expected = tuple(log[name] for name in ("after", "next_state", "reward", "terminated", "truncated"))
    assert_close(alone[:5], expected)
    assert_close(alone[5]["final_observation"], log["final"])


def clips_its_actions(world: World) -> None:
    """An action beyond the largest or the smallest one acts as that one."""
    key, state = jax.tree.map(lambda x: x[0, 0], (world.log["key"], world.log["state"]))
    space = world.env.action_space(world.params)
    low, high = (space.low, space.high) if isinstance(space, Box) else (jnp.int32(0), jnp.int32(space.n - 1))
    step = jit(lambda action: world.env.step_env(key, state, action, world.params)[:3])
    for outside, inside in ((high + 5, high), (low - 3, low)):
        assert_equal(step(outside), step(inside))


def paints_its_state(world: World) -> None:
    """Where there is a picture, it is one, and shows that something happens; otherwise the task is named."""
    if not hasattr(world.env, "render"):
        return
    every = max(1, world.log["reward"].shape[1] // 9)
    states = jax.tree.map(lambda x: x[0, ::every], world.log["state"])
    pictures, complaint = None, ""
    try:
        pictures = jit(jax.vmap(lambda state: world.env.render(state, world.params)))(states)
    except NotImplementedError as error:
        complaint = str(error)
    if pictures is None:
        assert type(world.env).__name__ in complaint
        return
    assert (pictures.dtype, pictures.ndim, pictures.shape[-1]) == (jnp.uint8, 4, 3)
    assert (pictures != pictures[:1]).any()


def tells_its_facts(world: World) -> None:
    """The docstring holds rules and source; no policy without memory is better than the best with it."""
    words = type(world.env).__doc__ or ""
    for section in ("* Observation", "* Action", "* Reward", "* Length", "Source:"):
        assert section in words or "as TMazePassive" in words, section
    optimal, memoryless = world.env.optimal_return, world.env.memoryless_return
    assert None in (optimal, memoryless) or memoryless <= optimal
    length = world.env.memory_length(world.params)
    horizon = world.env.horizon(world.params)
    assert None in (length, horizon) or 0 <= length < horizon


PROPERTIES = (
    keeps_its_types,
    stays_in_its_spaces,
    resets_in_the_step_that_ends,
    ends_by_its_horizon,
    is_repeatable,
    batches_like_one,
    clips_its_actions,
    paints_its_state,
    tells_its_facts,
)

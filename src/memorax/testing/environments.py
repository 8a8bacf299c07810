"""The conformance contract of environments: `check_environment` and the properties that it checks.

Each property takes a recorded random walk, a `Visit`, and raises an AssertionError that names the environment, the
property and what was seen.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check, integer, optional
from memorax.core.spaces import Box, Discrete, check_action_mask, split_action_mask
from memorax.core.types import PyTree
from memorax.environments import Environment, HostEnvironment, as_environment
from memorax.environments.memory import Task
from memorax.environments.multi_agent import MultiAgentEnvironment
from memorax.environments.wrappers import Wrapper
from memorax.testing.comparison import compiled
from memorax.testing.host_environments import check_host_environment
from memorax.testing.visits import Visit, flat, is_key, kind, kinds, require, require_close, require_equal, rows, visit


def check_environment(env: Any, env_params: PyTree | None = None, *, steps: int | None = None) -> None:
    """Check that an environment keeps the contract that agents rely on, by playing it at random.

    Checked are `PROPERTIES`: constant types and shapes, values inside their spaces, auto-reset, termination apart from
    truncation, the stated horizon, finite rewards, repeatability, equality under `jax.vmap`, consistent facts, masks
    that allow an action. Memory tasks are also checked for `TASK_PROPERTIES`, environments with several agents for
    `MULTI_AGENT_PROPERTIES`.
    Environments in Python, of Gymnasium for example, are checked for the same as far as it applies to them.

    Example:
        >>> from memorax.testing import check_environment
        >>> check_environment(MyEnvironment())

    Args:
        env: Any environment that an agent accepts.
        env_params: Its parameters; by default `env.default_params`.
        steps: Steps of the random walk in each of three environments; by default two episodes of the longest length, or
            700 where there is no stated horizon. Of environments in Python 300, in each of two.

    Raises:
        AssertionError: If a property does not hold.
        TypeError: If `env` does not speak a known protocol, as when an agent is built.
        ValueError: The same.
    """
    steps = check("steps", steps, optional(integer(2)))
    env = as_environment(env, env_params)
    if isinstance(env, HostEnvironment):
        check_host_environment(env, steps)
        return
    params = env.default_params if env_params is None else env_params
    check_types(env, params)  # or the walk would fail, less clearly
    visited = visit(env, params, steps)
    for holds in (*PROPERTIES, *properties_of_kind(env)):
        holds(visited)


def properties_of_kind(env: Environment) -> tuple[Callable[[Visit], None], ...]:
    """The properties of memory tasks or of environments with several agents, beyond those of every environment."""
    if isinstance(env, Task):
        return TASK_PROPERTIES
    return MULTI_AGENT_PROPERTIES if isinstance(env, MultiAgentEnvironment) else ()


def keeps_its_types(visited: Visit) -> None:
    """Reset and step return the same types, none of them weak or wider than 32 bits; reward float32, flags boolean."""
    check_types(visited.env, visited.params)


def check_types(env: Environment, params: PyTree) -> None:
    """Check `keeps_its_types` without playing."""
    key = jax.random.key(0)
    started = jax.eval_shape(lambda: env.reset(key, params))
    action = env.action_space(params).sample(key)
    observation, state, reward, *flags, info = jax.eval_shape(lambda s: env.step(key, s, action, params), started[1])
    require(env, "types after a step must be those after a reset", kinds((observation, state)), kinds(started))
    final = kinds(info["final_observation"])
    require(env, "types of `final_observation` must be those of the observation", final, kinds(observation))
    for path, leaf in jax.tree_util.tree_leaves_with_path((started, state)):
        wide = not is_key(leaf) and (leaf.weak_type or leaf.dtype.itemsize > 4)
        assert not wide, (
            f"{env.name}: leaf {jax.tree_util.keystr(path)} must be strongly typed, 32 bits at most: {leaf}"
        )
    shape = (getattr(env, "num_agents"),) if hasattr(env, "agent_action_space") else ()  # noqa: B009 - not all have it
    require(env, "shape, dtype and weak type of the reward must be", kind(reward), (shape, "float32", False))
    require(
        env,
        "shape, dtype and weak type of both flags must be",
        [kind(flag) for flag in flags],
        [(shape, "bool", False)] * 2,
    )


def stays_in_its_spaces(visited: Visit) -> None:
    """Observations, the final ones too, are in the observation space, with its dtype; sampled actions in theirs."""
    env, params = visited.env, visited.params
    space, actions = env.observation_space(params), env.action_space(params)
    for name, word in (("observation", "first"), ("after", "later"), ("final", "final")):
        seen = flat(visited.log[name])
        outside = ~np.asarray(jax.vmap(space.contains)(seen))
        found = [jax.tree.map(lambda x, row=row: np.asarray(x[row]), seen) for row in np.flatnonzero(outside)[:1]]
        assert not found, f"{env.name}: {word} observations must be in {space!r}, got {found[0]}"
        dtypes = jax.tree.map(lambda x: np.dtype(x.dtype), seen)
        require(env, f"dtypes of {word} observations must be those of the space", dtypes, space.dtype)
    assert jax.vmap(actions.contains)(flat(visited.log["action"])).all(), f"{env.name}: samples must be in {actions!r}"


def resets_in_the_step_that_ends(visited: Visit) -> None:
    """A step that ends an episode returns the first observation of the next one; any other returns the final one."""
    env, params, log = visited.env, visited.params, flat(visited.log)
    done = _done(visited).reshape(-1)
    require_equal(
        env, "without an end, the observation must be `final_observation`", *rows(~done, log, "after", "final")
    )
    if not _has_raw_steps(env):
        return

    def by_hand(key: jax.Array, state: Any, action: Any) -> Any:
        step_key, reset_key = jax.random.split(key)
        raw = env.step_env(step_key, state, action, params)
        return raw[:4], env.is_truncated(raw[1], params), env.reset_env(reset_key, params)

    (observation, state, reward, terminated), truncated, fresh = compiled(jax.vmap(by_hand))(
        log["key"], log["state"], log["action"]
    )
    require_equal(env, "`terminated` must be that of `step_env`", log["terminated"], terminated)
    require_equal(env, "`truncated` must be that of `is_truncated`", log["truncated"], truncated)
    require_close(env, "`final_observation` must be that of `step_env`", log["final"], observation)
    require_close(env, "the reward must be that of `step_env`", log["reward"], reward)
    raw = {"fresh": fresh, "stepped": (observation, state), "got": (log["after"], log["next_state"])}
    require_close(env, "an end must be followed by a reset", *rows(done, raw, "got", "fresh"))
    require_close(env, "without an end, nothing may be reset", *rows(~done, raw, "got", "stepped"))


def ends_by_its_horizon(visited: Visit) -> None:
    """Episodes end no later than the stated horizon, whatever is done, and the clock of the state starts again."""
    env, done = visited.env, _done(visited)
    horizon = env.horizon(visited.params)
    if horizon is not None and done.shape[1] >= horizon:
        lengths = np.concatenate([np.diff(np.flatnonzero(row), prepend=-1) for row in done])
        assert done.any(axis=1).all(), f"{env.name}: every episode must end within its horizon ({horizon} steps)"
        assert lengths.max() <= horizon, f"{env.name}: no episode may outlast its horizon ({horizon}): {lengths.max()}"
    if _has_raw_steps(env) and hasattr(visited.log["state"], "time"):
        before, after = (np.asarray(visited.log[name].time) for name in ("state", "next_state"))
        assert (after[done] == 0).all(), f"{env.name}: `time` of the state must be 0 after a reset"
        assert (after[~done] == before[~done] + 1).all(), f"{env.name}: `time` of the state must count the steps"


def has_finite_rewards(visited: Visit) -> None:
    """No reward is NaN or infinite."""
    rewards = np.asarray(visited.log["reward"])
    bad = rewards[~np.isfinite(rewards)]
    assert not bad.size, (
        f"{visited.env.name}: rewards must be finite, got {bad[0]} in {bad.size} of {rewards.size} steps"
    )


def is_repeatable(visited: Visit) -> None:
    """The same key gives the same episodes; another key, with other actions, gives others."""
    env, log, again, other = visited.env, visited.log, *(visited.play(jax.random.key(i)) for i in (0, 1))
    for name in ("observation", "final", "reward"):
        require_equal(env, f"the same key must give the same episodes ({name})", again[name], log[name])
    pairs = zip(*(jax.tree.leaves((x["observation"], x["reward"])) for x in (log, other)), strict=True)
    same = all(np.array_equal(x, y) for x, y in pairs)
    assert not same, f"{env.name}: another key, with other actions, must give other episodes"


def batches_like_one(visited: Visit) -> None:
    """One environment of a batch, under `jax.vmap`, does what it does alone."""
    log = jax.tree.map(lambda x: x[1, 2], {k: v for k, v in visited.log.items() if k != "observation"})
    alone = compiled(visited.env.step)(log["key"], log["state"], log["action"], visited.params)
    names = ("after", "next_state", "reward", "terminated", "truncated", "final")
    for name, got in zip(names, (*alone[:5], alone[5]["final_observation"]), strict=True):
        require_close(visited.env, f"under `jax.vmap` a step must do what it does alone ({name})", log[name], got)


def states_consistent_facts(visited: Visit) -> None:
    """No policy without memory beats the best one with it, and nothing is remembered for longer than an episode."""
    env = visited.env
    optimal, memoryless = env.optimal_return, env.memoryless_return
    better = optimal is not None and memoryless is not None and memoryless > optimal
    assert not better, f"{env.name}: `memoryless_return` ({memoryless}) must not exceed `optimal_return` ({optimal})"
    length, horizon = env.memory_length(visited.params), env.horizon(visited.params)
    longer = length is not None and horizon is not None and not 0 <= length < horizon
    assert not longer, f"{env.name}: `memory_length` ({length}) must be in [0, {horizon}), the horizon"


def draws_from_its_key(visited: Visit) -> None:
    """Observations depend on the key: they differ among environments of a batch."""
    leaves = [np.asarray(x) for x in jax.tree.leaves(visited.log["observation"])]
    assert not all((x == x[:1]).all() for x in leaves), f"{visited.env.name}: observations must depend on the key"


def clips_its_actions(visited: Visit) -> None:
    """An action beyond the largest or the smallest one has the effect of that one."""
    env, params = visited.env, visited.params
    key, state = jax.tree.map(lambda x: x[0, 0], (visited.log["key"], visited.log["state"]))
    space = env.action_space(params)
    assert isinstance(space, Box | Discrete), f"{env.name}: a task must have Box or Discrete actions, got {space!r}"
    low, high = (space.low, space.high) if isinstance(space, Box) else (jnp.int32(0), jnp.int32(space.n - 1))
    step = compiled(lambda action: env.step_env(key, state, action, params)[:3])
    for outside, inside in ((high + 5, high), (low - 3, low)):
        require_equal(env, f"action {outside} must be clipped to {inside}", step(outside), step(inside))


def renders_its_state(visited: Visit) -> None:
    """Where there is an image, it is RGB and changes with the state."""
    env = visited.env
    every = max(1, visited.log["reward"].shape[1] // 9)
    states = jax.tree.map(lambda x: x[0, ::every], visited.log["state"])
    try:
        images = compiled(jax.vmap(lambda state: env.render(state, visited.params)))(states)  # type: ignore[attr-defined]
    except NotImplementedError:
        return
    form = (images.dtype.name, images.ndim, images.shape[-1])
    require(env, "`render` must return uint8 [height, width, 3]", form, ("uint8", 4, 3))
    assert (images != images[:1]).any(), f"{env.name}: the image must depend on the state"


def documents_its_rules(visited: Visit) -> None:
    """The docstring states observation, action, reward, length and source."""
    words = type(visited.env).__doc__ or ""
    missing = [part for part in ("* Observation", "* Action", "* Reward", "* Length", "Source:") if part not in words]
    assert not missing, f"{visited.env.name}: the docstring must have {', '.join(f'`{part}`' for part in missing)}"


def resets_once_all_agents_are_done(visited: Visit) -> None:
    """With several agents, the step that ends the episode for the last of them returns the next one's observations."""
    env, params, log = visited.env, visited.params, flat(visited.log)
    done = _done(visited).reshape(-1)

    def by_hand(key: jax.Array, state: Any, action: Any) -> Any:
        step_key, reset_key = jax.random.split(key)
        return env.step_env(step_key, state, action, params)[:2], env.reset_env(reset_key, params)

    stepped, fresh = compiled(jax.vmap(by_hand))(log["key"], log["state"], log["action"])
    raw = {"fresh": fresh, "stepped": stepped, "got": (log["after"], log["next_state"])}
    require_close(env, "`final_observation` must be that of `step_env`", log["final"], stepped[0])
    require_close(env, "once all agents are done, a reset must follow", *rows(done, raw, "got", "fresh"))
    require_close(env, "while an agent is not done, nothing may be reset", *rows(~done, raw, "got", "stepped"))


def keeps_the_flags_of_done_agents(visited: Visit) -> None:
    """The flag of an agent that is done stays set until the episode ends for all."""
    flags = np.asarray(visited.log["terminated"] | visited.log["truncated"])
    going = ~_done(visited)[:, :-1, None]
    kept = flags[:, 1:] >= (flags[:, :-1] & going)
    assert kept.all(), f"{visited.env.name}: the flag of an agent that is done must stay set until all are"


def allows_some_action(visited: Visit) -> None:
    """Where there is an action mask, it fits the action space and allows an action; for environments of one agent."""
    env = visited.env
    if hasattr(env, "agent_action_space"):
        return
    masks = [split_action_mask(visited.log[name])[1] for name in ("observation", "after")]
    for mask in (*masks, visited.log.get("mask")):
        if mask is not None:
            try:
                check_action_mask(env.action_space(visited.params), mask)
            except ValueError as error:
                raise AssertionError(f"{env.name}: {error}") from None


PROPERTIES = (
    keeps_its_types,
    stays_in_its_spaces,
    resets_in_the_step_that_ends,
    ends_by_its_horizon,
    has_finite_rewards,
    is_repeatable,
    batches_like_one,
    states_consistent_facts,
    allows_some_action,
)
"""What every environment keeps."""

TASK_PROPERTIES = (draws_from_its_key, clips_its_actions, renders_its_state, documents_its_rules)
"""What memory tasks keep besides."""

MULTI_AGENT_PROPERTIES = (resets_once_all_agents_are_done, keeps_the_flags_of_done_agents)
"""What environments with several agents keep besides."""


def _has_raw_steps(env: Environment) -> bool:
    """Whether a single-agent environment is written as `reset_env` and `step_env`, so that its resets can be redone."""
    written = type(env).reset_env is not Environment.reset_env and type(env).step_env is not Environment.step_env
    return written and not isinstance(env, Wrapper) and not hasattr(env, "agent_action_space")


def _done(visited: Visit) -> np.ndarray:
    """Where episodes end, `[envs, time]`; with several agents, where all of them are done."""
    done = np.asarray(visited.log["terminated"] | visited.log["truncated"])
    return np.asarray(done.all(axis=tuple(range(2, done.ndim))))

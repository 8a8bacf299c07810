"""The conformance contract of environments that run in Python."""

from typing import Any

import jax
import numpy as np

from memorax.core.types import PyTree
from memorax.environments.host import HostCopies, HostEnvironment, HostStep
from memorax.environments.host.copies import wait

_STEPS = 300
_NUM_ENVS = 2


def check_host_environment(env: HostEnvironment, steps: int | None = None) -> None:
    """Check what agents rely on by playing at random.

    Observations, final ones too, are in their space and have its dtype; without an end nothing is reset; no episode
    outlasts its horizon; rewards are finite; the same seeds and actions give the same episodes, others give others.

    Args:
        env: The environment.
        steps: Steps of the random walk in each of two environments; by default 300.

    Raises:
        AssertionError: If a property does not hold.
        HostEnvironmentError: If the environment fails.
    """
    num_envs = max(_NUM_ENVS, env.source.rows)
    play = [_play(env, num_envs, steps or _STEPS, seed) for seed in (0, 0, 1)]
    first, walk = play[0]
    _check_spaces(env, first, walk)
    _check_ends(env, walk, num_envs)
    rewards = np.stack([step.reward for step in walk])
    bad = rewards[~np.isfinite(rewards)]
    assert not bad.size, f"{env.name}: rewards must be finite, got {bad[0]} in {bad.size} of {rewards.size} steps"
    assert _same(play[0], play[1]), f"{env.name}: the same seeds and actions must give the same episodes"
    assert not _same(play[0], play[2]), f"{env.name}: other seeds, with other actions, must give other episodes"


def _play(env: HostEnvironment, num_envs: int, steps: int, seed: int) -> tuple[PyTree, list[HostStep]]:
    keys = jax.random.split(jax.random.key(seed), (steps, 1, num_envs))
    actions = jax.device_get(jax.jit(jax.vmap(jax.vmap(jax.vmap(env.action_space().sample))))(keys))
    copies = HostCopies(env, 1, num_envs)
    try:
        [(first, mask)] = copies.reset(np.array([seed], np.uint32))
        walk: list[HostStep] = []
        for t in range(steps):
            action = jax.tree.map(lambda x, t=t: x[t], actions)
            if mask is not None:
                action = mask.argmax(axis=-1).astype(np.int32)
            walk.append(wait(copies.step(0, action)))
            mask = walk[-1].action_mask
    finally:
        copies.close()
    return first, walk


def _check_spaces(env: HostEnvironment, first: PyTree, walk: list[HostStep]) -> None:
    space = env.observation_space()
    seen = [("first", first)] + [
        (word, x) for s in walk for word, x in (("later", s.observation), ("final", s.final_observation))
    ]
    contains = jax.jit(jax.vmap(jax.vmap(space.contains)))
    for word, observation in seen:
        dtypes = jax.tree.map(lambda x: x.dtype, observation)
        assert dtypes == jax.tree.map(np.dtype, space.dtype), (
            f"{env.name}: dtypes of {word} observations must be those of {space!r}, got {dtypes}"
        )
        inside = np.asarray(contains(observation))
        if not inside.all():
            outside = jax.tree.map(lambda x, inside=inside: x[~inside][0], observation)
            raise AssertionError(f"{env.name}: {word} observations must be in {space!r}, got {outside}")


def _check_ends(env: HostEnvironment, walk: list[HostStep], num_envs: int) -> None:
    horizon, lengths = env.horizon(), np.zeros((1, num_envs), int)
    for step in walk:
        done = step.terminated | step.truncated
        pairs = zip(jax.tree.leaves(step.observation), jax.tree.leaves(step.final_observation), strict=True)
        assert all(np.array_equal(x[~done], y[~done], equal_nan=x.dtype.kind == "f") for x, y in pairs), (
            f"{env.name}: without an end, nothing may be reset"
        )
        lengths = lengths + 1
        assert horizon is None or (lengths <= horizon).all(), (
            f"{env.name}: no episode may outlast its horizon ({horizon}): {lengths.max()}"
        )
        lengths = np.where(done, 0, lengths)


def _same(one: Any, other: Any) -> bool:
    flat = [jax.tree.leaves((first, [vars(step) for step in walk])) for first, walk in (one, other)]
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(*flat, strict=True))

"""What the tests of all libraries share: 200 random steps through an adapter, beside the library driven by hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.environments import MissingExtraError, make
from memorax.testing.comparison import compiled as jit

STEPS = 200


@dataclass(frozen=True)
class Library:
    """A library driven by hand.

    `reset(key)` and `step(key, state, action)` return `(observation, state)` and
    `(observation, state, reward, terminated, truncated)`, as an agent of ours would see them.
    """

    reset: Callable[..., Any]
    step: Callable[..., Any]


def make_or_skip(env_id: str, **options: Any) -> tuple[Any, Any]:
    """Make an environment; skip the test where its library is not installed."""
    try:
        return make(env_id, **options)
    except MissingExtraError as error:
        pytest.skip(str(error))


def draw_action(env: Any, params: Any, key: jax.Array, observation: Any) -> jax.Array:
    """A random action, a legal one where there is a mask."""
    space = env.action_space(params)
    if isinstance(observation, dict) and "action_mask" in observation:
        return jax.random.categorical(key, jnp.where(observation["action_mask"], 0.0, -jnp.inf)).astype(space.dtype)
    return space.sample(key)


def compare(env: Any, params: Any, library: Library, *, tolerance: float = 0.0, seed: int = 0) -> int:
    """Take the same 200 steps both ways; the library is reset by hand where an episode ended.

    Returns:
        How many episodes ended.
    """

    def same(a: Any, b: Any) -> None:
        if not tolerance:
            jax.tree.map(np.testing.assert_array_equal, a, b)
        else:
            jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)

    act, step = jit(lambda key, seen: draw_action(env, params, key, seen)), jit(lambda *a: env.step(*a, params))
    reset_by_hand, step_by_hand = jit(library.reset), jit(library.step)
    key = jax.random.key(seed)
    observation, state = jit(lambda key: env.reset(key, params))(key)
    expected, by_hand = reset_by_hand(key)
    same(observation, expected)
    ends = 0
    for t in range(STEPS):
        action_key, key_t = jax.random.split(jax.random.fold_in(key, t))
        action = act(action_key, observation)
        observation, state, reward, terminated, truncated, info = step(key_t, state, action)
        step_key, reset_key = jax.random.split(key_t)
        expected, by_hand, *outcome = step_by_hand(step_key, by_hand, action)
        same((info["final_observation"], reward), (expected, jnp.float32(outcome[0])))
        assert [bool(terminated), bool(truncated)] == [bool(flag) for flag in outcome[1:]], t
        if terminated | truncated:
            ends += 1
            expected, by_hand = reset_by_hand(reset_key)
        same(observation, expected)
        if "action_mask" in info:
            same(info["action_mask"], observation["action_mask"])
    return ends


def trains(env_id: str, folder: Any, algorithm: str = "ppo", **options: Any) -> None:
    """A few updates with a GRU, through the public function for runs."""
    from memorax.algorithms import MAPPOConfig, PPOConfig
    from memorax.experiment import train
    from memorax.experiment.config import RunConfig

    small = {"ppo": PPOConfig, "mappo": MAPPOConfig}[algorithm](num_envs=4, num_steps=8, num_minibatches=2)
    config = RunConfig(
        algorithm=algorithm, env=env_id, env_options=options, hyperparameters=small, steps=96, seeds=1, features=8
    )
    outcome = train(config, folder)
    assert outcome is not None
    assert (folder / "summary.json").exists()

"""What is checked of an environment in Python before it is used: one sentence for each thing that does not fit."""

import warnings
from typing import Any

import jax
import numpy as np

from memorax.environments.host.batch import autoreset_mode
from memorax.environments.host.spaces import is_text
from memorax.environments.protocol import form

_VALUES = "(observation, reward, terminated, truncated, info)"
_SCALARS = int | float | bool | np.number | np.bool_


def check_single(env: Any, name: str) -> dict[str, Any]:
    """Play the first step of an environment, and check everything that it returns.

    Args:
        env: An environment of Gymnasium.
        name: Its name, for messages.

    Returns:
        The `info` of that step.

    Raises:
        TypeError: `reset` or `step` returns another number of values, or values of another type.
        ValueError: An observation is not in the observation space, the reward or a flag is not a scalar, or the
            environment resets by itself.
    """
    check_one_reset(env, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Gymnasium's own checker warns of is refused here
        try:
            return _play(env, name)
        except Exception:
            inner = getattr(env, "unwrapped", env)
            if inner is not env:
                _play(inner, type(inner).__name__)  # a wrapper fails less clearly than what it wraps
            raise


def check_one_reset(env: Any, name: str) -> None:
    """Refuse an environment that resets by itself, since it is reset here.

    Raises:
        ValueError: It does.
    """
    while env is not None:
        if type(env).__name__ in ("Autoreset", "AutoResetWrapper"):
            raise ValueError(
                f"{name} must not reset by itself, got a wrapper {type(env).__name__}; leave it out: environments are "
                "reset in the step that ends an episode"
            )
        env = getattr(env, "env", None)


def check_vector(vector: Any, name: str) -> dict[str, Any]:
    """Check that a vector environment can be reset as is needed here.

    Args:
        vector: A vector environment of Gymnasium.
        name: Its name, for messages.

    Returns:
        The `info` of its reset.

    Raises:
        ValueError: It resets in the step after the one that ends an episode, and cannot be reset before that.
    """
    _, info = vector.reset(seed=0)
    if autoreset_mode(vector) != "SAME_STEP":
        _check_partial_reset(vector, name)
    return info


def _check_partial_reset(vector: Any, name: str) -> None:
    """Require that the first environment of several can be reset alone."""
    vector.action_space.seed(0)
    before = vector.step(vector.action_space.sample())[0]
    mask = np.arange(vector.num_envs) == 0
    try:
        after, _ = vector.reset(options={"reset_mask": mask})
        pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
        problem = None if all(np.array_equal(x[1:], y[1:]) for x, y in pairs) else "it resets all of them"
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    if problem is not None:
        raise ValueError(
            f"{name} must reset in the step that ends an episode, got a vector environment that does not, nor takes "
            f"`reset_mask` ({problem}); make it with `autoreset_mode=AutoresetMode.SAME_STEP`, or pass a function that "
            "makes a single environment"
        )


def _play(env: Any, name: str) -> dict[str, Any]:
    started = env.reset(seed=0)
    if not isinstance(started, tuple) or len(started) != 2 or not isinstance(started[1], dict):
        raise TypeError(
            f"`reset` of {name} must return (observation, info), got {form(started)}; environments of the old gym "
            "return only an observation"
        )
    check_observation(name, started[0], env.observation_space)
    env.action_space.seed(0)
    stepped = env.step(env.action_space.sample())
    if not isinstance(stepped, tuple) or len(stepped) != 5:
        old = "; those of the old gym are not supported" if isinstance(stepped, tuple) and len(stepped) == 4 else ""
        raise TypeError(f"`step` of {name} must return {_VALUES}, got {form(stepped)}{old}")
    observation, reward, terminated, truncated, info = stepped
    check_observation(name, observation, env.observation_space)
    for what, value in (("reward", reward), ("terminated", terminated), ("truncated", truncated)):
        if not isinstance(value, _SCALARS) and not (isinstance(value, np.ndarray) and value.shape == ()):
            raise ValueError(f"`{what}` of {name} must be a scalar, got {form(value)}")
    if not isinstance(info, dict):
        raise TypeError(f"`info` of {name} must be a dict, got {form(info)}")
    return info


def check_observation(name: str, value: Any, space: Any, what: str = "observation") -> None:
    """Check the structure, the shapes and the kinds of numbers of an observation.

    Args:
        name: Name of the environment.
        value: The observation.
        space: Its space, of Gymnasium.
        what: What to call it.

    Raises:
        TypeError: It is of another type.
        ValueError: It is of another shape, or has other keys.
    """
    kinds = [cls.__name__ for cls in type(space).__mro__]
    if is_text(space):
        return
    if "Dict" in kinds:
        keys = sorted(space.spaces)
        if not isinstance(value, dict) or sorted(value) != keys:
            raise ValueError(f"{what} of {name} must be a dict with keys {keys}, got {form(value)}")
        for key in keys:
            check_observation(name, value[key], space[key], f"{what}[{key!r}]")
    elif "Tuple" in kinds:
        if not isinstance(value, tuple) or len(value) != len(space.spaces):
            raise ValueError(f"{what} of {name} must be a tuple of {len(space.spaces)}, got {form(value)}")
        for i, part in enumerate(space.spaces):
            check_observation(name, value[i], part, f"{what}[{i}]")
    else:
        _check_array(name, value, space, what)


def _check_array(name: str, value: Any, space: Any, what: str) -> None:
    if not isinstance(value, np.ndarray | _SCALARS):
        raise TypeError(f"{what} of {name} must be an array, as {space!r} says, got {form(value)}")
    array = np.asarray(value)
    if array.shape != space.shape and space.shape is not None:
        raise ValueError(f"{what} of {name} must be in {space!r}, got {form(array)}")
    if not np.can_cast(array.dtype, space.dtype, "same_kind"):
        raise ValueError(f"{what} of {name} must be in {space!r}, got dtype {array.dtype}")

"""The environments of gymnax 1.x, as `gymnax::<id>`."""

import functools
from typing import Any

from memorax.core.registry import suggest
from memorax.core.types import PyTree
from memorax.environments.adapters.foreign import adapt
from memorax.environments.environment import Environment
from memorax.environments.missing import MissingExtraError

try:
    import gymnax
except ModuleNotFoundError as error:
    raise MissingExtraError("gymnax") from error


_PAINTED = ("Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1")
"""Environments that gymnax lets Gymnasium paint."""


def names() -> tuple[str, ...]:
    """Ids of all environments of gymnax."""
    return tuple(gymnax.registered_envs)


def make(name: str, **kwargs: Any) -> tuple[Environment, PyTree]:
    """Create an environment of gymnax.

    Rewards become float32, Python numbers in a state become arrays, and a space takes the dtype that the
    observations really have. An observation that is a bare index stays one, in a Discrete space.

    Args:
        name: Id in gymnax, for example `CartPole-v1`.
        **kwargs: Arguments of its constructor.

    Returns:
        The environment and its default parameters.

    Raises:
        ValueError: If gymnax has no such environment.
    """
    if name not in names():
        raise ValueError(f"unknown environment `gymnax::{name}`{suggest(name, names())}")
    env, params = gymnax.make(name, **kwargs)
    adapted: Any = adapt(env, params)
    if name in _PAINTED:
        adapted.render = functools.partial(_paint, name)
    return adapted, params


def _paint(name: str, state: PyTree, params: PyTree) -> Any:
    """Paint a state on the host as Gymnasium does, which needs pygame: uint8 RGB `[height, width, 3]`."""
    from gymnax.visualize import vis_gym

    return vis_gym.render_gym_frame(name, state, params)

"""Classic control without the velocities that its observations have."""

from typing import Any

from memorax.core.registry import suggest
from memorax.environments import Environment, make
from memorax.environments.wrappers import MaskObservation

_VELOCITIES = {"CartPole-v1": (1, 3), "Pendulum-v1": (2,), "Acrobot-v1": (4, 5), "MountainCar-v0": (1,)}
"""Which entries of the observation are velocities, by the name of the environment in gymnax."""


def without_velocities(name: str) -> tuple[Environment, Any]:
    """Make an environment of gymnax whose observations lack the velocities.

    Args:
        name: Its name in gymnax, such as `CartPole-v1`.

    Returns:
        The environment and its parameters.

    Raises:
        MissingExtraError: gymnax is not installed.
        ValueError: It is not known which of its numbers are velocities.
    """
    if name not in _VELOCITIES:
        raise ValueError(f"`name` must have known velocities, got `{name}`{suggest(name, tuple(_VELOCITIES))}")
    env, params = make(f"gymnax::{name}")
    return MaskObservation(env, _VELOCITIES[name]), params

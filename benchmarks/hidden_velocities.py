"""Ants of Brax whose velocities are hidden, for a memory to find them: `--env benchmarks.hidden_velocities:ant`."""

from typing import Any

from memorax.environments import make
from memorax.environments.wrappers import MaskObservation

POSITIONS = 13
"""Height, orientation (4) and angles of the joints (8); the velocities come after them."""


def ant(backend: str = "spring", **options: Any) -> tuple[Any, Any]:
    """Make the ant of Brax, which shows its positions only.

    Args:
        backend: The physics of Brax.
        **options: Other arguments of the environment.

    Returns:
        The environment and its parameters.
    """
    env, params = make("brax::ant", backend=backend, **options)
    (size,) = env.observation_space(params).shape
    return MaskObservation(env, hide=range(POSITIONS, size)), params

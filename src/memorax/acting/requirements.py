"""What acting needs of an algorithm's configuration and networks."""

from typing import Any, Protocol

from memorax.core.types import Carry, Key


class AlgorithmConfig(Protocol):
    """What every configuration has."""

    @property
    def num_envs(self) -> int:
        """Number of parallel environments."""
        ...


class AgentMemory(Protocol):
    """What acting needs of an agent's networks: their memory."""

    recurrent: bool

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the initial memory of `batch` environments."""
        ...


def check_config(algorithm: Any, config: Any) -> None:
    """Require an object of the algorithm's configuration class.

    Raises:
        TypeError: It is something else, such as the class itself or another algorithm's configuration.
    """
    wanted = algorithm.Config
    if isinstance(config, type) or not isinstance(config, wanted):
        name = "configuration object" if wanted is object else wanted.__name__
        got = f"the class {config.__name__}" if isinstance(config, type) else repr(config)
        hint = "" if wanted is object else f"; write `{name}(...)`"
        raise TypeError(f"`config` of {algorithm.__name__} must be a {name}, got {got}{hint}")


def whole_updates(num_steps: int, steps_per_update: int) -> int:
    """Give the number of updates in so many transitions.

    Raises:
        ValueError: There is not one.
    """
    if num_steps < steps_per_update:
        raise ValueError(f"`num_steps` must be at least one update ({steps_per_update} steps), got {num_steps}")
    return num_steps // steps_per_update

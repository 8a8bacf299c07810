"""What an agent is made of, as protocols: its configuration, its memory and its policy."""

from typing import Any, Protocol

from memorax.core.types import Array, Carry, Key, Timestep


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


class AgentPolicy(Protocol):
    """The policy of an agent: it chooses an action, or takes one that it is given, and describes it."""

    def __call__(
        self, key: Key, carry: Carry, timestep: Timestep, action: Array | None = None
    ) -> tuple[Carry, Array, dict[str, Any]]:
        """Act once in every environment.

        Args:
            key: Random key.
            carry: The memory before `x_t`, `[batch, ...]`.
            timestep: What the agent sees, `x_t`, `[batch, ...]`.
            action: The action to take; None lets the policy choose one.

        Returns:
            The memory after `x_t`, the action, and what is recorded of it, such as its log-probability, `[batch, ...]`.
        """
        ...

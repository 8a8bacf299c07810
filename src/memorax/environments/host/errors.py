"""The error of an environment that failed while it was used."""

from typing import Any


class HostEnvironmentError(RuntimeError):
    """An environment in Python raised an error, or its process died, while it was reset or stepped.

    Attributes:
        state: The agent's state after the last complete update before it, where training had begun; else None.
        steps: Environment steps of each seed from the call's beginning to that state.
        logs: What was logged until then, as `lox.spool` gives it.
    """

    state: Any = None
    steps: int = 0
    logs: Any = None

"""Agents whose environments may run in Python."""

from typing import Any, ClassVar

from memorax.acting.host import HostRunner
from memorax.acting.vector_env import VectorEnv
from memorax.environments import HostEnvironment


class RunsInPython:
    """An agent whose environments may run in Python.

    Attributes:
        host: What acts there; its methods then stand for those of the agent. None where everything is compiled.
    """

    host: HostRunner | None = None
    allows_overlap: ClassVar[bool] = True
    """Whether it can act with the parameters of before its last update."""
    vector_env: VectorEnv

    def run_in_python(self) -> None:
        """Let a runner act, where the environments run in Python."""
        if isinstance(self.vector_env.env, HostEnvironment):
            self.host = HostRunner(self, self.vector_env.env, self.vector_env.num_envs)
            vars(self).update(self.host.methods())

    def interrupted(self, state: Any) -> Any:
        """Prepare the state of a run for environments that begin anew, in the middle of episodes."""
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, which has environments of its own."""
        vars(self).update(state)
        self.run_in_python()

    def close(self) -> None:
        """Release environments that run in Python, and their processes; calls after that begin new episodes."""
        if self.host is not None:
            self.host.close()

"""What every wrapper is."""

from typing import Any

from memorax.core.spaces import Space
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.foreign import as_environment
from memorax.environments.environment import Environment, Step


class Wrapper(Environment[PyTree, PyTree]):
    """An environment around an environment: whatever a subclass does not write is that of the inner one.

    `reset_env`, `step_env` and `is_truncated` are those of the inner environment and take its state.

    Attributes:
        env: The inner environment.
    """

    def __init__(self, env: Any) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.

        Raises:
            TypeError: If `env` does not speak the protocol.
        """
        self.env = as_environment(env)

    def __getattr__(self, name: str) -> Any:
        """Look up what is not ours in the inner environment."""
        # Private names and `env` itself are asked for before `__init__` has run when an object is copied.
        if name.startswith("_") or name == "env":
            raise AttributeError(f"`{type(self).__name__}` has no attribute `{name}`")
        return getattr(self.env, name)

    @property
    def unwrapped(self) -> Environment:
        """The environment inside all wrappers."""
        return self.env.unwrapped if isinstance(self.env, Wrapper) else self.env

    @property
    def name(self) -> str:
        """What the environment is called."""
        return self.env.name

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the best policy with memory."""
        return self.env.optimal_return

    @property
    def memoryless_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the best policy that sees only the current observation."""
        return self.env.memoryless_return

    @property
    def default_params(self) -> Any:
        """The parameters used where none are given."""
        return self.env.default_params

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        """Begin an episode."""
        return self.env.reset(key, params)

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and, where it ends the episode, begin the next."""
        return self.env.step(key, state, action, params)

    def reset_env(self, key: Key, params: PyTree) -> tuple[PyTree, PyTree]:
        """Begin an episode of the inner environment."""
        return self.env.reset_env(key, params)

    def step_env(
        self, key: Key, state: PyTree, action: Array, params: PyTree
    ) -> tuple[PyTree, PyTree, Array, Array, dict[str, Any]]:
        """Take one step of the inner environment without any reset."""
        return self.env.step_env(key, state, action, params)

    def is_truncated(self, state: PyTree, params: PyTree) -> Array:
        """Whether the inner environment cuts the episode here."""
        return self.env.is_truncated(state, params)

    def action_space(self, params: PyTree | None = None) -> Space:
        """The actions that `step` accepts."""
        return self.env.action_space(params)

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The observations that `reset` and `step` return."""
        return self.env.observation_space(params)

    def horizon(self, params: PyTree | None = None) -> int | None:
        """The longest an episode can last, in steps."""
        return self.env.horizon(params)

    def memory_length(self, params: PyTree | None = None) -> int | None:
        """For how many steps information must be kept."""
        return self.env.memory_length(params)

    def credit_length(self, params: PyTree | None = None) -> int | None:
        """Steps from a decisive action to the reward it earns."""
        return self.env.credit_length(params)

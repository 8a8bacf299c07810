"""What an agent is given: its configuration, and a state of its own."""

from typing import Any


def check_state(state: Any, num_envs: int) -> None:
    """Require the state of a run in so many environments.

    Raises:
        ValueError: It has another number of environments.
    """
    found = state.loop.timestep.done.shape[0]
    if found != num_envs:
        raise ValueError(
            f"`state` must be of `num_envs` ({num_envs}) environments, got one of {found}; take a state that this agent "
            "began with `init`, and several seeds at once with `jax.vmap`"
        )


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

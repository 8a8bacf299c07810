"""Runs whose environments run in Python: their programs are not compiled as a whole."""

from collections.abc import Callable
from typing import Any

import jax

from memorax import lox
from memorax.core.types import Key, PyTree
from memorax.environments import HostEnvironmentError
from memorax.experiment.run.metrics import Interval, reduce_logs


def in_python(agent: Any) -> bool:
    """Whether an agent's environments run in Python."""
    return getattr(agent, "host", None) is not None


def traceable_init(agent: Any) -> Callable[[Key], PyTree]:
    """Give an agent's `init` in a form that can be traced for its shapes."""
    return (lambda key: type(agent).init(agent, key)) if in_python(agent) else agent.init


def python_interval(agent: Any, length: int) -> Callable[[Key, PyTree], tuple[PyTree, Interval]]:
    """Give what trains all seeds for `length` steps, as `compile_interval` does."""
    reduce = jax.jit(jax.vmap(reduce_logs))

    def interval(keys: Key, state: PyTree) -> tuple[PyTree, Interval]:
        try:
            state, logs = lox.spool(agent.train)(keys, state, length)
        except HostEnvironmentError as error:
            if error.steps:
                error.logs = reduce(error.logs, error.state.learner)
            raise
        return state, reduce(logs, state.learner)

    return interval

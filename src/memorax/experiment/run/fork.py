"""Beginning a new run with what another one has learned."""

import dataclasses
from typing import Any

import jax

from memorax.core.types import PyTree
from memorax.experiment.loading import SavedRun
from memorax.experiment.run.checkpoint import flatten
from memorax.learning.train_state import TrainState


def check_fork(agent: Any, source: SavedRun, seeds: int) -> None:
    """Check that a new run can begin with what another one has learned.

    Args:
        agent: The agent of the new run.
        source: The other run.
        seeds: Number of seeds of the new run.

    Raises:
        ValueError: The other run has fewer seeds, or networks of other shapes.
    """
    if seeds > source.config.seeds:
        raise ValueError(f"`seeds` must be at most those of the run to fork ({source.config.seeds}), got {seeds}")
    ours = _shapes(jax.eval_shape(agent.init, jax.random.key(0)).learner)
    theirs = _shapes(jax.eval_shape(lambda x: jax.tree.map(lambda leaf: leaf[0], x), source.state.learner))
    for name in ours | theirs:
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"the run to fork, of {source.config.task()}, must have the networks of the new one, but `{name}` has "
                f"shape {theirs.get(name)} there and {ours.get(name)} here; leave `--model`, `--features` and the "
                "algorithm as they are, and choose an environment with the same observations and actions"
            )


def begin_with(state: PyTree, source: SavedRun) -> PyTree:
    """Put what another run has learned into the initial state of a new one.

    Parameters, target networks and statistics of normalization are the other run's. Optimizers, schedules, environments
    and replay buffer begin anew, so that the new run may have other ones. Its nth seed goes on from the nth of the
    other run.

    Args:
        state: Initial state of the new run, `[seeds, ...]`.
        source: The other run; `check_fork` has passed.
    """
    seeds = jax.tree.leaves(state.learner)[0].shape[0]
    learner, scales = jax.tree.map(lambda x: x[:seeds], (source.state.learner, source.state.scales))
    learner = jax.tree.map(_parameters, state.learner, learner, is_leaf=_is_train_state)
    if hasattr(learner, "traces"):  # of episodes that have ended
        learner = dataclasses.replace(learner, traces=state.learner.traces)
    if state.scales is None or scales is None:
        scales = state.scales
    else:
        scales = dataclasses.replace(scales, running_return=state.scales.running_return)
    return dataclasses.replace(state, learner=learner, scales=scales)


def _is_train_state(x: Any) -> bool:
    return isinstance(x, TrainState)


def _parameters(new: Any, old: Any) -> Any:
    return dataclasses.replace(new, params=old.params) if _is_train_state(new) else old


def _shapes(learner: PyTree) -> dict[str, tuple[int, ...]]:
    """The shapes of what is learned, without optimizers and traces, by name."""
    learner = jax.tree.map(lambda x: x.params if _is_train_state(x) else x, learner, is_leaf=_is_train_state)
    learner = dataclasses.replace(learner, traces=None) if hasattr(learner, "traces") else learner
    return {name: x.shape for name, x in flatten(learner).items()}

"""Beginning a new run with what another one has learned."""

import dataclasses
from typing import Any

import jax

from memorax.core.types import PyTree
from memorax.experiment.loading import SavedRun
from memorax.experiment.run.checkpoint import flatten
from memorax.learning.train_state import TrainState


def begin_with(state: PyTree, source: SavedRun, seeds: int) -> PyTree:
    """Put what another run has learned into the initial state of a new one.

    Parameters, target networks and statistics of normalization are the other run's. Optimizers, schedules, environments
    and replay buffer begin anew, so that the new run may have other ones. Its nth seed goes on from the nth of the other
    run.

    Args:
        state: Initial state of the new run, `[seeds, ...]`.
        source: The other run.
        seeds: Number of seeds of the new run.

    Raises:
        ValueError: The other run has fewer seeds, or networks of other shapes.
    """
    if seeds > source.config.seeds:
        raise ValueError(f"`seeds` must be at most those of the run to fork ({source.config.seeds}), got {seeds}")
    learned = jax.tree.map(lambda x: x[:seeds], (source.state.learner, source.state.scales))
    learner, scales = learned
    _check_same_networks(state.learner, learner, source.config.task())
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


def _check_same_networks(ours: PyTree, theirs: PyTree, task: str) -> None:
    """Compare the shapes of parameters."""
    shapes, known = (
        {name: x.shape[1:] for name, x in flatten(_without_optimizers(tree)).items()} for tree in (ours, theirs)
    )
    for name in shapes | known:
        if shapes.get(name) != known.get(name):
            raise ValueError(
                f"the run to fork, of {task}, must have the networks of the new one, but `{name}` has shape "
                f"{known.get(name)} there and {shapes.get(name)} here; leave `--model`, `--features` and the "
                "algorithm as they are, and choose an environment with the same observations and actions"
            )


def _without_optimizers(learner: PyTree) -> PyTree:
    def keep(x: Any) -> Any:
        return x.params if _is_train_state(x) else x

    learner = jax.tree.map(keep, learner, is_leaf=_is_train_state)
    return dataclasses.replace(learner, traces=None) if hasattr(learner, "traces") else learner

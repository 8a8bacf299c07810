"""Who copies whom, with which values, and how a copy is made on the device."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.types import Array, PyTree
from memorax.experiment.population.config import Population
from memorax.experiment.space import LogUniform, Uniform


@dataclasses.dataclass(frozen=True)
class Copy:
    """A member copies another one.

    Attributes:
        member: Number of the one that copies.
        source: Number of the one that is copied.
        values: Hyperparameters from here on.
        whole: Whether environments and replay buffer are copied, too, as what was there diverged.
    """

    member: int
    source: int
    values: dict[str, float]
    whole: bool


def choose(
    population: Population,
    scores: Sequence[float | None],
    values: Sequence[Mapping[str, float]],
    step: int,
    *,
    due: bool,
    diverged: Collection[int] = (),
) -> list[Copy]:
    """Choose who copies whom. The same arguments always give the same.

    Args:
        population: How the members learn from each other.
        scores: Mean episode return of each member since the last exchange; None where no episode ended.
        values: Hyperparameters of each member.
        step: Environment steps of each member so far.
        due: Whether it is time for an exchange; else only those that have diverged copy.
        diverged: Numbers of the members that have diverged; some have not.

    Returns:
        The copies, at most one for each member.
    """
    fine = [i for i in range(len(scores)) if i not in diverged]
    known = {i: score for i, score in enumerate(scores) if score is not None and i in fine}
    ranked = sorted(known, key=lambda i: (known[i], -i))
    number = min(max(1, int(population.share * len(scores))), len(ranked) // 2)
    best, worst = ranked[len(ranked) - number :], ranked[:number] if due else []
    copies = []
    for member in sorted({*diverged, *worst}):
        sources = best or ranked or fine
        if member in worst:  # the same return is no reason to copy
            sources = [i for i in sources if known[i] != known[member]]
        if sources:
            generator = np.random.default_rng((population.seed, step, member))
            source = sources[int(generator.integers(len(sources)))]
            copies.append(Copy(member, source, explore(population, values[source], generator), member in diverged))
    return copies


def explore(population: Population, values: Mapping[str, float], generator: np.random.Generator) -> dict[str, float]:
    """Change hyperparameters at random, within their bounds.

    Args:
        population: Its `space` names those that change.
        values: What they are.
        generator: Source of randomness.
    """
    changed = {}
    for name, of in population.space.items():
        drawn, anew = generator.random(2)
        factor = population.factors[int(generator.integers(len(population.factors)))]
        value = of.at(float(anew)) if drawn < population.resample else _moved(of, values[name], factor)
        changed[name] = min(max(float(value), float(of.low)), float(of.high))
    return changed


def _moved(of: Uniform | LogUniform, value: float, factor: float) -> float:
    return value * factor if isinstance(of, LogUniform) else value + (factor - 1.0) * (of.high - of.low)


def copied(state: PyTree, learned: np.ndarray, whole: np.ndarray, hyperparameters: Mapping[str, np.ndarray]) -> PyTree:
    """Copy rows of a state: what was learned, or everything.

    A copy has the parameters, the optimizer states and the statistics of normalization of its source. Environments, the
    agent's memory in them, the replay buffer and the step stay; eligibility traces, which belong to the old
    parameters, begin anew.

    Args:
        state: Of all members, `[rows, ...]`.
        learned: Which row each row learns from, `[rows]`; its own where it copies nothing.
        whole: Which row each row takes everything from, likewise.
        hyperparameters: Values from here on, `[rows]` each.
    """
    own = np.arange(len(learned))
    if np.any(whole != own):
        state = _take(state, whole)
    if np.any(learned != own):
        learner, scales = _learn((state.learner, state.scales), learned, learned != own)
        state = dataclasses.replace(state, learner=learner, scales=scales)
    given = {name: jnp.asarray(value, jnp.float32) for name, value in hyperparameters.items()}
    return dataclasses.replace(state, hyperparameters=given)


@jax.jit
def _take(state: PyTree, source: Array) -> PyTree:
    return jax.tree.map(lambda x: x[source], state)


@jax.jit
def _learn(tree: PyTree, source: Array, copies: Array) -> PyTree:
    def one(path: tuple[Any, ...], x: Any) -> Any:
        names = {getattr(part, "name", None) for part in path}
        if "running_return" in names:  # of the environments
            return x
        if "traces" in names:
            return jnp.where(copies.reshape(-1, *[1] * (x.ndim - 1)), jnp.zeros_like(x), x)
        return x[source]

    return jax.tree_util.tree_map_with_path(one, tree)

"""Probes: how much of the hidden state of the environment can be read from the memory by a linear map."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.acting import Behavior, RolloutState
from memorax.core.checks import check, integer, real, size
from memorax.core.types import Array, Key, PyTree
from memorax.diagnostics.subject import Subject, first_flags

_MOST_COLUMNS, _MOST_FEATURES, _MOST_CLASSES = 64, 1024, 32


@dataclasses.dataclass(frozen=True)
class Probe:
    """How well one part of the environment's state can be read from the memory.

    Attributes:
        kind: `"accuracy"` of whole numbers and truth values, or `"r2"`, the share of the variance that is explained,
            of real numbers.
        score: The mean over the entries of that part, on episodes that the map was not fitted to.
        from_observation: The same when reading from the current observation instead of the memory.
        chance: The same when always guessing the most frequent value, or the mean.
        over_time: The score by the step of the episode, `[steps]`; NaN where there were too few.
    """

    kind: str
    score: float
    from_observation: float
    chance: float
    over_time: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """As plain numbers and lists; None for NaN."""
        over_time = [None if np.isnan(x) else float(x) for x in self.over_time]
        return dataclasses.asdict(self) | {"over_time": over_time}


def probe(
    policy: Any,
    *,
    num_envs: int = 64,
    num_steps: int = 128,
    max_time: int = 64,
    ridge: float = 1e-3,
    behavior: Behavior = "exploit",
    seed: int = 0,
) -> dict[str, Probe]:
    """Fit linear read-outs from the memory to the hidden state of the environment.

    The state is what the environment keeps (`env_state`), by the path of each part. Left out are random keys, parts of
    more than 64 entries, and what never changes. Half of the environments are fitted to, the other half is scored.

    Args:
        policy: What `memorax.load` gives, or anything with an `agent` and its `state`.
        num_envs: Environments to act in, at least 4.
        num_steps: Steps of each.
        max_time: Steps of an episode that `over_time` covers.
        ridge: Weight of the squared coefficients, relative to the number of samples.
        behavior: `"exploit"` acts greedily, `"explore"` as in training.
        seed: Random seed.

    Returns:
        The read-outs by the part of the state, best first; empty for an agent without memory.

    Raises:
        TypeError: `policy` has no agent or no state, or an argument is of another type.
        ValueError: An argument is out of range, or the state is that of several seeds.

    Source:
        Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes",
        https://arxiv.org/abs/1610.01644
    """
    subject = Subject(policy, behavior)
    num_envs, num_steps = check("num_envs", num_envs, size(4)), check("num_steps", num_steps, size(2))
    max_time, ridge = check("max_time", max_time, size()), check("ridge", ridge, real(above=0))
    key = jax.random.key(check("seed", seed, integer(0, 2**32 - 1)))
    memory, observation, state, time = jax.device_get(jax.jit(partial(_collect, subject, num_envs, num_steps))(key))
    if memory.shape[-1] == 0:
        return {}
    held_out = np.broadcast_to(np.arange(num_envs) % 2 == 1, time.shape).reshape(-1)
    time = time.reshape(-1)
    sources = {name: _project(x.reshape(time.size, -1)) for name, x in (("m", memory), ("o", observation))}
    probes = {}
    for name, values in state.items():
        columns = values.reshape(time.size, -1)
        columns = columns[:, np.any(columns != columns[:1], axis=0)]
        if 0 < columns.shape[1] <= _MOST_COLUMNS and np.all(np.isfinite(columns)):
            probes[name] = _probe(sources, columns, held_out, time, max_time, ridge)
    return dict(sorted(probes.items(), key=lambda item: -item[1].score))


def _collect(subject: Subject, num_envs: int, num_steps: int, key: Key) -> tuple[Array, Array, dict[str, Array], Array]:
    """Act, and give memory after the observation, observation, state and step of the episode, `[time, batch, ...]`."""
    start_key, key = jax.random.split(key)
    policy = subject.policy()

    def step(now: tuple[RolloutState, Array], t: Array) -> tuple[tuple[RolloutState, Array], tuple]:
        state, count = now
        count = jnp.where(first_flags(state.timestep), 0, count)
        after, _ = subject.vector_env.step(jax.random.fold_in(key, t), state, policy)
        seen = _flat(after.carry, num_envs), _flat(state.timestep.observation, num_envs), _parts(state.env_state), count
        return (after, count + 1), seen

    first = subject.start(start_key, num_envs), jnp.zeros(num_envs, jnp.int32)
    return jax.lax.scan(step, first, jnp.arange(num_steps))[1]


def _flat(tree: PyTree, batch: int) -> Array:
    """Put all numbers of a tree side by side, `[batch, features]`."""
    parts = [part for x in jax.tree.leaves(tree) for part in ((x.real, x.imag) if jnp.iscomplexobj(x) else (x,))]
    flat = [x.astype(jnp.float32).reshape(batch, -1) for x in parts]
    return jnp.concatenate([jnp.zeros((batch, 0)), *flat], axis=1)


def _parts(env_state: PyTree) -> dict[str, Array]:
    """The parts of a state that can be read out, `[batch, entries]`, by their path."""
    parts = {}
    for path, x in jax.tree_util.tree_leaves_with_path(env_state):
        key = jnp.issubdtype(x.dtype, jax.dtypes.extended) or (x.dtype == jnp.uint32 and x.shape[1:] == (2,))
        if not key and x[0].size <= _MOST_COLUMNS:
            parts[jax.tree_util.keystr(path, simple=True, separator="/")] = x.reshape(x.shape[0], -1)
    return parts


def _project(x: np.ndarray) -> np.ndarray:
    """Standardise, leave out what is constant, and reduce many features to fewer random combinations of them."""
    x = x.astype(np.float64)
    deviation = x.std(axis=0)
    x = (x - x.mean(axis=0))[:, deviation > 1e-8] / deviation[deviation > 1e-8]
    if x.shape[1] > _MOST_FEATURES:
        mixing = np.random.default_rng(0).normal(size=(x.shape[1], _MOST_FEATURES)) / x.shape[1] ** 0.5
        x = x @ mixing
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def _probe(
    sources: Mapping[str, np.ndarray],
    columns: np.ndarray,
    held_out: np.ndarray,
    time: np.ndarray,
    max_time: int,
    ridge: float,
) -> Probe:
    """Fit and score the read-outs of one part of the state, `[samples, entries]`."""
    whole = columns.dtype.kind in "biu"
    classes = [np.unique(column) for column in columns.T]
    discrete = whole and max(len(values) for values in classes) <= _MOST_CLASSES
    scores = {name: [] for name in (*sources, "chance")}
    for column, values in zip(columns.T, classes, strict=True):
        target = (column[:, None] == values).astype(np.float64) if discrete else column[:, None].astype(np.float64)
        center = target[~held_out].mean(axis=0)
        guesses = {name: _fit(x, target - center, held_out, ridge) + center for name, x in sources.items()}
        guesses["chance"] = np.broadcast_to(center, target.shape)
        for name, guess in guesses.items():
            scores[name].append(_score(guess, target, held_out, discrete))
    # Per sample, the mean over entries: so that time and all samples are averaged in the same way.
    samples = {name: np.mean(x, axis=0) for name, x in scores.items()}
    total = {name: float(x[held_out].mean()) for name, x in samples.items()}
    over_time = np.full(max_time, np.nan)
    for t in range(max_time):
        here = held_out & (time == t)
        if here.sum() >= 8:
            over_time[t] = samples["m"][here].mean()
    return Probe("accuracy" if discrete else "r2", total["m"], total["o"], total["chance"], over_time)


def _fit(x: np.ndarray, target: np.ndarray, held_out: np.ndarray, ridge: float) -> np.ndarray:
    """Ridge regression on the samples that are not held out; the predictions for all."""
    known, wanted = x[~held_out], target[~held_out]
    gram = known.T @ known + ridge * len(known) * np.eye(x.shape[1])
    return x @ np.linalg.solve(gram, known.T @ wanted)


def _score(guess: np.ndarray, target: np.ndarray, held_out: np.ndarray, discrete: bool) -> np.ndarray:
    """Score every sample: 1 for the right class, or one minus its squared error in units of the variance."""
    if discrete:
        return (guess.argmax(axis=1) == target.argmax(axis=1)).astype(np.float64)
    variance = target[held_out].var(axis=0).sum()
    return 1.0 - np.square(guess - target).sum(axis=1) / max(variance, 1e-12)

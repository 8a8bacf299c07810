"""Recall over lag: how strongly a step of the past still moves what the agent thinks now."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.acting import Behavior, RolloutState
from memorax.core.checks import check, integer, real, size
from memorax.core.spaces import ACTION_MASK
from memorax.core.types import Array, Carry, Key, PyTree, Timestep
from memorax.diagnostics.subject import Subject, averages, first_flags, floating, same_episode


@dataclasses.dataclass(frozen=True)
class RecallOverLag:
    """How strongly the observation of `lag` steps ago moves the value and the policy of a step.

    Attributes:
        lags: Steps back, `[lags]`: 0 is the current observation; up to the longest that some episode had.
        states: How many states each average is over, `[lags]`; a lag that reaches behind the start of the episode
            does not count.
        perturbation: Mean absolute change of `"value"` and `"policy"` when the observation of `lag` steps ago is
            replaced by that of another episode, `[lags]` each. The policy is the log-probability of the action that
            was taken, in nats, or its action value for Q-functions.
        gradient: Mean norm of the gradient of the two with respect to that observation, `[lags]` each; None where
            observations have no floating-point part.
    """

    lags: np.ndarray
    states: np.ndarray
    perturbation: dict[str, np.ndarray]
    gradient: dict[str, np.ndarray] | None

    def reach(self, share: float = 0.01, quantity: str = "value") -> int:
        """The largest lag whose perturbation has at least a share of the largest effect.

        Args:
            share: Share of the largest effect of any lag, `(0, 1]`.
            quantity: `"value"` or `"policy"`.

        Returns:
            The lag; 0 where nothing but the current observation matters, or nothing at all.
        """
        share = check("share", share, real(maximum=1, above=0))
        effect = self.perturbation[quantity]
        far = np.flatnonzero((effect > 0) & (effect >= share * effect.max()))
        return int(self.lags[far[-1]]) if far.size else 0

    def mean_lag(self, quantity: str = "value") -> float:
        """The mean lag, weighted by the effect of its perturbation; 0 where nothing has an effect."""
        effect = self.perturbation[quantity]
        return float(np.sum(self.lags * effect) / effect.sum()) if effect.sum() > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """As plain numbers and lists."""
        effects = {"perturbation": self.perturbation, "gradient": self.gradient}
        lists = {name: x and {key: values.tolist() for key, values in x.items()} for name, x in effects.items()}
        reach = {f"reach_{name}": self.reach(quantity=name) for name in self.perturbation}
        mean = {f"mean_lag_{name}": self.mean_lag(name) for name in self.perturbation}
        return {"lags": self.lags.tolist(), "states": self.states.tolist(), **lists, **reach, **mean}


@dataclasses.dataclass(frozen=True)
class Window:
    """A stretch of an agent's life.

    Attributes:
        carry: The memory before its first step, `[batch, ...]`.
        inputs: What the agent saw, `[time, batch, ...]`.
        action: What it did, `[time, batch, ...]`.
    """

    carry: Carry
    inputs: Timestep
    action: Array


jax.tree_util.register_dataclass(Window, ["carry", "inputs", "action"], [])


def live(subject: Subject, key: Key, state: RolloutState, length: int) -> tuple[RolloutState, Window]:
    """Act for a number of steps, and record the window."""
    policy, before = subject.policy(), state.carry

    def step(state: RolloutState, t: Array) -> tuple[RolloutState, tuple[Timestep, Array]]:
        state, transition = subject.vector_env.step(jax.random.fold_in(key, t), state, policy)
        return state, (transition.inputs, transition.action)

    state, (inputs, action) = jax.lax.scan(step, state, jnp.arange(length))
    return state, Window(before, inputs, action)


def judge_all(subject: Subject, window: Window, observation: PyTree) -> dict[str, Array]:
    """Judge the actions of a window by other observations, `[time, batch, ...]`; the verdicts are `[time, batch]`."""

    def step(carry: Carry, now: tuple[Timestep, Array]) -> tuple[Carry, dict[str, Array]]:
        return subject.judge(carry, *now)

    inputs = dataclasses.replace(window.inputs, observation=observation)
    return jax.lax.scan(step, window.carry, (inputs, window.action))[1]


def replace_at(observation: PyTree, other: PyTree, t: Array) -> PyTree:
    """Take one step of a window's observations from elsewhere; which actions are allowed stays.

    Args:
        observation: `[time, batch, ...]`.
        other: `[batch, ...]`.
        t: The step.
    """

    def put(path: Any, x: Array, y: Array) -> Array:
        masked = any(getattr(part, "key", None) == ACTION_MASK for part in path)
        return x if masked else x.at[t].set(y.astype(x.dtype))

    return jax.tree_util.tree_map_with_path(put, observation, other)


def recall_over_lag(
    policy: Any,
    *,
    max_lag: int = 32,
    num_envs: int = 64,
    windows: int = 16,
    behavior: Behavior = "exploit",
    seed: int = 0,
) -> RecallOverLag:
    """Measure how far back an agent looks.

    The agent acts in its environments, with all its memory. At the last step of each window of `max_lag + 1` steps its
    value and its preference for the action it took are compared with what they would have been, had one observation of
    the window been another; everything else, its actions and rewards included, stays as it was. An effect of exactly 0
    beyond a lag means that nothing of older observations is left.

    Args:
        policy: What `memorax.load` gives, or anything with an `agent` and its `state`.
        max_lag: Steps to look back.
        num_envs: Environments to act in, at least 2: each gets the observations of the next one.
        windows: Windows of each environment; they are a random number of steps apart.
        behavior: `"exploit"` acts greedily, `"explore"` as in training.
        seed: Random seed.

    Returns:
        The effects by lag.

    Raises:
        TypeError: `policy` has no agent or no state, or an argument is of another type.
        ValueError: An argument is out of range, or the state is that of several seeds.

    Source:
        Gradients of value and policy with respect to past observations, in pictures: Wang et al. 2025, "POPGym Arcade",
        https://arxiv.org/abs/2503.01450.
    """
    subject = Subject(policy, behavior)
    max_lag, windows = check("max_lag", max_lag, size(0)), check("windows", windows, size())
    num_envs, seed = check("num_envs", num_envs, size(2)), check("seed", seed, integer(0, 2**32 - 1))
    sums = jax.device_get(jax.jit(partial(_measure, subject, max_lag, num_envs, windows))(jax.random.key(seed)))
    states = sums.pop("states")
    counts = np.flip(states).astype(np.int64)
    known = counts > 0
    by_lag = {name: np.flip(total / np.maximum(states, 1))[known] for name, total in sums.items()}
    effects = {
        kind: {name.split()[1]: x for name, x in by_lag.items() if name.startswith(kind)}
        for kind in ("perturbation", "gradient")
    }
    return RecallOverLag(
        np.arange(max_lag + 1)[known], counts[known], effects["perturbation"], effects["gradient"] or None
    )


def _measure(subject: Subject, max_lag: int, num_envs: int, windows: int, key: Key) -> dict[str, Array]:
    """Sum the effects over all windows, by the step of the window, `[max_lag + 1]`."""
    start_key, key = jax.random.split(key)
    state = subject.start(start_key, num_envs)

    def one(state: RolloutState, key: Key) -> tuple[RolloutState, dict[str, Array]]:
        gap_key, live_key, idle_key = jax.random.split(key, 3)
        state, window = live(subject, live_key, state, max_lag + 1)
        sums = _effects(subject, window)
        # Without a gap, windows would always end at the same step of episodes of a fixed length.
        gap = jax.random.randint(gap_key, (), 0, max_lag + 1)
        act = subject.policy()

        def idle(t: Array, state: RolloutState) -> RolloutState:
            return subject.vector_env.step(jax.random.fold_in(idle_key, t), state, act)[0]

        return jax.lax.fori_loop(0, gap, idle, state), sums

    _, sums = jax.lax.scan(one, state, jax.random.split(key, windows))
    return jax.tree.map(lambda x: jnp.sum(x, axis=0), sums)


def _effects(subject: Subject, window: Window) -> dict[str, Array]:
    """Sum the effects of a window over the batch, `[time]`, and count the states."""
    observation = window.inputs.observation
    valid = same_episode(jax.vmap(first_flags)(window.inputs))

    def last(observation: PyTree) -> dict[str, Array]:
        return {name: x[-1] for name, x in judge_all(subject, window, observation).items()}

    now = last(observation)
    elsewhere = jax.tree.map(lambda x: jnp.roll(x, 1, axis=1), observation)

    def perturb(t: Array) -> dict[str, Array]:
        changed = last(replace_at(observation, jax.tree.map(lambda x: x[t], elsewhere), t))
        return {name: averages(jnp.abs(changed[name] - now[name]), valid[t]) * valid[t].sum() for name in now}

    steps = jnp.arange(valid.shape[0])
    sums = {f"perturbation {name}": x for name, x in jax.lax.map(perturb, steps).items()}
    if floating(observation):
        for name in now:
            norms = _gradient_norms(lambda x, name=name: jnp.sum(last(x)[name]), observation)
            sums[f"gradient {name}"] = jnp.sum(jnp.where(valid, norms, 0.0), axis=1)
    return sums | {"states": valid.sum(axis=1)}


def _gradient_norms(function: Any, observation: PyTree) -> Array:
    """The norm of the gradient with respect to the observation of each step, `[time, batch]`."""
    gradients = floating(jax.grad(function, allow_int=True)(observation))
    squares = [jnp.square(x.astype(jnp.float32)).reshape(*x.shape[:2], -1).sum(axis=2) for x in gradients]
    return jnp.sqrt(sum(squares[1:], squares[0]))

"""Ablation of memory: what the return is worth without it, with another's, and after one strange observation."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.acting import Behavior
from memorax.core.checks import check, integer, size
from memorax.core.spaces import ACTION_MASK
from memorax.core.types import Array, Carry, Key, PyTree, Timestep
from memorax.diagnostics.recall import judge_all, live, replace_at
from memorax.diagnostics.returns import Damage, Returns, make_player, where_rows
from memorax.diagnostics.subject import Subject, averages, first_flags

_MAGNITUDE = 10.0
"""Standard deviation of the noise that makes an observation strange."""


@dataclasses.dataclass(frozen=True)
class MemoryAblation:
    """Returns of an agent whose memory is tampered with.

    Attributes:
        intact: With its memory as it is.
        reset: With the memory set back to that of an episode's start every `k` steps of the episode, by `k`; with
            `k = 1` the agent has no memory.
        swap: With the memory exchanged for that of another episode every `k` steps, by `k`.
        poison: With one observation out of the distribution, at step `k` of the episode, by `k`.
        recovery: Mean absolute change of `"value"` and `"policy"` after such an observation, `[steps]` each; index 0
            is the step of the observation itself, and the last index is the longest that an episode went on.
            Everything else is as it was without it.
    """

    intact: Returns
    reset: dict[int, Returns]
    swap: dict[int, Returns]
    poison: dict[int, Returns]
    recovery: dict[str, np.ndarray]

    def to_json(self) -> dict[str, Any]:
        """As plain numbers and lists."""
        tampered = {
            name: {str(k): returns.to_json() for k, returns in getattr(self, name).items()}
            for name in ("reset", "swap", "poison")
        }
        recovery = {name: values.tolist() for name, values in self.recovery.items()}
        return {"intact": self.intact.to_json(), **tampered, "recovery": recovery}


def memory_ablation(
    policy: Any,
    *,
    every: Sequence[int] | None = None,
    episodes: int = 128,
    max_steps: int = 10_000,
    recovery_steps: int = 32,
    behavior: Behavior = "exploit",
    seed: int = 0,
) -> MemoryAblation:
    """Measure what the memory of an agent is worth, by tampering with it.

    Every variant plays the same starts of episodes. A strange observation has noise of standard deviation 10 on all its
    floating-point parts; the others are taken from another episode.

    Args:
        policy: What `memorax.load` gives, or anything with an `agent` and its `state`.
        every: The `k` of the variants, in steps; None: the powers of two below the mean length of intact episodes.
        episodes: Episodes to play in each variant, at least 2: memories are exchanged between them.
        max_steps: Longest episode; longer ones are left out.
        recovery_steps: Steps to follow after a strange observation.
        behavior: `"exploit"` acts greedily, `"explore"` as in training.
        seed: Random seed.

    Returns:
        The returns.

    Raises:
        TypeError: `policy` has no agent or no state, or an argument is of another type.
        ValueError: An argument is out of range, or the state is that of several seeds.
    """
    subject = Subject(policy, behavior)
    intervals = None if every is None else [check("every", k, size()) for k in every]
    episodes, max_steps = check("episodes", episodes, size(2)), check("max_steps", max_steps, size())
    recovery_steps = check("recovery_steps", recovery_steps, size(0))
    play_key, noise_key, window_key = jax.random.split(jax.random.key(check("seed", seed, integer(0, 2**32 - 1))), 3)

    intact = make_player(subject, episodes, max_steps)(play_key)
    if intervals is None:
        intervals = [2**i for i in range(30) if 2**i < intact.length]

    def returns(damage: Damage) -> dict[int, Returns]:
        player = make_player(subject, episodes, max_steps, damage=damage)
        return {k: player(play_key, k) for k in intervals}

    recovery = jax.device_get(jax.jit(partial(_recovery, subject, episodes, recovery_steps))(window_key))
    known = recovery.pop("states") > 0
    return MemoryAblation(
        intact=intact,
        reset=returns(_reset),
        swap=returns(_swap),
        poison=returns(partial(_poison, noise_key)),
        recovery={name: change[known] for name, change in recovery.items()},
    )


def _reset(every: Array, step: Array, initial: Carry, carry: Carry, timestep: Timestep) -> tuple[Carry, Timestep]:
    """Forget everything every so many steps."""
    return where_rows(step % every == 0, initial, carry), timestep


def _swap(every: Array, step: Array, initial: Carry, carry: Carry, timestep: Timestep) -> tuple[Carry, Timestep]:
    """Take the memory of the next environment every so many steps, but not at the start of an episode."""
    del initial
    other = jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), carry)
    return where_rows((step % every == 0) & (step > 0), other, carry), timestep


def _poison(
    key: Key, at: Array, step: Array, initial: Carry, carry: Carry, timestep: Timestep
) -> tuple[Carry, Timestep]:
    """Show a strange observation at one step of the episode."""
    del initial
    observation = where_rows(step == at, _strange(key, timestep.observation), timestep.observation)
    return carry, dataclasses.replace(timestep, observation=observation)


def _strange(key: Key, observation: PyTree) -> PyTree:
    """Make observations, `[batch, ...]`, that the agent has never seen; which actions are allowed stays."""

    def change(path: Any, x: Array) -> Array:
        if any(getattr(part, "key", None) == ACTION_MASK for part in path):
            return x
        if jnp.issubdtype(x.dtype, jnp.floating):
            return (x + _MAGNITUDE * jax.random.normal(key, x.shape)).astype(x.dtype)
        return jnp.roll(x, 1, axis=0)

    return jax.tree_util.tree_map_with_path(change, observation)


def _recovery(subject: Subject, num_envs: int, steps: int, key: Key) -> dict[str, Array]:
    """Follow a strange observation for so many steps, in the same episode."""
    start_key, live_key, after_key, noise_key = jax.random.split(key, 4)
    # Strange observations come once the memory is filled, where episodes are long enough for that.
    state, _ = live(subject, live_key, subject.start(start_key, num_envs), max(steps // 2, 1))
    _, window = live(subject, after_key, state, steps + 1)
    observation = window.inputs.observation
    first = jax.tree.map(lambda x: x[0], observation)
    changed = replace_at(observation, _strange(noise_key, first), jnp.array(0))
    plain, poisoned = (judge_all(subject, window, x) for x in (observation, changed))
    starts = jax.vmap(first_flags)(window.inputs).at[0].set(False)
    same = jnp.cumsum(starts, axis=0) == 0
    changes = {name: averages(jnp.abs(poisoned[name] - plain[name]), same) for name in plain}
    return changes | {"states": same.sum(axis=1)}

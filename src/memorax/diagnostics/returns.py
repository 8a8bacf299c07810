"""Returns of whole episodes, in the agent's own environments or others, with its memory or with a damaged one."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from memorax.acting import Policy, RolloutState, VectorEnv, play_episodes
from memorax.core.types import Array, Carry, Key, Timestep
from memorax.diagnostics.subject import Subject, first_flags

Damage: TypeAlias = Callable[[Array, Array, Carry, Carry, Timestep], tuple[Carry, Timestep]]
"""`(k, step, initial carry, carry, x_t) -> (carry, x_t)`: what is done to memory and observation before the agent acts;
`k` is how often or when, `[]`, and `step` the step of the episode, `[batch]`."""


@dataclasses.dataclass(frozen=True)
class Returns:
    """The returns of whole episodes.

    Attributes:
        mean: Mean episode return; NaN where no episode ended.
        interval: Its 95 % confidence interval over episodes, by the normal approximation.
        episodes: How many episodes ended in time.
        length: Their mean length.
    """

    mean: float
    interval: tuple[float, float]
    episodes: int
    length: float

    def to_json(self) -> dict[str, Any]:
        """As plain numbers and lists; None for NaN."""
        values = {"mean": self.mean, "interval_95": list(self.interval), "length": self.length}
        known = {name: x if self.episodes else None for name, x in values.items()}
        return known | {"episodes": self.episodes}


def make_player(
    subject: Subject,
    episodes: int,
    max_steps: int,
    *,
    vector_env: VectorEnv | None = None,
    damage: Damage | None = None,
) -> Callable[..., Returns]:
    """Make a function that plays one episode in each of many environments; it is compiled once.

    Args:
        subject: The agent.
        episodes: Episodes to play.
        max_steps: Longest episode; longer ones are left out.
        vector_env: The environments, if not the agent's own.
        damage: What is done to the memory; None for nothing.

    Returns:
        `player(key, k=0) -> Returns`. The same key gives the same starts of episodes, whatever is done to the memory;
        `k` is what `damage` gets.
    """
    env = subject.vector_env if vector_env is None else vector_env

    @jax.jit
    def run(key: Key, k: Array) -> dict[str, Array]:
        start_key, play_key = jax.random.split(key)
        state = subject.start(start_key, episodes, env)
        policy: Policy = subject.policy()
        if damage is not None:
            policy = _damaged(policy, state, partial(damage, k))
            state = dataclasses.replace(state, carry=(state.carry, jnp.zeros(episodes, jnp.int32)))
        return play_episodes(env, play_key, state, policy, max_steps)

    return lambda key, k=0: _returns(jax.device_get(run(key, jnp.int32(k))))


def _returns(record: dict[str, np.ndarray]) -> Returns:
    """Summarize the episodes that ended."""
    ended = record["returned_episode"]
    values = record["returned_episode_returns"][ended].astype(np.float64)
    if not values.size:
        return Returns(float("nan"), (float("nan"), float("nan")), 0, float("nan"))
    mean, deviation = float(values.mean()), float(values.std(ddof=1 if values.size > 1 else 0))
    half = 1.96 * deviation / values.size**0.5
    length = float(record["returned_episode_lengths"][ended].mean())
    return Returns(mean, (mean - half, mean + half), int(ended.sum()), length)


def _damaged(policy: Policy, start: RolloutState, damage: Callable[..., tuple[Carry, Timestep]]) -> Policy:
    """The same policy, whose memory is damaged before it acts; its carry counts the steps of the episode."""

    def act(key: Key, carry: Any, timestep: Timestep) -> tuple[Any, Array, dict[str, Array]]:
        memory, count = carry
        count = jnp.where(first_flags(timestep), 0, count)
        memory, timestep = damage(count, start.carry, memory, timestep)
        memory, action, aux = policy(key, memory, timestep)
        return (memory, count + 1), action, aux

    return act


def where_rows(condition: Array, new: Any, old: Any) -> Any:
    """Take whole rows of `new` where the condition, `[batch]`, holds, and of `old` elsewhere."""

    def choose(x: Array, y: Array) -> Array:
        return jnp.where(condition.reshape(-1, *(1,) * (y.ndim - 1)), x, y)

    return jax.tree.map(choose, new, old)

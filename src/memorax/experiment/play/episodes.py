"""Playing whole episodes step by step, with everything that happens recorded."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.acting.vector_env import RolloutState
from memorax.core.checks import check, size
from memorax.core.types import Array, Key
from memorax.environments.host import HostEnvironment
from memorax.experiment.play.moments import Episode, Moment
from memorax.experiment.play.python_episodes import record_in_python
from memorax.experiment.run.programs import seed_keys
from memorax.learning.q_function import QFunction
from memorax.learning.values import main_values

if TYPE_CHECKING:
    from memorax.experiment.policy import TrainedPolicy


def record_episodes(
    policy: "TrainedPolicy", episodes: int = 3, *, max_steps: int = 1000, seed: int = 0
) -> list[Episode]:
    """Play episodes deterministically, as `memorax evaluate` does: the same number and seed give the same episodes.

    Where every environment has parameters of its own, the first episodes are those of the first environments.

    Args:
        policy: The policy.
        episodes: Number of episodes.
        max_steps: Steps after which an episode is left unfinished.
        seed: Random seed of the environments.

    Returns:
        The episodes.

    Raises:
        TypeError: A number is not an integer.
        ValueError: A number is below 1.
    """
    check("episodes", episodes, size())
    check("max_steps", max_steps, size())
    if isinstance(policy.env, HostEnvironment):
        return record_in_python(policy, episodes, max_steps, seed)
    agent, state = policy.agent, dataclasses.replace(policy.state, loop=None, buffer=None)
    reset_key, carry_key, key = jax.random.split(seed_keys([seed])[2][0], 3)
    start = agent.vector_env.reset(reset_key, agent.initialize_carry(carry_key, episodes), episodes)
    step = jax.jit(lambda key, t, now: _step(agent, state, jax.random.fold_in(key, t), now))

    moments: list[list[Moment]] = [[] for _ in range(episodes)]
    running = np.ones(episodes, bool)
    for t in range(max_steps):
        before = jax.device_get((start.env_state, start.timestep.observation))
        start, *outcome, ended = step(key, np.uint32(t), start)
        row = (*before, *jax.device_get(outcome))
        for i in np.flatnonzero(running):
            moments[i].append(Moment(*jax.tree.map(lambda x: x[i], row)))  # noqa: B023  used at once
        running &= ~np.asarray(ended)
        if not running.any():
            break
    params = [agent.vector_env.params_of(i) for i in range(episodes)]
    return [Episode(*row) for row in zip(moments, (~running).tolist(), params, strict=True)]


def show_in_window(
    policy: "TrainedPolicy", episodes: int = 3, *, max_steps: int = 1000, seed: int = 0
) -> list[Episode]:
    """Play the same episodes in an environment in Python that shows itself in a window.

    Args:
        policy: The policy.
        episodes: As `record_episodes` takes it.
        max_steps: As `record_episodes` takes it.
        seed: As `record_episodes` takes it.

    Returns:
        The episodes.

    Raises:
        NoWindowError: There is no window: the environment has none, or there is no display.
        TypeError: A number is not an integer.
        ValueError: A number is below 1.
    """
    check("episodes", episodes, size())
    check("max_steps", max_steps, size())
    return record_in_python(policy, episodes, max_steps, seed, window=True)


def _step(agent: Any, state: Any, key: Key, now: RolloutState) -> tuple[RolloutState, Array, Array, Any, Array]:
    """Act once; give the state after it, actions, rewards, values, and which episodes have ended."""
    policy, value = agent.acting(state, "exploit")
    after, transition = agent.vector_env.step(key, now, policy)
    expected = None
    if value is not None:
        expected = main_values(value(now.carry, now.timestep))
    elif isinstance(agent.networks, QFunction):
        expected = jnp.max(main_values(transition.aux["q"]), axis=-1)
    action = agent.vector_env.to_env(transition.action)
    return after, action, transition.reward, expected, transition.info["returned_episode"]

"""Playing whole episodes."""

import jax
import jax.numpy as jnp

from memorax.acting.vector_env import Policy, RolloutState, VectorEnv
from memorax.core.types import Array, Key, vary_alike


def play_episodes(
    vector_env: VectorEnv, key: Key, rollout_state: RolloutState, policy: Policy, max_steps: int | None = None
) -> dict[str, Array]:
    """Play until every environment has finished its first episode.

    Args:
        vector_env: The environments.
        key: Random key.
        rollout_state: Environments and memory at the start of an episode.
        policy: Chooses the actions.
        max_steps: The most that an episode may last; None for no limit.

    Returns:
        What `EpisodeStatistics.advance` tells of the first episode of each environment, `[num_envs]`; where
        `returned_episode` is False, the episode did not end in time.
    """

    def unfinished(carry: tuple) -> Array:
        _, t, record = carry
        more = ~jnp.all(record["returned_episode"])
        return more if max_steps is None else more & (t < max_steps)

    def body(carry: tuple) -> tuple:
        rollout_state, t, record = carry
        rollout_state, transition = vector_env.step(jax.random.fold_in(key, t), rollout_state, policy)
        first = transition.info["returned_episode"] & ~record["returned_episode"]
        record = {name: jnp.where(first, transition.info[name], old) for name, old in record.items()}
        return vary_alike((rollout_state, t + 1, record), key)

    timestep = rollout_state.timestep
    _, record = rollout_state.episode.advance(timestep.reward, jnp.zeros_like(timestep.done))
    begin = vary_alike((rollout_state, jnp.uint32(0), record), key)
    return jax.lax.while_loop(unfinished, body, begin)[2]

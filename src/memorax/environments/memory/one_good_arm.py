"""OneGoodArm: an arm that pays, the same for a trial of several episodes, for meta-learning."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState, Step
from memorax.environments.memory.chance import below, coin, split, uniform
from memorax.environments.memory.task import Task, clipped, whole


@struct.dataclass
class TrialParams(EnvParams):
    """Parameters of both bandits (see also BernoulliBandit): pulls in an episode and episodes in a trial, int32."""

    pulls: Array | np.int32
    episodes_per_trial: Array | np.int32


@struct.dataclass
class TrialState(EnvState):
    """State of both bandits.

    Attributes:
        time: Completed pulls of the episode.
        episode: Completed episodes of the trial, int32.
        arms: How likely each arm pays, float32 `[arms]`.
    """

    episode: Array
    arms: Array


class OneGoodArm(Task[TrialState, TrialParams]):
    """Find the one arm that pays, and stay with it for the rest of the trial.

    A trial is `episodes_per_trial` episodes with the same arms; the next draws new ones, and so does every plain
    `reset`. With more than one, memory must outlive episodes (RL2) and be cleared after `steps_per_trial` steps:
    `info["trial_begins"]` says that the observation that follows is the first of a trial. What a pull paid is told by
    the reward alone: the network needs the previous action and reward.

    * Observation: float32 `[2]`: whether a trial begins, and a fair coin that means nothing.
    * Action: an arm, `Discrete(arms)`.
    * Reward: `1 / pulls` where the arm pays, otherwise 0.
    * Length: `pulls` steps, ended by termination.
    * Returns: averaged over the episodes of a trial of n pulls, the mean of `min(t / arms, 1)` for t from 1 to n for
      who tries one arm after the other; `1 / arms` at random and at best without memory.

    Source: Duan et al. (2016), RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning,
    https://arxiv.org/abs/1611.02779.
    """

    def __init__(self, pulls: int = 20, *, arms: int = 10, episodes_per_trial: int = 1) -> None:
        """Set up the arms.

        Args:
            pulls: Pulls in an episode, at least 1.
            arms: How many arms there are, at least 2.
            episodes_per_trial: Episodes for which the arms stay the same, at least 1.

        Raises:
            TypeError, ValueError: If an argument is no integer, or too small.
        """
        self.pulls = whole("pulls", pulls)
        self.arms = whole("arms", arms, least=2)
        self.episodes_per_trial = whole("episodes_per_trial", episodes_per_trial)
        self.steps_per_trial = self.pulls * self.episodes_per_trial
        self.memoryless_return, self.optimal_return = self._returns()

    def _returns(self) -> tuple[float, float | None]:
        tried = np.arange(1, self.steps_per_trial + 1) / self.arms
        return 1 / self.arms, float(np.minimum(tried, 1.0).mean())

    def _draw_arms(self, key: Key) -> Array:
        return jax.nn.one_hot(below(key, self.arms), self.arms)

    @property
    def default_params(self) -> TrialParams:
        """The parameters used where none are given."""
        return TrialParams(pulls=np.int32(self.pulls), episodes_per_trial=np.int32(self.episodes_per_trial))

    def draw_start(self, key: Key, params: TrialParams) -> tuple[Array, Array]:
        """Draw how likely each arm pays, and a coin."""
        arm_key, coin_key = split(key)
        return self._draw_arms(arm_key), coin(coin_key)

    def start(self, drawn: tuple[Array, Array], params: TrialParams) -> tuple[Array, TrialState]:
        """Begin a trial with these arms, and a coin."""
        arms, zero = jnp.asarray(drawn[0], jnp.float32), jnp.zeros((), jnp.int32)
        return _show(True, drawn[1]), TrialState(time=zero, episode=zero, arms=arms)

    def draw(self, key: Key, state: TrialState, params: TrialParams) -> tuple[Array, Array]:
        """Draw what decides whether the arm pays, uniform in `[0, 1)`, and a coin."""
        share, side = uniform(key, (2,))
        return share, side < 0.5

    def transition(
        self, state: TrialState, action: Array, drawn: tuple[Array, Array], params: TrialParams
    ) -> tuple[Array, TrialState, Array, Array]:
        """Pull an arm."""
        pays = jnp.asarray(drawn[0], jnp.float32) < state.arms[clipped(action, self.arms)]
        state = TrialState(time=state.time + 1, episode=state.episode, arms=state.arms)
        return _show(False, drawn[1]), state, pays / params.pulls, state.time >= params.pulls

    def step(self, key: Key, state: TrialState, action: Array, params: TrialParams | None = None) -> Step:
        """Pull an arm; where that ends the episode but not the trial, keep the arms for the next one."""
        given = self.default_params if params is None else params
        observation, after, reward, terminated, truncated, info = super().step(key, state, action, given)
        episode = state.episode + 1
        goes_on = terminated & (episode < given.episodes_per_trial)
        after = after.replace(
            episode=jnp.where(goes_on, episode, after.episode), arms=jnp.where(goes_on, state.arms, after.arms)
        )
        observation = observation.at[0].set(jnp.where(goes_on, 0.0, observation[0]))
        return observation, after, reward, terminated, truncated, {**info, "trial_begins": terminated & ~goes_on}

    def action_space(self, params: TrialParams | None = None) -> Discrete:
        """An arm."""
        return Discrete(self.arms)

    def observation_space(self, params: TrialParams | None = None) -> Box:
        """A flag and a coin."""
        return Box(0.0, 1.0, (2,))

    def horizon(self, params: TrialParams | None = None) -> int:
        """Pulls of an episode."""
        return int((params or self.default_params).pulls)

    def memory_length(self, params: TrialParams | None = None) -> int:
        """From the first pull of a trial to the last."""
        return self.horizon(params) * int((params or self.default_params).episodes_per_trial) - 1


def _show(begins: bool, coin: Array) -> Array:
    return jnp.stack([jnp.float32(begins), jnp.asarray(coin, jnp.float32)])

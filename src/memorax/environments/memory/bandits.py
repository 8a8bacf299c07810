"""OneGoodArm and BernoulliBandit: bandits whose arms stay the same for several episodes, for meta-learning."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import check, size, steps
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState, Step
from memorax.environments.memory.parts.prng import fair_coin, integers, split, uniform
from memorax.environments.memory.parts.task import Task, clip_action


@struct.dataclass
class TrialParams(EnvParams):
    """Parameters of both bandits: pulls in an episode and episodes in a trial, int32."""

    pulls: Array | np.int32
    episodes_per_trial: Array | np.int32


@struct.dataclass
class TrialState(EnvState):
    """State of both bandits.

    Attributes:
        time: Completed pulls of the episode.
        episode: Completed episodes of the trial, int32.
        arms: Probability that each arm pays, float32 `[arms]`.
    """

    episode: Array
    arms: Array


class OneGoodArm(Task[TrialState, TrialParams]):
    """Find the one arm that pays and keep pulling it for the rest of the trial.

    A trial is `episodes_per_trial` episodes with the same arms; the next trial draws new ones, and so does `reset`.
    With more than one episode, memory must outlive episodes (`RL2Wrapper`) and be cleared after `steps_per_trial`
    steps: `info["trial_begins"]` says that the observation that follows is the first of a trial. Only the reward tells
    what a pull paid: the network needs the previous action and reward, which the agents' default networks are given.

    * Observation: float32 `[2]`: whether a trial begins, and a fair coin flip without meaning.
    * Action: an arm, `Discrete(arms)`.
    * Reward: `1 / pulls` where the arm pays, otherwise 0.
    * Length: `pulls` steps, ended by termination.
    * Returns: averaged over the episodes of a trial of n pulls, the mean of `min(t / arms, 1)` for t from 1 to n by
      trying one arm after the other; `1 / arms` at random and at best without memory.

    Source: Duan et al. (2016), RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning,
    https://arxiv.org/abs/1611.02779.
    """

    def __init__(self, pulls: int = 20, *, arms: int = 10, episodes_per_trial: int = 1) -> None:
        """Create the bandit.

        Args:
            pulls: Pulls in an episode, at least 1.
            arms: Number of arms, at least 2.
            episodes_per_trial: Episodes for which the arms stay the same, at least 1.

        Raises:
            TypeError: If an argument is not an integer.
            ValueError: If an argument is too small.
        """
        self.pulls = check("pulls", pulls, steps())
        self.arms = check("arms", arms, size(2))
        self.episodes_per_trial = check("episodes_per_trial", episodes_per_trial, steps())
        self.steps_per_trial = self.pulls * self.episodes_per_trial
        self.memoryless_return, self.optimal_return = self._returns()

    def _returns(self) -> tuple[float, float | None]:
        tried = np.arange(1, self.steps_per_trial + 1) / self.arms
        return 1 / self.arms, float(np.minimum(tried, 1.0).mean())

    def _draw_arms(self, key: Key) -> Array:
        return jax.nn.one_hot(integers(key, self.arms), self.arms)

    @property
    def default_params(self) -> TrialParams:
        """Parameters that `reset` and `step` use by default."""
        return TrialParams(pulls=np.int32(self.pulls), episodes_per_trial=np.int32(self.episodes_per_trial))

    def draw_start(self, key: Key, params: TrialParams) -> tuple[Array, Array]:
        """Draw the probability that each arm pays, and a coin flip."""
        arm_key, coin_key = split(key)
        return self._draw_arms(arm_key), fair_coin(coin_key)

    def start(self, drawn: tuple[Array, Array], params: TrialParams) -> tuple[Array, TrialState]:
        """Start a trial with these arms and a coin flip."""
        arms, zero = jnp.asarray(drawn[0], jnp.float32), jnp.zeros((), jnp.int32)
        return _show(True, drawn[1]), TrialState(time=zero, episode=zero, arms=arms)

    def draw(self, key: Key, state: TrialState, params: TrialParams) -> tuple[Array, Array]:
        """Draw a number in `[0, 1)`, below which the probability of an arm does not pay, and a coin flip."""
        share, side = uniform(key, (2,))
        return share, side < 0.5

    def transition(
        self, state: TrialState, action: Array, drawn: tuple[Array, Array], params: TrialParams
    ) -> tuple[Array, TrialState, Array, Array]:
        """Pull an arm."""
        pays = jnp.asarray(drawn[0], jnp.float32) < state.arms[clip_action(action, self.arms)]
        state = TrialState(time=state.time + 1, episode=state.episode, arms=state.arms)
        return _show(False, drawn[1]), state, pays / params.pulls, state.time >= params.pulls

    def step(self, key: Key, state: TrialState, action: Array, params: TrialParams | None = None) -> Step:
        """Pull an arm; where that ends the episode but not the trial, keep the arms for the next episode."""
        given = self.default_params if params is None else params
        observation, after, reward, terminated, truncated, info = super().step(key, state, action, given)
        episode = state.episode + 1
        same_trial = terminated & (episode < given.episodes_per_trial)
        after = after.replace(
            episode=jnp.where(same_trial, episode, after.episode), arms=jnp.where(same_trial, state.arms, after.arms)
        )
        observation = observation.at[0].set(jnp.where(same_trial, 0.0, observation[0]))
        return observation, after, reward, terminated, truncated, {**info, "trial_begins": terminated & ~same_trial}

    def action_space(self, params: TrialParams | None = None) -> Discrete:
        """An arm."""
        return Discrete(self.arms)

    def observation_space(self, params: TrialParams | None = None) -> Box:
        """A flag and a coin flip."""
        return Box(0.0, 1.0, (2,))

    def horizon(self, params: TrialParams | None = None) -> int:
        """Pulls of an episode."""
        return int((params or self.default_params).pulls)

    def memory_length(self, params: TrialParams | None = None) -> int:
        """From the first pull of a trial to the last."""
        return self.horizon(params) * int((params or self.default_params).episodes_per_trial) - 1


def _show(begins: bool, coin: Array) -> Array:
    return jnp.stack([jnp.float32(begins), jnp.asarray(coin, jnp.float32)])


_MOST_PULLS = 60  # the optimum is not computed for longer trials of two Bernoulli arms


class BernoulliBandit(OneGoodArm):
    """Explore which arm pays most often while earning as much as possible.

    As OneGoodArm, but every arm pays with a probability drawn uniformly from [0, 1) for each trial.

    * Observation, * Action, * Reward and * Length are those of OneGoodArm.
    * Returns: `1 / 2` at random and at best without memory; the optimum, averaged over a trial, is computed for two
      arms and up to 60 pulls, and unknown otherwise.

    Source: Duan et al. (2016), https://arxiv.org/abs/1611.02779, as for OneGoodArm.
    """

    def __init__(self, pulls: int = 20, *, arms: int = 2, episodes_per_trial: int = 1) -> None:
        """Create the bandit; see OneGoodArm."""
        super().__init__(pulls, arms=arms, episodes_per_trial=episodes_per_trial)

    def _returns(self) -> tuple[float, float | None]:
        known = self.arms == 2 and self.steps_per_trial <= _MOST_PULLS
        return 0.5, _best_of_two(self.steps_per_trial) / self.steps_per_trial if known else None

    def _draw_arms(self, key: Key) -> Array:
        return uniform(key, (self.arms,))


@cache
def _best_of_two(pulls: int) -> float:
    """Expected wins of the optimal policy for two arms with uniform priors, by backward induction over all counts."""
    won = np.arange(pulls + 1)
    value = np.zeros((pulls + 2, pulls + 2, pulls + 2))  # [pulls of the first arm, wins of the first, of the second]
    for time in range(pulls - 1, -1, -1):
        first = np.arange(time + 1)[:, None, None]
        wins, others = won[None, :, None], won[None, None, :]
        first_pays, second_pays = (wins + 1) / (first + 2), (others + 1) / (time - first + 2)
        now, later = value[: time + 1, :-1, :-1], value[1 : time + 2, :-1, :-1]
        pull_first = first_pays * (1 + value[1 : time + 2, 1:, :-1]) + (1 - first_pays) * later
        pull_second = second_pays * (1 + value[: time + 1, :-1, 1:]) + (1 - second_pays) * now
        value[: time + 1, :-1, :-1] = np.maximum(pull_first, pull_second)
    return float(value[0, 0, 0])

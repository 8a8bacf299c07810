"""What all algorithms share: the state of a run, and how it is begun, trained, evaluated and rolled out."""

import abc
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar, cast

import jax
import jax.numpy as jnp
from flax import struct

from memorax import lox
from memorax.acting.loop import Loop, Policy, Stage, Value
from memorax.acting.normalization import Normalizer, Scales
from memorax.core.types import Array, Carry, Key, PyTree, Transition

Behavior: TypeAlias = Literal["explore", "exploit", "random"]
"""How to act: as in training, as well as possible, or uniformly at random."""

Method = TypeVar("Method", bound=Callable[..., Any])


def compiled(method: Method) -> Method:
    """Compile a method once per agent and numbers of steps; further calls trace nothing."""
    names = {"self", "num_steps", "num_episodes"} & set(inspect.signature(method).parameters)
    return cast(Method, jax.jit(method, static_argnames=tuple(names)))


@struct.dataclass
class State:
    """A whole run: arrays only, so that it can be saved, mapped over seeds and spread over devices.

    Attributes:
        step: How many transitions the run has seen in all environments, uint32.
        loop: Where the environments stand, and the memory in them.
        learner: Parameters, optimizer states and whatever else the algorithm learns.
        buffer: Replay; None for algorithms without.
        scales: What observations and rewards are normalized by; None where nothing is.
    """

    step: Array
    loop: Loop
    learner: PyTree
    buffer: PyTree = None
    scales: Scales | None = None


class Algorithm(abc.ABC):
    """An agent: an algorithm with its networks and its environment.

    All methods are pure functions of their arguments and are compiled once per number of steps. They can be mapped
    over seeds: `jax.vmap(agent.init)(keys)`, `jax.vmap(agent.train, in_axes=(0, 0, None))(keys, states, num_steps)`.
    The randomness of every update is derived from the key and `state.step`, so how training is cut into calls does
    not change what is learned.

    Args:
        config: The algorithm's configuration.
        stage: The environments.
    """

    steps_per_update: int
    """Transitions of all environments between two updates."""

    def __init__(self, config: Any, stage: Stage) -> None:
        self.config = config
        self.stage = stage
        self.normalizer = Normalizer(config, stage)

    @abc.abstractmethod
    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the memory with which `batch` environments begin."""

    @abc.abstractmethod
    def init_learner(self, key: Key, loop: Loop) -> PyTree:
        """Make what is learned, given a loop as an example of what is seen."""

    @abc.abstractmethod
    def policy(self, learner: PyTree, step: Array, behavior: Behavior) -> Policy:
        """Say how to act after `step` transitions."""

    @abc.abstractmethod
    def update(self, key: Key, state: State) -> State:
        """Interact for `steps_per_update` transitions and learn from them."""

    def value(self, learner: PyTree) -> Value | None:
        """Say what an observation is worth, where truncated episodes bootstrap from their final observation."""
        del learner
        return None

    def acting(self, state: State, behavior: Behavior) -> tuple[Policy, Value | None]:
        """Say how to act, and what is worth what, in a state; both are given what the environments show."""
        policy, value = self.policy(state.learner, state.step, behavior), self.value(state.learner)
        return self.normalizer.policy(state.scales, policy), self.normalizer.value(state.scales, value)

    @compiled
    def init(self, key: Key) -> State:
        """Begin a run.

        Args:
            key: Random key.

        Returns:
            The state before the first step.
        """
        env_key, carry_key, learner_key = jax.random.split(key, 3)
        loop = self.stage.reset(env_key, self.initialize_carry(carry_key, self.stage.num_envs))
        learner = self.init_learner(learner_key, loop)
        buffer, scales = self.init_buffer(loop), self.normalizer.init(loop)
        return State(jnp.zeros((), jnp.uint32), loop, learner, buffer, scales)

    def init_buffer(self, loop: Loop) -> PyTree:
        """Make the replay; algorithms without one have None."""
        del loop

    @compiled
    def train(self, key: Key, state: State, num_steps: int) -> State:
        """Interact and learn.

        Args:
            key: Random key; the same key in every call makes one long run of all calls.
            state: Where the run stands.
            num_steps: Transitions over all environments, rounded down to whole updates.

        Returns:
            The state `num_steps` transitions later.

        Raises:
            ValueError: `num_steps` is too small for a single update.
        """
        num_updates = num_steps // self.steps_per_update
        if num_updates < 1:
            one = self.steps_per_update
            raise ValueError(f"`num_steps` must be at least one update ({one} steps), got {num_steps}")

        def body(state: State, _: None) -> tuple[State, None]:
            return self.update(jax.random.fold_in(key, state.step), state), None

        return jax.lax.scan(body, state, None, length=num_updates)[0]

    @compiled
    def warmup(self, key: Key, state: State, num_steps: int) -> State:
        """Fill the replay with random actions; algorithms without a replay return the state as it is.

        Args:
            key: Random key.
            state: Where the run stands.
            num_steps: Transitions over all environments.
        """
        del key, num_steps
        return state

    @compiled
    def rollout(self, key: Key, state: State, num_steps: int) -> tuple[State, Transition]:
        """Act as in training, without learning, and hand out the data.

        Args:
            key: Random key.
            state: Where the run stands.
            num_steps: Steps of each environment.

        Returns:
            The state after the steps, and the transitions, `[num_envs, num_steps, ...]`.
        """
        policy, value = self.acting(state, "explore")
        key = jax.random.fold_in(key, state.step)
        loop, transitions = self.stage.rollout(key, state.loop, policy, num_steps, value=value)
        steps = jnp.uint32(num_steps * self.stage.num_envs)
        return dataclasses.replace(state, step=state.step + steps, loop=loop), transitions

    @compiled
    def evaluate(self, key: Key, state: State, num_steps: int | None = None, num_episodes: int | None = None) -> State:
        """Act as well as possible in fresh environments, and log the episodes' returns and lengths.

        With `num_steps`, `num_envs` environments take so many steps each; what is unfinished then is not counted,
        which favors short episodes. With `num_episodes`, so many environments play one episode each, and every one
        of them is logged; `num_steps`, if given too, is the most that an episode may last.

        Args:
            key: Random key.
            state: Where the run stands.
            num_steps: Steps of each environment.
            num_episodes: Whole episodes to play.

        Returns:
            The state, unchanged.

        Raises:
            ValueError: Neither number is given, or one is below 1.
        """
        numbers = {"num_steps": num_steps, "num_episodes": num_episodes}
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise ValueError(f"`{name}` must be at least 1, got {number}")
        if num_steps is None and num_episodes is None:
            raise ValueError("`evaluate` needs `num_steps` or `num_episodes`, got neither")
        reset_key, carry_key, rollout_key = jax.random.split(key, 3)
        batch = self.stage.num_envs if num_episodes is None else num_episodes
        loop = self.stage.reset(reset_key, self.initialize_carry(carry_key, batch), batch)
        policy, _ = self.acting(state, "exploit")
        if num_episodes is not None:
            lox.log(self._play_episodes(rollout_key, loop, policy, num_steps))
        elif num_steps is not None:
            self.stage.rollout(rollout_key, loop, policy, num_steps)
        return state

    def _play_episodes(self, key: Key, loop: Loop, policy: Policy, num_steps: int | None) -> dict[str, Array]:
        """Play until every environment has ended its first episode; return what is known of these episodes."""

        def unfinished(carry: tuple) -> Array:
            _, t, record = carry
            more = ~jnp.all(record["returned_episode"])
            return more if num_steps is None else more & (t < num_steps)

        def body(carry: tuple) -> tuple:
            loop, t, record = carry
            loop, transition = self.stage.step(jax.random.fold_in(key, t), loop, policy)
            first = transition.info["returned_episode"] & ~record["returned_episode"]
            record = {name: jnp.where(first, transition.info[name], old) for name, old in record.items()}
            return loop, t + 1, record

        _, record = loop.episode.advance(loop.timestep.reward, jnp.zeros_like(loop.timestep.done))
        return jax.lax.while_loop(unfinished, body, (loop, jnp.uint32(0), record))[2]


class OnPolicy(Algorithm):
    """Acts for `config.num_steps` steps, then learns from these and forgets them."""

    def __init__(self, config: Any, stage: Stage) -> None:
        super().__init__(config, stage)
        self.steps_per_update = config.num_envs * config.num_steps

    @abc.abstractmethod
    def learn(self, key: Key, learner: PyTree, trajectory: Transition, loop: Loop, carry: Carry) -> PyTree:
        """Learn from a rollout.

        Args:
            key: Random key.
            learner: What is known so far.
            trajectory: `[num_envs, num_steps, ...]`.
            loop: Where the environments stand after it: `x_T` and the memory before it.
            carry: The memory before the first step of the trajectory.

        Returns:
            What is known then.
        """

    def update(self, key: Key, state: State) -> State:
        """Roll out, then learn."""
        rollout_key, learn_key = jax.random.split(key)
        policy, value = self.acting(state, "explore")
        loop, trajectory = self.stage.rollout(rollout_key, state.loop, policy, self.config.num_steps, value=value)
        scales = self.normalizer.after_rewards(state.scales, trajectory)
        seen = self.normalizer.transition(scales, trajectory), self.normalizer.loop(scales, loop)
        learner = self.learn(learn_key, state.learner, *seen, state.loop.carry)
        scales = self.normalizer.after_observations(scales, trajectory, loop)
        return State(state.step + jnp.uint32(self.steps_per_update), loop, learner, scales=scales)

"""An agent: how a run is begun, trained, evaluated and rolled out."""

import abc
import copy
import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, Self, TypeAlias, TypeVar

import jax

from memorax import lox
from memorax.acting import faults
from memorax.acting.checks import check_config, check_state, whole_updates
from memorax.acting.compiled import HoldsPrograms, compiled
from memorax.acting.episodes import play_episodes
from memorax.acting.in_python import RunsInPython
from memorax.acting.normalization import Normalizer
from memorax.acting.policy import AgentMemory, AgentPolicy, AlgorithmConfig
from memorax.acting.state import State
from memorax.acting.vector_env import RolloutState, Value, VectorEnv
from memorax.core.checks import boolean, check, integer, optional
from memorax.core.hyperparameters import Values, as_arrays, bind_config, bind_part, config_values, part_values
from memorax.core.step_count import StepCount
from memorax.core.types import Array, Carry, Key, PyTree, Transition, vary_alike

Behavior: TypeAlias = Literal["explore", "exploit", "random"]
"""How to act: as in training, greedily, or uniformly at random."""


ConfigT = TypeVar("ConfigT", bound=AlgorithmConfig)


NetworksT = TypeVar("NetworksT", bound=AgentMemory)


class Algorithm(RunsInPython, HoldsPrograms, abc.ABC, Generic[ConfigT, NetworksT]):
    """An agent: an algorithm with its networks and its environments.

    All methods are pure functions of their arguments and are compiled once per number of steps. They can be mapped
    over seeds: `jax.vmap(agent.init)(keys)`, `jax.vmap(agent.train, in_axes=(0, 0, None))(keys, states, num_steps)`.
    The randomness of every update is derived from the key and `state.step`, so how training is split into calls does
    not change the result.

    An algorithm sets `networks` when it is built, and says three things: `init_learner`, `policy`, and `learn` (or
    `update` as a whole).

    Args:
        config: The algorithm's configuration.
        env: Environment.
        env_params: Its parameters; None for its default ones. A parameter with an axis of `num_envs` in front of the
            shape that it has in `env.default_params` has a value for each environment.
        vector_env: Class that runs copies of the environment in parallel.

    Raises:
        TypeError: The configuration is not a `Config` of the algorithm.
    """

    Config: ClassVar[type] = object
    """Class of the algorithm's configuration."""

    config: ConfigT
    networks: NetworksT
    steps_per_update: int
    """Transitions of all environments per update."""
    collect_steps: int
    """Steps of each environment per update."""
    store_carry: bool = False
    """Whether transitions are recorded with the memory before them."""
    remarks: tuple[str, ...] = ()
    """What a run says about the agent before it begins."""
    schedules: Mapping[str, Callable[[Array, StepCount], Array]] = MappingProxyType({})
    """Schedules of hyperparameters by name: functions of the value in the state and of the transitions so far. They are
    logged as `schedules/*`, and the value in the state stays what it is."""

    def __init__(
        self, config: ConfigT, env: Any, env_params: PyTree, *, vector_env: Callable[..., VectorEnv] = VectorEnv
    ) -> None:
        check_config(type(self), config)
        self.config = config
        self.vector_env = vector_env(env, env_params, config.num_envs)
        self.normalizer = Normalizer(config, self.vector_env)
        self.run_in_python()

    def hyperparameters(self) -> dict[str, float]:
        """Give the hyperparameters that are in the state of a run: real numbers, by name."""
        parts = (part_values(part) for part in vars(self).values())
        return {name: value for values in (config_values(self.config), *parts) for name, value in values.items()}

    def with_hyperparameters(self, values: Values) -> Self:
        """Copy the agent with other values of hyperparameters, which are not checked and may be traced."""
        agent = copy.copy(self)
        for name, part in vars(self).items():
            setattr(agent, name, bind_part(part, values))
        agent.config = bind_config(self.config, values)
        return agent

    def scheduled(self, state: State) -> dict[str, Array]:
        """Give the hyperparameters that follow a schedule, as they are in a state."""
        start = state.hyperparameters
        return {name: schedule(start[name], state.step) for name, schedule in self.schedules.items()}

    def bound(self, state: State) -> Self:
        """Copy the agent with the hyperparameters that hold in a state."""
        values = state.hyperparameters | self.scheduled(state)
        return self.with_hyperparameters(values) if values else self

    @property
    def recurrent(self) -> bool:
        """Whether the networks have a memory."""
        return self.networks.recurrent

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the initial memory of `batch` environments."""
        return self.networks.initialize_carry(key, batch)

    @abc.abstractmethod
    def init_learner(self, key: Key, rollout_state: RolloutState) -> PyTree:
        """Make the parameters, optimizer states and whatever else is learned, given an example of what is seen."""

    @abc.abstractmethod
    def policy(self, learner: PyTree, step: StepCount, behavior: Behavior) -> AgentPolicy:
        """Give the policy after `step` transitions."""

    @abc.abstractmethod
    def learn_from(self, key: Key, state: State, rollout_state: RolloutState, trajectory: Transition) -> State:
        """Learn from a rollout of `collect_steps` steps that began in `state`.

        Args:
            key: Random key.
            state: State of the run before the rollout.
            rollout_state: State of the environments and the memory after it.
            trajectory: Its transitions, `[num_envs, collect_steps, ...]`.

        Returns:
            The state of the run after the update.
        """

    def interact(self, key: Key, state: State, num_steps: int, behavior: Behavior) -> tuple[RolloutState, Transition]:
        """Act `num_steps` times in every environment."""
        policy, value = self.acting(state, behavior)
        return self.vector_env.rollout(key, state.loop, policy, num_steps, value=value, store_carry=self.store_carry)

    def update(self, key: Key, state: State) -> State:
        """Interact for `steps_per_update` transitions and learn from them."""
        act_key, learn_key = jax.random.split(key)
        return self.learn_from(learn_key, state, *self.interact(act_key, state, self.collect_steps, "explore"))

    def value(self, learner: PyTree) -> Value | None:
        """Give the value function, if truncated episodes bootstrap from the value of their final observation."""
        del learner
        return None

    def acting(self, state: State, behavior: Behavior) -> tuple[AgentPolicy, Value | None]:
        """Give policy and value function in a state; both take observations as the environments give them."""
        agent = self.bound(state)
        policy, value = agent.policy(state.learner, state.step, behavior), agent.value(state.learner)
        return self.normalizer.policy(state.scales, policy), self.normalizer.value(state.scales, value)

    @compiled
    def init(self, key: Key) -> State:
        """Start a run.

        Args:
            key: Random key.

        Returns:
            The state before the first step.
        """
        env_key, carry_key, learner_key = jax.random.split(key, 3)
        carry = self.initialize_carry(carry_key, self.vector_env.num_envs)
        return self.begin(learner_key, self.vector_env.reset(env_key, carry))

    def begin(self, key: Key, rollout_state: RolloutState) -> State:
        """Make the state of a run whose environments have begun."""
        learner = self.init_learner(key, rollout_state)
        buffer, scales = self.init_buffer(rollout_state), self.normalizer.init(rollout_state)
        return State(StepCount.of(0), rollout_state, learner, buffer, scales, as_arrays(self.hyperparameters()))

    def init_buffer(self, rollout_state: RolloutState) -> PyTree:
        """Make an empty replay buffer; None for on-policy algorithms."""
        del rollout_state

    @compiled
    def train(self, key: Key, state: State, num_steps: int) -> State:
        """Interact and learn.

        Args:
            key: Random key; give every call the same key to split one long run into calls.
            state: State of the run.
            num_steps: Transitions of all environments, rounded down to whole updates.

        Returns:
            The state `num_steps` transitions later.

        Raises:
            TypeError: `num_steps` is not an integer.
            ValueError: `num_steps` is too small for a single update, or the state has another number of environments.
        """
        check_state(state, self.config.num_envs)

        def body(state: State, _: None) -> tuple[State, None]:
            if self.schedules:
                lox.log({"schedules": self.scheduled(state)})
            after = self.bound(state).update(state.step.fold_into(key), state)
            if self.vector_env.watched:
                lox.log({faults.LEARNER: ~faults.finite(after.learner)})
            return vary_alike(after, state), None

        return jax.lax.scan(body, state, None, length=whole_updates(num_steps, self.steps_per_update))[0]

    @compiled
    def warmup(self, key: Key, state: State, num_steps: int) -> State:
        """Fill the replay buffer with random actions; on-policy algorithms return the state unchanged.

        Args:
            key: Random key.
            state: State of the run.
            num_steps: Transitions of all environments.

        Raises:
            TypeError: `num_steps` is not an integer.
            ValueError: `num_steps` is negative.
        """
        check("num_steps", num_steps, integer(0))
        del key
        return state

    @compiled
    def rollout(self, key: Key, state: State, num_steps: int) -> tuple[State, Transition]:
        """Act as in training, without learning, and return the transitions.

        Args:
            key: Random key.
            state: State of the run.
            num_steps: Steps of each environment.

        Returns:
            The state after the steps, and the transitions, `[num_envs, num_steps, ...]`.

        Raises:
            TypeError: `num_steps` is not an integer.
            ValueError: `num_steps` is below 1, or the state has another number of environments.
        """
        check_state(state, self.config.num_envs)
        check("num_steps", num_steps, integer(1))
        policy, value = self.acting(state, "explore")
        key = state.step.fold_into(key)
        rollout_state, transitions = self.vector_env.rollout(key, state.loop, policy, num_steps, value=value)
        step = state.step + num_steps * self.vector_env.num_envs
        return dataclasses.replace(state, step=step, loop=rollout_state), transitions

    @compiled
    def evaluate(
        self,
        key: Key,
        state: State,
        num_steps: int | None = None,
        num_episodes: int | None = None,
        deterministic: bool = True,
    ) -> State:
        """Act in fresh environments without learning, and log the episodes' returns and lengths.

        With `num_steps`, `num_envs` environments take so many steps each; episodes that are unfinished then are not
        counted, which favors short ones. With `num_episodes`, so many environments play one episode each, and every
        one of them is logged; `num_steps`, if given too, is the most that an episode may last.

        Args:
            key: Random key.
            state: State of the run.
            num_steps: Steps of each environment.
            num_episodes: Whole episodes to play.
            deterministic: Whether to act greedily, rather than to sample actions as in training. Where something is
                hidden, the best policy without memory is often stochastic.

        Returns:
            The state, unchanged.

        Raises:
            TypeError: A number is not an integer, or `deterministic` not a boolean.
            ValueError: Neither number is given, or one is below 1.
        """
        check("deterministic", deterministic, boolean())
        check("num_steps", num_steps, optional(integer(1)))
        check("num_episodes", num_episodes, optional(integer(1)))
        if num_steps is None and num_episodes is None:
            raise ValueError("`evaluate` needs `num_steps` or `num_episodes`, got neither")
        reset_key, carry_key, rollout_key = jax.random.split(key, 3)
        batch = self.vector_env.num_envs if num_episodes is None else num_episodes
        rollout_state = self.vector_env.reset(reset_key, self.initialize_carry(carry_key, batch), batch)
        policy, _ = self.acting(state, "exploit" if deterministic else "explore")
        if num_episodes is not None:
            lox.log(play_episodes(self.vector_env, rollout_key, rollout_state, policy, num_steps))
        elif num_steps is not None:
            self.vector_env.rollout(rollout_key, rollout_state, policy, num_steps)
        return state

"""An agent: the state of a run, and how a run is begun, trained, evaluated and rolled out."""

import abc
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar, cast

import jax
import jax.numpy as jnp
from flax import struct

from memorax import lox
from memorax.acting import faults
from memorax.acting.normalization import Normalizer, Scales
from memorax.acting.vector_env import Policy, RolloutState, Value, VectorEnv
from memorax.core.types import Array, Carry, Key, PyTree, Transition

Behavior: TypeAlias = Literal["explore", "exploit", "random"]
"""How to act: as in training, greedily as in evaluation, or uniformly at random."""

Method = TypeVar("Method", bound=Callable[..., Any])


class AlgorithmConfig(Protocol):
    """What every configuration has."""

    @property
    def num_envs(self) -> int:
        """Number of parallel environments."""
        ...


ConfigT = TypeVar("ConfigT", bound=AlgorithmConfig)


class AgentMemory(Protocol):
    """What acting needs of an agent's networks: their memory."""

    recurrent: bool

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the initial memory of `batch` environments."""
        ...


NetworksT = TypeVar("NetworksT", bound=AgentMemory)


def compiled(method: Method) -> Method:
    """Compile a method once per agent and numbers of steps; further calls trace nothing."""
    names = {"self", "num_steps", "num_episodes"} & set(inspect.signature(method).parameters)
    return cast(Method, jax.jit(method, static_argnames=tuple(names)))


@struct.dataclass
class State:
    """A whole run: arrays only, so that it can be saved, mapped over seeds and sharded over devices.

    Attributes:
        step: Transitions of all environments so far, uint32.
        loop: State of the environments, and of the agent's memory in them.
        learner: Parameters, optimizer states and whatever else the algorithm learns.
        buffer: State of the replay buffer; None for on-policy algorithms.
        scales: Running statistics that observations and rewards are normalized by; None without normalization.
    """

    step: Array
    loop: RolloutState
    learner: PyTree
    buffer: PyTree = None
    scales: Scales | None = None


class Algorithm(abc.ABC, Generic[ConfigT, NetworksT]):
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
        env_params: Its parameters; None for its default ones.
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

    def __init__(
        self, config: ConfigT, env: Any, env_params: PyTree, *, vector_env: Callable[..., VectorEnv] = VectorEnv
    ) -> None:
        check_config(type(self), config)
        self.config = config
        self.vector_env = vector_env(env, env_params, config.num_envs)
        self.normalizer = Normalizer(config, self.vector_env)

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
    def policy(self, learner: PyTree, step: Array, behavior: Behavior) -> Policy:
        """Give the policy after `step` transitions."""

    @abc.abstractmethod
    def update(self, key: Key, state: State) -> State:
        """Interact for `steps_per_update` transitions and learn from them."""

    def value(self, learner: PyTree) -> Value | None:
        """Give the value function, if truncated episodes bootstrap from the value of their final observation."""
        del learner
        return None

    def acting(self, state: State, behavior: Behavior) -> tuple[Policy, Value | None]:
        """Give policy and value function in a state; both take observations as the environments give them."""
        policy, value = self.policy(state.learner, state.step, behavior), self.value(state.learner)
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
        rollout_state = self.vector_env.reset(env_key, carry)
        learner = self.init_learner(learner_key, rollout_state)
        buffer, scales = self.init_buffer(rollout_state), self.normalizer.init(rollout_state)
        return State(jnp.zeros((), jnp.uint32), rollout_state, learner, buffer, scales)

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
            ValueError: `num_steps` is too small for a single update.
        """
        num_updates = num_steps // self.steps_per_update
        if num_updates < 1:
            one = self.steps_per_update
            raise ValueError(f"`num_steps` must be at least one update ({one} steps), got {num_steps}")

        def body(state: State, _: None) -> tuple[State, None]:
            state = self.update(jax.random.fold_in(key, state.step), state)
            if self.vector_env.watched:
                lox.log({faults.LEARNER: ~faults.finite(state.learner)})
            return state, None

        return jax.lax.scan(body, state, None, length=num_updates)[0]

    @compiled
    def warmup(self, key: Key, state: State, num_steps: int) -> State:
        """Fill the replay buffer with random actions; on-policy algorithms return the state unchanged.

        Args:
            key: Random key.
            state: State of the run.
            num_steps: Transitions of all environments.
        """
        del key, num_steps
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
        """
        policy, value = self.acting(state, "explore")
        key = jax.random.fold_in(key, state.step)
        rollout_state, transitions = self.vector_env.rollout(key, state.loop, policy, num_steps, value=value)
        steps = jnp.uint32(num_steps * self.vector_env.num_envs)
        return dataclasses.replace(state, step=state.step + steps, loop=rollout_state), transitions

    @compiled
    def evaluate(self, key: Key, state: State, num_steps: int | None = None, num_episodes: int | None = None) -> State:
        """Act greedily in fresh environments, and log the episodes' returns and lengths.

        With `num_steps`, `num_envs` environments take so many steps each; episodes that are unfinished then are not
        counted, which favors short ones. With `num_episodes`, so many environments play one episode each, and every
        one of them is logged; `num_steps`, if given too, is the most that an episode may last.

        Args:
            key: Random key.
            state: State of the run.
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
        batch = self.vector_env.num_envs if num_episodes is None else num_episodes
        rollout_state = self.vector_env.reset(reset_key, self.initialize_carry(carry_key, batch), batch)
        policy, _ = self.acting(state, "exploit")
        if num_episodes is not None:
            lox.log(self._play_episodes(rollout_key, rollout_state, policy, num_steps))
        elif num_steps is not None:
            self.vector_env.rollout(rollout_key, rollout_state, policy, num_steps)
        return state

    def _play_episodes(
        self, key: Key, rollout_state: RolloutState, policy: Policy, num_steps: int | None
    ) -> dict[str, Array]:
        """Play until every environment has finished its first episode; return the statistics of these episodes."""

        def unfinished(carry: tuple) -> Array:
            _, t, record = carry
            more = ~jnp.all(record["returned_episode"])
            return more if num_steps is None else more & (t < num_steps)

        def body(carry: tuple) -> tuple:
            rollout_state, t, record = carry
            rollout_state, transition = self.vector_env.step(jax.random.fold_in(key, t), rollout_state, policy)
            first = transition.info["returned_episode"] & ~record["returned_episode"]
            record = {name: jnp.where(first, transition.info[name], old) for name, old in record.items()}
            return rollout_state, t + 1, record

        timestep = rollout_state.timestep
        _, record = rollout_state.episode.advance(timestep.reward, jnp.zeros_like(timestep.done))
        return jax.lax.while_loop(unfinished, body, (rollout_state, jnp.uint32(0), record))[2]


def check_config(algorithm: type[Algorithm], config: Any) -> None:
    """Require an object of the algorithm's configuration class.

    Raises:
        TypeError: It is something else, such as the class itself or another algorithm's configuration.
    """
    wanted = algorithm.Config
    if isinstance(config, type) or not isinstance(config, wanted):
        name = "configuration object" if wanted is object else wanted.__name__
        got = f"the class {config.__name__}" if isinstance(config, type) else repr(config)
        hint = "" if wanted is object else f"; write `{name}(...)`"
        raise TypeError(f"`config` of {algorithm.__name__} must be a {name}, got {got}{hint}")

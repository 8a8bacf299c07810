"""Proximal policy optimization of several agents in one environment."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
import optax

from memorax import lox
from memorax.acting import Loop, OnPolicy, Policy, State, Value
from memorax.acting.actor_critic import ActorCriticLearner
from memorax.acting.algorithm import Behavior
from memorax.acting.joint import JointStage, OneOfMany, see_all, seeing
from memorax.algorithms.ppo import PPO, Batch, PPOConfig
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.networks import Network

MAPPOState: TypeAlias = State


@dataclass(frozen=True)
class MAPPOConfig(PPOConfig):
    """Configuration of MAPPO: that of PPO, for each agent, and two choices."""

    share_parameters: bool = False
    """Whether all agents have the same networks, which learn from what all of them did."""
    centralized_critic: bool = False
    """Whether the critic sees the observations of all agents, its own first, encoded as one vector of numbers."""


class Member(PPO):
    """PPO of one agent, which learns nothing from the steps in which it is out."""

    def batch(self, learner: ActorCriticLearner, trajectory: Transition, loop: Loop) -> Batch:
        """Put together what is learned from."""
        batch = super().batch(learner, trajectory, loop)
        return batch._replace(weight=batch.weight * trajectory.aux["active"])


class MAPPO(OnPolicy):
    """Let every agent improve its own policy by PPO on what all of them just did together.

    By default agents are independent: each has networks, optimizer states, advantages and a KL limit of its own, and
    acting and learning are PPO's, mapped over the agents. With `share_parameters` there is one learner, for which the
    agents are further environments. With `centralized_critic` the value, which acting does not need, is one of
    everything that the agents observe. An agent that is out learns nothing until the episode is over for all, and its
    return ends with it.

    Differs from the paper, whose agents share parameters and a central critic: both must be asked for. Values are not
    normalized.

    Args:
        config: Configuration.
        env: Environment with several agents.
        env_params: Its parameters.
        actor: Network with a policy head, for one agent.
        critic: Network with a value head, for one agent. With `centralized_critic` it has a trunk of its own and sees
            a vector.
        actor_optimizer: Moves the actors' parameters.
        critic_optimizer: Moves the critics' parameters.

    Raises:
        TypeError: The environment has a single agent; or as for `PPO`.
        ValueError: A central critic shares the actor's trunk; or as for `PPO`.

    Example:
        >>> agent = MAPPO(MAPPOConfig(), env, env_params, actor, critic, optax.adam(3e-4), optax.adam(3e-4))
        >>> state = agent.init(jax.random.key(0))
        >>> state, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=100_000)

    Source:
        Yu et al. 2022, "The Surprising Effectiveness of PPO in Cooperative Multi-Agent Games",
        https://arxiv.org/abs/2103.01955; de Witt et al. 2020, "Is Independent Learning All You Need in the StarCraft
        Multi-Agent Challenge?", https://arxiv.org/abs/2011.09533.
    """

    def __init__(
        self,
        config: Any,
        env: Any,
        env_params: PyTree,
        actor: Network,
        critic: Network,
        actor_optimizer: optax.GradientTransformation,
        critic_optimizer: optax.GradientTransformation,
    ) -> None:
        stage = JointStage(env, env_params, config.num_envs)
        super().__init__(config, stage)
        self.num_agents = stage.num_agents
        if config.centralized_critic:
            if getattr(actor, "torso", None) is getattr(critic, "torso", ()):
                raise ValueError(
                    "`critic` must have a trunk of its own with `centralized_critic`, got the actor's; build two "
                    "feature extractors and two torsos"
                )
            actor, critic = seeing(actor, "own"), seeing(critic, "all")
        one = OneOfMany(stage.env, self._see)
        networks = actor, critic, actor_optimizer, critic_optimizer
        self.member = Member(config, one, stage.env_params, *networks)
        """What one agent is and does."""
        stage.bounded = self.member.stage.bounded

    @property
    def recurrent(self) -> bool:
        """Whether the agents have a memory."""
        return self.member.recurrent

    def _see(self, observation: PyTree, axis: int = 0) -> PyTree:
        if not self.config.centralized_critic:
            return observation
        env = cast(Any, self.stage.env)
        return see_all(env.agent_observation_space(self.stage.env_params), observation, axis)

    def _inputs(self, timestep: Timestep) -> Timestep:
        """What each agent's networks see, `[num_envs, agents, ...]`."""
        return dataclasses.replace(timestep, observation=self._see(timestep.observation, axis=1))

    def _each(self, function: Callable[..., PyTree], learner: PyTree, key: Key | None, *data: PyTree) -> PyTree:
        """Call `function(learner, key, *data)` for every agent; data go in and out as `[num_envs, agents, ...]`."""
        if self.config.share_parameters:
            outputs = function(learner, key, *self._together(data))
            return jax.tree.map(lambda x: x.reshape(-1, self.num_agents, *x.shape[1:]), outputs)
        keys = None if key is None else jax.random.split(key, self.num_agents)
        return jax.vmap(function, in_axes=(0, 0, *(1 for _ in data)), out_axes=1)(learner, keys, *data)

    def _together(self, data: PyTree) -> PyTree:
        """Make further environments of the agents: `[num_envs * agents, ...]`."""
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), data)

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the memory of all agents, `[batch, agents, ...]`."""
        keys = jax.random.split(key, self.num_agents)
        return jax.vmap(self.member.initialize_carry, in_axes=(0, None), out_axes=1)(keys, batch)

    def init_learner(self, key: Key, loop: Loop) -> ActorCriticLearner:
        """Make the networks of all agents, every leaf `[agents, ...]`; or of one, where parameters are shared."""

        def one(key: Key, timestep: Timestep, carry: Carry) -> ActorCriticLearner:
            return self.member.init_learner(key, dataclasses.replace(loop, timestep=timestep, carry=carry))

        seen = self._inputs(loop.timestep), loop.carry
        if self.config.share_parameters:
            return one(key, *self._together(seen))
        return jax.vmap(one, in_axes=(0, 1, 1))(jax.random.split(key, self.num_agents), *seen)

    def policy(self, learner: ActorCriticLearner, step: Array, behavior: Behavior) -> Policy:
        """Let every agent act as PPO does."""

        def one(learner: ActorCriticLearner, key: Key, carry: Carry, timestep: Timestep) -> tuple:
            return self.member.policy(learner, step, behavior)(key, carry, timestep)

        return lambda key, carry, timestep: self._each(one, learner, key, carry, self._inputs(timestep))

    def value(self, learner: ActorCriticLearner) -> Value:
        """Value what each agent observes, with the memory of its episode."""

        def one(learner: ActorCriticLearner, _: None, carry: Carry, timestep: Timestep) -> Array:
            return self.member.value(learner)(carry, timestep)

        return lambda carry, timestep: self._each(one, learner, None, carry, self._inputs(timestep))

    def learn(
        self, key: Key, learner: ActorCriticLearner, trajectory: Transition, loop: Loop, carry: Carry
    ) -> ActorCriticLearner:
        """Let every agent learn as PPO does, from the steps in which it is not out."""
        # An agent's flag that is up alone leaves it out; all up at once begin an episode.
        done = trajectory.inputs.done
        active = ~done | jnp.all(done, axis=2, keepdims=True)
        trajectory = dataclasses.replace(trajectory, aux=trajectory.aux | {"active": active}, info={})
        trajectory = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 1), trajectory)
        trajectory = dataclasses.replace(trajectory, inputs=self._inputs(trajectory.inputs))

        def one(learner: ActorCriticLearner, key: Key, *data: PyTree) -> ActorCriticLearner:
            trajectory, timestep, last_carry, carry = data
            last = dataclasses.replace(loop, timestep=timestep, carry=last_carry)
            return self.member.learn(key, learner, trajectory, last, carry)

        data = trajectory, self._inputs(loop.timestep), loop.carry, carry
        if self.config.share_parameters:
            learner, logs = lox.spool(one)(learner, key, *self._together(data))
        else:
            keys = jax.random.split(key, self.num_agents)
            learner, logs = jax.vmap(lox.spool(one), in_axes=(0, 0, 1, 1, 1, 1))(learner, keys, *data)
        lox.log({name: jnp.mean(values) for name, values in logs.items()})
        return learner

"""Multi-agent proximal policy optimization: PPO mapped over the agents of an environment."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
import optax

from memorax import lox
from memorax.acting import AgentPolicy, Behavior, OnPolicy, RolloutState, State, StepCount, Value
from memorax.acting.multi_agent import MultiAgentVectorEnv, SingleAgentView
from memorax.algorithms.ppo import PPO, Batch, Metrics, PPOConfig
from memorax.core.checks import boolean, check_fields, optional
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.learning.actor_critic import ActorCritic, ActorCriticLearner
from memorax.learning.centralized_critic import joint_observation, joint_space, restrict_to
from memorax.networks import Network

MAPPOState: TypeAlias = State


@dataclass(frozen=True)
class MAPPOConfig(PPOConfig):
    """Configuration of MAPPO: that of PPO for each agent, parameter sharing, and a centralized critic."""

    share_parameters: bool = False
    """Parameter sharing: whether all agents have the same networks, which learn from the transitions of all."""
    centralized_critic: bool = False
    """Whether the critic sees the observations of all agents, its own first, encoded as one vector."""
    team_returns: bool | None = None
    """Whether the return of an agent that is out goes on until the episode is over for all, and has what its team is
    rewarded with until then. None: as the environment's `team_reward` says."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, **dict.fromkeys(("share_parameters", "centralized_critic"), boolean()))
        check_fields(self, team_returns=optional(boolean()))


class Member(PPO):
    """PPO of one agent, which does not learn to act in the steps in which it is out of the episode."""

    team_returns: bool
    """Whether its return goes on then, so that the value function must be learned in these steps too."""

    def batch(self, learner: ActorCriticLearner, trajectory: Transition, rollout_state: RolloutState) -> Batch:
        """Put the batch together, with weight 0 for the steps that nothing is learned from."""
        batch, active = super().batch(learner, trajectory, rollout_state), trajectory.aux["active"]
        return batch._replace(active=active) if self.team_returns else batch._replace(weight=batch.weight * active)

    def actor_loss(self, distribution: Any, batch: Batch) -> tuple[Array, Metrics]:
        """Compute the loss of the policy over the steps in which the agent acts."""
        weight = batch.weight if batch.active is None else batch.weight * batch.active
        return super().actor_loss(distribution, batch._replace(weight=weight))


class MAPPO(OnPolicy[MAPPOConfig, ActorCritic]):
    """MAPPO: multi-agent PPO, with independent agents or shared parameters, and optionally a centralized critic.

    By default agents are independent (IPPO): each has networks, optimizer states, advantages and a KL limit of its own,
    and acting and learning are PPO's, mapped over the agents. With `share_parameters` there is one learner, for which
    the agents are further environments. With `centralized_critic` the value function, which acting does not need, sees
    the observations of all agents. An agent that is out of an episode does not learn to act until the episode is over
    for all. With `team_returns` its return goes on until then, and so do its memory and its value function; otherwise
    its return ends when it is out.

    Differs from the paper, whose agents share parameters and a centralized critic: both are options here. Values are
    not normalized.

    Args:
        config: Configuration.
        env: Environment with several agents.
        env_params: Its parameters; None for its default ones.
        actor: Network with a policy head, for one agent.
        critic: Network with a head for state values, for one agent. With `centralized_critic` it has a trunk of its own
            and sees a vector.
        actor_optimizer: Optimizer of the actors' parameters.
        critic_optimizer: Optimizer of the critics' parameters.

    Raises:
        TypeError: An argument or a network's head is of the wrong kind, or the environment has a single agent.
        ValueError: A centralized critic shares the actor's trunk, the actor's head does not fit the action space, or
            `num_minibatches` does not divide the batch.

    Example:
        >>> agent = MAPPO(MAPPOConfig(), env, env_params, actor, critic, optax.adam(3e-4), optax.adam(3e-4))
        >>> state = agent.init(jax.random.key(0))
        >>> state, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=100_000)

    Source:
        Yu et al. 2022, "The Surprising Effectiveness of PPO in Cooperative Multi-Agent Games",
        https://arxiv.org/abs/2103.01955; de Witt et al. 2020, "Is Independent Learning All You Need in the StarCraft
        Multi-Agent Challenge?", https://arxiv.org/abs/2011.09533.
    """

    Config = MAPPOConfig
    vector_env: MultiAgentVectorEnv

    def __init__(
        self,
        config: MAPPOConfig,
        env: Any,
        env_params: PyTree,
        actor: Network,
        critic: Network,
        actor_optimizer: optax.GradientTransformation,
        critic_optimizer: optax.GradientTransformation,
    ) -> None:
        super().__init__(config, env, env_params, vector_env=MultiAgentVectorEnv)
        self.num_agents = self.vector_env.num_agents
        if config.team_returns is not None:
            self.vector_env.team_returns = config.team_returns
        if config.centralized_critic:
            if getattr(actor, "torso", None) is getattr(critic, "torso", ()):
                raise ValueError(
                    "`critic` must have a trunk of its own with `centralized_critic`, got the actor's; build two "
                    "feature extractors and two torsos"
                )
            actor, critic = restrict_to(actor, "own"), restrict_to(critic, "all")
        own = cast(Any, self.vector_env.env).agent_observation_space(self.vector_env.env_params)
        space = joint_space(own, self.num_agents) if config.centralized_critic else None
        # Not a method: an agent that its own networks refer to is never freed, since JAX holds what initializes them.
        joint = None if space is None else partial(joint_observation, own, axis=0)
        view = SingleAgentView(self.vector_env.env, joint, space)
        networks = actor, critic, actor_optimizer, critic_optimizer
        self.member = Member(config, view, self.vector_env.env_params, *networks)
        """PPO of one agent."""
        self.member.team_returns = self.vector_env.team_returns
        self.networks, self.vector_env.bounded = self.member.networks, self.member.vector_env.bounded

    def _view(self, observation: PyTree, axis: int) -> PyTree:
        if not self.config.centralized_critic:
            return observation
        env = cast(Any, self.vector_env.env)
        return joint_observation(env.agent_observation_space(self.vector_env.env_params), observation, axis)

    def _inputs(self, timestep: Timestep) -> Timestep:
        """Give what each agent's networks see, `[num_envs, agents, ...]`."""
        done = timestep.done
        if self.vector_env.team_returns:  # the memory lasts as long as the return
            done = jnp.broadcast_to(jnp.all(done, axis=1, keepdims=True), done.shape)
        return dataclasses.replace(timestep, observation=self._view(timestep.observation, axis=1), done=done)

    def _each(self, function: Callable[..., PyTree], learner: PyTree, key: Key | None, *data: PyTree) -> PyTree:
        """Call `function(learner, key, *data)` for every agent; data and results are `[num_envs, agents, ...]`."""
        if self.config.share_parameters:
            outputs = function(learner, key, *self._together(data))
            return jax.tree.map(lambda x: x.reshape(len(x) // self.num_agents, self.num_agents, *x.shape[1:]), outputs)
        keys = None if key is None else jax.random.split(key, self.num_agents)
        return jax.vmap(function, in_axes=(0, 0, *(1 for _ in data)), out_axes=1)(learner, keys, *data)

    def _together(self, data: PyTree) -> PyTree:
        """Merge agents into the batch of environments: `[num_envs * agents, ...]`."""
        return jax.tree.map(lambda x: jax.lax.collapse(x, 0, 2), data)

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the initial memory of all agents, `[batch, agents, ...]`."""
        keys = jax.random.split(key, self.num_agents)
        return jax.vmap(self.member.initialize_carry, in_axes=(0, None), out_axes=1)(keys, batch)

    def init_learner(self, key: Key, rollout_state: RolloutState) -> ActorCriticLearner:
        """Make the networks of all agents, every leaf `[agents, ...]`; or of one, where parameters are shared."""

        def one(key: Key, timestep: Timestep, carry: Carry) -> ActorCriticLearner:
            own = dataclasses.replace(rollout_state, timestep=timestep, carry=carry)
            return self.member.init_learner(key, own)

        seen = self._inputs(rollout_state.timestep), rollout_state.carry
        if self.config.share_parameters:
            return one(key, *self._together(seen))
        return jax.vmap(one, in_axes=(0, 1, 1))(jax.random.split(key, self.num_agents), *seen)

    def policy(self, learner: ActorCriticLearner, step: StepCount, behavior: Behavior) -> AgentPolicy:
        """Give the policy of all agents."""

        def one(learner: ActorCriticLearner, key: Key, carry: Carry, timestep: Timestep, *action: Array) -> tuple:
            return self.member.policy(learner, step, behavior)(key, carry, timestep, *action)

        def act(key: Key, carry: Carry, timestep: Timestep, action: Array | None = None) -> tuple:
            return self._each(one, learner, key, carry, self._inputs(timestep), *(() if action is None else (action,)))

        return act

    def value(self, learner: ActorCriticLearner) -> Value:
        """Give the value function of all agents."""

        def one(learner: ActorCriticLearner, _: None, carry: Carry, timestep: Timestep) -> Array:
            return self.member.value(learner)(carry, timestep)

        return lambda carry, timestep: self._each(one, learner, None, carry, self._inputs(timestep))

    def learn(
        self, key: Key, learner: ActorCriticLearner, trajectory: Transition, rollout_state: RolloutState, carry: Carry
    ) -> ActorCriticLearner:
        """Learn as PPO does for every agent, from the steps in which it is not out of the episode."""
        # A flag set for some agents means that they are out; one set for all of them starts an episode.
        done = trajectory.inputs.done
        aux = trajectory.aux | {"active": ~done | jnp.all(done, axis=2, keepdims=True)}
        terminated, truncated = self.vector_env.ends(trajectory.terminated, trajectory.truncated)
        trajectory = dataclasses.replace(trajectory, terminated=terminated, truncated=truncated, aux=aux, info={})
        trajectory = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 1), trajectory)
        trajectory = dataclasses.replace(trajectory, inputs=self._inputs(trajectory.inputs))

        def one(learner: ActorCriticLearner, key: Key, *data: PyTree) -> ActorCriticLearner:
            trajectory, timestep, last_carry, carry = data
            last = dataclasses.replace(rollout_state, timestep=timestep, carry=last_carry)
            return self.member.learn(key, learner, trajectory, last, carry)

        data = trajectory, self._inputs(rollout_state.timestep), rollout_state.carry, carry
        if self.config.share_parameters:
            learner, logs = lox.spool(one)(learner, key, *self._together(data))
        else:
            keys = jax.random.split(key, self.num_agents)
            learner, logs = jax.vmap(lox.spool(one), in_axes=(0, 0, 1, 1, 1, 1))(learner, keys, *data)
        lox.log({name: logs.mean(name) for name in logs})
        return learner

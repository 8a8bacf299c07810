"""Streaming actor-critic with eligibility traces: learns from every step when it happens, without replay or batches."""

from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct

from memorax import lox
from memorax.acting import AgentPolicy, Behavior, NormalizationConfig, OnPolicy, RolloutState, State, StepCount, Value
from memorax.core.checks import check_fields, integer, real
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.learning.actor_critic import ActorCritic
from memorax.learning.dropout import dropout
from memorax.learning.unroll import add_time, remove_time
from memorax.networks import Network
from memorax.objectives import episode_ends, lambda_returns, obgd

StreamACState: TypeAlias = State


@dataclass(frozen=True)
class StreamACConfig(NormalizationConfig):
    """Configuration of StreamAC."""

    num_envs: int = 1
    """Number of parallel streams, each with eligibility traces of its own; their updates are averaged."""
    gamma: float = 0.99
    """Discount factor per step, [0, 1]."""
    trace_lambda: float = 0.8
    """Lambda of the eligibility traces, [0, 1]: traces decay by `gamma * trace_lambda` per step."""
    actor_lr: float = 1.0
    """Maximum step size of the actor; the overshooting bound (ObGD) is nearly always below 1."""
    critic_lr: float = 1.0
    """Maximum step size of the critic."""
    actor_kappa: float = 3.0
    """Scaling factor kappa of the actor's overshooting bound; larger values make smaller steps."""
    critic_kappa: float = 2.0
    """Scaling factor kappa of the critic's overshooting bound; larger values make smaller steps."""
    entropy_coefficient: float = 0.01
    """Weight of the entropy bonus."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(
            self,
            num_envs=integer(1),
            **dict.fromkeys(("gamma", "trace_lambda"), real(0, 1)),
            **dict.fromkeys(("actor_lr", "critic_lr", "entropy_coefficient"), real(0)),
            **dict.fromkeys(("actor_kappa", "critic_kappa"), real(above=0)),
        )

    @property
    def num_steps(self) -> int:
        """Steps of each environment per update: one, that is what streaming means."""
        return 1


@struct.dataclass
class StreamACLearner:
    """Parameters and eligibility traces.

    Attributes:
        params: Parameters of both networks; those of a shared trunk are among the actor's.
        traces: Eligibility traces of actor and critic, for the parameters that each moves,
            `[num_envs, *parameter.shape]`.
    """

    params: dict[str, PyTree]
    traces: dict[str, dict[str, PyTree]]


class StreamAC(OnPolicy[StreamACConfig, ActorCritic]):
    """Stream AC: streaming actor-critic with eligibility traces, without replay buffer, batches or optimizer state.

    With the TD error `d = r + gamma V(x') - V(x)` of a step, traces `z_V` of the gradient of `V(x)` and `z_P` of the
    gradient of `log P(a|x) + c sign(d) H(P(x))` decay by `gamma lambda` and then add that gradient; parameters move by
    `step d z`, where `obgd` chooses the step. After an episode's last step its traces are zero.

    Memory: the gradient of a step does not reach back into the steps before, unless the torso carries along how its
    memory depends on the parameters, `RTRL(...)`; then it is exact but for the parameters' own moves.

    Differs from the paper: any number of streams; truncated episodes bootstrap from the value of their final
    observation; actor and critic may stand on one trunk, which both move.

    Args:
        config: Configuration.
        env: Environment.
        env_params: Its parameters; None for its default ones.
        actor: Network with a policy head; `memorax.networks.streaming_network` makes one as in the paper.
        critic: Network with a `VNetwork` head; give it the actor's feature extractor and torso objects for a shared
            trunk.

    Raises:
        TypeError: An argument is of the wrong type, or a network has a head of the wrong kind.
        ValueError: The actor's head does not fit the action space.

    Example:
        >>> agent = StreamAC(StreamACConfig(), env, env_params, actor, critic)
        >>> state = agent.init(jax.random.key(0))
        >>> state, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=100_000)

    Source:
        Elsayed, Vasan and Mahmood 2024, "Streaming Deep Reinforcement Learning Finally Works",
        https://arxiv.org/abs/2410.14606.
    """

    Config = StreamACConfig
    allows_overlap = False

    def __init__(self, config: StreamACConfig, env: Any, env_params: PyTree, actor: Network, critic: Network) -> None:
        super().__init__(config, env, env_params)
        self.networks = ActorCritic(self.vector_env, actor, critic, distributional=False, gvfs=False)

    def init_learner(self, key: Key, rollout_state: RolloutState) -> StreamACLearner:
        """Make both networks, and traces of zeros."""
        params = self.networks.init(key, rollout_state.timestep, rollout_state.carry)
        batch = rollout_state.timestep.done.shape[0]
        empty = jax.tree.map(lambda x: jnp.zeros((batch, *x.shape), x.dtype), params)
        return StreamACLearner(params, {name: self.moved_by(name, empty) for name in params})

    def moved_by(self, name: str, params: dict[str, PyTree]) -> dict[str, PyTree]:
        """Give the parameters that actor or critic moves: its own, and for the critic those of a shared trunk."""
        return params if name == "critic" and self.networks.shared else {name: params[name]}

    def policy(self, learner: StreamACLearner, step: StepCount, behavior: Behavior) -> AgentPolicy:
        """Sample from the policy, or take its mode; record log-probability and value."""
        return self.networks.policy(learner.params, behavior)

    def value(self, learner: StreamACLearner) -> Value:
        """Give the value function."""
        return self.networks.value(learner.params)

    def learn(
        self, key: Key, learner: StreamACLearner, trajectory: Transition, rollout_state: RolloutState, carry: Carry
    ) -> StreamACLearner:
        """Learn from a single step of every stream."""
        config, params = self.config, learner.params
        next_value = self.value(learner)(rollout_state.carry, rollout_state.timestep)
        values = jnp.concatenate([trajectory.aux["value"], add_time(next_value)], axis=1)
        target = lambda_returns(*episode_ends(trajectory, config.gamma), values, 0.0)
        error = remove_time(target - values[:, :-1])

        inputs, action = remove_time((trajectory.inputs, trajectory.action))
        keys = jax.random.split(key, error.shape[0])
        gradients, entropy = jax.vmap(partial(self.gradients, params))(inputs, action, carry, error, keys)
        decay = config.gamma * config.trace_lambda
        traces = jax.tree.map(lambda z, g: decay * z + g, learner.traces, gradients)

        metrics = {"td_error": jnp.abs(error), "value": values[:, 0], "entropy": entropy}
        for name in ("actor", "critic"):
            options = {"learning_rate": getattr(config, f"{name}_lr"), "kappa": getattr(config, f"{name}_kappa")}
            moved, metrics[f"{name}_step"] = obgd(self.moved_by(name, params), traces[name], error, **options)
            params = params | moved
        lox.log({"losses": jax.tree.map(jnp.mean, metrics)})

        ended = remove_time(trajectory.done)
        clear = jax.vmap(lambda ended, traces: jax.tree.map(lambda z: jnp.where(ended, 0.0, z), traces))
        return StreamACLearner(params, clear(ended, traces))

    def gradients(
        self, params: dict[str, PyTree], inputs: Timestep, action: Array, carry: Carry, error: Array, key: Key
    ) -> tuple[dict[str, Any], Array]:
        """Compute the gradients that a step of one stream adds to its traces.

        Args:
            params: Parameters of both networks.
            inputs: What was seen, without batch and time.
            action: The action taken.
            carry: The memory before it.
            error: TD error of the step, `[]`. Parameters move by it times the trace, so its sign in front of the
                entropy makes that a bonus for positive and negative errors alike.
            key: Random key of dropout.

        Returns:
            Gradients, in the shape of the traces of one stream, and the policy's entropy.
        """
        inputs, action, carry = jax.tree.map(lambda x: x[None], (inputs, action, carry))

        def policy(params: PyTree) -> tuple[Array, Array]:
            with dropout(key):
                _, (distribution, _), _ = self.networks.unroll_with_losses(params, add_time(inputs), carry)
            entropy = distribution.entropy()[0, 0]
            bonus = self.config.entropy_coefficient * jnp.sign(error) * entropy
            return distribution.log_prob(add_time(action))[0, 0] + bonus, entropy

        def value(params: PyTree) -> Array:
            with dropout(key):
                return self.networks.unroll_with_losses(params, add_time(inputs), carry)[1][1][0, 0]

        actor, entropy = jax.grad(policy, has_aux=True)(params)
        return {
            "actor": self.moved_by("actor", actor),
            "critic": self.moved_by("critic", jax.grad(value)(params)),
        }, entropy

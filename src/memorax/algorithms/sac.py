"""Soft actor-critic from a replay, for continuous and discrete actions, recurrent or feed-forward."""

import dataclasses
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import struct

from memorax import lox
from memorax.acting import Behavior, Loop, Model, OffPolicy, Policy, Stage, State, crosses
from memorax.acting.actor_and_critics import ActorAndCritics, Drawn
from memorax.acting.off_policy import Buffer
from memorax.acting.replay import ReplayConfig, default_buffer
from memorax.acting.soft_policy import Decision
from memorax.acting.value_outputs import expected, losses
from memorax.core.checks import at_least, whole
from memorax.core.types import Array, Carry, Key, PyTree, Transition
from memorax.networks import Network
from memorax.networks.heads import Alpha
from memorax.objectives import episode_ends, n_step_returns, temperature_loss, weighted_mean

SACState: TypeAlias = State
Metrics: TypeAlias = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class SACConfig(ReplayConfig):
    """Configuration of SAC."""

    train_frequency: int = 1
    """Transitions of all environments per update; any number, exactly."""
    batch_size: int = 256
    """Sequences per update."""
    gradient_steps: int = 1
    """Gradient steps per update, all on the same sequences."""
    tau: float = 0.005
    """How far the target networks move when they move, (0, 1]: 1 copies."""
    target_update_frequency: int = 1
    """Transitions between two moves of the target networks."""
    target_entropy_scale: float = 0.89
    """How much entropy there shall be: this share of the most there can be for discrete actions, minus so many nats
    per dimension for continuous ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "gradient_steps", 1)
        at_least(self, "target_entropy_scale", 0)


@struct.dataclass
class SACLearner:
    """What is learned: a policy, its critics and the slower copies that targets come from, and the temperature."""

    actor: Model
    critics: Model
    target: PyTree
    alpha: Model


class SAC(OffPolicy):
    """Learn a policy that is paid for its entropy, from what was kept, by critics that learn what it is worth.

    Each gradient step unrolls every network once over sequences `x_0 .. x_T`, from the memory that acting had at
    `x_0`. With `V(x) = min_i Q_i'(x, a) - alpha log pi(a | x)`, `a ~ pi`, by target critics `Q'`, both critics move
    towards `r + gamma V(x_{t+1})`, the policy towards a higher `V` by the critics just learned, and `alpha` up where
    there is less entropy than there shall be. Discrete actions are not sampled for it: `V` is an expectation.

    Differs from the paper: sequences may be longer than one step and networks may have a memory; a step with a hidden
    successor (truncated) has no loss; targets and the policy's gradient share one sample of actions.

    Args:
        config: Configuration.
        env: Environment.
        env_params: Its parameters.
        actor: Network with a head `Categorical` or, for continuous actions, `SquashedGaussian` or `Beta`.
        critic: Network with a head `DiscreteQNetwork` or `HLGaussQNetwork`, or for continuous actions
            `ContinuousQNetwork`.
        second_critic: Another one; the same object is a second network nonetheless. A `heads.Alpha` here says where
            the temperature begins (else at 1), and there are two networks like the first.
        actor_optimizer: Moves the actor's parameters.
        critic_optimizer: Moves those of both critics.
        alpha_optimizer: Moves the temperature's logarithm.
        buffer: Replay of sequences; None for one that follows from the configuration.

    Raises:
        TypeError: A network is none, or its head not one of these; the replay is none.
        ValueError: A head does not serve the action space, a critic stands on the actor's trunk, or configuration and
            replay do not fit each other.

    Example:
        >>> agent = SAC(SACConfig(), env, env_params, actor, critic, critic, *[optax.adam(3e-4)] * 3)
        >>> state = agent.warmup(jax.random.key(1), agent.init(jax.random.key(0)), num_steps=1_000)
        >>> state, logs = lox.spool(agent.train)(jax.random.key(2), state, num_steps=30_000)

    Source:
        Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", https://arxiv.org/abs/1812.05905;
        Christodoulou 2019, https://arxiv.org/abs/1910.07207; Ni, Eysenbach and Salakhutdinov 2022, "Recurrent
        Model-Free RL Can Be a Strong Baseline for Many POMDPs", https://arxiv.org/abs/2110.05038.
    """

    def __init__(  # noqa: PLR0913, PLR0917  three networks with an optimizer each
        self,
        config: SACConfig,
        env: Any,
        env_params: PyTree,
        actor: Network,
        critic: Network,
        second_critic: Network | Alpha,
        actor_optimizer: optax.GradientTransformation,
        critic_optimizer: optax.GradientTransformation,
        alpha_optimizer: optax.GradientTransformation,
        buffer: Buffer | None = None,
    ) -> None:
        stage = Stage(env, env_params, config.num_envs)
        alone = isinstance(second_critic, Alpha)
        self.alpha: Any = second_critic if alone else Alpha()
        self.networks = ActorAndCritics(stage, actor, (critic, critic if alone else second_critic))
        self.actor_optimizer, self.critic_optimizer = actor_optimizer, critic_optimizer
        self.alpha_optimizer = alpha_optimizer
        recurrent = self.networks.recurrent
        self.burn_in = config.burn_in_length if recurrent else 0
        replay = default_buffer(config, recurrent, n_step=1) if buffer is None else buffer
        super().__init__(config, stage, replay, store_carry=config.store_carry and recurrent)
        self.check_replay(recurrent)

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the memory of actor and critics."""
        return self.networks.initialize_carry(key, batch)

    def init_learner(self, key: Key, loop: Loop) -> SACLearner:
        """Make all networks, and copies of the critics."""
        params = self.networks.init(key, loop)
        return SACLearner(
            actor=Model.create(self.actor_optimizer, params["actor"]),
            critics=Model.create(self.critic_optimizer, params["critics"]),
            target=jax.tree.map(jnp.copy, params["critics"]),
            alpha=Model.create(self.alpha_optimizer, self.alpha.init(key)),
        )

    def policy(self, learner: SACLearner, step: Array, behavior: Behavior) -> Policy:
        """Sample from the policy, or take its mode."""
        del step
        return self.networks.policy(learner.actor.params, learner.critics.params, behavior)

    def record(self, transition: Transition) -> Transition:
        """Keep what happened, not what was thought of it."""
        return dataclasses.replace(transition, info={}, aux={})

    def learn(self, key: Key, learner: SACLearner, sample: Any, step: Array) -> tuple[SACLearner, None]:
        """Take the gradient steps of an update."""
        batch, config = sample.experience, self.config
        carry = jax.tree.map(lambda x: x[:, 0], batch.carry)
        carry = self.initialize_carry(key, batch.reward.shape[0]) if carry is None else carry
        refresh = crosses(step, config.train_frequency, config.target_update_frequency)

        drawn = Drawn(self.networks, batch, carry, self.burn_in)

        def body(learner: SACLearner, key: Key) -> tuple[SACLearner, Metrics]:
            return self.improve(key, learner, drawn, refresh)

        learner, metrics = jax.lax.scan(body, learner, jax.random.split(key, config.gradient_steps))
        lox.log({"losses": jax.tree.map(lambda x: jnp.mean(x, axis=0), metrics)})
        return learner, None

    def improve(self, key: Key, learner: SACLearner, drawn: Drawn, refresh: Array) -> tuple[SACLearner, Metrics]:
        """Take a gradient step: of the critics, then of the policy and of the temperature."""
        config, temperature = self.config, self.alpha.apply(learner.alpha.params)
        (decision, sown), pull_back = jax.vjp(lambda params: drawn.decide(params, key), learner.actor.params)
        reward, discount, cut = episode_ends(drawn.steps, config.gamma)
        following = drawn.soft_value(learner.target, decision, temperature)
        target, weight = n_step_returns(reward, discount, cut, following, 1), 1.0 - cut
        entropy, unit = decision.entropy[:, :-1], decision.unit[:, :-1]

        def critic_loss(params: PyTree) -> tuple[Array, Metrics]:
            values, sown = drawn.values(params)
            loss = jnp.sum(jnp.stack([weighted_mean(losses(value, target), weight) for value in values]))
            numbers = expected(values[0])
            error, q = weighted_mean(jnp.abs(target - numbers), weight), weighted_mean(numbers, weight)
            return loss + sown, {"critic": loss, "td_error": error, "q_value": q}

        def actor_loss(decision: Decision) -> Array:
            return -weighted_mean(drawn.soft_value(critics.params, decision, temperature)[:, :-1], weight)

        def alpha_loss(params: PyTree) -> Array:
            return temperature_loss(self.alpha.apply(params), entropy, config.target_entropy_scale * unit, weight)

        gradients, metrics = jax.grad(critic_loss, has_aux=True)(learner.critics.params)
        critics = learner.critics.update(self.critic_optimizer, gradients)
        loss, gradients = jax.value_and_grad(actor_loss)(decision)
        actor = learner.actor.update(self.actor_optimizer, *pull_back((gradients, jnp.ones_like(sown))))
        alpha = learner.alpha.update(self.alpha_optimizer, jax.grad(alpha_loss)(learner.alpha.params))
        moved = optax.incremental_update(critics.params, learner.target, config.tau)
        copies = jax.tree.map(lambda new, old: jnp.where(refresh, new, old), moved, learner.target)
        metrics |= {"actor": loss, "temperature": temperature, "entropy": weighted_mean(entropy, weight)}
        return SACLearner(actor, critics, copies, alpha), metrics

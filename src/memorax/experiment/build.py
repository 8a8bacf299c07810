"""Building agents: environment, networks and optimizers of a run, put together for each kind of algorithm."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import flax.linen as nn
import jax

from memorax.acting import update_schedule
from memorax.acting.multi_agent import SingleAgentView
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, PyTree
from memorax.experiment.config import RunConfig
from memorax.experiment.modules import observation_extractor, policy_head, value_head
from memorax.experiment.optimizers import make_optimizer
from memorax.learning.adjustable_optimizer import AdjustableOptimizer
from memorax.learning.replay import default_buffer
from memorax.networks import MLP, RTRL, FeatureExtractor, Network, heads, streaming_network
from memorax.networks.blocks import PostNorm
from memorax.networks.sequence_models import MODELS


@dataclass(frozen=True)
class Parts:
    """The parts that an agent is built from.

    Attributes:
        config: The run.
        env: Its environment.
        env_params: The environment's parameters.
        used: Learning rates that an optimizer was made with.
    """

    config: RunConfig
    env: Any
    env_params: PyTree
    used: set[str] = field(default_factory=set)

    @property
    def action_space(self) -> Any:
        """The environment's action space."""
        return self.env.action_space(self.env_params)

    def trunk(self, *, of_critic: bool = False) -> tuple[FeatureExtractor, nn.Module]:
        """Make a feature extractor of the run's `inputs`, and a torso.

        Args:
            of_critic: Whether entries of the observation are seen that are the critic's only.
        """
        space, hidden = self.env.observation_space(self.env_params), () if of_critic else self.config.critic_only
        observation = observation_extractor(space, self.config.features, hidden)
        torso = MODELS.get(self.config.model)(features=self.config.features)
        return self.feature_extractor(observation), torso

    def feature_extractor(self, observation: Callable[..., Any]) -> FeatureExtractor:
        """Make a feature extractor of the run's `inputs`, given that of the observation."""
        action, reward = (_identity if name in self.config.inputs else None for name in ("action", "reward"))
        return FeatureExtractor(observation, action, reward)

    def optimizer(self, learning_rate: str = "learning_rate") -> AdjustableOptimizer:
        """Make an optimizer, with gradient clipping; critics have `critic_learning_rate`."""
        self.used.add(learning_rate)
        return make_optimizer(self.config, lambda: gradient_steps(self.config), learning_rate)

    def critic_optimizer(self) -> AdjustableOptimizer:
        """Make an optimizer of a critic."""
        return self.optimizer("critic_learning_rate")


def actor_critic(algorithm: Any, parts: Parts) -> Any:
    """Build an actor-critic agent, with an optimizer each for actor and critic; see `RunConfig.share_trunk`."""
    config = parts.config
    head = policy_head(parts.action_space, config.env)
    check_own_trunk(config)
    actor_trunk = parts.trunk()
    # Networks share a trunk if they are given the same objects, not merely equal ones.
    critic_trunk = actor_trunk if config.share_trunk else parts.trunk(of_critic=True)
    actor, critic = Network(*actor_trunk, head), Network(*critic_trunk, heads.VNetwork())
    optimizers = parts.optimizer(), parts.critic_optimizer()
    return algorithm(config.hyperparameters, parts.env, parts.env_params, actor, critic, *optimizers)


def q_learner(algorithm: Any, parts: Parts) -> Any:
    """Build a Q-learning agent; replay buffer and schedules follow from the configuration."""
    config = parts.config
    check_no_critic(config)
    network = Network(*parts.trunk(), value_head(parts.action_space, config.env))
    agent = algorithm(config.hyperparameters, parts.env, parts.env_params, network, parts.optimizer())
    check_replay(config)
    return agent


def q_learner_with_norms(algorithm: Any, parts: Parts) -> Any:
    """Build a Q-learning agent with LayerNorm after the feature extractor and after the memory model."""
    config = parts.config
    check_no_critic(config)
    extractor, torso = parts.trunk()
    observation = nn.Sequential([extractor.observation_extractor, nn.LayerNorm()])
    extractor = FeatureExtractor(observation, extractor.action_extractor, extractor.reward_extractor)
    network = Network(extractor, PostNorm(torso), value_head(parts.action_space, config.env))
    return algorithm(config.hyperparameters, parts.env, parts.env_params, network, parts.optimizer())


def streaming_actor_critic(algorithm: Any, parts: Parts) -> Any:
    """Build a streaming actor-critic agent: sparsely initialized, normalized layers, and no optimizers.

    Memory models with diagonal cells are trained by real-time recurrent learning; for others it costs too much.
    """
    config = parts.config
    head = policy_head(parts.action_space, config.env)
    if isinstance(head, heads.Hybrid):
        raise TypeError(
            f"`env` must have actions of one kind for {config.algorithm}, got {parts.action_space!r} of {config.env}; "
            "train it with another algorithm, such as ppo"
        )

    def network(head: nn.Module, *, of_critic: bool) -> Network:
        extractor, memory = parts.trunk(of_critic=of_critic)
        # Vectors go to the memory model unchanged: nothing is learned below it.
        vectors = isinstance(extractor.observation_extractor, MLP)
        extract = _identity if vectors else extractor.observation_extractor
        memory = RTRL(model=memory) if hasattr(getattr(memory, "cell", None), "recurrent_parameters") else memory
        network = streaming_network(head, memory, observation_extractor=extract, features=(config.features,))
        return network.clone(feature_extractor=parts.feature_extractor(extract))

    actor, critic = network(head, of_critic=False), network(heads.VNetwork(), of_critic=True)
    return algorithm(config.hyperparameters, parts.env, parts.env_params, actor, critic)


def soft_actor_critic(algorithm: Any, parts: Parts) -> Any:
    """Build a soft actor-critic agent: a policy and two critics, each with a trunk of its own.

    Actor, critics and entropy temperature have an optimizer each. The temperature starts in proportion to the scale of
    rewards, so that it weighs entropy against them as without a scale.
    """
    config, space = parts.config, parts.action_space
    if not isinstance(space, Discrete | Box):
        raise TypeError(
            f"`env` must have actions in Discrete or Box for {config.algorithm}, got {space!r} of {config.env}; train "
            "it with another algorithm, such as ppo"
        )
    head, value = policy_head(space, config.env), heads.ContinuousQNetwork(features=(config.features,))
    if isinstance(head, heads.Gaussian):
        head = heads.SquashedGaussian(action_dim=head.action_dim)
    else:
        value = value_head(space, config.env)
    actor, critic = Network(*parts.trunk(), head), Network(*parts.trunk(of_critic=True), value)
    optimizers = parts.optimizer(), parts.critic_optimizer(), parts.optimizer()
    temperature = config.hyperparameters.first_temperature(discrete=isinstance(space, Discrete))
    alpha = heads.Alpha(config.reward_scale * temperature)
    agent = algorithm(config.hyperparameters, parts.env, parts.env_params, actor, critic, alpha, *optimizers)
    check_replay(config)
    return agent


def multi_agent(algorithm: Any, parts: Parts) -> Any:
    """Build a multi-agent actor-critic agent; a centralized critic has a trunk of its own."""
    config = parts.config
    one = replace(parts, env=SingleAgentView(parts.env))
    actor_trunk = critic_trunk = one.trunk()
    if not config.hyperparameters.centralized_critic:
        check_own_trunk(config)
    if config.hyperparameters.centralized_critic:
        critic_trunk = one.feature_extractor(MLP((config.features,))), one.trunk()[1]
    elif not config.share_trunk:
        critic_trunk = one.trunk(of_critic=True)
    actor = Network(*actor_trunk, policy_head(one.action_space, config.env))
    critic = Network(*critic_trunk, heads.VNetwork())
    optimizers = parts.optimizer(), parts.critic_optimizer()
    return algorithm(config.hyperparameters, parts.env, parts.env_params, actor, critic, *optimizers)


def with_exploration(config: RunConfig, earlier: RunConfig | None = None) -> RunConfig:
    """Fill in over how many transitions epsilon falls, where the configuration of a run leaves it open.

    Args:
        config: The run.
        earlier: The run that it continues, whose exploration stays; None: epsilon falls during the warmup and the first
            quarter of `steps`.
    """
    own: Any = config.hyperparameters
    if getattr(own, "epsilon_steps", 0) is not None:
        return config
    filled = None if earlier is None else getattr(earlier.hyperparameters, "epsilon_steps", None)
    filled = filled or config.warmup + max(1, config.steps // 4)
    return replace(config, hyperparameters=replace(own, epsilon_steps=filled))


def check_own_trunk(config: RunConfig) -> None:
    """Check that a critic that sees more than the actor has a trunk of its own.

    Raises:
        ValueError: It shares the actor's.
    """
    if config.critic_only and config.share_trunk:
        raise ValueError(
            f"`share_trunk` must be False where the critic alone sees {', '.join(config.critic_only)}, got True; add "
            "--no-share-trunk"
        )


def check_no_critic(config: RunConfig) -> None:
    """Check that nothing is for the critic only, for an algorithm that has none.

    Raises:
        ValueError: There is such an entry.
    """
    if config.critic_only:
        raise ValueError(
            f"`critic_only` must be empty for {config.algorithm}, which has no critic, got "
            f"{' '.join(config.critic_only)}; take an algorithm with one, such as ppo"
        )


def check_replay(config: RunConfig) -> None:
    """Check that a run does not end before its replay buffer holds enough transitions to learn from.

    Raises:
        ValueError: It ends before.
    """
    enough = config.hyperparameters.learning_starts
    if config.warmup + config.steps < enough:
        raise ValueError(
            f"`steps` must be at least {enough - config.warmup:,} for learning to start after a warmup of "
            f"{config.warmup:,}, got {config.steps:,}; or lower `learning_starts` ({enough:,})"
        )


def gradient_steps(config: RunConfig) -> int:
    """Number of gradient steps of a whole run; one per rollout for an algorithm without epochs and minibatches."""
    algorithm = config.hyperparameters
    if hasattr(algorithm, "train_frequency"):
        return max(1, learning_updates(config)) * getattr(algorithm, "gradient_steps", 1)
    updates = config.steps // (algorithm.num_envs * algorithm.num_steps)
    minibatches = algorithm.minibatches(is_recurrent(config)) if hasattr(algorithm, "minibatches") else 1
    return max(1, updates * getattr(algorithm, "update_epochs", 1) * minibatches)


def learning_updates(config: RunConfig) -> int:
    """Number of updates of a whole run in which the replay buffer already holds enough to learn from."""
    algorithm = config.hyperparameters
    collect_steps, num_updates = update_schedule(algorithm.num_envs, algorithm.train_frequency)
    layout = default_buffer(algorithm, is_recurrent(config), getattr(algorithm, "n_step", 1)).layout  # type: ignore[attr-defined]
    columns = max(layout.min_columns, layout.sample_sequence_length) - config.warmup // algorithm.num_envs
    first = max(1, -(-columns // collect_steps))
    return max(0, config.steps // (collect_steps * algorithm.num_envs) - first + 1) * num_updates


def is_recurrent(config: RunConfig) -> bool:
    """Whether the run's model has a memory."""
    torso = MODELS.get(config.model)(features=config.features)
    carry = jax.eval_shape(lambda key: torso.initialize_carry(key, (1, config.features)), jax.random.key(0))
    return bool(jax.tree.leaves(carry))


def _identity(x: Array) -> Array:
    return x

"""Building agents: environment, networks and optimizers of a run, put together for each kind of algorithm."""

from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from memorax.acting import update_schedule
from memorax.acting.multi_agent import SingleAgentView
from memorax.core.spaces import Box, Discrete, encode, split_action_mask
from memorax.core.types import Array, PyTree
from memorax.experiment.config import RunConfig
from memorax.learning.replay import default_buffer
from memorax.networks import CNN, MLP, RTRL, FeatureExtractor, Network, heads, streaming_network
from memorax.networks.blocks import PostNorm
from memorax.networks.sequence_models import MODELS

_LARGE_IMAGE = 36
"""Pixels per side from which on the default kernels of the CNN fit."""


@dataclass(frozen=True)
class Parts:
    """The parts that an agent is built from.

    Attributes:
        config: The run.
        env: Its environment.
        env_params: The environment's parameters.
    """

    config: RunConfig
    env: Any
    env_params: PyTree

    @property
    def action_space(self) -> Any:
        """The environment's action space."""
        return self.env.action_space(self.env_params)

    def trunk(self) -> tuple[FeatureExtractor, nn.Module]:
        """Make a feature extractor and a torso; inputs are the observation, the previous action and the reward."""
        observation = observation_extractor(self.env.observation_space(self.env_params), self.config.features)
        torso = MODELS.get(self.config.model)(features=self.config.features)
        return FeatureExtractor(observation, _identity, _identity), torso

    def optimizer(self) -> optax.GradientTransformation:
        """Make an optimizer: Adam with gradient clipping, and a learning rate that is annealed if so configured."""
        learning_rate: Any = self.config.learning_rate
        if self.config.anneal_learning_rate:
            learning_rate = optax.linear_schedule(self.config.learning_rate, 0.0, gradient_steps(self.config))
        return optax.chain(optax.clip_by_global_norm(self.config.max_grad_norm), optax.adam(learning_rate, eps=1e-5))


def actor_critic(algorithm: Any, parts: Parts) -> Any:
    """Build an actor-critic agent, with an optimizer each for actor and critic; see `RunConfig.share_trunk`."""
    config = parts.config
    head = policy_head(parts.action_space, config.env)
    actor_trunk = parts.trunk()
    # Networks share a trunk if they are given the same objects, not merely equal ones.
    critic_trunk = actor_trunk if config.share_trunk else parts.trunk()
    actor, critic = Network(*actor_trunk, head), Network(*critic_trunk, heads.VNetwork())
    optimizers = parts.optimizer(), parts.optimizer()
    return algorithm(config.hyperparameters, parts.env, parts.env_params, actor, critic, *optimizers)


def q_learner(algorithm: Any, parts: Parts) -> Any:
    """Build a Q-learning agent; replay buffer and schedules follow from the configuration."""
    config = parts.config
    network = Network(*parts.trunk(), value_head(parts.action_space, config.env))
    agent = algorithm(config.hyperparameters, parts.env, parts.env_params, network, parts.optimizer())
    check_replay(config)
    return agent


def q_learner_with_norms(algorithm: Any, parts: Parts) -> Any:
    """Build a Q-learning agent with LayerNorm after the feature extractor and after the memory model."""
    config = parts.config
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

    def network(head: nn.Module) -> Network:
        extractor, memory = parts.trunk()
        # Vectors go to the memory model unchanged: nothing is learned below it.
        vectors = isinstance(extractor.observation_extractor, MLP)
        extract = _identity if vectors else extractor.observation_extractor
        memory = RTRL(model=memory) if hasattr(getattr(memory, "cell", None), "recurrent_parameters") else memory
        return streaming_network(head, memory, observation_extractor=extract, features=(config.features,))

    actor, critic = network(policy_head(parts.action_space, config.env)), network(heads.VNetwork())
    return algorithm(config.hyperparameters, parts.env, parts.env_params, actor, critic)


def soft_actor_critic(algorithm: Any, parts: Parts) -> Any:
    """Build a soft actor-critic agent: a policy and two critics, each with a trunk of its own.

    Actor, critics and entropy temperature have an optimizer each.
    """
    config, space = parts.config, parts.action_space
    head, value = policy_head(space, config.env), heads.ContinuousQNetwork(features=(config.features,))
    if isinstance(head, heads.Gaussian):
        head = heads.SquashedGaussian(action_dim=head.action_dim)
    else:
        value = value_head(space, config.env)
    actor, critic = Network(*parts.trunk(), head), Network(*parts.trunk(), value)
    optimizers = [parts.optimizer() for _ in range(3)]
    agent = algorithm(config.hyperparameters, parts.env, parts.env_params, actor, critic, critic, *optimizers)
    check_replay(config)
    return agent


def multi_agent(algorithm: Any, parts: Parts) -> Any:
    """Build a multi-agent actor-critic agent; a centralized critic has a trunk of its own."""
    config = parts.config
    one = replace(parts, env=SingleAgentView(parts.env))
    actor_trunk = critic_trunk = one.trunk()
    if config.hyperparameters.centralized_critic:
        critic_trunk = FeatureExtractor(MLP((config.features,)), _identity, _identity), one.trunk()[1]
    elif not config.share_trunk:
        critic_trunk = one.trunk()
    actor = Network(*actor_trunk, policy_head(one.action_space, config.env))
    critic = Network(*critic_trunk, heads.VNetwork())
    optimizers = parts.optimizer(), parts.optimizer()
    return algorithm(config.hyperparameters, parts.env, parts.env_params, actor, critic, *optimizers)


def observation_extractor(space: Any, features: int) -> nn.Module:
    """Choose the module that maps observations to feature vectors.

    Args:
        space: The observation space; an action mask in it is left out: it goes to the head.
        features: Width of the feature vectors.
    """
    space, _ = split_action_mask(space)
    if isinstance(space, Discrete):
        return nn.Embed(space.n, features)
    if isinstance(space, Box) and len(space.shape) == 3:
        small = CNN(features=(16, 32), kernel_sizes=(3, 3), strides=(2, 2), padding="SAME")
        return nn.Sequential([CNN() if min(space.shape[:2]) >= _LARGE_IMAGE else small, MLP((features,))])
    if isinstance(space, Box) and len(space.shape) < 2:
        # Where there is no axis of features, the feature extractor adds one, but not to integers.
        bare = not space.shape and not jnp.issubdtype(space.dtype, jnp.floating)
        return EncodedMLP(space, features) if bare else MLP((features,))
    return EncodedMLP(space, features)


class EncodedMLP(nn.Module):
    """Encodes observations of any space as one vector, and applies a dense layer.

    Attributes:
        space: The observation space.
        features: Width of the feature vectors.
    """

    space: Any
    features: int

    @nn.compact
    def __call__(self, observation: PyTree) -> Array:
        """Map observations `[batch, time, ...]` to `[batch, time, features]`."""
        return MLP((self.features,))(encode(self.space, observation))


def policy_head(space: Any, env: str) -> nn.Module:
    """Choose the policy head for an action space.

    Args:
        space: The action space.
        env: Name of the environment, for the message.

    Raises:
        TypeError: There is none for this space.
    """
    if isinstance(space, Discrete):
        return heads.Categorical(action_dim=space.n)
    if isinstance(space, Box) and len(space.shape) == 1:
        return heads.Gaussian(action_dim=space.shape[0])
    raise TypeError(
        f"`env` must have Discrete actions or a one-dimensional Box for a policy head, got {space!r} of {env}; "
        "wrap the environment so that its actions are one of these"
    )


def value_head(space: Any, env: str) -> nn.Module:
    """Choose the Q-value head for an action space.

    Args:
        space: The action space.
        env: Name of the environment, for the message.

    Raises:
        TypeError: There is none for this space.
    """
    if isinstance(space, Discrete):
        return heads.DiscreteQNetwork(action_dim=space.n)
    raise TypeError(
        f"`env` must have Discrete actions for a Q-network, got {space!r} of {env}; "
        "train it with another algorithm, such as ppo"
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

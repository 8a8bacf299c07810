"""Building agents: environment, networks and optimizers of a run, put together for each kind of algorithm."""

from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import optax

from memorax.acting.multi_agent import SingleAgentView
from memorax.core.spaces import Box, Dict, Discrete, encode
from memorax.core.types import Array, PyTree
from memorax.experiment.config import RunConfig
from memorax.networks import CNN, MLP, RTRL, FeatureExtractor, Network, heads, streaming_network
from memorax.networks.blocks import PostNorm
from memorax.networks.sequence_models import MODELS

_LARGE_IMAGE = 36
"""From this many pixels a side the kernels of the CNN's defaults fit."""


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
        """What the agent does."""
        return self.env.action_space(self.env_params)

    def trunk(self) -> tuple[FeatureExtractor, nn.Module]:
        """Make a feature extractor and a torso; previous action and reward are fed beside the observation."""
        observation = observation_extractor(self.env.observation_space(self.env_params), self.config.features)
        torso = MODELS.get(self.config.model)(features=self.config.features)
        return FeatureExtractor(observation, _as_it_is, _as_it_is), torso

    def optimizer(self) -> optax.GradientTransformation:
        """Make an optimizer: Adam on gradients of bounded norm, its learning rate falling to zero if so configured."""
        learning_rate: Any = self.config.learning_rate
        if self.config.anneal_learning_rate:
            learning_rate = optax.linear_schedule(self.config.learning_rate, 0.0, gradient_steps(self.config))
        return optax.chain(optax.clip_by_global_norm(self.config.max_grad_norm), optax.adam(learning_rate, eps=1e-5))


def actor_critic(algorithm: Any, parts: Parts) -> Any:
    """Build an agent of an actor and a critic with an optimizer each, on one trunk or on two."""
    config = parts.config
    head = policy_head(parts.action_space, config.env)
    actor_trunk = parts.trunk()
    # The same objects, not equal ones, make one trunk of the two.
    critic_trunk = actor_trunk if config.share_trunk else parts.trunk()
    actor, critic = Network(*actor_trunk, head), Network(*critic_trunk, heads.VNetwork())
    optimizers = parts.optimizer(), parts.optimizer()
    return algorithm(config.hyperparameters, parts.env, parts.env_params, actor, critic, *optimizers)


def q_learner(algorithm: Any, parts: Parts) -> Any:
    """Build an agent of one network that values actions; replay and schedules follow from the configuration."""
    config = parts.config
    network = Network(*parts.trunk(), value_head(parts.action_space, config.env))
    agent = algorithm(config.hyperparameters, parts.env, parts.env_params, network, parts.optimizer())
    check_replay(config)
    return agent


def q_learner_with_norms(algorithm: Any, parts: Parts) -> Any:
    """Build an agent of one network that values actions, with a LayerNorm behind feature extractor and memory."""
    config = parts.config
    extractor, torso = parts.trunk()
    observation = nn.Sequential([extractor.observation_extractor, nn.LayerNorm()])
    extractor = FeatureExtractor(observation, extractor.action_extractor, extractor.reward_extractor)
    network = Network(extractor, PostNorm(torso), value_head(parts.action_space, config.env))
    return algorithm(config.hyperparameters, parts.env, parts.env_params, network, parts.optimizer())


def streaming_actor_critic(algorithm: Any, parts: Parts) -> Any:
    """Build an agent of an actor and a critic without optimizers, with a sparse, normalized layer behind each memory.

    Memories with diagonal cells carry along how they depend on their parameters; for others that costs too much.
    """
    config = parts.config

    def network(head: nn.Module) -> Network:
        extractor, memory = parts.trunk()
        # Vectors go to the memory as they are: there is nothing to learn below it.
        vectors = isinstance(extractor.observation_extractor, MLP)
        extract = _as_it_is if vectors else extractor.observation_extractor
        memory = RTRL(model=memory) if hasattr(getattr(memory, "cell", None), "recurrent_parameters") else memory
        return streaming_network(head, memory, observation_extractor=extract, features=(config.features,))

    actor, critic = network(policy_head(parts.action_space, config.env)), network(heads.VNetwork())
    return algorithm(config.hyperparameters, parts.env, parts.env_params, actor, critic)


def soft_actor_critic(algorithm: Any, parts: Parts) -> Any:
    """Build an agent of a policy and two critics, each on a trunk of its own, with a replay of its making.

    Entropy is paid for by one more optimizer, of the same kind.
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
    """Build an agent of an actor and a critic for each of several agents; a central critic has a trunk of its own."""
    config = parts.config
    one = replace(parts, env=SingleAgentView(parts.env))
    actor_trunk = critic_trunk = one.trunk()
    if config.hyperparameters.centralized_critic:
        critic_trunk = FeatureExtractor(MLP((config.features,)), _as_it_is, _as_it_is), one.trunk()[1]
    elif not config.share_trunk:
        critic_trunk = one.trunk()
    actor = Network(*actor_trunk, policy_head(one.action_space, config.env))
    critic = Network(*critic_trunk, heads.VNetwork())
    optimizers = parts.optimizer(), parts.optimizer()
    return algorithm(config.hyperparameters, parts.env, parts.env_params, actor, critic, *optimizers)


def observation_extractor(space: Any, features: int) -> nn.Module:
    """Choose what maps observations to feature vectors.

    Args:
        space: The observation space; an action mask in it is left out, since it goes to the head.
        features: Width of what comes out.
    """
    if isinstance(space, Dict) and "action_mask" in space.spaces:
        rest = {name: part for name, part in space.spaces.items() if name != "action_mask"}
        space = next(iter(rest.values())) if len(rest) == 1 else Dict(rest)
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
    """Writes observations of any space as one vector of numbers, and maps it by a layer.

    Attributes:
        space: The observation space.
        features: Width of what comes out.
    """

    space: Any
    features: int

    @nn.compact
    def __call__(self, observation: PyTree) -> Array:
        """Map observations `[batch, time, ...]` to `[batch, time, features]`."""
        return MLP((self.features,))(encode(self.space, observation))


def policy_head(space: Any, env: str) -> nn.Module:
    """Choose the head that acts in an action space.

    Args:
        space: The action space.
        env: Name of the environment, for the message.

    Raises:
        TypeError: There is none.
    """
    if isinstance(space, Discrete):
        return heads.Categorical(action_dim=space.n)
    if isinstance(space, Box) and len(space.shape) == 1:
        return heads.Gaussian(action_dim=space.shape[0])
    raise TypeError(
        f"`env` must have Discrete actions or a Box of vectors for a policy head to serve it, got {space!r} of {env}; "
        "wrap the environment so that its actions are one of these"
    )


def value_head(space: Any, env: str) -> nn.Module:
    """Choose the head that values all actions.

    Args:
        space: The action space.
        env: Name of the environment, for the message.

    Raises:
        TypeError: There is none.
    """
    if isinstance(space, Discrete):
        return heads.DiscreteQNetwork(action_dim=space.n)
    raise TypeError(
        f"`env` must have Discrete actions for a network to value them all, got {space!r} of {env}; "
        "train it with another algorithm, such as ppo"
    )


def check_replay(config: RunConfig) -> None:
    """Refuse a run that ends before its replay holds enough to learn from.

    Raises:
        ValueError: It does.
    """
    enough = config.hyperparameters.learning_starts
    if config.warmup + config.steps < enough:
        raise ValueError(
            f"`steps` must be at least {enough - config.warmup:,} for anything to be learned after a warmup of "
            f"{config.warmup:,}, got {config.steps:,}; or lower `learning_starts` ({enough:,})"
        )


def gradient_steps(config: RunConfig) -> int:
    """Count the gradient steps of a whole run."""
    algorithm = config.hyperparameters
    if hasattr(algorithm, "train_frequency"):
        return max(1, config.steps // algorithm.train_frequency) * getattr(algorithm, "gradient_steps", 1)
    updates = config.steps // (algorithm.num_envs * algorithm.num_steps)
    return max(1, updates * algorithm.update_epochs * algorithm.num_minibatches)


def _as_it_is(x: Array) -> Array:
    return x

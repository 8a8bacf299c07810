"""From a configuration to an agent."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import optax

from memorax.acting.actor_critic import ActorCriticAgent
from memorax.algorithms import ALGORITHMS
from memorax.core.spaces import Box, Dict, Discrete, encode
from memorax.core.types import Array, PyTree
from memorax.environments import make
from memorax.experiment.config import RunConfig
from memorax.networks import CNN, MLP, FeatureExtractor, Network, heads
from memorax.networks.sequence_models import MODELS

_LARGE_IMAGE = 36
"""From this many pixels a side the kernels of the CNN's defaults fit."""


def build_agent(config: RunConfig) -> Any:
    """Build the agent of a run: environment, networks, optimizers, algorithm.

    The feature extractor follows from the observation space (an MLP for vectors, a CNN for images), the policy head
    from the action space. Previous action and reward are fed beside the observation.

    Args:
        config: The run.

    Returns:
        The agent.

    Raises:
        TypeError: No head serves the environment's action space, or it does not take the options.
        ValueError: A name is unknown, an extra is missing, or the configuration does not go with the environment.
    """
    algorithm, _ = ALGORITHMS.get(config.algorithm)
    model = MODELS.get(config.model)
    env, env_params = make(config.env, **config.env_options)
    if not issubclass(algorithm, ActorCriticAgent):
        raise ValueError(f"`algorithm` must be one with actor and critic, got {config.algorithm}; build it in Python")
    head = policy_head(env.action_space(env_params), config.env)

    def trunk() -> tuple[nn.Module, nn.Module]:
        observation = observation_extractor(env.observation_space(env_params), config.features)
        return FeatureExtractor(observation, _as_it_is, _as_it_is), model(features=config.features)

    actor_trunk = trunk()
    # The same objects, not equal ones, make one trunk of the two.
    critic_trunk = actor_trunk if config.share_trunk else trunk()
    actor, critic = Network(*actor_trunk, head), Network(*critic_trunk, heads.VNetwork())
    return algorithm(config.hyperparameters, env, env_params, actor, critic, _optimizer(config), _optimizer(config))


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


def _optimizer(config: RunConfig) -> optax.GradientTransformation:
    learning_rate: Any = config.learning_rate
    if config.anneal_learning_rate:
        learning_rate = optax.linear_schedule(config.learning_rate, 0.0, gradient_steps(config))
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(learning_rate, eps=1e-5))


def gradient_steps(config: RunConfig) -> int:
    """Count the gradient steps of a whole run."""
    algorithm = config.hyperparameters
    updates = config.steps // (algorithm.num_envs * algorithm.num_steps)
    return max(1, updates * algorithm.update_epochs * algorithm.num_minibatches)


def _as_it_is(x: Array) -> Array:
    return x

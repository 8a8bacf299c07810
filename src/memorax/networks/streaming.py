"""Networks for streaming reinforcement learning: one step at a time, no batches, no replay."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.checks import check, instance, sequence, size
from memorax.core.types import Array
from memorax.networks.blocks import Stack
from memorax.networks.feature_extractor import FeatureExtractor
from memorax.networks.initializers import sparse
from memorax.networks.mlp import MLP
from memorax.networks.network import Network
from memorax.networks.sequence_models.parts.wrapper import as_sequence_model


def normalized_leaky_relu(x: Array) -> Array:
    """Apply a layer norm without parameters, then a leaky ReLU.

    Args:
        x: `[..., features]`.
    """
    centered = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centered), axis=-1, keepdims=True)
    return nn.leaky_relu(centered / jnp.sqrt(variance + 1e-5))


def streaming_network(
    head: nn.Module,
    memory: nn.Module | None = None,
    *,
    observation_extractor: Callable[..., Any] | None = None,
    features: Sequence[int] = (128, 128),
    sparsity: float = 0.9,
) -> Network:
    """Make a network of sparsely initialized layers with layer norms, for streaming algorithms such as StreamAC.

    With a memory, previous action and reward are inputs beside the observation. The memory is the first layer, with no
    parameters below it, so `RTRL(...)` gives exact gradients of all parameters.

    Args:
        head: The head; its `kernel_init` is replaced by the sparse initializer.
        memory: A sequence model; None for a network without.
        observation_extractor: Maps observations to vectors; None where they are vectors.
        features: Widths of the hidden layers.
        sparsity: Fraction of each unit's input weights that are initialized to zero, [0, 1).

    Returns:
        The network.

    Raises:
        TypeError: If `head` has no `kernel_init`, or `memory` is a recurrent cell.
        ValueError: If a width is below 1, or `sparsity` out of range.

    Source:
        Elsayed, Vasan and Mahmood 2024, "Streaming Deep Reinforcement Learning Finally Works",
        https://arxiv.org/abs/2410.14606
    """
    check("head", head, instance(nn.Module, called="a head"))
    if not hasattr(head, "kernel_init"):
        raise TypeError(f"`head` must have a `kernel_init` to make sparse, got {type(head).__name__}")
    memory = None if memory is None else as_sequence_model("memory", memory)
    features = check("features", features, sequence(size()))
    kernel_init = sparse(sparsity)
    layers = MLP(tuple(features), activation=normalized_leaky_relu, kernel_init=kernel_init)
    extract = _identity if observation_extractor is None else observation_extractor
    extractor = FeatureExtractor(extract) if memory is None else FeatureExtractor(extract, _identity, _identity)
    torso = Stack(blocks=[layers] if memory is None else [memory, layers])
    return Network(extractor, torso, head.clone(kernel_init=kernel_init))


def _identity(x: Array) -> Array:
    return x

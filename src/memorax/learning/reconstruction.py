"""Reconstruction of the observation: an auxiliary loss that teaches a memory to represent what the agent sees."""

from collections.abc import Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.spaces import split_action_mask
from memorax.core.types import Array, Carry, PyTree, Timestep
from memorax.kernels.image_convolution import double_images
from memorax.networks import MLP, Network
from memorax.networks.flat_layers import flat_layers


class Reconstruction(Network):
    """A `Network` whose torso's features must also reconstruct the current observation, through a small decoder.

    Outside of `init` it sows `coefficient * error` into the collection `losses`, so every algorithm that adds sown
    losses to its own learns it (all but StreamAC), and logs it as `losses/reconstruction`. The gradient reaches the
    decoder, the torso and the feature extractor; the head and the policy are left alone. On a shared trunk make the
    actor's network one; on two trunks the actor's, the critic's, or both.

    The error of an image, `[height, width, channels]` with values in [0, 1], is the binary cross entropy, that of a
    vector half the squared error, averaged over pixels or entries and over all steps but those of the burn-in.

    Attributes:
        feature_extractor: As in `Network`.
        torso: As in `Network`.
        head: As in `Network`.
        coefficient: Weight of the loss, at least 0. With 0 there is no decoder: it is a plain `Network`.
        decoder: Maps features `[batch, time, features]` to a prediction of the observation, of an image to its logits;
            None for an `ImageDecoder` or a `VectorDecoder`.

    Example:
        >>> trunk = extractor, torso
        >>> actor = Reconstruction(*trunk, heads.Categorical(action_dim=4), coefficient=0.1)
        >>> critic = Network(*trunk, heads.VNetwork())

    Source:
        Pleines et al. 2024, "Memory Gym: Towards Endless Tasks to Benchmark Memory Capabilities of Agents",
        https://arxiv.org/abs/2309.17207, where Transformer-XL needs it to surpass a GRU on the finite tasks.
    """

    coefficient: float = 0.1
    decoder: nn.Module | None = None

    def __post_init__(self) -> None:
        """Check the parts.

        Raises:
            TypeError: If a part is not a Flax module.
            ValueError: If the coefficient is negative.
        """
        if self.decoder is not None and not isinstance(self.decoder, nn.Module):
            raise TypeError(f"`decoder` must be a Flax Linen module or None, got {self.decoder!r}")
        if not self.coefficient >= 0:
            raise ValueError(f"`coefficient` must be at least 0, got {self.coefficient}")
        super().__post_init__()

    @nn.compact
    def embed(self, timestep: Timestep, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Run feature extractor and torso, and sow the reconstruction loss.

        Args:
            timestep: What the agent sees, `[batch, time, ...]`.
            initial_carry: The memory before the first step; None starts afresh.

        Returns:
            The memory after the last step, and the torso's outputs `[batch, time, features]`.

        Raises:
            TypeError: If the observation is neither an image nor a vector of floating-point numbers.
        """
        carry, features = super().embed(timestep, initial_carry)
        if self.coefficient:
            observation = _observation(timestep.observation)
            decoder = _decoder(observation.shape[2:]) if self.decoder is None else self.decoder
            with flat_layers():
                prediction = cast(Any, decoder)(features)
            if not self.is_initializing():
                zero = jnp.zeros((), prediction.dtype)
                loss = self.coefficient * jnp.mean(reconstruction_error(prediction, observation))
                self.sow("losses", "reconstruction", loss, reduce_fn=jnp.add, init_fn=lambda: zero)
        return carry, features


class ImageDecoder(nn.Module):
    """Transposed convolutions from a feature vector to an image, each of which doubles height and width.

    Attributes:
        shape: `(height, width, channels)` of the image.
        features: Channels before each transposed convolution.
    """

    shape: tuple[int, int, int]
    features: Sequence[int] = (32, 16)

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Map features `[..., features]` to an image `[..., height, width, channels]`."""
        height, width, channels = self.shape
        factor = 2 ** len(self.features)
        rows, columns = -(-height // factor), -(-width // factor)
        x = nn.relu(nn.Dense(rows * columns * self.features[0])(features))
        x = x.reshape(*features.shape[:-1], rows, columns, self.features[0])
        for number in self.features[1:]:
            x = nn.relu(ConvTranspose(number)(x))
        return ConvTranspose(channels)(x)[..., :height, :width, :]


class ConvTranspose(nn.Module):
    """A transposed convolution that doubles height and width, with a kernel of 3 x 3.

    Attributes:
        features: Channels of the result.
    """

    features: int

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """Map images `[..., height, width, channels]` to `[..., 2 * height, 2 * width, features]`."""
        *front, height, width, channels = images.shape
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, channels, self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        outputs = double_images(images.reshape(-1, height, width, channels), kernel) + bias
        return outputs.reshape(*front, *outputs.shape[1:])


class VectorDecoder(nn.Module):
    """A hidden layer, and a linear one.

    Attributes:
        size: Entries of the vector.
        features: Width of the hidden layer.
    """

    size: int
    features: int = 64

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Map features `[..., features]` to a vector `[..., size]`."""
        return nn.Dense(self.size)(MLP((self.features,))(features))


def reconstruction_error(prediction: Array, observation: Array) -> Array:
    """Compute the error of each pixel or entry.

    Args:
        prediction: Logits of an image, `[batch, time, height, width, channels]`, or a vector, `[batch, time, entries]`.
        observation: The image, with values in [0, 1], or the vector.

    Raises:
        ValueError: The shapes differ.
    """
    if prediction.shape != observation.shape:
        raise ValueError(
            f"`decoder` must give the observation's shape {observation.shape}, [batch, time, ...], got "
            f"{prediction.shape}"
        )
    observation = jax.lax.stop_gradient(observation)
    if observation.ndim == 3:
        return 0.5 * jnp.square(prediction - observation)
    return jnp.maximum(prediction, 0) - prediction * observation + jnp.log1p(jnp.exp(-jnp.abs(prediction)))


def _decoder(shape: tuple[int, ...]) -> nn.Module:
    if len(shape) == 3:
        return ImageDecoder(cast(tuple[int, int, int], shape), name="decoder")
    return VectorDecoder(shape[0], name="decoder")


def _observation(observation: PyTree) -> Array:
    """Give the observation without an action mask, if it is an image or a vector."""
    observation, _ = split_action_mask(observation)
    fits = getattr(observation, "ndim", 0) in (3, 5) and jnp.issubdtype(observation.dtype, jnp.floating)
    if not fits:
        kinds = ", ".join(f"{x.dtype}{list(x.shape[2:])}" for x in jax.tree.leaves(observation))
        raise TypeError(
            "`Reconstruction` needs observations that are vectors, or images with values in [0, 1], of floating-point "
            f"numbers, got {kinds}; use `Network`, or scale the observations"
        )
    return observation

"""Pictures of environments: what they render, or else the observation as a chart."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image, ImageDraw

from memorax.core.types import PyTree
from memorax.experiment.play.colors import BACKGROUND, BLUE, FAINT, INK, ORANGE, SERIES
from memorax.experiment.play.episodes import Moment

Picture = Callable[[PyTree, PyTree], Image.Image]
"""Draws a state and its observation."""
_CHART = (400, 200)
"""Width and height of the chart of an observation, in pixels."""
_EDGE, _WIDEST_BAR = 8, 64
"""Its margin, and the greatest room for a bar, in pixels."""
_MOST_BARS = 64
"""Entries of an observation that are drawn as bars; longer ones are drawn as a grid."""


def choose_picture(env: Any, params: PyTree, moments: Sequence[Moment]) -> Picture:
    """Choose how an environment is drawn.

    Args:
        env: The environment.
        params: Its parameters.
        moments: What will be drawn: it shows whether the environment renders, and how large observations get.
    """
    if _renders(env, params, moments[0].env_state):
        return lambda state, _: Image.fromarray(_as_rgb(np.asarray(env.render(state, params))))
    numbers = [_flat(moment.observation) for moment in moments]
    lowest = min(float(np.min(x, initial=0)) for x in numbers)
    largest = max(1.0, *(float(np.max(np.abs(x), initial=0)) for x in numbers))
    return lambda _, observation: draw_observation(observation, (-largest if lowest < 0 else 0.0, largest))


def draw_observation(observation: PyTree, limits: tuple[float, float] = (-1.0, 1.0)) -> Image.Image:
    """Draw an observation.

    Args:
        observation: The observation. An image is drawn as it is, with a color for each channel if there are not three;
            vectors are drawn as bars.
        limits: Ends of the bars; the lower one is 0, or the upper one with a minus.
    """
    images = [np.asarray(x) for x in jax.tree.leaves(observation) if np.ndim(x) in (2, 3) and min(np.shape(x)[:2]) > 1]
    if images:
        return Image.fromarray(_as_rgb(images[0]))
    return _bars(_flat(observation), limits)


def _flat(observation: PyTree) -> np.ndarray:
    """All numbers of an observation."""
    return np.concatenate([np.ravel(x).astype(np.float64) for x in jax.tree.leaves(observation)])


def _renders(env: Any, params: PyTree, env_state: PyTree) -> bool:
    inner = env
    while hasattr(inner, "env"):
        inner = inner.env
    if not hasattr(inner, "render") or not hasattr(env, "render"):
        return False
    try:
        env.render(env_state, params)
    except NotImplementedError:
        return False
    return True


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """Give an image as uint8 `[height, width, 3]`."""
    if image.ndim == 3 and image.shape[2] not in (1, 3):
        strongest = np.argmax(image, axis=2)
        colors = np.array(SERIES, np.uint8)[strongest % len(SERIES)]
        return np.where(np.max(image, axis=2, keepdims=True) > 0, colors, np.array(BACKGROUND, np.uint8))
    if image.dtype != np.uint8:
        largest = max(float(np.max(np.abs(image), initial=0)), 1.0)
        image = (np.clip(image / largest, 0, 1) * 255).astype(np.uint8)
    image = image[..., None] if image.ndim == 2 else image
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def _bars(values: np.ndarray, limits: tuple[float, float]) -> Image.Image:
    """A bar for each entry, up or down from zero."""
    if len(values) > _MOST_BARS:
        width = int(np.ceil(np.sqrt(len(values))))
        grid = np.pad(values, (0, -len(values) % width)).reshape(-1, width)
        return Image.fromarray(_as_rgb(grid))
    image = Image.new("RGB", _CHART, BACKGROUND)
    draw, (width, height) = ImageDraw.Draw(image), _CHART
    low, high = limits
    base = _EDGE + (height - 2 * _EDGE) * high / (high - low)
    scale = (height - 2 * _EDGE) / (high - low)
    slot = min((width - 2 * _EDGE) / max(len(values), 1), _WIDEST_BAR)
    start = (width - slot * len(values)) / 2
    for i, value in enumerate(values):
        left, right = start + (i + 0.15) * slot, start + (i + 0.85) * slot
        draw.rectangle((left, _EDGE, right, height - _EDGE), fill=FAINT)
        top = base - value * scale
        if value:
            draw.rectangle((left, min(top, base), right, max(top, base)), fill=BLUE if value > 0 else ORANGE)
    draw.line((start, base, width - start, base), fill=INK)
    return image

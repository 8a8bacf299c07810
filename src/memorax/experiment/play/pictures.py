"""Pictures of environments: what they render, or else the observation as a chart."""

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from memorax.core.types import PyTree
from memorax.experiment.play.colors import BACKGROUND, BLUE, FAINT, INK, ORANGE, SERIES
from memorax.experiment.play.moments import Episode, Moment

Picture = Callable[[Episode, Moment], Image.Image]
"""Draws a moment of an episode."""
_CHART = (400, 200)
"""Width and height of the chart of an observation, in pixels."""
_EDGE, _WIDEST_BAR = 8, 64
"""Its margin, and the greatest room for a bar, in pixels."""
_MOST_BARS = 64
"""Entries of an observation that are drawn as bars; longer ones are drawn as a grid."""


def choose_picture(env: Any, episodes: Sequence[Episode]) -> Picture:
    """Choose how an environment is drawn.

    Args:
        env: The environment.
        episodes: What will be drawn: it shows whether the environment renders, and how large observations get.
    """
    moments = [moment for episode in episodes for moment in episode.moments]
    if all(moment.picture is not None for moment in moments):
        return lambda _, moment: Image.open(io.BytesIO(moment.picture or b"")).convert("RGB")
    if _renders(env, episodes[0].env_params, moments[0].env_state):
        return lambda episode, moment: _rendered(env, moment.env_state, episode.env_params)
    numbers = [_flat(moment.observation) for moment in moments]
    lowest = min(float(np.min(x, initial=0)) for x in numbers)
    largest = max(1.0, *(float(np.max(np.abs(x), initial=0)) for x in numbers))
    limits = -largest if lowest < 0 else 0.0, largest
    return lambda _, moment: draw_observation(moment.observation, limits)


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
        _rendered(env, env_state, params)
    except NotImplementedError:
        return False
    except Exception as error:  # of its library, or of one that is missing
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(f"observations are drawn, as the environment could not be rendered ({reason})", stacklevel=2)
        return False
    return True


def _rendered(env: Any, env_state: PyTree, params: PyTree) -> Image.Image:
    """What an environment renders: an array, or a figure of matplotlib, as in gymnax, or a part of one."""
    drawn = env.render(*jax.tree.map(_for_jax, (env_state, params)))
    first = drawn[0] if isinstance(drawn, tuple) else drawn
    figure = getattr(first, "figure", first)
    if not hasattr(figure, "canvas"):
        return Image.fromarray(_as_rgb(np.asarray(drawn)))
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.array(canvas.buffer_rgba())[..., :3])
    pyplot.close(figure)
    return image


def _for_jax(x: Any) -> Any:
    return jnp.asarray(x) if isinstance(x, np.ndarray | np.generic) else x


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

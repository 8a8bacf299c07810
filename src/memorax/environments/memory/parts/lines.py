"""Images of mechanical systems: thick lines with round ends on white."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from memorax.core.types import Array
from memorax.environments.memory.parts.picture import PALETTE, WHITE

Stroke = tuple[Sequence[Array | float], Sequence[Array | float], float, int]
"""Start and end of a line (right and up from the center of the image), half its thickness, its color."""


def draw_lines(strokes: Sequence[Stroke], half_size: tuple[float, float], *, zoom: int = 40) -> Array:
    """Draw lines, later ones over earlier ones, clipped to the image.

    Args:
        strokes: The lines; colors as in `picture`.
        half_size: Half the width and half the height of the image, in units of length.
        zoom: Pixels per unit of length.

    Returns:
        RGB image, uint8 `[2 * zoom * up, 2 * zoom * right, 3]`.
    """
    width, height = (round(2 * zoom * far) for far in half_size)
    x = ((jnp.arange(width) + 0.5 - width / 2) / zoom)[None]
    y = ((height / 2 - 0.5 - jnp.arange(height)) / zoom)[:, None]
    colors = jnp.full((height, width), WHITE)
    for begin, end, half, color in strokes:
        right, up = end[0] - begin[0], end[1] - begin[1]
        x_from, y_from = x - begin[0], y - begin[1]
        # How far along the line its nearest point lies; a line without length is a disk.
        along = jnp.clip((x_from * right + y_from * up) / jnp.maximum(right**2 + up**2, 1e-6), 0.0, 1.0)
        away = (x_from - along * right) ** 2 + (y_from - along * up) ** 2
        colors = jnp.where(away <= half**2, color, colors)
    return jnp.asarray(PALETTE, np.uint8)[colors]

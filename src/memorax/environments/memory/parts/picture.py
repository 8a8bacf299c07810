"""Images of tasks: a grid of colored cells, optionally with one character each."""

import jax.numpy as jnp
import numpy as np

from memorax.core.types import Array

WHITE, LIGHT, GRAY, BLACK, RED, GREEN, BLUE, YELLOW, ORANGE = range(9)
"""Colors of cells and characters."""

PALETTE = np.array(
    [
        (250, 250, 247),
        (218, 220, 224),
        (120, 126, 135),
        (32, 34, 40),
        (200, 48, 56),
        (46, 150, 84),
        (60, 110, 190),
        (244, 205, 80),
        (232, 130, 50),
    ],
    np.uint8,
)
"""Red, green and blue of each color, uint8 `[9, 3]`."""

_CELL, _LINE = 8, (172, 176, 182)

_FONT = {
    " ": "... ... ... ... ...",
    "0": "### #.# #.# #.# ###",
    "1": ".#. ##. .#. .#. ###",
    "2": "### ..# ### #.. ###",
    "3": "### ..# ### ..# ###",
    "4": "#.# #.# ### ..# ..#",
    "5": "### #.. ### ..# ###",
    "6": "### #.. ### #.# ###",
    "7": "### ..# ..# ..# ..#",
    "8": "### #.# ### #.# ###",
    "9": "### #.# ### ..# ###",
    "A": ".#. #.# ### #.# #.#",
    "J": "..# ..# ..# #.# ###",
    "K": "#.# #.# ##. #.# #.#",
    "Q": "### #.# #.# ### ..#",
    "T": "### .#. .#. .#. .#.",
    "?": "### ..# .## ... .#.",
    "x": "..... #.#.. .#... #.#.. .....",
    "o": "..... .###. .###. .###. .....",
    "s": "..#.. .###. ##### ..#.. .###.",  # spades
    "d": "..#.. .###. ##### .###. ..#..",  # diamonds
    "c": ".###. .###. ##### #.#.# ..#..",  # clubs
    "h": ".#.#. ##### ##### .###. ..#..",  # hearts
    "<": "..#.. .#... ##### .#... ..#..",
    ">": "..#.. ...#. ##### ...#. ..#..",
    "^": "..#.. .###. #.#.# ..#.. ..#..",
    "v": "..#.. ..#.. #.#.# .###. ..#..",
}


def _bitmap(rows: str) -> np.ndarray:
    """A character in the middle of a cell, bool `[8, 8]`; the last row and column belong to the line between cells."""
    bits = np.array([[pixel == "#" for pixel in row] for row in rows.split()])
    left = (_CELL - bits.shape[1]) // 2
    return np.pad(bits, ((1, 2), (left, _CELL - left - bits.shape[1])))


_BITMAPS = np.stack([_bitmap(rows) for rows in _FONT.values()])


def characters(text: str) -> np.ndarray:
    """The numbers of characters, int32 `[len(text)]`, for `paint`.

    Args:
        text: Digits, the letters `A J K Q T`, the suits `s d c h`, the arrows `< > ^ v`, and `? x o` and space.

    Returns:
        What `paint` takes; number 0 is the space.
    """
    return np.array([list(_FONT).index(character) for character in text], np.int32)


_FACES = {
    2: (characters("sh"), np.array([BLACK, RED])),
    4: (characters("sdch"), np.array([BLACK, RED, BLACK, RED])),
    13: (characters("A23456789TJQK"), np.full(13, BLACK)),
}


def paint_cards(faces: Array, symbols: int, *, zoom: int = 6) -> Array:
    """Paint cards.

    Args:
        faces: Colors, suits or ranks, integers `[rows, columns]`; numbers outside `[0, symbols)` are face down.
        symbols: 2 for colors, 4 for suits, 13 for ranks.
        zoom: As for `paint`.

    Returns:
        RGB image as of `paint`.
    """
    faces = jnp.asarray(faces)
    written, inks = (jnp.asarray(table) for table in _FACES[symbols])
    up = (faces >= 0) & (faces < symbols)
    face = jnp.where(up, faces, 0)
    return paint(jnp.where(up, WHITE, BLUE), jnp.where(up, written[face], 0), inks[face], zoom=zoom)


def paint(colors: Array, written: Array | None = None, inks: Array | int = BLACK, *, zoom: int = 3) -> Array:
    """Paint a grid of cells.

    Args:
        colors: Color of each cell, integers `[rows, columns]`.
        written: Character on each cell, as numbered by `characters`, integers `[rows, columns]`; None for none.
        inks: Color of each character, integers that broadcast to `[rows, columns]`.
        zoom: Pixels of the picture for a pixel of a character; a cell is eight of these high and wide.

    Returns:
        RGB image, uint8 `[rows * 8 * zoom, columns * 8 * zoom, 3]`.
    """
    colors = jnp.asarray(colors)
    rows, columns = colors.shape
    palette = jnp.asarray(PALETTE)
    ink = palette[jnp.broadcast_to(jnp.asarray(inks), colors.shape)]
    shape = jnp.zeros_like(colors) if written is None else jnp.asarray(written)
    bits = jnp.asarray(_BITMAPS)[shape]
    pixels = jnp.where(bits[..., None], ink[:, :, None, None], palette[colors][:, :, None, None])
    pixels = pixels.at[:, :, -1].set(jnp.array(_LINE, jnp.uint8)).at[:, :, :, -1].set(jnp.array(_LINE, jnp.uint8))
    picture = jnp.transpose(pixels, (0, 2, 1, 3, 4)).reshape(rows * _CELL, columns * _CELL, 3)
    return jnp.repeat(jnp.repeat(picture, zoom, axis=0), zoom, axis=1)

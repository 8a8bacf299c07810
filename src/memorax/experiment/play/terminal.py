"""Showing episodes in the terminal: pictures of colored half blocks, or a line for each step where there is none."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from memorax.experiment.play.film import make_painter
from memorax.experiment.play.moments import Episode

if TYPE_CHECKING:
    from rich.console import Console

    from memorax.experiment.policy import TrainedPolicy

_COLUMNS, _ROWS = 72, 24
"""Greatest size of a picture, in characters."""


def show_episodes(
    policy: "TrainedPolicy", episodes: Sequence[Episode], console: "Console", *, fps: float = 8.0
) -> None:
    """Show episodes, live in a terminal, else as text.

    Args:
        policy: The policy that played them.
        episodes: The episodes.
        console: Where to.
        fps: Steps shown in a second.
    """
    if not console.is_terminal:
        for line in lines(episodes):
            console.print(line, highlight=False)
        return
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    painter: Any = make_painter(policy, episodes)
    texts = lines(episodes)
    with Live(console=console, auto_refresh=False) as live:
        for episode in episodes:
            for moment in episode.moments:
                live.update(Group(half_blocks(painter.draw(episode, moment)), Text(next(texts))), refresh=True)
                time.sleep(1 / fps)


def lines(episodes: Sequence[Episode]) -> Iterator[str]:
    """Describe each step in a line."""
    for number, episode in enumerate(episodes, 1):
        for t, moment in enumerate(episode.moments, 1):
            text = f"episode {number}  step {t:>4}  action {_numbers(moment.action)}  reward {_numbers(moment.reward)}"
            if moment.value is not None:
                text += f"  value {_numbers(moment.value)}"
            if t == len(episode.moments):
                text += f"  return {episode.total:+.3f}" + ("" if episode.complete else " so far")
            yield text


def half_blocks(image: Image.Image) -> Any:
    """Draw an image with two pixels in each character."""
    from rich.text import Text

    scale = min(_COLUMNS / image.width, 2 * _ROWS / image.height)
    columns, rows = (max(1, round(size * scale)) for size in image.size)
    pixels = np.asarray(image.convert("RGB").resize((columns, rows + rows % 2), Image.Resampling.BOX))
    text = Text(no_wrap=True)
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        for top, bottom in zip(upper, lower, strict=True):
            text.append("▀", style=f"rgb({','.join(map(str, top))}) on rgb({','.join(map(str, bottom))})")
        text.append("\n")
    return text


def _numbers(x: Any) -> str:
    array = np.asarray(x)
    whole = array.dtype.kind != "f"
    return " ".join(str(v) if whole else f"{v:+.3f}" for v in np.atleast_1d(array).ravel().tolist())

"""Frames of a film: the picture, and below it action, reward, value and their course over the episode."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from memorax.core.spaces import Box, Discrete
from memorax.experiment.play.colors import BACKGROUND, BLUE, FAINT, GRAY, GREEN, INK, PANEL, RED, Color
from memorax.experiment.play.moments import Episode, Moment
from memorax.experiment.play.pictures import Picture

WIDTH, _PICTURE, _PANEL, _MARGIN = 480, 320, 176, 16
"""Width of a frame, greatest height of the picture, height of the panel, and margins, in pixels."""
_MOST_ZOOM, _SMALL = 4, 240
"""Most screen pixels for a pixel of a small picture, unless it would then be smaller than so many."""
_MOST_CHIPS = 9
"""Discrete actions that are shown as a row of boxes."""


class FramePainter:
    """Paints the frames of episodes, all of the same size.

    Args:
        picture: Draws the environment.
        action_space: The action space.
        episodes: The episodes.
    """

    def __init__(self, picture: Picture, action_space: Any, episodes: Sequence[Episode]) -> None:
        self.picture, self.action_space, self.episodes = picture, action_space, episodes
        firsts = [self.draw(episode, episode.moments[0]) for episode in episodes]
        widest, highest = (max(image.size[i] for image in firsts) for i in (0, 1))
        scale = min((WIDTH - 2 * _MARGIN) / widest, _PICTURE / highest, max(_MOST_ZOOM, _SMALL / max(widest, highest)))
        # Whole multiples keep the edges of small pictures sharp.
        self._scale = float(int(scale)) if scale >= 1 else scale
        self._resample = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
        height = round(highest * self._scale) + 2 * _MARGIN + _PANEL
        self.size = WIDTH, height + -height % 16  # video codecs work in blocks of 16 pixels
        self._small, self._normal, self._large = (ImageFont.load_default(size) for size in (12, 14, 18))
        self._limits = _limits(episodes)

    def draw(self, episode: Episode, moment: Moment) -> Image.Image:
        """Draw the environment alone."""
        return self.picture(episode, moment)

    def frames(self) -> Iterator[Image.Image]:
        """Paint all frames, one for each step."""
        for number, episode in enumerate(self.episodes):
            for t in range(len(episode.moments)):
                yield self.frame(number, t)

    def frame(self, number: int, t: int) -> Image.Image:
        """Paint one step of one episode."""
        frame = Image.new("RGB", self.size, BACKGROUND)
        episode = self.episodes[number]
        moment = episode.moments[t]
        image = self.draw(episode, moment)
        size = round(image.width * self._scale), round(image.height * self._scale)
        image = image.convert("RGB").resize(size, self._resample)
        top = self.size[1] - _PANEL
        frame.paste(image, ((WIDTH - size[0]) // 2, (top - size[1]) // 2))
        draw = ImageDraw.Draw(frame)
        draw.rectangle((0, top, WIDTH, self.size[1]), fill=PANEL)
        draw.line((0, top, WIDTH, top), fill=FAINT)
        self._title(draw, top + 12, number, t)
        self._action(draw, top + 42, moment)
        self._numbers(draw, top + 74, moment)
        self._course(draw, (_MARGIN, top + 108, WIDTH - _MARGIN, self.size[1] - 14), episode, t)
        return frame

    def _title(self, draw: ImageDraw.ImageDraw, y: int, number: int, t: int) -> None:
        episode = self.episodes[number]
        draw.text((_MARGIN, y), f"episode {number + 1} of {len(self.episodes)}", fill=INK, font=self._normal)
        draw.text((WIDTH / 2, y), f"step {t + 1} of {len(episode.moments)}", fill=GRAY, font=self._normal, anchor="ma")
        total = sum(float(np.mean(moment.reward)) for moment in episode.moments[: t + 1])
        done = t + 1 == len(episode.moments)
        ended = done and episode.complete
        color = _sign_color(total) if ended else INK
        draw.text((WIDTH - _MARGIN, y), f"return {total:+.2f}", fill=color, font=self._normal, anchor="ra")
        if ended:
            draw.rectangle((0, self.size[1] - 4, WIDTH, self.size[1]), fill=color)

    def _action(self, draw: ImageDraw.ImageDraw, y: int, moment: Moment) -> None:
        """Boxes for a few discrete actions, bars for continuous ones, else the numbers."""
        draw.text((_MARGIN, y + 4), "action", fill=GRAY, font=self._small)
        action, left = np.asarray(moment.action), _MARGIN + 56
        space = self.action_space
        if isinstance(space, Discrete) and space.n <= _MOST_CHIPS and action.ndim == 0:
            for i in range(space.n):
                chosen, x = i == int(action), left + i * 36
                draw.rounded_rectangle((x, y, x + 28, y + 22), 6, fill=BLUE if chosen else FAINT)
                draw.text((x + 14, y + 11), str(i), fill=PANEL if chosen else GRAY, font=self._normal, anchor="mm")
            return
        if isinstance(space, Box) and action.size <= 4:
            room = (WIDTH - _MARGIN - left) // action.size
            low, high = (np.broadcast_to(end, action.shape).ravel() for end in (space.low, space.high))
            for i, value in enumerate(action.ravel()):
                self._bar(
                    draw, (left + i * room, y, left + (i + 1) * room - 8, y + 22), float(value), (low[i], high[i])
                )
            return
        text = "  ".join(f"{x:.2f}" if isinstance(x, float) else str(x) for x in action.ravel().tolist()[:16])
        draw.text((left, y + 2), text, fill=INK, font=self._normal)

    def _bar(
        self, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], value: float, ends: tuple[float, float]
    ) -> None:
        """A number, and a bar from the middle of its range."""
        left, top, right, bottom = box
        draw.text((left, (top + bottom) / 2), f"{value:+.2f}", fill=INK, font=self._normal, anchor="lm")
        left += 48
        low, high = (float(x) if np.isfinite(x) else (-1.0, 1.0)[i] for i, x in enumerate(ends))
        draw.rounded_rectangle((left, top, right, bottom), 6, fill=FAINT)
        middle = (left + right) / 2
        end = left + float(np.clip((value - low) / max(high - low, 1e-9), 0, 1)) * (right - left)
        draw.rectangle((min(middle, end), top + 2, max(middle, end), bottom - 2), fill=BLUE)
        draw.line((middle, top, middle, bottom), fill=GRAY)

    def _numbers(self, draw: ImageDraw.ImageDraw, y: int, moment: Moment) -> None:
        draw.text((_MARGIN, y + 4), "reward", fill=GRAY, font=self._small)
        reward = np.atleast_1d(moment.reward)
        text = "  ".join(f"{x:+.3f}" for x in reward[:4])
        draw.text((_MARGIN + 56, y), text, fill=_sign_color(float(np.mean(reward))), font=self._large)
        if moment.value is not None:
            draw.text((WIDTH / 2 + 8, y + 4), "value", fill=GRAY, font=self._small)
            text = "  ".join(f"{x:+.3f}" for x in np.atleast_1d(moment.value)[:4])
            draw.text((WIDTH / 2 + 52, y), text, fill=BLUE, font=self._large)

    def _course(self, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], episode: Episode, t: int) -> None:
        """Rewards as bars and values as a line, over the whole episode; what is still to come is left out."""
        left, top, right, bottom = box
        low, high = self._limits
        count = len(episode.moments)

        def place(i: float, value: float) -> tuple[float, float]:
            return left + (i + 0.5) * (right - left) / count, bottom - (value - low) / (high - low) * (bottom - top)

        draw.line((*place(-0.5, 0), *place(count - 0.5, 0)), fill=FAINT)
        half = max((right - left) / count * 0.35, 0.5)
        for i, moment in enumerate(episode.moments[: t + 1]):
            reward = float(np.mean(moment.reward))
            (x, y), (_, zero) = place(i, reward), place(i, 0)
            if reward:
                draw.rectangle((x - half, min(y, zero), x + half, max(y, zero)), fill=_sign_color(reward))
        values = [float(np.mean(moment.value)) for moment in episode.moments[: t + 1] if moment.value is not None]
        points = [place(i, value) for i, value in enumerate(values)]
        if len(points) > 1:
            draw.line(points, fill=BLUE, width=2, joint="curve")
        if points:
            x, y = points[-1]
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=BLUE, outline=PANEL)


def _limits(episodes: Sequence[Episode]) -> tuple[float, float]:
    """Lowest and highest reward and value, zero among them."""
    moments = [moment for episode in episodes for moment in episode.moments]
    numbers = [0.0, *(float(np.mean(moment.reward)) for moment in moments)]
    numbers += [float(np.mean(moment.value)) for moment in moments if moment.value is not None]
    low, high = min(numbers), max(numbers)
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _sign_color(number: float) -> Color:
    return GREEN if number > 0 else RED if number < 0 else GRAY

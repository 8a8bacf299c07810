"""Writing episodes as a film."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memorax.core.checks import check, real
from memorax.experiment.play.moments import Episode
from memorax.experiment.play.page import episodes_page, has_viewer
from memorax.experiment.run.files import write_atomically, write_text

if TYPE_CHECKING:
    from memorax.experiment.policy import TrainedPolicy

FORMATS = (".gif", ".mp4", ".html")
_HOLD = 8
"""For how many frames the last one of an episode is shown."""


def check_film(out: Path) -> None:
    """Check the name of a film.

    Raises:
        ImportError: The library that writes it is not installed.
        ValueError: Its suffix is not that of a format.
    """
    if out.suffix.lower() not in FORMATS:
        raise ValueError(f"`out` must end in .gif, .mp4 or .html, got {out}")
    if out.suffix.lower() == ".mp4":
        _ffmpeg()


def check_viewer(env: Any) -> None:
    """Check that an environment can be shown on a page.

    Raises:
        ValueError: It has no viewer.
    """
    if not has_viewer(env):
        raise ValueError(f"`out` must end in .gif or .mp4, got .html: {env.name} has no viewer for pages, as Brax has")


def write_film(policy: "TrainedPolicy", episodes: Sequence[Episode], out: str | Path, *, fps: float = 8.0) -> Path:
    """Write episodes as an animation or a video, with actions, rewards and values under the picture.

    Environments are drawn by their `render`; where there is none, or it fails, the observation is drawn.

    Args:
        policy: The policy that played them.
        episodes: The episodes, as `record_episodes` gives them.
        out: The file, `.gif` or `.mp4`; for environments of Brax also `.html`, a page with its viewer.
        fps: Steps shown in a second; not on a page.

    Returns:
        The file.

    Raises:
        ImportError: The library that writes videos is not installed.
        OSError: The file cannot be written.
        ValueError: The suffix is not that of a format, the environment has no viewer, or `fps` is not positive.
    """
    out = Path(out)
    check("fps", fps, real(above=0))
    check_film(out)
    if out.suffix.lower() == ".html":
        check_viewer(policy.env)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, episodes_page(policy, episodes))
        return out
    painter = make_painter(policy, episodes)
    holds = [_HOLD if t + 1 == len(episode.moments) else 1 for episode in episodes for t in range(len(episode.moments))]
    write = _write_gif if out.suffix.lower() == ".gif" else _write_mp4
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda temporary: write(temporary, painter, holds, fps))
    return out


def make_painter(policy: "TrainedPolicy", episodes: Sequence[Episode]) -> Any:
    """Make what paints the frames of episodes."""
    from memorax.experiment.play.frames import FramePainter
    from memorax.experiment.play.pictures import choose_picture

    picture = choose_picture(policy.env, episodes)
    return FramePainter(picture, policy.action_space, episodes)


def _write_gif(path: Path, painter: Any, holds: list[int], fps: float) -> None:
    from PIL import Image

    # One palette for all frames, from the first and the last, so that colors do not flicker.
    frames = list(painter.frames())
    both = Image.new("RGB", (painter.size[0], 2 * painter.size[1]))
    both.paste(frames[0], (0, 0))
    both.paste(frames[-1], (0, painter.size[1]))
    palette = both.quantize(256, method=Image.Quantize.MEDIANCUT)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [round(hold * 1000 / fps) for hold in holds]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=False)


def _write_mp4(path: Path, painter: Any, holds: list[int], fps: float) -> None:
    # Not by imageio's own writer: it forks a process whose threads JAX runs in.
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{painter.size[0]}x{painter.size[1]}", "-r", f"{fps}"]
    encoded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", "-movflags", "+faststart"]
    command = [_ffmpeg(), "-y", "-loglevel", "error", *raw, "-i", "-", *encoded, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            for frame, hold in zip(painter.frames(), holds, strict=True):
                process.stdin.write(frame.tobytes() * hold)  # type: ignore[union-attr]  it is a pipe
        except BrokenPipeError:
            pass  # what ffmpeg says of it follows
        except BaseException:
            process.kill()
            raise
        _, message = process.communicate()
    if process.returncode:
        reason = "; ".join(message.decode(errors="replace").strip().splitlines())
        raise OSError(f"ffmpeg could not write {path} ({reason})")


def _ffmpeg() -> str:
    """The program that encodes videos."""
    try:
        import imageio_ffmpeg  # pyright: ignore[reportMissingImports] (an extra)
    except ModuleNotFoundError as error:
        raise ImportError(
            'videos need imageio-ffmpeg, which is not installed; run `pip install "memorax[video]"`, or write a .gif'
        ) from error
    return imageio_ffmpeg.get_ffmpeg_exe()

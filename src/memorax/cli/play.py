"""`memorax play RUN [OPTIONS]`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro

from memorax.cli.compilation_cache import keep_compiled_programs
from memorax.cli.options import ImportOptions, Step, parse
from memorax.cli.output import make_console, silence_libraries
from memorax.cli.refusal import refusing
from memorax.cli.terminal import say


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlayOptions(ImportOptions):
    """Play episodes with the greedy policy of a trained agent; record a video with actions, rewards and values."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    episodes: int = 3
    """Number of episodes."""
    out: Path | None = None
    """File of the video, `.gif` or `.mp4`, for Brax also `.html`. None: `play.gif` in the run's folder."""
    human: bool = False
    """Show the episodes instead: environments of Gymnasium in their window, others in the terminal; where there is
    none, print a line for each step."""
    fps: float = 8.0
    """Steps shown in a second, other than in a window."""
    max_steps: int = 1000
    """Steps after which an episode is left unfinished."""
    seed: int | None = None
    """Which of the run's random seeds, which also decides the episodes. None: the first."""
    step: Step = "last"
    """Which checkpoint: the newest, the best, or the one at this step."""


def run(arguments: list[str]) -> int:
    """Play; see `memorax.cli.commands` for the exit code."""
    options = parse(PlayOptions, "play", arguments)
    from memorax.core.checks import check, real
    from memorax.experiment.config_file import load_config
    from memorax.experiment.imports import import_modules
    from memorax.experiment.loading import load
    from memorax.experiment.play.episodes import record_episodes
    from memorax.experiment.play.film import check_film, check_viewer, write_film
    from memorax.experiment.run.files import FILM_FILE

    silence_libraries()
    keep_compiled_programs()
    out = options.out or options.run / FILM_FILE
    refusing(check_film, out)
    refusing(check, "fps", options.fps, real(above=0))
    refusing(import_modules, options.imports)
    policy = refusing(load, options.run, seed=options.seed, step=options.step)
    if out.suffix.lower() == ".html":
        refusing(check_viewer, policy.env)
    seed = load_config(options.run).seed_numbers()[0] if options.seed is None else options.seed
    numbers = {"episodes": options.episodes, "max_steps": options.max_steps, "seed": seed}
    if options.human:
        _show(policy, numbers, options.fps)
        return 0
    episodes = refusing(record_episodes, policy, **numbers)
    write_film(policy, episodes, out, fps=options.fps)
    _summarize(episodes)
    say(f"video: {out}")
    return 0


def _show(policy: Any, numbers: dict[str, int], fps: float) -> None:
    """Show episodes in a window of the environment's own, or else in the terminal."""
    from memorax.environments.host import HostEnvironment
    from memorax.experiment.play.episodes import record_episodes, show_in_window
    from memorax.experiment.play.python_episodes import NoWindowError
    from memorax.experiment.play.terminal import show_episodes

    if isinstance(policy.env, HostEnvironment):
        try:
            _summarize(refusing(show_in_window, policy, **numbers))
        except NoWindowError as error:
            say(f"no window ({error}); in the terminal instead")
        else:
            return
    show_episodes(policy, refusing(record_episodes, policy, **numbers), make_console(), fps=fps)


def _summarize(episodes: Any) -> None:
    for number, episode in enumerate(episodes, 1):
        steps = len(episode.moments)
        unfinished = "" if episode.complete else f", cut after {steps:,} steps"
        say(f"episode {number}: {steps} steps, return {episode.total:+.3f}{unfinished}")

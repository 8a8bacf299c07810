"""Playing episodes in environments that run in Python, one after the other."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.spaces import ACTION_MASK
from memorax.environments.host.batch import HostBatch
from memorax.environments.host.copies import seeds_of_round
from memorax.experiment.play.moments import Episode, Moment
from memorax.experiment.run.programs import seed_keys

if TYPE_CHECKING:
    from memorax.experiment.policy import TrainedPolicy

_LARGEST = (448, 320)
"""Width and height to which pictures are reduced."""


class NoWindowError(RuntimeError):
    """An environment cannot be shown in a window."""


def record_in_python(
    policy: "TrainedPolicy", episodes: int, max_steps: int, seed: int, *, window: bool = False
) -> list[Episode]:
    """Play episodes, as `record_episodes` does, in an environment that runs in Python.

    Args:
        policy: The policy.
        episodes: Number of episodes.
        max_steps: Steps after which an episode is left unfinished.
        seed: Random seed of the environments.
        window: Whether the environment shows itself in a window, at a pace of its own, rather than paint pictures.

    Raises:
        NoWindowError: There is no window.
    """
    source, rows = policy.env.source, policy.env.source.rows
    shown = source.shown("human" if window else "rgb_array")
    if window and shown is None:
        raise NoWindowError(f"{policy.env.name} has no render mode `human`")
    # As the environments of an evaluation are seeded.
    number = int(jax.random.bits(jax.random.split(seed_keys([seed])[2][0], 3)[0], (), jnp.uint32))
    num_envs = policy.agent.vector_env.num_envs
    recorded: list[Episode] = []
    with _naming_windows(window):
        batch = (shown or source).batch(rows)
    try:
        for i in range(0, episodes, rows):
            round_, column = divmod(i, num_envs)
            seeds = seeds_of_round(number, round_, num_envs)[column : column + rows].tolist()
            with _naming_windows(window):
                started = batch.reset(seeds)
                if window and _draws_nowhere():
                    raise RuntimeError("there is no display")
            recorded += _play(policy, batch, started, max_steps)
    finally:
        batch.close()
    return recorded[:episodes]


@contextlib.contextmanager
def _naming_windows(window: bool) -> Iterator[None]:
    """Say of an error in opening a window that there is none."""
    try:
        yield
    except Exception as error:
        if window:
            raise NoWindowError(f"{type(error).__name__}: {error}") from error
        raise


def _draws_nowhere() -> bool:
    """Whether pygame, by which most environments open windows, has found no display, and was not told to do without."""
    display = getattr(sys.modules.get("pygame"), "display", None)
    if display is None or not display.get_init() or "SDL_VIDEODRIVER" in os.environ:
        return False
    return display.get_driver() in {"dummy", "offscreen"}


def _play(policy: "TrainedPolicy", batch: HostBatch, started: Any, max_steps: int) -> list[Episode]:
    """Play one episode in each environment of a batch."""
    observation, mask = started
    rows = jax.tree.leaves(observation)[0].shape[0]
    moments: list[list[Moment]] = [[] for _ in range(rows)]
    running, painting = np.ones(rows, bool), [True]
    memory, start, reward = None, None, None
    for _ in range(max_steps):
        seen = observation if mask is None else _with_mask(observation, mask)
        value = policy.value(seen, memory, start, reward) if policy.has_value else None
        action, memory = policy.predict(seen, memory, start, reward)
        pictures = [_painted(batch, i, painting) if running[i] else None for i in range(rows)]
        step = batch.step(action)
        for i in np.flatnonzero(running):
            row = (observation, action, step.reward, value)
            shown, did, got, worth = jax.tree.map(lambda x: x[i], row)  # noqa: B023  used at once
            moments[i].append(Moment(None, shown, did, got, worth, pictures[i]))
        observation, mask, reward = step.observation, step.action_mask, step.reward
        start = step.terminated | step.truncated
        running &= ~start
        if not running.any():
            break
    return [Episode(played, not more) for played, more in zip(moments, running.tolist(), strict=True)]


def _with_mask(observation: Any, mask: np.ndarray) -> dict[str, Any]:
    parts = observation if isinstance(observation, dict) else {"observation": observation}
    return {**parts, ACTION_MASK: mask}


def _painted(batch: HostBatch, row: int, painting: list[bool]) -> bytes | None:
    """What an environment paints, as a PNG file; where it fails, a warning, and from then on nothing."""
    from PIL import Image

    if not painting[0]:
        return None
    try:
        array = batch.picture(row)
    except Exception as error:  # of its library, or of one that is missing
        painting[0] = False
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(f"observations are drawn, as the environment could not be rendered ({reason})", stacklevel=2)
        return None
    if array is None:
        painting[0] = False
        return None
    image = Image.fromarray(array)
    image.thumbnail(_LARGEST)
    file = io.BytesIO()
    image.save(file, "png", compress_level=1)
    return file.getvalue()

"""Environments that run in Python are played as they are evaluated, and painted or shown as they do it themselves."""

import contextlib
import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.environments.host import toys
from tests.experiment.policies import make_policy

from memorax import lox
from memorax.cli import play as command
from memorax.experiment.play import record_episodes, write_film
from memorax.experiment.play.episodes import show_in_window
from memorax.experiment.play.film import make_painter
from memorax.experiment.play.python_episodes import NoWindowError
from memorax.experiment.run.programs import seed_keys


@pytest.fixture(scope="module")
def policy():
    policy = make_policy(env=f"{toys.__name__}:Painted", env_options={"length": 3})
    yield policy
    policy.agent.close()


@pytest.fixture(scope="module")
def episodes(policy):
    return record_episodes(policy, 6, seed=5)


def test_the_episodes_are_those_that_are_evaluated(policy, episodes):
    """Six, of which an evaluation plays four and two at once."""
    key = seed_keys([5])[2][0]
    _, logs = lox.spool(policy.agent.evaluate)(key, policy.state, num_episodes=6)
    returns = logs["returned_episode_returns"].ravel().tolist()
    assert len(set(returns)) == 2, "signs and answers must differ, or nothing is compared"
    assert [episode.total for episode in episodes] == returns
    assert [len(episode.moments) for episode in episodes] == [3] * 6
    assert all(episode.complete for episode in episodes)
    assert all(isinstance(float(moment.value), float) for episode in episodes for moment in episode.moments)


def test_pictures_are_those_that_the_environment_paints(policy, episodes, tmp_path):
    painter = make_painter(policy, episodes)
    greens = [np.asarray(painter.draw(episodes[0], moment))[0, 0].tolist() for moment in episodes[0].moments]
    assert greens == [[0, 0, 0], [0, 50, 0], [0, 100, 0]]
    out = write_film(policy, episodes[:1], tmp_path / "film.gif")
    with Image.open(out) as film:
        assert film.n_frames == 3


def test_a_long_episode_is_left_unfinished(policy):
    (episode,) = record_episodes(policy, 1, max_steps=2, seed=5)
    assert (len(episode.moments), episode.complete) == (2, False)


def test_masks_are_kept_and_what_paints_nothing_is_drawn_by_what_is_seen():
    policy = make_policy(env=f"{toys.__name__}:Fenced")
    (episode,) = record_episodes(policy, 1)
    position = [float(moment.observation[0]) for moment in episode.moments]
    assert min(position) >= 0
    assert episode.moments[0].picture is None
    make_painter(policy, [episode]).frame(0, 0)


def test_a_window_shows_the_same_episodes(policy, episodes, monkeypatch):
    monkeypatch.setattr(toys.Painted, "shown", 0)
    shown = show_in_window(policy, 2, seed=5)
    assert [episode.total for episode in shown] == [episode.total for episode in episodes[:2]]
    assert toys.Painted.shown == 4  # once for each episode, and when it is over
    monkeypatch.setattr(toys.Painted, "display", False)
    with pytest.raises(NoWindowError, match="RuntimeError: No available video device"):
        show_in_window(policy, 1)


def test_a_window_that_nobody_can_see_is_none(policy, monkeypatch):
    display = SimpleNamespace(get_init=lambda: True, get_driver=lambda: "offscreen")
    monkeypatch.setitem(sys.modules, "pygame", SimpleNamespace(display=display))
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    with pytest.raises(NoWindowError, match="there is no display"):
        show_in_window(policy, 1)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert show_in_window(policy, 1)


@pytest.mark.parametrize("display", [True, False])
def test_the_command_shows_a_window_or_else_lines(policy, display, monkeypatch):
    monkeypatch.setattr(toys.Painted, "display", display)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        command._show(policy, {"episodes": 1, "max_steps": 9, "seed": 5}, 8.0)
    first, last = out.getvalue().splitlines()[0], out.getvalue().splitlines()[-1]
    if display:
        assert first.startswith("episode 1: 3 steps, return ")
    else:
        assert first == "no window (RuntimeError: No available video device); in the terminal instead"
        assert last.startswith("episode 1  step    3  action ")


def test_an_environment_that_cannot_be_painted_is_said(monkeypatch, policy):
    monkeypatch.setattr(toys.Painted, "render", lambda self: 1 / 0)
    with pytest.warns(UserWarning, match=r"could not be rendered \(ZeroDivisionError"):
        (episode,) = record_episodes(policy, 1)
    assert [moment.picture for moment in episode.moments] == [None] * 3

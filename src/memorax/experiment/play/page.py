"""Episodes as an HTML page, for environments that come with a viewer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from memorax.core.types import PyTree
from memorax.experiment.play.moments import Episode
from memorax.experiment.report.page import add, add_figure, add_section, add_table, new_page, render

if TYPE_CHECKING:
    from memorax.experiment.policy import TrainedPolicy


def has_viewer(env: Any) -> bool:
    """Whether an environment has a viewer for episodes, `viewer(states) -> HTML`."""
    return hasattr(_innermost(env), "viewer")


def episodes_page(policy: "TrainedPolicy", episodes: Sequence[Episode]) -> str:
    """Write a page with the viewer of each episode, and below it actions, rewards and values.

    Args:
        policy: The policy that played them; its environment has a viewer.
        episodes: The episodes.

    Returns:
        The page.
    """
    count = f"{len(episodes)} episode{'s' if len(episodes) > 1 else ''}"
    html, body = new_page(f"{count} of {policy.env.name}")
    add(
        body, "p", "The viewer loads its scripts from the network; without it, its place is empty.", **{"class": "note"}
    )
    for number, episode in enumerate(episodes, 1):
        unfinished = "" if episode.complete else ", unfinished"
        note = f"{len(episode.moments)} steps, return {episode.total:+.3f}{unfinished}"
        section = add_section(body, f"episode-{number}", f"Episode {number}", note)
        states = [_inside(policy.env, moment.env_state) for moment in episode.moments]
        viewer = _innermost(policy.env).viewer(states)
        frame = {"style": "width: 100%; height: 500px; border: 0", "title": f"episode {number}", "loading": "lazy"}
        SubElement(section, "iframe", {"srcdoc": viewer, **frame})
        add_figure(section, lambda figure: _draw(figure, episode), "Rewards and values", size=(8.0, 2.6))  # noqa: B023
        _add_steps(section, episode)
    return render(html)


def _draw(figure: Any, episode: Episode) -> None:
    axes = figure.subplots()
    rewards = [float(np.mean(moment.reward)) for moment in episode.moments]
    axes.plot(rewards, color="tab:green", label="reward")
    axes.set_xlabel("step")
    axes.set_ylabel("reward")
    if episode.moments[0].value is not None:
        right = axes.twinx()
        values = [float(np.mean(moment.value)) for moment in episode.moments if moment.value is not None]
        right.plot(values, color="tab:blue", label="value")
        right.set_ylabel("value")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)


def _add_steps(section: Element, episode: Episode) -> None:
    """A table of all steps, folded."""
    details = SubElement(section, "details")
    add(details, "summary", "every step")
    rows = [
        (str(t), _numbers(moment.action), _numbers(moment.reward), _numbers(moment.value))
        for t, moment in enumerate(episode.moments)
    ]
    add_table(details, ("step", "action", "reward", "value"), rows)


def _numbers(x: Any) -> str:
    return "" if x is None else " ".join(f"{v:+.3f}" for v in np.ravel(x).tolist())


def _innermost(env: Any) -> Any:
    while hasattr(env, "env"):
        env = env.env
    return env


def _inside(env: Any, state: PyTree) -> PyTree:
    """The state of the innermost environment."""
    while hasattr(env, "env"):
        env, state = env.env, getattr(state, "env_state", state)
    return state

"""Every registered algorithm has a page that names all fields of its configuration, and all that it logs."""

import re
from dataclasses import fields
from pathlib import Path

import jax
import pytest
from tests import example_agents as agents
from tests.copied_tasks import Copies

from memorax import lox
from memorax.algorithms import ALGORITHMS
from memorax.testing.probe_environments import Clock

FOLDER = Path(__file__).parents[2] / "docs" / "algorithms"


def section(page, title):
    return (FOLDER / page).read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def page_of(name):
    return name.replace("_", "-") + ".md"


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_the_page_has_every_field_and_no_other(name):
    text, (_, config) = section(page_of(name), "Configuration"), ALGORITHMS.get(name)
    defaults = {field.name: str(field.default) for field in fields(config)}
    table = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", text, re.MULTILINE))
    assert table == {field: default for field, default in defaults.items() if field in table}
    assert set(defaults) <= set(re.findall(r"`(\w+)`", text))


def documented(page, seen=()):
    """The losses that a page names under what is logged, or that the pages do to which it refers there."""
    text = section(page, "What is logged")
    names = set(re.findall(r"`(losses/\w+)`", text))
    for other in set(re.findall(r"\]\(([\w-]+\.md)[)#]", text)) - {page, *seen}:
        names |= documented(other, (*seen, page))
    return names


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_the_page_has_every_loss_and_no_other(name):
    agent = getattr(agents, name)(Copies(Clock(), 2) if name == "mappo" else Clock(), "mlp")
    key = jax.random.key(0)
    state = jax.eval_shape(agent.init, key)
    _, logs = jax.eval_shape(lambda state: lox.spool(agent.train)(key, state, num_steps=agent.steps_per_update), state)
    losses = {log for log in logs if log.startswith("losses/")}
    own = set(re.findall(r"`(losses/\w+)`", section(page_of(name), "What is logged")))
    assert losses <= documented(page_of(name))
    assert own <= losses

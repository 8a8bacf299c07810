"""What is put together from parts is refused by name, too: agents, hordes, stacks, arrays, names."""

import pytest
from tests.structure.parts_fuzz import agent, findings, parts

from memorax.algorithms import ALGORITHMS

PARTS = {part.name: part for part in parts()}


def refuses_bad_parts(part):
    found = list(findings(part))
    assert not found, "\n".join([f"{len(found)} findings", *map(str, found)])
    assert sum(map(len, part.wrong.values())) > 10


@pytest.mark.parametrize("name", PARTS)
def test_bad_parts_are_refused_by_name(name):
    part = PARTS[name]
    if name not in ("Horde", "Stack"):  # which have no default for what is fuzzed
        part.build(**part.base)
    refuses_bad_parts(part)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_agents_refuse_bad_arguments_by_name(name):
    part = agent(name)
    assert isinstance(part.build(**part.base), ALGORITHMS.get(name)[0])
    refuses_bad_parts(part)

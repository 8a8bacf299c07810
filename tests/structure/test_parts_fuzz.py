"""What is put together from parts is refused by name, too: agents, hordes, stacks, arrays, names."""

import pytest
from tests.structure.parts_fuzz import findings, parts

PARTS = {part.name: part for part in parts()}


@pytest.mark.parametrize("name", PARTS)
def test_bad_parts_are_refused_by_name(name):
    part = PARTS[name]
    part.build(**part.base) if name not in ("Horde", "Stack") else None
    found = list(findings(part))
    assert not found, "\n".join([f"{len(found)} findings", *map(str, found)])
    assert sum(map(len, part.wrong.values())) > 10


def test_every_algorithm_is_reached():
    assert {"PPO", "MAPPO", "DQN", "R2D2", "PQN", "SAC", "StreamAC", "GradientPPO"} <= PARTS.keys()

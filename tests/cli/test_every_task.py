"""Every embedded task trains from the command line."""

import math

import pytest

from memorax.cli import main
from memorax.environments import registered
from memorax.experiment.loggers import read_rows

TASKS = [card.id for card in registered() if card.id.startswith("memory::")]
TINY = [
    *("--features", "8"),
    *("--num-envs", "4"),
    *("--num-steps", "16"),
    *("--num-minibatches", "2"),
    *("--update-epochs", "1"),
    *("--seeds", "1"),
    *("--steps", "1280"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_ppo_trains_on_it(name, tmp_path):
    folder = tmp_path / "run"
    assert main(["train", "ppo", "--env", name, "--out", str(folder), *TINY]) == 0
    rows = read_rows(folder / "metrics.jsonl")
    assert rows[-1]["step"] == 1280
    assert all(math.isfinite(value) for row in rows for value in row.values())

"""PPO trains with every registered memory model from the command line."""

import math

import pytest

from memorax.cli import main
from memorax.experiment.loggers import read_rows
from memorax.networks.sequence_models import MODELS

TINY = [
    *("--features", "8"),
    *("--num-envs", "4"),
    *("--num-steps", "16"),
    *("--num-minibatches", "2"),
    *("--update-epochs", "1"),
    *("--seeds", "1"),
    *("--steps", "640"),
    *("--log-every", "320"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS.names())
def test_ppo_trains_with_it(name, tmp_path):
    folder = tmp_path / name
    assert main(["train", "ppo", "--model", name, "--out", str(folder), *TINY]) == 0
    rows = read_rows(folder / "metrics.jsonl")
    assert rows[-1]["step"] == 640
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert (folder / "learning_curve.png").stat().st_size > 1000

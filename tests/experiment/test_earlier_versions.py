"""A run of an earlier version is resumed and evaluated: names in `config.json` and in checkpoints do not change."""

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from memorax.experiment import evaluate, load_config, train
from memorax.experiment.loggers import read_rows

WRITTEN = Path(__file__).parent / "written_by_0_1_0"
"""Runs of 320 steps: `memorax train ALGORITHM --env memory::RepeatFirstEasy --features 4 --seeds 1 ...`."""


@pytest.mark.parametrize("algorithm", ["ppo", pytest.param("dqn", marks=pytest.mark.slow)])
def test_a_run_of_an_earlier_version_goes_further(algorithm, tmp_path):
    folder = Path(shutil.copytree(WRITTEN / algorithm, tmp_path / "run"))
    before, config = read_rows(folder / "metrics.jsonl"), load_config(folder)
    assert evaluate(folder, episodes=1)["step"] == 320
    longer = json.loads((folder / "config.json").read_text()) | {"steps": 480}
    (folder / "config.json").write_text(json.dumps(longer))
    outcome = train(load_config(folder), folder, resume=True, console=Console(file=io.StringIO()))
    rows = read_rows(folder / "metrics.jsonl")
    assert (config.steps, outcome.step) == (320, 480)
    assert rows[: len(before)] == before
    assert [row["step"] for row in rows[len(before) :]] == [400, 480]
    assert {name for name in rows[-1] if name.startswith("losses/")} == {
        n for n in before[-1] if n.startswith("losses/")
    }

"""A run that an earlier version wrote and stopped half way resumes, and ends as that version ended it.

`folders/NAME` is what the version before the redesign left behind after 96 steps of each of two seeds, and
`folders/NAME.jsonl` has the metrics of its run over all 192 steps; PPO's second half differs from that version's
in the last digits, since hyperparameters are arrays. Both were made by `memorax train` with the options
in `config.json`, under the flags that the tests give to XLA.
"""

import json
import shutil
from pathlib import Path

import pytest
from tests.recorded.test_recorded_runs import ELSEWHERE, SAME_MACHINE

from memorax.cli import main

FOLDERS = Path(__file__).with_name("folders")
STOPPED, STEPS = 96, 192


def read(path):
    """The rows of a file of metrics, less what depends on the time."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


@pytest.mark.parametrize("name", ["ppo", pytest.param("r2d2", marks=pytest.mark.slow)])
def test_a_run_of_an_earlier_version_resumes(name, tmp_path, capsys):
    folder, expected = tmp_path / "run", read(FOLDERS / f"{name}.jsonl")
    shutil.copytree(FOLDERS / name, folder)
    before = [row for row in expected if row["step"] <= STOPPED]
    assert read(folder / "metrics.jsonl") == before
    assert main(["train", "--resume", "--steps", str(STEPS), "--out", str(folder)]) == 0
    assert f"from step {STOPPED}" in capsys.readouterr().out
    rows = read(folder / "metrics.jsonl")
    if SAME_MACHINE:
        assert rows == expected
        return
    # Another processor or library rounds differently, and what follows drifts apart.
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for row, was in list(zip(rows, expected, strict=True))[: len(before) + 2]:
        assert row == pytest.approx(was, rel=ELSEWHERE, abs=0.1 * ELSEWHERE)

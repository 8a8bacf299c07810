import json

import numpy as np
import pytest
from tests.experiment.fake_agent import config
from tests.experiment.test_plot import write_run

from memorax.experiment.report.summary import final_numbers, write_summary


def test_a_run_without_an_episode_has_a_summary_but_no_curve(tmp_path):
    folder = write_run(tmp_path / "a", np.full((2, 3), np.nan))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 400, "seed": 0, "time/elapsed_seconds": 2.0}) + "\n")
    summary = write_summary(folder, config(), 400, 0.0)
    assert summary["final"] == {"episode/return": None, "episode/length": None}
    assert summary["compile_seconds"] is None, "nothing was compiled, which is not in no time"
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert not (folder / "learning_curve.png").exists()


def test_final_numbers_are_over_the_last_episodes():
    rows = [
        {"step": step, "seed": seed, "episode/return": value, "episode/count": count}
        for step, seed, value, count in [(80, 0, 1.0, 5), (95, 0, 2.0, 1), (100, 0, 5.0, 2), (50, 1, 7.0, 3)]
    ]
    final = final_numbers([*rows, {"step": 100, "seed": 1}], "episode/return")
    assert final["per_seed"] == {"0": pytest.approx(4.0), "1": 7.0}

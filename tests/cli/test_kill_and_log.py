"""A run that is killed and resumed has every row once in its loggers, and the best checkpoint of one that was not."""

import importlib.util
import os
import random
import time

import numpy as np
import pytest
from tests.cli.test_kill_and_resume import OPTIONS, assert_same, finish, kill, metrics, start, wait_for_step
from tests.experiment.test_loggers import NEEDS, READERS, offline, points, stay_offline

from memorax.experiment.loggers import read_rows
from memorax.experiment.run import checkpoint

LIVE = [*("--eval-every", "12_800"), *("--eval-episodes", "2"), *("--keep-best", "eval/return")]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_a_killed_run_is_whole_in_every_logger(cache, tmp_path, monkeypatch):
    installed = [name for name, library in NEEDS.items() if importlib.util.find_spec(library) is not None]
    stay_offline(monkeypatch, tmp_path)
    monkeypatch.setattr(os, "environ", os.environ | offline(tmp_path))
    straight, folder = tmp_path / "straight", tmp_path / "run"
    code, out, err = finish(start(straight, cache, options=[*OPTIONS, *LIVE]))
    assert (code, err) == (0, "")
    assert f"memorax evaluate {straight} --step best" in out
    loggers = ["--logger", *installed] if installed else []
    process = start(folder, cache, options=[*OPTIONS, *LIVE, *loggers])
    for step in (32_000, 96_000, 160_000):
        wait_for_step(folder, step, process)
        time.sleep(random.uniform(0.0, 0.3))
        kill(process)
        process = start(folder, cache, resume=True)
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert_same(straight, folder)
    assert any("eval/return" in row for row in metrics(folder))
    best = [checkpoint.newest(place / "best").name for place in (straight, folder)]
    assert best[0] == best[1]
    rows = read_rows(folder / "metrics.jsonl")
    scores = {row["step"]: [] for row in rows if "eval/return" in row}
    for row in rows:
        if "eval/return" in row:
            scores[row["step"]].append(row["eval/return"])
    assert int(best[0]) == max(scores, key=lambda step: (np.mean(scores[step]), -step))
    for name in installed:
        where = tmp_path if name == "trackio" else folder
        assert READERS[name](where) == points(rows), name

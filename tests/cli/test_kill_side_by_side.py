"""Runs side by side in one process that is killed: a grid, whose runs stand alone, and a population, whose do not."""

import random
import re
import time

import numpy as np
import pytest
from tests.cli.test_kill_and_resume import OPTIONS, assert_same, finish, kill, metrics, start, wait_for_step

from memorax.experiment import load_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:Sharding info not provided"),
]

GRID = [*OPTIONS, "--learning-rate", "1e-4,3e-4", "--seeds", "1"]
SPACE = ["--population", "learning_rate=log_uniform:1e-5,1e-1", "gamma=uniform:0.8,0.99"]
POPULATION = [*OPTIONS, "--seeds", "4", *SPACE, "--exchange-every", "12_800"]
STEPS = 256_000


def runs_of(folder):
    return sorted(path.parent for path in folder.glob("*/config.json"))


def interrupted(folder, cache, options, member):
    """Train a run of several, which is killed twice; the steps that its members were resumed from."""
    process, begun = start(folder, cache, options=options), []
    for part in (4, 2):
        wait_for_step(folder / member, STEPS // part, process)
        time.sleep(random.uniform(0.0, 0.2))
        kill(process)
        process = start(folder, cache, resume=True)
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    begun = [int(step.replace(",", "")) for step in re.findall(r"resuming from step ([\d,]+)", out)]
    assert len(begun) == len(runs_of(folder))
    return begun


def test_a_population_that_was_killed_is_the_same(tmp_path):
    cache, straight, folder = (tmp_path / name for name in ("cache", "straight", "run"))
    assert finish(start(straight, cache, options=POPULATION))[0] == 0
    begun = interrupted(folder, cache, POPULATION, "member-03")
    assert len(set(begun)) == 1
    for whole, member in zip(runs_of(straight), runs_of(folder), strict=True):
        assert_same(whole, member)
        assert load_config(whole) == load_config(member)
    assert sum(len(load_config(member).history) for member in runs_of(folder)) > 10


def test_runs_of_a_grid_that_was_killed_are_what_they_were_and_go_on(tmp_path):
    cache, straight, folder = (tmp_path / name for name in ("cache", "straight", "run"))
    assert finish(start(straight, cache, options=GRID))[0] == 0
    begun = interrupted(folder, cache, GRID, "learning_rate=3e-4")
    for whole, run, step in zip(runs_of(straight), runs_of(folder), begun, strict=True):
        ours, theirs = metrics(run), metrics(whole)
        assert [(row["step"], row["seed"]) for row in ours] == [(row["step"], row["seed"]) for row in theirs]
        # Beside others that were not as far, a program of another size computes it: the same up to rounding.
        first = min(begun)
        assert [row for row in ours if row["step"] <= first // 2] == [r for r in theirs if r["step"] <= first // 2]
        for row, other in zip(ours, theirs, strict=True):
            if row["step"] <= step + 6_400:
                names = ("episode/return", "losses/entropy")
                np.testing.assert_allclose([row[n] for n in names], [other[n] for n in names], rtol=0.05, atol=0.02)

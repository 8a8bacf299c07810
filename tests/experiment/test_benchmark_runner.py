"""Running a suite: its order, its budget, what a signal, a failure and a kill leave, and that it goes on from there."""

import itertools
import json
import os
import signal
from types import SimpleNamespace

import pytest
from tests.experiment.benchmark_suites import HORIZONS, TASKS, suite
from tests.experiment.fake_agent import UPDATE, FakeAgent

from memorax.cli.commands import main
from memorax.experiment.benchmark import runner
from memorax.experiment.benchmark.runner import Progress, run_suite
from memorax.experiment.benchmark.suite import Cell
from memorax.experiment.config_file import load_config
from memorax.experiment.loggers import read_rows
from memorax.experiment.run import train as training
from memorax.experiment.run.folders import Claim

SHORT, LONG = 4 * UPDATE, 8 * UPDATE
SMALL = {"run": {"features": 6, "log_every": 2 * UPDATE}, "passes": (SHORT, LONG)}


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """Agents that compile in no time; those without memory diverge in the third task."""

    def build(config):
        return FakeAgent(breaks_at=UPDATE if config.model == "mlp" and config.task() == TASKS[2] else None)

    monkeypatch.setattr(training, "build_agent", build)
    monkeypatch.setattr(runner.jax, "clear_caches", lambda: None)  # other tests compile, too
    monkeypatch.setattr("memorax.experiment.report.summary.plot_runs", lambda *args: None)


def rows(folder):
    found = read_rows(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in found]


def scores(folder):
    found = json.loads((folder / "results.json").read_text())["results"]
    return {(r["task"], r["method"]): r["scores"] for r in found}


def test_every_run_gets_to_a_pass_before_one_goes_on(tmp_path):
    said = []
    progress = run_suite(suite(**SMALL), tmp_path, tell=said.append)
    assert progress == Progress(6, 6)
    steps = [line.rpartition(" at ")[2] for line in said if " at " in line and "mmer" in line]
    assert steps == [f"{SHORT} steps"] * 5 + [f"{LONG} steps"] * 5
    assert said[0].startswith("[1/6] gru on memory::MemoryChain length=3: mmer ")
    assert "diverged" in said[5] or "NaN" in said[5]
    assert len(said) == 11  # what failed is not tried again
    found = scores(tmp_path)
    assert all(
        set(by_pass) == {str(SHORT), str(LONG)} for cell, by_pass in found.items() if cell != (TASKS[2], "no memory")
    )
    assert found[TASKS[2], "no memory"] == {}


def test_what_is_finished_is_not_trained_again(tmp_path, monkeypatch):
    wanted = suite(**SMALL)
    run_suite(wanted, tmp_path)
    monkeypatch.setattr(runner, "train", None)
    assert run_suite(wanted, tmp_path) == Progress(6, 6)


def test_a_suite_in_many_short_sessions_ends_like_one_in_a_long_one(tmp_path, monkeypatch):
    wanted = suite(**SMALL).narrowed(tasks=["Chain"])
    run_suite(wanted, tmp_path / "whole")
    ticks = itertools.count()
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    calls, progress = 0, Progress(0, 4)
    while progress.finished < progress.total:
        progress = run_suite(wanted, tmp_path / "cut", budget_hours=3 / 3600)  # three looks at the clock
        assert progress.out_of_time or progress.finished == progress.total
        calls += 1
    assert calls > 4
    assert scores(tmp_path / "cut") == scores(tmp_path / "whole")
    for cell in wanted.cells():
        assert rows(tmp_path / "cut" / cell.folder) == rows(tmp_path / "whole" / cell.folder)


def test_a_signal_ends_the_suite_after_the_interval(tmp_path, monkeypatch):
    original = runner.train

    def interrupted(config, folder, **how):
        class Signals:
            def on_interval(self, run):
                os.kill(os.getpid(), signal.SIGTERM)

        return original(config, folder, **how | {"callbacks": (Signals(),)})

    monkeypatch.setattr(runner, "train", interrupted)
    progress = run_suite(suite(**SMALL), tmp_path)
    assert progress == Progress(0, 6, signal=signal.SIGTERM)
    assert scores(tmp_path) == {(TASKS[0], "gru"): {}}
    assert load_config(tmp_path / Cell(TASKS[0], "gru").folder).steps == SHORT


def test_finished_runs_are_measured_in_longer_tasks_once(tmp_path):
    wanted = suite(**SMALL, horizons=HORIZONS).narrowed(methods=["gru"], tasks=["Chain"])
    asked = []

    def measure(folder, horizons):
        asked.append((folder.name, horizons))
        return {"3": {"best": 1.0, "memoryless": 0.0, "returns": {"5": 0.5}}}

    for _ in range(2):
        run_suite(wanted, tmp_path, measure=measure)
    assert asked == [(Cell(task, "gru").folder, HORIZONS) for task in TASKS[:2]]
    stored = json.loads((tmp_path / "results.json").read_text())
    assert [r["horizons"]["3"]["returns"] for r in stored["results"]] == [{"5": 0.5}] * 2


def test_a_folder_of_another_suite_is_refused(tmp_path):
    wanted = suite(**SMALL)
    run_suite(wanted.narrowed(methods=["gru"], tasks=["length=3"]), tmp_path)
    with pytest.raises(ValueError, match="`seed` must be 5 to resume"):
        run_suite(wanted.narrowed(seed=6, steps=2 * LONG), tmp_path)
    with pytest.raises(ValueError, match="`budget` must be above 0 hours, got 0"):
        run_suite(wanted, tmp_path, budget_hours=0)


def test_what_another_process_trains_is_left_out(tmp_path):
    wanted, said = suite(**SMALL).narrowed(tasks=["Chain"], methods=["gru"], steps=SHORT), []
    claim = Claim(tmp_path / Cell(TASKS[0], "gru").folder)
    try:
        progress = run_suite(wanted, tmp_path, tell=said.append)
    finally:
        claim.release()
    assert progress == Progress(1, 2)
    assert f"gru on {TASKS[0]} is left out: `out` is in use by another process" in said[0]
    assert run_suite(wanted, tmp_path) == Progress(2, 2)


def test_the_command_trains_a_part_of_a_suite_and_writes_its_tables(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("memorax.experiment.benchmark.suite.load_suite", lambda name: suite(**SMALL))
    part = ["small", "--tasks", "length=3", "--steps", str(SHORT), "--out", str(tmp_path)]
    assert main(["benchmark", *part, "--tables"]) == 2
    assert "which has no runs yet" in capsys.readouterr().err
    assert main(["benchmark", *part]) == 0
    said = capsys.readouterr().out
    assert "[2/2] no memory on memory::MemoryChain length=3: mmer" in said
    assert "2 of 2 runs are finished" in said
    table = (tmp_path / "table.md").read_text()
    assert f"MMER at {SHORT} steps per seed" in table
    (tmp_path / "table.md").unlink()
    assert main(["benchmark", *part, "--tables"]) == 0
    assert (tmp_path / "table.md").read_text() == table


def test_the_command_refuses_what_is_not_there(capsys):
    assert main(["benchmark", "popgym-eesy"]) == 2
    assert "nearest: popgym-easy" in capsys.readouterr().err
    assert main(["benchmark", "credit", "--methods", "grru"]) == 2
    assert "`methods` must be among gru" in capsys.readouterr().err

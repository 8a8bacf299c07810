import dataclasses

import pytest
from rich.console import Console
from tests.experiment.sweep.sweeps import begin, small_sweep

from memorax.experiment.sweep import dispatch
from memorax.experiment.sweep.dispatch import Dispatcher
from memorax.experiment.sweep.engines.processes import visible_gpus
from memorax.experiment.sweep.trials import read_trial, read_trials, write_trial

NAMES = [f"trials/{i:04d}" for i in range(5)]


class Job:
    def __init__(self, answers):
        self.answers, self.stopped = list(answers), False

    def poll(self):
        if self.stopped:
            return "stopped"
        return self.answers.pop(0)

    def stop(self):
        self.stopped = True


class Launcher:
    """Starts jobs that end as they are told to, and remembers them."""

    def __init__(self, folder, end):
        self.folder, self.end, self.jobs = folder, end, []

    def start(self, names):
        self.jobs.append(list(names))
        return Job([None, self.end(self.folder, names)])

    def close(self):
        pass


def complete(folder, names):
    for name in names:
        write_trial(folder, dataclasses.replace(read_trial(folder, name), state="complete", values=(1.0,)))
    return ""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(dispatch, "_PAUSE", 0.001)


def start(folder, end, **fields):
    sweep = begin(folder, small_sweep(**fields), Console(width=200))
    launcher = Launcher(folder, end)
    return sweep, launcher, Dispatcher(sweep, launcher)


def test_every_batch_is_trained_once(tmp_path, capsys):
    sweep, launcher, dispatcher = start(tmp_path, complete, workers=2)
    dispatcher.run(sweep.batches(sweep.add_random()))
    assert launcher.jobs == [NAMES[:3], NAMES[3:]]
    assert capsys.readouterr().out.count(" complete: episode/return 1 ") == 5


def test_no_more_batches_train_at_once_than_there_are_workers(tmp_path):
    sweep, launcher, dispatcher = start(tmp_path, complete, workers=2, batch=1)
    dispatcher.submit(sweep.batches(sweep.add_random()))
    assert not dispatcher.has_room
    dispatcher.step()
    assert len(launcher.jobs) == 2
    dispatcher.run([])
    assert len(launcher.jobs) == 5


def test_a_batch_whose_process_dies_is_tried_again_and_then_in_halves(tmp_path):
    def poisoned(folder, names):
        return "it was killed" if NAMES[3] in names else complete(folder, names)

    sweep, launcher, dispatcher = start(tmp_path, poisoned)
    dispatcher.run(sweep.batches(sweep.add_random()))
    assert launcher.jobs == [NAMES, NAMES, NAMES[:3], NAMES[3:], NAMES[3:4], NAMES[4:]]
    assert [trial.state for trial in read_trials(tmp_path)] == ["complete"] * 3 + ["failed", "complete"]
    assert read_trial(tmp_path, NAMES[3]).error == "its process ended 4 times: it was killed"


def test_what_was_over_before_a_process_died_is_not_trained_again(tmp_path):
    def dies_late(folder, names):
        complete(folder, names[:2])
        return "it was killed"

    sweep, launcher, dispatcher = start(tmp_path, dies_late)
    dispatcher.run(sweep.batches(sweep.add_random()))
    assert launcher.jobs == [NAMES, NAMES[2:], NAMES[4:]]
    assert {trial.state for trial in read_trials(tmp_path)} == {"complete"}


def test_a_batch_of_another_process_is_left_to_it(tmp_path, capsys):
    sweep, launcher, dispatcher = start(tmp_path, lambda folder, names: "")
    dispatcher.run(sweep.batches(sweep.add_random()))
    assert launcher.jobs == [NAMES]
    assert "left to another process" in capsys.readouterr().out


def test_a_stopped_sweep_stops_its_processes(tmp_path, monkeypatch):
    sweep, launcher, dispatcher = start(tmp_path, complete, batch=1)
    dispatcher.submit(sweep.batches(sweep.add_random()))
    dispatcher.step()
    monkeypatch.setattr(type(sweep), "signal", 15)
    assert not dispatcher.step()
    assert dispatcher.is_idle
    assert len(launcher.jobs) == 1


def test_a_sweep_stops_when_its_time_is_over(tmp_path):
    sweep, launcher, dispatcher = start(tmp_path, complete, budget=1e-9)
    dispatcher.run(sweep.batches(sweep.add_random()))
    assert launcher.jobs == []
    assert sweep.is_over_budget


@pytest.mark.parametrize(
    ("count", "slot", "given", "seen"),
    [(0, 1, "", None), (1, 0, "", "0"), (1, 2, "", "2"), (2, 1, "", "2,3"), (1, 1, "4,7", "7"), (2, 1, "4,7,9", "9")],
)
def test_processes_share_the_gpus_out(count, slot, given, seen):
    environment = {"CUDA_VISIBLE_DEVICES": given} if given else {}
    assert visible_gpus(count, slot, environment) == ({} if seen is None else {"CUDA_VISIBLE_DEVICES": seen})

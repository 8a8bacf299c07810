import dataclasses

import pytest
from tests.experiment.sweep.sweeps import begin, pretend, small_sweep

from memorax.experiment import DivergenceError
from memorax.experiment.run.folders import TakenError
from memorax.experiment.sweep import Uniform, training
from memorax.experiment.sweep.trials import read_trial, read_trials

NAMES = [f"trials/{i:04d}" for i in range(5)]


@pytest.fixture
def sizes(monkeypatch):
    """How many were trained side by side, in the order in which they were."""
    made = []

    def together(configs, folders, **how):
        made.append(len(configs))
        return [pretend(config, folder, **how) for config, folder in zip(configs, folders, strict=True)]

    monkeypatch.setattr(training, "train_many", together)
    monkeypatch.setattr(training, "train", lambda config, folder, **how: together([config], [folder], **how)[0])
    return made


@pytest.fixture
def folder(tmp_path):
    begin(tmp_path, small_sweep()).add_random()
    return tmp_path


def test_trials_of_the_same_sizes_are_trained_side_by_side(folder, sizes):
    assert training.train_trials(folder, NAMES) is None
    assert sizes == [5]
    for trial in read_trials(folder):
        assert trial.state == "complete"
        assert trial.values == (pytest.approx(100 * trial.parameters["learning_rate"] + 0.5, rel=1e-5),)


def test_what_is_over_is_left_alone(folder, sizes):
    training.train_trials(folder, NAMES[:2])
    training.train_trials(folder, NAMES)
    assert sizes == [2, 3]


def test_a_pruned_trial_says_so_and_the_others_go_on(folder, sizes):
    def prune(trial, run):
        return trial.number == 2 and run.step >= 1280

    training.train_trials(folder, NAMES, prune)
    assert [(trial.state, trial.step) for trial in read_trials(folder)] == [
        *[("complete", 2560)] * 2,
        ("pruned", 1280),
        *[("complete", 2560)] * 2,
    ]


def test_pruning_at_the_end_is_completing(folder, sizes):
    training.train_trials(folder, NAMES[:1], lambda trial, run: run.step == run.total)
    assert read_trial(folder, NAMES[0]).state == "complete"


def test_a_run_that_diverges_fails_alone(folder, sizes, monkeypatch):
    def together(configs, folders, **how):
        errors = [None, DivergenceError("loss is NaN"), None, None, None]
        return [pretend(c, f, error=e, **how) for c, f, e in zip(configs, folders, errors, strict=True)]

    monkeypatch.setattr(training, "train_many", together)
    training.train_trials(folder, NAMES)
    states = [trial.state for trial in read_trials(folder)]
    assert states == ["complete", "failed", "complete", "complete", "complete"]
    assert read_trial(folder, NAMES[1]).error == "DivergenceError: loss is NaN"


def test_what_cannot_be_told_apart_is_tried_in_halves(folder, sizes, monkeypatch):
    attempts = []

    def together(configs, folders, **how):
        attempts.append([int(place.name) for place in folders])
        if 3 in attempts[-1]:
            raise RuntimeError("out of memory")
        return [pretend(c, f, **how) for c, f in zip(configs, folders, strict=True)]

    monkeypatch.setattr(training, "train_many", together)
    monkeypatch.setattr(training, "train", lambda config, place, **how: together([config], [place], **how)[0])
    training.train_trials(folder, NAMES)
    assert attempts == [[0, 1, 2, 3, 4], [0, 1, 2], [3, 4], [3], [4]]
    assert [trial.state for trial in read_trials(folder)] == ["complete"] * 3 + ["failed", "complete"]
    assert read_trial(folder, NAMES[3]).error == "RuntimeError: out of memory"


def test_what_cannot_share_a_program_is_trained_one_by_one(folder, sizes, monkeypatch):
    def together(configs, folders, **how):
        raise TypeError("`env` of runs that share a program must be compiled")

    monkeypatch.setattr(training, "train_many", together)
    training.train_trials(folder, NAMES)
    assert sizes == [1] * 5
    assert {trial.state for trial in read_trials(folder)} == {"complete"}


def test_settings_that_do_not_go_together_fail_alone(tmp_path, sizes):
    config = small_sweep(space={"learning_rate": Uniform(0.1, 0.2)}, trials=3)
    sweep = begin(tmp_path, config)
    sweep.add(0, {"learning_rate": 0.1})
    sweep.add(1, {"learning_rate": -1.0})
    training.train_trials(tmp_path, NAMES[:2])
    assert [trial.state for trial in read_trials(tmp_path)] == ["complete", "failed"]
    assert "`learning_rate` must be above 0" in read_trial(tmp_path, NAMES[1]).error


def test_a_folder_that_stays_in_use_is_left_to_the_other_process(folder, sizes, monkeypatch):
    monkeypatch.setattr(training, "_PATIENCE", 0.0)
    busy = folder / NAMES[1]

    def together(configs, folders, **how):
        if busy in folders:
            raise TakenError("in use")
        return [pretend(c, f, **how) for c, f in zip(configs, folders, strict=True)]

    monkeypatch.setattr(training, "train_many", together)
    monkeypatch.setattr(training, "train", lambda config, place, **how: together([config], [place], **how)[0])
    assert training.train_trials(folder, NAMES) is None
    assert [trial.state for trial in read_trials(folder)] == ["complete", "running", *["complete"] * 3]


def test_a_signal_stops_all_and_nothing_is_over(folder, sizes, monkeypatch):
    def together(configs, folders, **how):
        return [dataclasses.replace(pretend(c, f, **how), signal=15) for c, f in zip(configs, folders, strict=True)]

    monkeypatch.setattr(training, "train_many", together)
    assert training.train_trials(folder, NAMES) == 15
    assert {trial.state for trial in read_trials(folder)} == {"running"}

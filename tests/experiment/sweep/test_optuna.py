"""Sweeps with Optuna, its study in a file that several processes share."""

import pytest
from tests.experiment.sweep.processes import kill, start, sweep, wait_for_metrics
from tests.experiment.sweep.sweeps import begin, small_sweep

from memorax.experiment.sweep import Choice, LogUniform, Trial, Uniform, load_sweep_config, read_trials
from memorax.experiment.sweep.engines import optuna_study
from memorax.experiment.sweep.trials import write_trial

optuna = pytest.importorskip("optuna", reason="Optuna is not installed; it comes with the extra `optuna`")
pytest.importorskip("sklearn", reason="scikit-learn is not installed; it comes with the extra `optuna`")

OPTIONS = ["--engine", "optuna", "--batch", "2", "--workers", "2", "--best", "1"]
FINISHED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)


@pytest.fixture(params=["journal", "sqlite"])
def storage(request):
    return request.param


class Never:
    """A launcher that is not needed."""

    def close(self):
        pass


def search(folder, **fields):
    return optuna_study.OptunaSearch(begin(folder, small_sweep(engine="optuna", **fields)), Never())


def test_spaces_are_those_of_optuna():
    space = {"a": LogUniform(1e-4, 1e-2), "b": Uniform(2, 5), "c": Choice(("x", "y"))}
    assert optuna_study.distributions(space) == {
        "a": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
        "b": optuna.distributions.IntDistribution(2, 5),
        "c": optuna.distributions.CategoricalDistribution(("x", "y")),
    }


def test_a_study_is_told_what_came_of_the_trials_and_goes_on(tmp_path, storage):
    engine = search(tmp_path, storage=storage)
    names = engine._ask(3)
    sweep = engine.sweep
    for name, state, values in zip(names, ("complete", "pruned", "failed"), ((1.5,), (0.5,), ()), strict=True):
        trial = next(trial for trial in sweep.trials() if trial.name == name)
        write_trial(tmp_path, Trial(name=name, parameters=trial.parameters, state=state, values=values))
    sweep.show_finished()
    engine._study.ask(engine._distributions)  # killed before it was written down
    again = search(tmp_path, storage=storage)
    again._reconcile()
    trials = again._study.get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "FAIL", "FAIL"]
    assert trials[0].value == 1.5
    (name,) = again._ask(1)
    assert name == "trials/0004"
    drawn = [tuple(trial.params.values()) for trial in again._study.get_trials()]
    assert len(set(drawn)) == len(drawn), "a study that goes on drew what it had drawn before"


def test_importance_is_that_of_what_matters():
    config = small_sweep(space={"learning_rate": LogUniform(1e-4, 1e-2), "gamma": Uniform(0.9, 0.99)}, trials=40)
    trials = [
        Trial(
            name=f"trials/{i:04d}",
            parameters={"learning_rate": 1e-4 * 100 ** (i % 8 / 7), "gamma": 0.9 + 0.09 * (i // 8) / 4},
            state="complete",
            values=(float(i % 8),),
        )
        for i in range(40)
    ]
    shares = optuna_study.importance(config, trials)
    assert list(shares) == ["learning_rate", "gamma"]
    assert shares["learning_rate"] > 0.9


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_several_processes_work_on_one_study(tmp_path, storage):
    folder = tmp_path / "sweep"
    out = sweep(
        folder,
        *OPTIONS,
        "--storage",
        storage,
        "--scheduler",
        "asha",
        "--batch",
        "5",
        "--trials",
        "10",
        "--steps",
        "12_800",
    )
    trials = read_trials(folder)
    study = optuna_study.open_study(folder, load_sweep_config(folder))
    assert len(trials) == len(study.trials) == 10
    for trial, told in zip(trials, study.trials, strict=True):
        assert told.state.name == trial.state.upper()
        assert told.params == trial.parameters
        assert told.intermediate_values, "the process that trained it did not report"
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned, "ASHA stopped none of ten trials"
    assert all(trial.step < 12_800 for trial in pruned)
    assert f"{len(pruned)} pruned" in out


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_study_whose_sweep_is_killed_goes_on(tmp_path):
    folder = tmp_path / "sweep"
    process = start(folder, *OPTIONS, "--trials", "4", "--steps", "64_000")
    wait_for_metrics(folder, process, 5_120)
    kill(process)
    sweep(folder, resume=True)
    study = optuna_study.open_study(folder, load_sweep_config(folder))
    assert [trial.state for trial in read_trials(folder)] == ["complete"] * 4
    assert sum(trial.state in FINISHED for trial in study.trials) == 4


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_several_metrics_have_a_front(tmp_path):
    folder = tmp_path / "sweep"
    goals = ["--metric", "episode/return", "losses/entropy", "--direction", "maximize", "minimize"]
    sweep(folder, *OPTIONS, *goals, "--trials", "4", "--steps", "6_400")
    assert all(len(trial.values) == 2 for trial in read_trials(folder))
    assert optuna_study.open_study(folder, load_sweep_config(folder)).best_trials

"""Optuna: settings by TPE or NSGA-II, early stopping by ASHA, one study for all processes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from memorax.experiment.callbacks import TrainingRun
from memorax.experiment.libraries import require
from memorax.experiment.space import Choice, Dimension, LogUniform
from memorax.experiment.sweep.config import ASHA_REDUCTION, SweepConfig
from memorax.experiment.sweep.dispatch import Dispatcher, Launcher
from memorax.experiment.sweep.sweep import Sweep
from memorax.experiment.sweep.trials import Trial, trial_name

_STUDY = "sweep"
_FILES = {"journal": "study.log", "sqlite": "study.db"}


class OptunaSearch:
    """Asks Optuna for settings, and tells it what came of them.

    Args:
        sweep: The sweep; its study is a file in its folder.
        launcher: Starts the processes that train.
    """

    def __init__(self, sweep: Sweep, launcher: Launcher) -> None:
        self.sweep, self.launcher = sweep, launcher
        self._optuna = _library()
        self._distributions = distributions(sweep.config.space)
        self._study = open_study(sweep.folder, sweep.config, create=True)
        self._told: set[int] = set()

    def search(self) -> None:
        """Ask, train and tell until there are enough trials."""
        self._reconcile()
        dispatcher = Dispatcher(self.sweep, self.launcher)
        dispatcher.submit(self.sweep.batches(self.sweep.unfinished()))
        while True:
            missing = self.sweep.config.trials - len(self.sweep.trials())
            if missing > 0 and dispatcher.has_room and not self.sweep.should_stop():
                dispatcher.submit(self.sweep.batches(self._ask(min(missing, self.sweep.config.batch_size()))))
            elif dispatcher.is_idle:
                return
            on = dispatcher.step()
            self._tell()
            if not on:
                return

    def train(self, names: list[str]) -> None:
        """Train trials that are there."""
        Dispatcher(self.sweep, self.launcher).run(self.sweep.batches(names))

    def close(self) -> None:
        """Stop what the launcher has started."""
        self.launcher.close()

    def _ask(self, count: int) -> list[str]:
        asked = [self._study.ask(self._distributions) for _ in range(count)]
        return [self.sweep.add(trial.number, dict(trial.params)) for trial in asked]

    def _tell(self) -> None:
        """Tell the study of trials that are over."""
        states = self._optuna.trial.TrialState
        for trial in self.sweep.trials():
            if not trial.is_over or trial.number in self._told:
                continue
            if trial.state == "complete":
                self._study.tell(trial.number, list(trial.values), skip_if_finished=True)
            else:
                state = states.PRUNED if trial.state == "pruned" else states.FAIL
                self._study.tell(trial.number, state=state, skip_if_finished=True)
            self._told.add(trial.number)

    def _reconcile(self) -> None:
        """Bring the study of a sweep that was killed to what its folder says."""
        self._tell()
        known = {trial.name for trial in self.sweep.trials()}
        for trial in self._study.get_trials(deepcopy=False):
            if not trial.state.is_finished() and trial_name(trial.number) not in known:
                self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)


class StudyPruner:
    """Reports trials to the study from the process that trains them, and asks it which of them to stop.

    Args:
        folder: Folder of the sweep.
        config: The sweep.
    """

    def __init__(self, folder: Path, config: SweepConfig) -> None:
        self._metric = config.metric[0]
        self._study, self._storage = open_study(folder, config), open_storage(folder, config)
        self._id = self._storage.get_study_id_from_name(_STUDY)

    def __call__(self, trial: Trial, run: TrainingRun) -> bool:
        """Report an interval; True where the trial should end."""
        points = run.series(self._metric)
        if trial.name != trial_name(trial.number) or not points or points[-1][0] != run.step:
            return False  # with fresh seeds, or no episode ended
        number = self._storage.get_trial_id_from_study_id_trial_number(self._id, trial.number)
        asked = _library().trial.Trial(self._study, number)
        if run.step not in self._storage.get_trial(number).intermediate_values:
            asked.report(points[-1][1], run.step)
        return asked.should_prune()


def open_study(folder: Path, config: SweepConfig, *, create: bool = False) -> Any:
    """Open the study of a sweep.

    Args:
        folder: Folder of the sweep.
        config: The sweep.
        create: Whether to make it where there is none.

    Raises:
        ImportError: Optuna is not installed.
    """
    optuna, storage = _library(), open_storage(folder, config)
    if create:
        optuna.create_study(storage=storage, study_name=_STUDY, directions=list(config.direction), load_if_exists=True)
    study = optuna.load_study(study_name=_STUDY, storage=storage, pruner=_pruner(optuna, config))
    # Anew for each process: one that goes on must not draw again what was drawn before.
    drawn = len(study.get_trials(deepcopy=False))
    seed = int(np.random.SeedSequence((config.sampler_seed, drawn)).generate_state(1)[0])
    samplers = {
        "tpe": optuna.samplers.TPESampler,
        "nsga2": optuna.samplers.NSGAIISampler,
        "random": optuna.samplers.RandomSampler,
    }
    study.sampler = samplers[config.how()](seed=seed)
    return study


def open_storage(folder: Path, config: SweepConfig) -> Any:
    """Open the file of a sweep's study, which several processes can use."""
    optuna, path = _library(), folder / _FILES[config.storage]
    if config.storage == "sqlite":
        patient = {"connect_args": {"timeout": 100}}
        return optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}", engine_kwargs=patient)
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))


def distributions(space: Mapping[str, Dimension]) -> dict[str, Any]:
    """A search space as Optuna has it."""
    optuna = _library()
    made: dict[str, Any] = {}
    for name, dimension in space.items():
        if isinstance(dimension, Choice):
            made[name] = optuna.distributions.CategoricalDistribution(dimension.values)
            continue
        integers = isinstance(dimension.low, int) and isinstance(dimension.high, int)
        kind = optuna.distributions.IntDistribution if integers else optuna.distributions.FloatDistribution
        made[name] = kind(dimension.low, dimension.high, log=isinstance(dimension, LogUniform))
    return made


def importance(config: SweepConfig, trials: list[Trial]) -> dict[str, float]:
    """How much of the variation of the first metric each hyperparameter explains, from the most important on.

    Args:
        config: The sweep.
        trials: Its trials; the complete ones count.

    Raises:
        ImportError: Optuna or scikit-learn is not installed.

    Source:
        Hutter et al. 2014, "An Efficient Approach for Assessing Hyperparameter Importance",
        https://proceedings.mlr.press/v32/hutter14.html
    """
    optuna = _library()
    require("sklearn", "optuna", "the importance of hyperparameters")
    study, space = optuna.create_study(direction=config.direction[0]), distributions(config.space)
    for trial in trials:
        if trial.state == "complete":
            study.add_trial(
                optuna.trial.create_trial(params=trial.parameters, distributions=space, value=trial.values[0])
            )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _pruner(optuna: Any, config: SweepConfig) -> Any:
    if config.scheduler == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=config.first_rung(), reduction_factor=ASHA_REDUCTION)


def _library() -> Any:
    optuna = require("optuna", "optuna", "engine optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna

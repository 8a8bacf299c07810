"""Ray Tune: trials as processes of their own that ASHA stops, or whose settings population-based training changes."""

import functools
import os
import signal
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from memorax.experiment.callbacks import TrainingRun
from memorax.experiment.space import Choice, LogUniform
from memorax.experiment.sweep.config import ASHA_REDUCTION, SweepConfig
from memorax.experiment.sweep.engines.lineage import Member, adopt, pack
from memorax.experiment.sweep.engines.processes import compilation_settings
from memorax.experiment.sweep.engines.ray_cluster import DEATHS, RayTasks, load_tune
from memorax.experiment.sweep.sweep import Sweep
from memorax.experiment.sweep.trials import Trial, failed, finished, read_trial, trial_name, write_trial

_FOLDER = "ray"
PERTURBATIONS = 10
"""How often population-based training looks at a trial in the course of its run."""
_KEPT = 4
"""How many checkpoints of a trial Ray keeps: a better one is copied some time after it was saved."""
_VALUE, _STEP, _NUMBER = "value", "step", "number"
_PAUSE = 1.0
"""Seconds between two looks at what is over."""
ACTIVE: dict[str, Sweep] = {}
"""The sweep of this process by its folder, for what Ray makes of its files."""


class TuneSearch:
    """Lets Ray Tune run the trials.

    Args:
        sweep: The sweep.
        launcher: Is connected to the cluster, and trains the best again with fresh seeds.
    """

    def __init__(self, sweep: Sweep, launcher: RayTasks) -> None:
        self.sweep, self.launcher = sweep, launcher
        os.environ |= {
            "TUNE_DISABLE_SIGINT_HANDLER": "1",  # signals are the sweep's
            "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails reports nothing
            "RAY_AIR_NEW_OUTPUT": "0",  # the newer one is not silenced by `verbose`
        }

    def search(self) -> None:
        """Run all trials; one that is stopped by ASHA is marked so."""
        if not self.sweep.add_random():
            return
        place, before = str(self.sweep.folder.absolute()), signal.getsignal(signal.SIGUSR1)
        ACTIVE[place] = self.sweep
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # advice about speed, for programmers
                results = self._tuner().fit()
        finally:
            signal.signal(signal.SIGUSR1, before)
            del ACTIVE[place]
        if not self.sweep.should_stop():
            self._settle(results)
        self.sweep.show_finished()

    def _settle(self, results: Any) -> None:
        """Mark the trials whose processes died, and those that Ray has ended before their runs were over."""
        folder = self.sweep.folder
        died = {_name(result.path): result.error for result in results if result.error}
        for name in self.sweep.unfinished():
            trial = read_trial(folder, name)
            if name in died:
                reason = str(died[name]).strip().splitlines()[-1]
                write_trial(folder, failed(trial, f"its process ended {DEATHS + 1} times: {reason}"))
            elif not trial.is_over:
                prune(folder, trial, self.sweep.config)

    def train(self, names: list[str]) -> None:
        """Train trials that are there, those that can be side by side."""
        from memorax.experiment.sweep.dispatch import Dispatcher

        Dispatcher(self.sweep, self.launcher).run(self.sweep.batches(names))

    def close(self) -> None:
        """Leave the cluster."""
        self.launcher.close()

    def _tuner(self) -> Any:
        """A new experiment, or the one of a sweep that was stopped or killed."""
        tune = load_tune()

        sweep, config = self.sweep, self.sweep.config
        trainable = tune.with_resources(
            functools.partial(
                train_one, folder=str(sweep.folder.absolute()), place=os.getcwd(), jax=compilation_settings()
            ),
            {"cpu": 1, "gpu": config.gpus},
        )
        storage = sweep.folder.absolute() / _FOLDER
        numbers = [trial.number for trial in sweep.trials()]
        path = storage / f"trials-{len(numbers)}"
        if tune.Tuner.can_restore(str(path)):
            return tune.Tuner.restore(str(path), trainable=trainable, resume_errored=True)
        numbers = [int(name.rpartition("/")[2]) for name in sweep.unfinished()]
        parameters = {trial.number: trial.parameters for trial in sweep.trials()}
        # What is drawn is what every engine would draw; Ray is only told of it.
        drawn = [{_NUMBER: number, **parameters[number]} for number in numbers]
        return tune.Tuner(
            trainable,
            param_space={_NUMBER: tune.choice(numbers), **_domains(config)},
            tune_config=tune.TuneConfig(
                metric=_VALUE,
                mode="max" if config.direction[0] == "maximize" else "min",
                scheduler=_scheduler(config),
                # A population is there as a whole; where there are fewer places, its members take turns.
                search_alg=tune.search.BasicVariantGenerator(
                    drawn, max_concurrent=0 if config.scheduler == "pbt" else config.workers
                ),
                num_samples=len(drawn),
                trial_dirname_creator=_directory,
            ),
            run_config=tune.RunConfig(
                name=path.name,
                storage_path=str(storage),
                failure_config=tune.FailureConfig(max_failures=DEATHS),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=_KEPT),
                callbacks=[_watch(sweep)],
                verbose=0,
            ),
        )


def train_one(settings: dict[str, Any], *, folder: str, place: str, jax: dict[str, Any]) -> None:
    """Train a trial in a process of Ray Tune, and report how it does.

    Args:
        settings: Parameters, which population-based training may have changed, and a number, which it may have copied.
        folder: Folder of the sweep.
        place: Working directory of the sweep.
        jax: Settings of JAX.
    """
    tune = load_tune()

    from memorax.experiment.sweep.worker import apply_settings

    os.chdir(place)
    apply_settings(jax)
    from memorax.experiment.sweep.config import load_sweep_config
    from memorax.experiment.sweep.training import train_trials

    sweep, config = Path(folder), load_sweep_config(folder)
    name = _name(tune.get_context().get_trial_dir())
    parameters = {key: value for key, value in settings.items() if key != _NUMBER}
    checkpoint = tune.get_checkpoint()
    if config.scheduler == "pbt" and checkpoint is not None:
        with checkpoint.as_directory() as packed:
            adopt(Member(sweep, name), Path(packed), parameters)
    train_trials(sweep, [name], Reporter(config))
    trial = read_trial(sweep, name)
    if trial.values:
        tune.report({_VALUE: trial.values[0], _STEP: trial.step})


class Reporter:
    """Reports a trial to Ray Tune, which may end the process there and then.

    Args:
        config: The sweep.
    """

    def __init__(self, config: SweepConfig) -> None:
        run = config.run
        self._metric, self._pbt = config.metric[0], config.scheduler == "pbt"
        self._every = max(1, run.steps // PERTURBATIONS) if self._pbt else 1
        self._reported = 0

    def __call__(self, trial: Trial, run: TrainingRun) -> bool:
        """Report an interval; the last one is reported when the trial is over."""
        tune = load_tune()

        points = run.series(self._metric)
        due = run.step // self._every > self._reported // self._every
        if not points or run.step >= run.total or not due:
            return False
        self._reported = run.step
        metrics = {_VALUE: points[-1][1], _STEP: run.step}
        if not self._pbt:
            tune.report(metrics)
            return False
        run.save_checkpoint()
        with tempfile.TemporaryDirectory() as place:
            pack(run.folder, Path(place), trial.name)
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(place))
        return False


def prune(folder: Path, trial: Trial, config: SweepConfig) -> None:
    """Mark a trial that Ray has ended before its run was over."""
    if trial.state == "running":
        write_trial(folder, finished(folder, trial, config.metric, pruned=True))


def _scheduler(config: SweepConfig) -> Any:
    tune = load_tune()

    run = config.run
    if config.scheduler == "asha":
        return tune.schedulers.ASHAScheduler(
            time_attr=_STEP,
            max_t=run.steps,
            grace_period=config.first_rung(),
            reduction_factor=ASHA_REDUCTION,
            stop_last_trials=False,  # they are over by themselves
        )
    return tune.schedulers.PopulationBasedTraining(
        time_attr=_STEP,
        perturbation_interval=max(1, run.steps // PERTURBATIONS),
        hyperparam_mutations=_domains(config),
        custom_explore_fn=functools.partial(_within, bounds=_bounds(config)),
        require_attrs=False,
    )


def _domains(config: SweepConfig) -> dict[str, Any]:
    """The search space as Ray has it."""
    tune = load_tune()

    return {
        name: tune.choice(list(of.values))
        if isinstance(of, Choice)
        else (tune.loguniform if isinstance(of, LogUniform) else tune.uniform)(of.low, of.high)
        for name, of in config.space.items()
    }


def _bounds(config: SweepConfig) -> dict[str, tuple[float, float]]:
    return {name: (of.low, of.high) for name, of in config.space.items() if not isinstance(of, Choice)}


def _within(settings: dict[str, Any], bounds: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Keep what was perturbed inside the space."""
    return settings | {name: min(max(settings[name], low), high) for name, (low, high) in bounds.items()}


def _directory(trial: Any) -> str:
    """The folder of a trial among the files of Ray, which tells whose it is: its settings may become another's."""
    return f"{trial.config[_NUMBER]:04d}_{trial.trial_id}"


def _name(directory: str) -> str:
    """The name of the trial to which a folder among the files of Ray belongs."""
    return trial_name(int(Path(directory).name.partition("_")[0]))


def _watch(sweep: Sweep) -> Any:
    """What Ray calls between its steps: shows what is over, marks what was pruned, and stops the sweep."""
    tune = load_tune()

    place = str(sweep.folder.absolute())  # it is written to a file, from which the sweep itself could not be read

    class Watch(tune.Callback):
        looked = 0.0

        def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
            del iteration, trials, info
            from memorax.experiment.sweep.engines.ray_tune import ACTIVE

            if ACTIVE[place].should_stop():
                signal.raise_signal(signal.SIGUSR1)  # Tune saves the state of the experiment and ends
            if time.monotonic() > self.looked + _PAUSE:
                self.looked = time.monotonic()
                ACTIVE[place].show_finished()

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            del iteration, trials, info
            from memorax.experiment.sweep.engines.ray_tune import ACTIVE

            found = read_trial(Path(place), _name(trial.path))
            prune(Path(place), found, ACTIVE[place].config)

    return Watch()

"""`memorax train [ALGORITHM] [OPTIONS]`."""

import dataclasses
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

import tyro

from memorax.cli.compilation_cache import keep_compiled_programs
from memorax.cli.grid import combinations, grid_configs, is_grid, run_grid, runs_in
from memorax.cli.options import ImportOptions, Pairs, Step, given_values, parse
from memorax.cli.output import print_result, silence_libraries
from memorax.cli.population import run_population
from memorax.cli.refusal import FAILED, Refusal, refusing
from memorax.cli.terminal import complain, say
from memorax.experiment.space import Space

if TYPE_CHECKING:
    from memorax.experiment.config import RunConfig

R = TypeVar("R")
_HOW = ("resume", "changes", "fork", "fork_step", "population", "exchange_every")
_WHERE = ("devices", "distributed", "coordinator", "process_id", "num_processes")
"""Options about the devices and processes that train."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(ImportOptions, Generic[R]):
    """Train an agent; save its configuration, metrics, checkpoints, learning curve and summary in a folder.

    `memorax list algorithms` shows the algorithms, `memorax train ALGORITHM --help` the options of one.
    """

    run: R
    preset: str | None = None
    """Hyperparameters tuned for a family of tasks: `recall`, for PPO and PQN. Options given with it take precedence."""
    out: Path | None = None
    """Folder of the run. None: `runs/ALGORITHM-ENV-MODEL`, followed by a number if that folder is taken."""
    resume: bool = False
    """Resume the run in `--out`, or the newest run of the default name; its options need not be repeated."""
    changes: Annotated[Pairs, tyro.conf.arg(name="set")] = dataclasses.field(default_factory=dict)
    """With `--resume`: change hyperparameters that are real numbers from here on: `learning_rate=1e-4 gamma=0.995`."""
    fork: Path | None = None
    """Start with the trained parameters of another run; its options become the defaults. The environment may differ."""
    fork_step: Step = "last"
    """Which checkpoint of the run to fork: the newest, the best, or the one at this step."""
    population: Space = dataclasses.field(default_factory=dict)
    """Population-based training, each seed a member: every so many steps the worst members copy the best and change
    these hyperparameters. `log_uniform:LOW,HIGH` or `uniform:LOW,HIGH` is the range that they start and stay in."""
    exchange_every: int | None = None
    """Environment steps of each member of a population between two exchanges. None: a twentieth of the run."""
    devices: Annotated[int | Literal["all"] | None, tyro.conf.arg(metavar="{None,all,INT}")] = None
    """How many devices train together: seeds are split over them first, then the environments of each seed. The result
    is the same up to rounding, and a run may be resumed on another number of devices. None: one GPU, or as many cores
    of a CPU as divide the seeds; with several processes all that they have."""
    distributed: bool = False
    """Train in several processes, on one machine or several, that SLURM, Open MPI or Kubernetes starts with the same
    command. The first one shows the progress and writes the folder, which all must be able to read."""
    coordinator: str | None = None
    """Several processes without such a launcher: `HOST:PORT` of the first process, with a port that is free there."""
    process_id: int | None = None
    """Index of this process, from 0; with `--coordinator`."""
    num_processes: int | None = None
    """Number of processes; with `--coordinator`."""


def run(arguments: list[str]) -> int:
    """Train; see `memorax.cli.commands` for the exit code."""
    silence_libraries()
    resumed = given_values(arguments, "--out") if "--resume" in arguments else []
    known = runs_in(Path(resumed[-1])) if resumed else []
    if is_grid(arguments) or known:
        return _run_grid(arguments, known)
    config, folder, how = refusing(train_options, arguments)
    from memorax.experiment.population.config import is_population

    if how["population"] or (how["resume"] and folder is not None and is_population(folder)):
        return run_population(config, folder, how)
    if how.pop("exchange_every") is not None:
        raise Refusal("`--exchange-every` needs `--population`, got it alone; say which hyperparameters change")
    del how["population"]
    from memorax.environments import HostEnvironmentError
    from memorax.experiment.run.follow import followed
    from memorax.experiment.run.hosts import FollowedError, LostProcessError, connect, group
    from memorax.experiment.run.python_environments import in_python
    from memorax.experiment.run.session import DivergenceError
    from memorax.experiment.run.train import finish, prepare

    processes = [how.pop(name) for name in ("coordinator", "num_processes", "process_id")]
    if how.pop("distributed") or any(value is not None for value in processes):
        refusing(connect, *processes)
    keep_compiled_programs()
    try:
        if not group().leads:
            signal = followed(return_on_signal=True).signal
            return 0 if signal is None else 128 + signal
        if how["devices"] is None and not group().several:
            how["devices"] = "cores"
        session = refusing(prepare, config, folder, **how)
        outcome = finish(session)
    except LostProcessError as error:
        complain(error)
        sys.stderr.flush()
        os._exit(FAILED)  # JAX would wait for the process that is lost
    except (DivergenceError, HostEnvironmentError, FollowedError) as error:
        complain(error)
        return FAILED
    folder = shlex.quote(str(outcome.folder))
    if outcome.signal is not None:
        say(f"stopped and saved at step {outcome.step:,}; resume with: memorax train --resume --out {folder}")
        return 128 + outcome.signal
    print_outcome(session.config, outcome, in_jax=not in_python(session.agent))
    return 0


def _run_grid(arguments: list[str], known: list[Path]) -> int:
    """Train every combination of several values of options, or go on with the runs of a grid."""
    if known and not is_grid(arguments):
        # Each as it was started, but for what is said now; of several `--out` the last one counts.
        read = {path.name: refusing(train_options, [*arguments, "--out", str(path)]) for path in known}
        folder: Path | None = known[0].parent
        how = next(iter(read.values()))[2]
    else:
        resume, arguments = "--resume" in arguments, [word for word in arguments if word != "--resume"]
        read = {name: refusing(train_options, words) for name, words in combinations(arguments).items()}
        _, folder, how = next(iter(read.values()))
        how |= {"resume": resume}
    runs = refusing(grid_configs, {name: config for name, (config, _, _) in read.items()})
    return run_grid(runs, folder, how)


def train_options(arguments: list[str]) -> "tuple[RunConfig, Path | None, dict[str, Any]]":
    """Read the options of `memorax train`.

    Args:
        arguments: What follows `train`.

    Returns:
        The run, its folder (None: a new one), and the further arguments of `memorax.experiment.run.train.prepare`.

    Raises:
        ValueError: The algorithm is unknown or another one than that of the run to resume or to fork.
    """
    from memorax.experiment.config_file import load_config
    from memorax.experiment.imports import import_modules
    from memorax.experiment.presets import preset_run
    from memorax.experiment.recipes import DEFAULT_ALGORITHM, default_run
    from memorax.experiment.run.folders import default_folder, latest_folder

    # Before anything is looked up by name: the modules may register it.
    import_modules(given_values(arguments, "--import"))
    named = arguments[:1] if arguments and not arguments[0].startswith("-") else []
    arguments = arguments[len(named) :]
    algorithm, presets = named[0] if named else DEFAULT_ALGORITHM, given_values(arguments, "--preset")
    default, folder = preset_run(algorithm, presets[-1]) if presets else default_run(algorithm), None
    asked_for_help = bool({"-h", "--help"} & set(arguments))
    folders, forks = given_values(arguments, "--out"), given_values(arguments, "--fork")
    # What is not said on the command line is as the run was started, so its configuration gives the defaults.
    if presets and ("--resume" in arguments or forks):
        raise ValueError(
            f"`preset` must be left out with `--resume` and `--fork`, got {presets[-1]}; the run has its own"
        )
    if "--resume" in arguments and not asked_for_help:
        folder = Path(folders[-1]) if folders else latest_folder(default_folder(_parse(arguments, default).run))
        default = _stored(load_config(folder), named, f"to resume {folder}")
    elif forks and not asked_for_help:
        default = _stored(load_config(forks[-1]), named, f"to fork {forks[-1]}")
    options = _parse(arguments, default)
    modules = dict.fromkeys((*options.run.imports, *options.imports))  # for `evaluate` and `--resume`
    config = dataclasses.replace(options.run, imports=tuple(modules))
    how = {name: getattr(options, name) for name in (*_HOW, *_WHERE)}
    return config, folder or options.out, how


def _stored(config: "RunConfig", named: list[str], purpose: str) -> "RunConfig":
    if named and named[0] != config.algorithm:
        raise ValueError(f"`algorithm` must be {config.algorithm} {purpose}, got {named[0]}")
    return config


def print_outcome(config: "RunConfig", outcome: Any, *, in_jax: bool = True) -> None:
    """Print the result of a run that is complete, and what can be done with it.

    Args:
        config: The run.
        outcome: What came of it.
        in_jax: Whether its environment is one of JAX, in which its memory can be examined.
    """
    from memorax.experiment.run.checkpoint import newest
    from memorax.experiment.run.files import BEST, CURVE_FILE

    folder, final = shlex.quote(str(outcome.folder)), outcome.summary["final"]["episode/return"]
    longer = f"memorax train --resume --out {folder} --steps {2 * config.steps:_}"
    if final is None:
        say("no episode ended, so there is no learning curve; train longer")
        following = [(longer, "train longer")]
    else:
        print_result(final)
        say(f"learning curve: {outcome.folder / CURVE_FILE}")
        best = " --step best" if newest(outcome.folder / BEST) is not None else ""
        following = [
            (f"memorax evaluate {folder}{best}", "run whole episodes with the greedy policy"),
            (f"memorax play {folder}{best}", "record a video of some episodes"),
            (f"memorax diagnose {folder}{best}", "see how far back it looks, and how much its memory contributes"),
            (f"memorax report {folder} OTHER_RUN", "compare runs in one HTML file"),
            (longer, "train longer"),
        ]
    following = [(command, purpose) for command, purpose in following if in_jax or "diagnose" not in command]
    extends = outcome.stopped_by is None and not (config.anneal_learning_rate or config.schedules)
    following = [(command, purpose) for command, purpose in following if command != longer or extends]
    if following:
        say("next:")
    for command, purpose in following:
        say(f"  {command}  # {purpose}")


def _parse(arguments: list[str], default: "RunConfig") -> Any:
    return parse(TrainOptions(run=default), f"train {default.algorithm}", arguments)

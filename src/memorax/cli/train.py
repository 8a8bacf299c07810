"""`memorax train [ALGORITHM] [OPTIONS]`."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

import tyro

from memorax.cli.compilation_cache import keep_compiled_programs
from memorax.cli.grid import combinations, grid_configs, is_grid, run_grid, runs_in
from memorax.cli.options import ImportOptions, Pairs, Step, given_values, parse
from memorax.cli.output import print_result, silence_libraries
from memorax.cli.refusal import FAILED, refusing
from memorax.cli.terminal import complain, say

if TYPE_CHECKING:
    from memorax.experiment.config import RunConfig

R = TypeVar("R")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(ImportOptions, Generic[R]):
    """Train an agent; save its configuration, metrics, checkpoints, learning curve and summary in a folder."""

    run: R
    preset: str | None = None
    """Hyperparameters that were tuned for a family of tasks, such as `recall`; options beside it take precedence."""
    out: Path | None = None
    """Folder of the run. None: `runs/ALGORITHM-ENV-MODEL`, followed by a number if that folder is taken."""
    resume: bool = False
    """Resume the run in `--out`, or the newest run of the default name; its options need not be repeated."""
    changes: Annotated[Pairs, tyro.conf.arg(name="set")] = dataclasses.field(default_factory=dict)
    """With `--resume`: change real numbers from here on, such as `learning_rate=1e-4 gamma=0.995`."""
    fork: Path | None = None
    """Begin with the parameters of another run, whose options are the defaults; the environment may be another one."""
    fork_step: Step = "last"
    """Which checkpoint of the run to fork: the newest, the best, or the one at this step."""
    devices: Annotated[int | Literal["all"], tyro.conf.arg(metavar="{all,INT}")] = 1
    """How many devices train together: seeds are split over them first, then the environments of each seed. The result
    is the same up to rounding, and a run may be resumed on another number of devices."""


def run(arguments: list[str]) -> int:
    """Train; see `memorax.cli.commands` for the exit code."""
    silence_libraries()
    resumed = given_values(arguments, "--out") if "--resume" in arguments else []
    if is_grid(arguments) or (resumed and runs_in(Path(resumed[-1]))):
        return _run_grid(arguments)
    config, folder, how = refusing(train_options, arguments)
    from memorax.environments import HostEnvironmentError
    from memorax.experiment.run.session import DivergenceError
    from memorax.experiment.run.train import finish, prepare

    keep_compiled_programs()
    session = refusing(prepare, config, folder, **how)
    try:
        outcome = finish(session)
    except (DivergenceError, HostEnvironmentError) as error:
        complain(error)
        return FAILED
    folder = shlex.quote(str(outcome.folder))
    if outcome.signal is not None:
        say(f"stopped and saved at step {outcome.step:,}; resume with: memorax train --resume --out {folder}")
        return 128 + outcome.signal
    print_outcome(session.config, outcome)
    return 0


def _run_grid(arguments: list[str]) -> int:
    """Train every combination of several values of options."""
    resume, arguments = "--resume" in arguments, [word for word in arguments if word != "--resume"]
    read = {name: refusing(train_options, words) for name, words in combinations(arguments).items()}
    runs = refusing(grid_configs, {name: config for name, (config, _, _) in read.items()})
    _, folder, how = next(iter(read.values()))
    return run_grid(runs, folder, how | {"resume": resume})


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
    how = {name: getattr(options, name) for name in ("resume", "changes", "fork", "fork_step", "devices")}
    return config, folder or options.out, how


def _stored(config: "RunConfig", named: list[str], purpose: str) -> "RunConfig":
    if named and named[0] != config.algorithm:
        raise ValueError(f"`algorithm` must be {config.algorithm} {purpose}, got {named[0]}")
    return config


def print_outcome(config: "RunConfig", outcome: Any) -> None:
    """Print the result of a run that is complete, and what can be done with it."""
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
            (f"memorax play {folder}{best}", "film some episodes"),
            (f"memorax diagnose {folder}{best}", "see what the memory is worth, and how far back it looks"),
            (f"memorax report {folder} OTHER_RUN", "compare runs in one HTML file"),
            (longer, "train longer"),
        ]
    extends = outcome.stopped_by is None and not (config.anneal_learning_rate or config.schedules)
    following = [(command, purpose) for command, purpose in following if command != longer or extends]
    if following:
        say("next:")
    for command, purpose in following:
        say(f"  {command}  # {purpose}")


def _parse(arguments: list[str], default: "RunConfig") -> Any:
    return parse(TrainOptions(run=default), f"train {default.algorithm}", arguments)

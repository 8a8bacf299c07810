"""`memorax train [ALGORITHM] [OPTIONS]`."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memorax.cli.options import ImportOptions, given_values, parse
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
    out: Path | None = None
    """Folder of the run. None: `runs/ALGORITHM-ENV-MODEL`, followed by a number if that folder is taken."""
    resume: bool = False
    """Resume the run in `--out`, or the newest run of the default name; its options need not be repeated."""


def run(arguments: list[str]) -> int:
    """Train; see `memorax.cli.commands` for the exit code."""
    silence_libraries()
    config, folder, resume = refusing(train_options, arguments)
    from memorax.experiment.run.session import DivergenceError
    from memorax.experiment.run.train import finish, prepare

    session = refusing(prepare, config, folder, resume=resume)
    try:
        outcome = finish(session)
    except DivergenceError as error:
        complain(error)
        return FAILED
    folder = shlex.quote(str(outcome.folder))
    if outcome.signal is not None:
        say(f"stopped and saved at step {outcome.step:,}; resume with: memorax train --resume --out {folder}")
        return 128 + outcome.signal
    print_outcome(session.config, outcome)
    return 0


def train_options(arguments: list[str]) -> "tuple[RunConfig, Path | None, bool]":
    """Read the options of `memorax train`.

    Args:
        arguments: What follows `train`.

    Returns:
        The run, its folder (None: a new one), and whether to resume the run in it.

    Raises:
        ValueError: The algorithm is unknown or another one than that of the run to resume.
    """
    from memorax.experiment.config_file import load_config
    from memorax.experiment.imports import import_modules
    from memorax.experiment.recipes import DEFAULT_ALGORITHM, default_run
    from memorax.experiment.run.folders import default_folder, latest_folder

    # Before anything is looked up by name: the modules may register it.
    import_modules(given_values(arguments, "--import"))
    named = arguments[:1] if arguments and not arguments[0].startswith("-") else []
    arguments = arguments[len(named) :]
    default = default_run(named[0] if named else DEFAULT_ALGORITHM)
    if "--resume" not in arguments or {"-h", "--help"} & set(arguments):
        options = _parse(arguments, default)
        return _with_imports(options), options.out, options.resume
    # What is not said on the command line is as the run was started, so its configuration gives the defaults.
    folders = given_values(arguments, "--out")
    folder = Path(folders[-1]) if folders else latest_folder(default_folder(_parse(arguments, default).run))
    stored = load_config(folder)
    if named and named[0] != stored.algorithm:
        raise ValueError(f"`algorithm` must be {stored.algorithm} to resume {folder}, got {named[0]}")
    return _with_imports(_parse(arguments, stored)), folder, True


def print_outcome(config: "RunConfig", outcome: Any) -> None:
    """Print the result of a run that is complete, and what can be done with it."""
    from memorax.experiment.run.files import CURVE_FILE

    folder, final = shlex.quote(str(outcome.folder)), outcome.summary["final"]["episode/return"]
    longer = f"memorax train --resume --out {folder} --steps {2 * config.steps:_}"
    if final is None:
        say("no episode ended, so there is no learning curve; train longer")
        following = [(longer, "train longer")]
    else:
        print_result(final)
        say(f"learning curve: {outcome.folder / CURVE_FILE}")
        following = [
            (f"memorax evaluate {folder}", "run whole episodes with the greedy policy"),
            (f"memorax plot {folder} OTHER_RUN", "compare learning curves"),
            (longer, "train longer"),
        ]
    say("next:")
    for command, purpose in following:
        if command != longer or not config.anneal_learning_rate:
            say(f"  {command}  # {purpose}")


def _with_imports(options: Any) -> "RunConfig":
    """The run, which remembers the modules to import, for `evaluate` and `--resume`."""
    modules = dict.fromkeys((*options.run.imports, *options.imports))
    return dataclasses.replace(options.run, imports=tuple(modules))


def _parse(arguments: list[str], default: "RunConfig") -> Any:
    return parse(TrainOptions(run=default), f"train {default.algorithm}", arguments)

"""The command line: `memorax train`, `evaluate`, `plot`, `list`.

Whatever takes long to import is imported by the command that needs it, so that `memorax --help` answers at once.
"""

import difflib
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console
from rich.table import Table

import memorax
from memorax.experiment.options import EvaluateOptions, ListOptions, PlotOptions, TrainOptions

if TYPE_CHECKING:
    from memorax.experiment.config import RunConfig

HELP = """\
usage: memorax COMMAND [OPTIONS]

Train agents with memory.

  train [ALGORITHM]   train an agent; without options the default job (PPO with a GRU on a memory task)
  evaluate RUN        play whole episodes with the agent of a run
  plot RUN...         draw the learning curves of runs side by side
  list WHAT           list environments, models or algorithms

  --version           show the version
  -h, --help          show this text; `memorax COMMAND --help` shows the options of a command

examples:
  memorax train
  memorax train ppo --env memory::RepeatFirstEasy --model lstm --steps 500_000 --seeds 4
  memorax train --resume --out runs/NAME
  memorax plot runs/ONE runs/OTHER
"""

FAILED, REFUSED = 1, 2
"""Exit codes: something went wrong while working; what was asked for cannot be done."""
_WIDTH = 140
"""Columns of a table where there is no terminal to ask."""


class Refusal(Exception):  # noqa: N818  it is not an error of the program
    """What was asked for cannot be done; the message says why and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What follows `memorax` on the command line; None takes it from there.

    Returns:
        The exit code: 0 done, 1 failed, 2 refused, 128 + n stopped by signal n.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] == "--version":
        print(memorax.__version__)
        return 0
    try:
        return _choose("command", arguments[0], COMMANDS)(arguments[1:])
    except Refusal as refusal:
        print(f"memorax: {refusal}", file=sys.stderr)
        return REFUSED
    except OSError as error:
        print(f"memorax: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


def train(arguments: list[str]) -> int:
    """`memorax train [ALGORITHM] [OPTIONS]`."""
    _silence_libraries()
    config, folder, resume = refusing(train_options, arguments)
    from memorax.experiment.files import CURVE_FILE
    from memorax.experiment.run import DivergenceError, finish, prepare

    session = refusing(prepare, config, folder, resume=resume)
    try:
        outcome = finish(session)
    except DivergenceError as error:
        print(f"memorax: {error}", file=sys.stderr)
        return FAILED
    if outcome.signal is not None:
        command = f"memorax train --resume --out {shlex.quote(str(outcome.folder))}"
        print(f"stopped and saved at step {outcome.step:,}; go on with: {command}")
        return 128 + outcome.signal
    final = outcome.summary["final"]["episode/return"]
    if final is None:
        print("no episode ended, so there is no learning curve; train longer")
        return 0
    print_result(final)
    print(f"learning curve: {outcome.folder / CURVE_FILE}")
    return 0


def train_options(arguments: list[str]) -> "tuple[RunConfig, Path | None, bool]":
    """Read the options of `memorax train`.

    Args:
        arguments: What follows `train`.

    Returns:
        The run, its folder (None: a new one), and whether to go on with what is in it.

    Raises:
        ValueError: The algorithm is unknown or another one than that of the run to go on with.
    """
    from memorax.experiment.config import load_config
    from memorax.experiment.defaults import DEFAULT_ALGORITHM, default_run
    from memorax.experiment.folders import default_folder, latest_folder

    named = arguments[:1] if arguments and not arguments[0].startswith("-") else []
    arguments = arguments[len(named) :]
    default = default_run(named[0] if named else DEFAULT_ALGORITHM)
    if "--resume" not in arguments or {"-h", "--help"} & set(arguments):
        options = _parse_train(arguments, default)
        return options.run, options.out, options.resume
    # What is not said on the command line is as the run was started, so its configuration gives the defaults.
    folder = _given_out(arguments)
    if folder is None:
        folder = latest_folder(default_folder(_parse_train(arguments, default).run))
    stored = load_config(folder)
    if named and named[0] != stored.algorithm:
        raise ValueError(f"`algorithm` must be {stored.algorithm} to resume {folder}, got {named[0]}")
    return _parse_train(arguments, stored).run, folder, True


def evaluate(arguments: list[str]) -> int:
    """`memorax evaluate RUN [OPTIONS]`."""
    options = _parse(EvaluateOptions, "evaluate", arguments)
    from memorax.experiment.evaluation import evaluate
    from memorax.experiment.files import EVALUATION_FILE

    _silence_libraries()
    result = refusing(evaluate, options.run, episodes=options.episodes, max_steps=options.max_steps)
    table = Table("seed", "episodes", "return", "length", title=f"{options.run} at step {result['step']:,}")
    returns, lengths = result["return"]["per_seed"], result["length"]["per_seed"]
    for (seed, value), count in zip(returns.items(), result["episodes"], strict=True):
        table.add_row(seed, str(count), f"{value:.3f}", f"{lengths[seed]:.1f}")
    _console().print(table)
    print_result(result["return"])
    print(f"written to {options.run / EVALUATION_FILE}")
    return 0


def plot(arguments: list[str]) -> int:
    """`memorax plot RUN... [OPTIONS]`."""
    options = _parse(PlotOptions, "plot", arguments)
    from memorax.experiment.files import CURVE_FILE
    from memorax.experiment.plot import plot_runs

    if not options.runs:
        raise Refusal("`memorax plot` needs the folder of at least one run, got none; write `memorax plot runs/NAME`")
    single = options.runs[0] / CURVE_FILE if len(options.runs) == 1 else Path("learning_curves.png")
    out = options.out or single
    refusing(plot_runs, list(options.runs), out, statistic=options.statistic)
    print(f"learning curve: {out}")
    return 0


def list_names(arguments: list[str]) -> int:
    """`memorax list WHAT`."""
    what = _parse(ListOptions, "list", arguments).what
    _choose("list", what, dict.fromkeys(("environments", "models", "algorithms")))
    from memorax.experiment import catalog

    _console().print(getattr(catalog, what)())
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "evaluate": evaluate,
    "plot": plot,
    "list": list_names,
}


def print_result(final: dict[str, Any]) -> None:
    """Print the return a run came to, with its interval over seeds."""
    low, high = final["mean_interval_95"]
    print(f"mean return {final['mean']:.3f} [{low:.3f}, {high:.3f}] (95 % over {final['runs']} seeds)")


def refusing(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function that checks what was asked for, and turn its errors into a refusal."""
    try:
        return function(*args, **kwargs)
    except (ValueError, TypeError, ImportError, FileNotFoundError) as error:
        raise Refusal(str(error)) from error


def _parse_train(arguments: list[str], default: "RunConfig") -> Any:
    from memorax.experiment.config import RunConfig

    options = TrainOptions[RunConfig[type(default.hyperparameters)]]
    return _parse(options, f"train {default.algorithm}", arguments, default=TrainOptions(default))


def _parse(options: Any, command: str, arguments: list[str], **kwargs: Any) -> Any:
    markers = (tyro.conf.OmitArgPrefixes,)
    return tyro.cli(options, prog=f"memorax {command}", args=arguments, config=markers, **kwargs)


def _given_out(arguments: list[str]) -> Path | None:
    for i, argument in enumerate(arguments):
        if argument == "--out" and i + 1 < len(arguments):
            return Path(arguments[i + 1])
        if argument.startswith("--out="):
            return Path(argument.removeprefix("--out="))
    return None


def _choose(kind: str, name: str, known: dict[str, Any]) -> Any:
    """Look up one of a few names; the registry does the same, but only after JAX is imported."""
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known)
    nearest = f"; nearest: {', '.join(near)}" if near else ""
    raise Refusal(f"unknown {kind} `{name}`{nearest}; known: {', '.join(known)}")


def _console() -> Console:
    """A console for tables: as wide as the terminal, or wide enough where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH)


def _silence_libraries() -> None:
    """Leave errors to us: orbax logs every error that it also raises, and leaves callbacks without an event loop."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    hook = sys.unraisablehook

    def quiet(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    sys.unraisablehook = quiet

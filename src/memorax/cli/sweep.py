"""`memorax sweep [FILE|ALGORITHM] [OPTIONS]`."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memorax.cli.compilation_cache import keep_compiled_programs
from memorax.cli.options import ImportOptions, given_values, parse
from memorax.cli.output import silence_libraries
from memorax.cli.refusal import FAILED, refusing
from memorax.cli.terminal import say

if TYPE_CHECKING:
    from memorax.experiment.sweep.config import SweepConfig

S = TypeVar("S")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepOptions(ImportOptions, Generic[S]):
    """Try many settings of a run, and train the best of them again with fresh seeds.

    `memorax sweep FILE.yaml` reads options from a file; `memorax sweep ALGORITHM --help` shows those of an algorithm.
    """

    sweep: S
    out: Path | None = None
    """Folder of the sweep. None: `sweeps/ALGORITHM-ENV-MODEL`, followed by a number if that folder is taken."""
    resume: bool = False
    """Resume the sweep in `--out`, or the newest in `sweeps`; its options need not be repeated."""


def run(arguments: list[str]) -> int:
    """Sweep; see `memorax.cli.commands` for the exit code."""
    silence_libraries()
    config, folder, resume = refusing(sweep_options, arguments)
    from memorax.experiment.sweep.search import run_sweep

    keep_compiled_programs()
    outcome = refusing(run_sweep, config, folder, resume=resume, return_on_signal=True)
    place = shlex.quote(str(outcome.folder))
    if not outcome.complete:
        say(f"stopped and saved before all trials were over; resume with: memorax sweep --resume --out {place}")
        return 0 if outcome.signal is None else 128 + outcome.signal
    print_outcome(config, outcome)
    return 0 if outcome.best else FAILED


def sweep_options(arguments: list[str]) -> "tuple[SweepConfig, Path | None, bool]":
    """Read the options of `memorax sweep`.

    Args:
        arguments: What follows `sweep`: a YAML file of options or the name of an algorithm, where one is given, and
            options, which come before those of the file.

    Returns:
        The sweep, its folder (None: a new one), and whether it is resumed.

    Raises:
        ValueError: The file is not understood, or there is no sweep to resume.
    """
    from memorax.experiment.imports import import_modules
    from memorax.experiment.recipes import DEFAULT_ALGORITHM
    from memorax.experiment.sweep.config import load_sweep_config
    from memorax.experiment.sweep.search import latest_sweep

    named = arguments[:1] if arguments and not arguments[0].startswith("-") else []
    arguments = arguments[len(named) :]
    algorithm = DEFAULT_ALGORITHM
    if named and named[0].endswith((".yaml", ".yml")):
        algorithm, of_file = read_file(Path(named[0]), arguments)
        arguments = [*of_file, *arguments]
    elif named:
        algorithm = named[0]
    # Before anything is looked up by name: the modules may register it.
    import_modules(given_values(arguments, "--import"))
    folders = given_values(arguments, "--out")
    default, folder = None, None
    if "--resume" in arguments and not {"-h", "--help"} & set(arguments):
        folder = Path(folders[-1]) if folders else latest_sweep()
        if folder is None:
            raise ValueError("`resume` needs a sweep to resume, got none in `sweeps`; name its folder by `--out`")
        default = load_sweep_config(folder)
        if named and algorithm != default.run.algorithm:
            raise ValueError(f"`algorithm` must be {default.run.algorithm} to resume {folder}, got {algorithm}")
    options = _parse(arguments, algorithm, default)
    modules = dict.fromkeys((*options.sweep.run.imports, *options.imports))
    run = dataclasses.replace(options.sweep.run, imports=tuple(modules))
    return dataclasses.replace(options.sweep, run=run), folder or options.out, options.resume


def read_file(path: Path, arguments: list[str]) -> tuple[str, list[str]]:
    """Read a YAML file of options.

    Args:
        path: The file: `algorithm`, and options by name; `space` maps names to `{KIND: [VALUE, ...]}`.
        arguments: Options of the command line, which come before those of the same name in the file.

    Returns:
        The algorithm, and the other options as the command line has them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a YAML file of options.
    """
    import yaml

    from memorax.experiment.recipes import DEFAULT_ALGORITHM

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a YAML file, got something else ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{path} must map options to values, such as `trials: 32`, got {content!r}")
    given = {word.partition("=")[0].replace("_", "-").replace("--no-", "--") for word in arguments}
    algorithm = str(content.pop("algorithm", DEFAULT_ALGORITHM))
    words: list[str] = []
    for name, value in content.items():
        option = f"--{name.replace('_', '-')}"
        if option not in given:
            words += _words(option, value)
    return algorithm, words


def _words(option: str, value: Any) -> list[str]:
    """An entry of a file, as the command line has it."""
    from memorax.experiment.space import write_space

    if option == "--space":
        return [option, *write_space(value)]
    if isinstance(value, bool):
        return [option if value else option.replace("--", "--no-", 1)]
    if isinstance(value, dict):
        return [option, *(f"{name}={_text(x)}" for name, x in value.items())]
    return [option, *(_text(x) for x in (value if isinstance(value, list) else [value]))]


def _text(value: Any) -> str:
    return str(value) if value is None or not isinstance(value, bool) else str(value).lower()


def print_outcome(config: "SweepConfig", outcome: Any) -> None:
    """Print the best settings, and what can be done with them."""
    from memorax.experiment.sweep.settings import write_parameters

    states = [trial.state for trial in outcome.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    say(f"{len(states)} trials: {counts}")
    fresh = {trial.number: trial for trial in outcome.fresh if trial.state == "complete"}
    for trial in outcome.best[: max(1, config.best)]:
        searched = ", ".join(f"{name} {value:.4g}" for name, value in zip(config.metric, trial.values, strict=True))
        again = f", with fresh seeds {fresh[trial.number].values[0]:.4g}" if trial.number in fresh else ""
        say(f"{trial.name}: {searched}{again}  {write_parameters(trial.parameters)}")
    folder = shlex.quote(str(outcome.folder))
    say("next:")
    say(f"  memorax report {folder}  # which settings matter, and what the best are worth")
    if outcome.best:
        say(f"  memorax evaluate {folder}/{outcome.best[0].name}  # every trial is an ordinary run")
    say(f"  memorax sweep --resume --out {folder} --trials {2 * config.trials}  # try more")


def _parse(arguments: list[str], algorithm: str, default: "SweepConfig | None") -> Any:
    """Parse options whose defaults are those of a sweep, or of a new one."""
    from memorax.experiment.recipes import default_run
    from memorax.experiment.space import LogUniform
    from memorax.experiment.sweep.config import SweepConfig

    if default is None:
        # A space is needed to make one; it is taken away again, so that one has to be given.
        default = SweepConfig(run=default_run(algorithm), space={"learning_rate": LogUniform(1e-4, 1e-2)})
        object.__setattr__(default, "space", {})
    return parse(SweepOptions(sweep=default), f"sweep {default.run.algorithm}", arguments)

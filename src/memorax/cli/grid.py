"""`memorax train --learning-rate 1e-4,3e-4 --gamma 0.99,0.997`: every combination, side by side in one program."""

import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from memorax.cli.compilation_cache import keep_compiled_programs
from memorax.cli.output import make_console
from memorax.cli.refusal import FAILED, Refusal, refusing
from memorax.cli.terminal import say

if TYPE_CHECKING:
    from memorax.experiment.config import RunConfig
    from memorax.experiment.run.session import Outcome

_COMBINATIONS = 1024
"""Most runs of a grid: more are a slip of the keyboard."""


def is_grid(arguments: Sequence[str]) -> bool:
    """Whether an option is given several numbers, separated by commas."""
    return any(_numbers(word.partition("=")[2] if word.startswith("--") else word) for word in arguments)


def combinations(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Write the command line of every run of a grid.

    Args:
        arguments: A command line in which options have several numbers, separated by commas.

    Returns:
        Command lines by the name of the run, `learning_rate=1e-4,gamma=0.99`.

    Raises:
        Refusal: There are too many, or two of them are the same.
    """
    choices: list[list[tuple[str, list[str]]]] = []
    option = ""
    for word in arguments:
        name, _, inline = word.partition("=") if word.startswith("--") else (option, "", "")
        values = _numbers(inline or word)
        field = name.removeprefix("--").replace("-", "_")
        if not values:
            choices.append([("", [word])])
        elif inline:
            choices.append([(f"{field}={value}", [f"{name}={value}"]) for value in values])
        else:
            choices.append([(f"{field}={value}", [value]) for value in values])
        option = word if word.startswith("--") else option
    runs: dict[str, list[str]] = {}
    for chosen in itertools.islice(itertools.product(*choices), _COMBINATIONS + 1):
        name = ",".join(label for label, _ in chosen if label)
        if name in runs:
            raise Refusal(f"every combination must be given once, got {name} twice")
        runs[name] = [word for _, words in chosen for word in words]
    if len(runs) > _COMBINATIONS:
        raise Refusal(f"a grid must have at most {_COMBINATIONS} combinations; `memorax sweep` searches larger spaces")
    return runs


def run_grid(runs: "Sequence[tuple[str, RunConfig]]", out: Path | None, how: dict[str, Any]) -> int:
    """Train every combination side by side, each in a folder of its own, and print a table.

    Args:
        runs: Names and runs; they may share a program.
        out: The folder of all; None for a new one.
        how: Further options of `memorax train`.

    Returns:
        The exit code.
    """
    from memorax.experiment.run.folders import default_folder
    from memorax.experiment.run.train_many import finish_many, prepare_many

    refuse_options_of_one_run(how, "several values of an option")
    keep_compiled_programs()
    configs = [config for _, config in runs]
    base = out or _free(default_folder(configs[0]))
    folders = [base / name for name, _ in runs]
    sessions, batch = refusing(
        prepare_many, configs, folders, resume=how["resume"], changes=how["changes"], devices="cores"
    )
    outcomes = finish_many(sessions, batch)
    stopped = next((outcome for outcome in outcomes if outcome.signal is not None), None)
    if stopped is not None and stopped.signal is not None:
        resume = f"memorax train --resume --out {shlex.quote(str(base))}"
        say(f"stopped and saved at step {stopped.step:,}; resume with: {resume}")
        return 128 + stopped.signal
    print_table([name for name, _ in runs], outcomes)
    say(f"next:\n  memorax report {shlex.quote(str(base))}/*  # compare them in one HTML file")
    return FAILED if all(outcome.error is not None for outcome in outcomes) else 0


_ALONE: dict[str, Any] = {
    **{"fork": None, "fork_step": "last", "devices": None, "distributed": False, "coordinator": None},
    **{"population": {}, "exchange_every": None},
}
"""Options that runs side by side do not take, and what they are when they are not given."""


def refuse_options_of_one_run(how: dict[str, Any], kind: str) -> None:
    """Refuse options that are for one run.

    Args:
        how: The options.
        kind: What they are given with.

    Raises:
        Refusal: One is given.
    """
    given = [name for name, default in _ALONE.items() if how.get(name, default) != default]
    if given:
        raise Refusal(f"`--{given[0].replace('_', '-')}` is for one run, got it with {kind}")


def runs_in(base: Path) -> list[Path]:
    """List the runs of a grid in its folder; none where the folder is itself a run's, or holds none."""
    from memorax.experiment.run.files import CONFIG_FILE

    if (base / CONFIG_FILE).exists() or not base.is_dir():
        return []
    return sorted(path.parent for path in base.glob(f"*/{CONFIG_FILE}"))


def print_table(names: Sequence[str], outcomes: "Sequence[Outcome]") -> None:
    """Print how each run ended, the best first."""
    table = Table("run", "mean return", title="final episode returns")
    rows = sorted(zip(names, outcomes, strict=True), key=lambda row: -_mean(row[1]))
    for name, outcome in rows:
        final = (outcome.summary or {}).get("final", {}).get("episode/return")
        text = "diverged" if outcome.error is not None else "no episode ended"
        if final is not None:
            interval = final["mean_interval_95"]
            text = f"{final['mean']:.3f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")
        table.add_row(Text(name), text)
    make_console().print(table)


def grid_configs(configs: "dict[str, RunConfig]") -> "list[tuple[str, RunConfig]]":
    """Check that all runs of a grid may share a program.

    Raises:
        ValueError: They differ in something that decides about it.
    """
    from memorax.experiment.run.grouping import differences

    first = next(iter(configs.values()))
    for config in configs.values():
        found = differences(first, config)
        if found:
            raise ValueError(
                f"`{found[0]}` must have one value: it decides about the program; `memorax sweep` searches over sizes "
                "and choices"
            )
    return list(configs.items())


def _mean(outcome: "Outcome") -> float:
    final = (outcome.summary or {}).get("final", {}).get("episode/return")
    return float("-inf") if final is None else final["mean"]


def _free(base: Path) -> Path:
    number, folder = 1, base
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def _numbers(word: str) -> list[str]:
    """The numbers in a word that consists of several, separated by commas."""
    parts = word.split(",")
    if len(parts) < 2:
        return []
    try:
        _ = [float(part) for part in parts]
    except ValueError:
        return []
    return parts

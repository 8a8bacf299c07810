"""`memorax evaluate RUN [OPTIONS]`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from memorax.cli.compilation_cache import keep_compiled_programs
from memorax.cli.options import ImportOptions, Step, parse
from memorax.cli.output import make_console, print_result, silence_libraries
from memorax.cli.refusal import refusing
from memorax.cli.terminal import say
from memorax.core.text import printable

_POLICY = tyro.conf.create_mutex_group(required=False, title="policy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ImportOptions):
    """Run whole episodes with the policy of a trained agent; save the result in `evaluation.json`."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    step: Step = "last"
    """Which checkpoint: the newest, the best (of a run with `--keep-best`), or the one at this step."""
    episodes: int = 100
    """Number of episodes of each seed."""
    max_steps: int = 100_000
    """Maximum number of steps of an episode; longer episodes are left out."""
    deterministic: Annotated[bool, _POLICY, tyro.conf.FlagCreatePairsOff] = False
    """Act greedily: take the most probable action, or the one of the highest value. This is the default."""
    stochastic: Annotated[bool, _POLICY, tyro.conf.FlagCreatePairsOff] = False
    """Sample actions as in training. The best policy without memory is often stochastic."""


def run(arguments: list[str]) -> int:
    """Evaluate; see `memorax.cli.commands` for the exit code."""
    options = parse(EvaluateOptions, "evaluate", arguments)
    from memorax.experiment.evaluation import measure
    from memorax.experiment.imports import import_modules
    from memorax.experiment.run.files import EVALUATION_FILE, write_json

    silence_libraries()
    keep_compiled_programs()
    refusing(import_modules, options.imports)
    settings = {"step": options.step, "episodes": options.episodes, "max_steps": options.max_steps}
    result = refusing(measure, options.run, **settings, deterministic=not options.stochastic)
    title = f"{printable(str(options.run))} at step {result['step']:,}, {result['policy']} policy"
    table = Table("seed", "episodes", "mean episode return", "mean episode length", title=title)
    returns, lengths = result["return"]["per_seed"], result["length"]["per_seed"]
    for (seed, value), count in zip(returns.items(), result["episodes"], strict=True):
        table.add_row(seed, str(count), f"{value:.3f}", f"{lengths[seed]:.1f}")
    make_console().print(table, markup=False)
    print_result(result["return"])
    # Last: the numbers have been seen where they cannot be written.
    write_json(options.run / EVALUATION_FILE, result)
    say(f"saved to {options.run / EVALUATION_FILE}")
    return 0

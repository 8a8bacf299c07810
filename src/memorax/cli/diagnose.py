"""`memorax diagnose RUN [OPTIONS]`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.table import Table

from memorax.cli.compilation_cache import keep_compiled_programs
from memorax.cli.options import ImportOptions, Step, parse
from memorax.cli.output import make_console, silence_libraries
from memorax.cli.refusal import refusing
from memorax.cli.terminal import say
from memorax.core.text import printable

if TYPE_CHECKING:
    from memorax.diagnostics import Diagnosis


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiagnoseOptions(ImportOptions):
    """Examine the memory of a trained agent; save `diagnosis.json` and `diagnosis.png`."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    seed: int | None = None
    """Which of the run's random seeds to examine; None for the first."""
    step: Step = "last"
    """Which checkpoint: the newest, the best, or the one at this step."""
    max_lag: int = 32
    """Number of steps to look back, and to follow the effect of a perturbed observation."""
    episodes: int = 128
    """Number of episodes to play with each variant of the memory or of the environment."""
    max_steps: int = 10_000
    """Maximum number of steps of an episode; longer episodes are left out."""
    behavior: Literal["exploit", "explore"] = "exploit"
    """Whether to act greedily, as in evaluation, or to explore, as in training."""
    vary: str | None = None
    """Argument of the environment to vary, for horizon generalization. None: `length` or the level of difficulty, where
    the environment has one."""
    values: tuple[int, ...] = ()
    """Values of that argument; none: half to eight times its own."""


def run(arguments: list[str]) -> int:
    """Diagnose; see `memorax.cli.commands` for the exit code."""
    options = parse(DiagnoseOptions, "diagnose", arguments)
    from memorax.diagnostics import diagnose
    from memorax.diagnostics.figures import make_figure
    from memorax.experiment import load
    from memorax.experiment.config_file import load_config
    from memorax.experiment.imports import import_modules
    from memorax.experiment.run.files import DIAGNOSIS_FIGURE, DIAGNOSIS_FILE, write_atomically, write_json
    from memorax.experiment.variants import variants

    silence_libraries()
    keep_compiled_programs()
    refusing(import_modules, options.imports)
    policy = refusing(load, options.run, seed=options.seed, step=options.step)
    config = load_config(options.run)
    environments = refusing(variants, config, options.vary, options.values)
    diagnosis = refusing(
        diagnose,
        policy,
        environments=environments,
        max_lag=options.max_lag,
        episodes=options.episodes,
        max_steps=options.max_steps,
        behavior=options.behavior,
        tell=lambda stage: say(f"measuring {stage} ..."),
    )
    _print(diagnosis, printable(str(options.run)))
    task = f"{config.algorithm}, {config.model}, {config.task()}"
    write_json(options.run / DIAGNOSIS_FILE, {"task": task, **diagnosis.to_json()})
    write_atomically(options.run / DIAGNOSIS_FIGURE, make_figure(diagnosis, task).savefig)
    say(f"saved to {options.run / DIAGNOSIS_FILE} and {options.run / DIAGNOSIS_FIGURE}")
    return 0


def _print(diagnosis: "Diagnosis", title: str) -> None:
    """Show the diagnosis in the terminal."""
    recall, console = diagnosis.recall, make_console()
    say(
        f"the value looks back {recall.mean_lag():.1f} steps on average and {recall.reach()} at most, of "
        f"{recall.lags[-1]} that were tried (effects of at least 1 % of the largest)"
    )
    if diagnosis.ablation is None:
        say("the agent has no memory to tamper with or to read from")
    table = Table("variant", "mean episode return", "95 % interval", "episodes", title=title)
    rows = {} if diagnosis.ablation is None else {"memory intact": diagnosis.ablation.intact}
    if diagnosis.ablation is not None:
        words = {
            "reset": "memory reset every {} steps",
            "swap": "memory swapped every {} steps",
            "poison": "strange observation at step {}",
        }
        for name, text in words.items():
            found = getattr(diagnosis.ablation, name).items()
            rows |= {text.format(k).replace("every 1 steps", "every step"): returns for k, returns in found}
    if diagnosis.horizons is not None:
        rows |= {f"environment {name}": returns for name, returns in diagnosis.horizons.variants.items()}
    for name, returns in rows.items():
        low, high = returns.interval
        numbers = (f"{returns.mean:.3f}", f"[{low:.3f}, {high:.3f}]") if returns.episodes else ("no episode ended", "")
        table.add_row(name, *numbers, str(returns.episodes))
    if rows:
        console.print(table, markup=False)
    if diagnosis.probes:
        table = Table("hidden state", "read-out", "from memory", "from observation", "guess")
        for name, found in diagnosis.probes.items():
            scores = (f"{x:z.2f}" for x in (found.score, found.from_observation, found.chance))
            table.add_row(name, found.kind, *scores)
        console.print(table, markup=False)

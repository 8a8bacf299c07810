"""`memorax benchmark SUITE [OPTIONS]`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from memorax.cli.compilation_cache import keep_compiled_programs
from memorax.cli.options import ImportOptions, parse
from memorax.cli.output import silence_libraries
from memorax.cli.refusal import Refusal, refusing
from memorax.cli.terminal import say

if TYPE_CHECKING:
    from memorax.experiment.benchmark.suite import Horizons


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(ImportOptions):
    """Train methods in the tasks of a suite, and write a table of their scores; runs that exist are resumed."""

    suite: Annotated[str, tyro.conf.Positional]
    """Name of the suite: `popgym`, `popgym-easy`, `popgym-medium`, `popgym-hard`, `length`, `length-observation`,
    `credit`, `classic` or `speed`."""
    out: Path | None = None
    """Folder of the suite's runs and tables. None: `runs/benchmark-SUITE`."""
    budget: float | None = None
    """Hours after which to stop; the same command continues from there. None: no limit."""
    tasks: tuple[str, ...] = ()
    """Only tasks with these names, or whose names contain one of these words. None given: all."""
    methods: tuple[str, ...] = ()
    """Only these methods, in this order. None given: all."""
    seeds: int | None = None
    """Number of seeds. None: that of the suite."""
    seed: int | None = None
    """First seed. None: that of the suite. Another one makes an independent table, in another `--out`."""
    steps: int | None = None
    """Environment steps of each seed. None: those of the suite."""
    tables: bool = False
    """Do not train: write the tables of the runs that exist."""


def run(arguments: list[str]) -> int:
    """Benchmark; see `memorax.cli.commands` for the exit code."""
    options = parse(BenchmarkOptions, "benchmark", arguments)
    from memorax.experiment.benchmark.results import collect
    from memorax.experiment.benchmark.runner import run_suite
    from memorax.experiment.benchmark.suite import load_suite
    from memorax.experiment.imports import import_modules

    silence_libraries()
    keep_compiled_programs()
    refusing(import_modules, options.imports)
    whole = refusing(load_suite, options.suite)
    part = {name: getattr(options, name) for name in ("tasks", "methods", "seeds", "seed", "steps")}
    suite = refusing(whole.narrowed, **part)
    folder = options.out or Path("runs") / f"benchmark-{suite.name}"
    if options.tables:
        results = collect(suite, folder)
        if not results["results"]:
            raise Refusal(
                f"`out` must be the folder of a benchmark that has begun, got {folder}, which has no runs yet"
            )
        _write(results, folder)
        return 0
    progress = refusing(run_suite, suite, folder, budget_hours=options.budget, measure=_play_longer, tell=say)
    results = collect(suite, folder)
    if results["results"]:
        _write(results, folder)
    say(f"{progress.finished} of {progress.total} runs are finished")
    if progress.finished < progress.total:
        say("go on by the same command")
    return 0 if progress.signal is None else 128 + progress.signal


def _write(results: dict[str, Any], folder: Path) -> None:
    """Write the tables, and say where they are."""
    from memorax.experiment.benchmark.report import write_tables

    for path in write_tables(results, folder):
        say(f"wrote {path}")


def _play_longer(folder: Path, horizons: "Horizons") -> dict[str, Any]:
    """Play the policy of each seed in longer variants of its task; mean returns by length and seed."""
    from memorax.diagnostics import horizon_generalization
    from memorax.experiment import load
    from memorax.experiment.config_file import load_config
    from memorax.experiment.imports import make_environment
    from memorax.experiment.variants import variants

    config = load_config(folder)
    own, _ = make_environment(config.env, config.env_options)
    length = getattr(own, horizons.option)
    values = sorted(length * factor for factor in horizons.factors)
    found: dict[str, Any] = {}
    for seed in config.seed_numbers():
        policy = load(folder, seed=seed)
        environments = dict(zip(values, variants(config, horizons.option, values).values(), strict=True))
        measured = horizon_generalization(
            policy, environments, episodes=horizons.episodes, max_steps=2 * values[-1] + 1_000
        )
        for value, returns in measured.to_json().items():
            entry = found.setdefault(
                value, {"best": returns["best"], "memoryless": returns["memoryless"], "returns": {}}
            )
            entry["returns"][str(seed)] = returns["mean"]
    return found

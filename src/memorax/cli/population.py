"""`memorax train --population learning_rate=log_uniform:1e-5,1e-2`: members that copy each other as they train."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memorax.cli.compilation_cache import keep_compiled_programs
from memorax.cli.grid import print_table, refuse_options_of_one_run
from memorax.cli.refusal import FAILED, Refusal, refusing
from memorax.cli.terminal import say

if TYPE_CHECKING:
    from memorax.experiment.config import RunConfig


def run_population(config: "RunConfig", out: Path | None, how: dict[str, Any]) -> int:
    """Train a population, and print a table of its members.

    Args:
        config: What all members have in common.
        out: The folder; None for a new one.
        how: Further options of `memorax train`; `population` and `exchange_every` say how the members change.

    Returns:
        The exit code.
    """
    from memorax.experiment.population.config import Population, load_population
    from memorax.experiment.population.figure import FIGURE
    from memorax.experiment.population.train import finish_population, prepare_population

    space, every = how.pop("population"), how.pop("exchange_every")
    given: dict[str, Any] = ({"space": space} if space else {}) | ({} if every is None else {"every": every})
    refuse_options_of_one_run(how, "a population")
    if how["changes"]:
        raise Refusal(f"`--set` is for one run, got {how['changes']} with a population, which changes by itself")
    keep_compiled_programs()
    if how["resume"] and out is not None:
        population = refusing(dataclasses.replace, refusing(load_population, out), **given)
    else:
        population = refusing(Population, **given)
    group = refusing(prepare_population, config, population, out, resume=how["resume"], devices="cores")
    base = group.claim.folder
    outcomes = finish_population(group)
    stopped = next((outcome for outcome in outcomes if outcome.signal is not None), None)
    if stopped is not None and stopped.signal is not None:
        resume = f"memorax train --resume --out {shlex.quote(str(base))}"
        say(f"stopped and saved at step {stopped.step:,}; resume with: {resume}")
        return 128 + stopped.signal
    print_table([outcome.folder.name for outcome in outcomes], outcomes)
    say(f"who copied whom: {base / FIGURE}")
    say(f"next:\n  memorax report {shlex.quote(str(base))}  # all members in one HTML file")
    return FAILED if all(outcome.error is not None for outcome in outcomes) else 0

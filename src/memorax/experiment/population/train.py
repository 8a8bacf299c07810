"""Population-based training of a run, each of whose seeds is a member."""

import contextlib
import dataclasses
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from memorax.experiment.changes import rewound
from memorax.experiment.config import RunConfig
from memorax.experiment.config_file import RESUMABLE, check_same_run, load_config, save_config
from memorax.experiment.loggers import Logger
from memorax.experiment.population.config import Population, is_population, load_population, save_population
from memorax.experiment.population.figure import plot_population
from memorax.experiment.population.rounds import Rounds
from memorax.experiment.run import checkpoint
from memorax.experiment.run.batch import Batch
from memorax.experiment.run.cores import split_cores
from memorax.experiment.run.files import CHECKPOINTS, CONFIG_FILE
from memorax.experiment.run.folders import Claim, claim_empty, claim_free, default_folder
from memorax.experiment.run.programs import own_values
from memorax.experiment.run.session import Outcome, Session
from memorax.experiment.run.train_many import SharedMaker, finish_many, prepare_many
from memorax.experiment.space import draw
from memorax.experiment.sweep.settings import with_parameters

MEMBER = "member-"
"""What the folder of a member begins with."""


def pbt(  # noqa: PLR0913  how to run them, by keyword
    config: RunConfig,
    population: Population,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    loggers: Sequence[str | Logger] = (),
    devices: Literal["cores"] | None = None,
    console: Console | None = None,
    return_on_signal: bool = False,
) -> list[Outcome]:
    """Train a population: each seed is a member with hyperparameters of its own, and the worst copy the best.

    All members are trained by one compiled program, as `train_many` does. Every so many steps the members with the
    lowest mean episode return since the last exchange copy parameters, optimizer states, statistics of normalization
    and hyperparameters of those with the highest, and change the hyperparameters at random. They keep their
    environments, replay buffers and random keys. A member that diverges copies another one as a whole.

    Each member is an ordinary run in a folder of its own, `member-00` and so on, in whose `config.json` the `history`
    says whom it copied when, and whose metrics have its hyperparameters. A population that is stopped or killed and
    resumed on as many cores is the same, bit for bit except for `time/*`.

    Args:
        config: What all members have in common; `seeds` is their number.
        population: How they learn from each other.
        folder: Where to save them; empty or not there yet, unless it is resumed. None: a new folder in `runs`.
        resume: Whether to resume the population in `folder`; `population` is the one it was started with.
        loggers: Where the metrics of each member go besides `metrics.jsonl`.
        devices: `"cores"`: on a CPU, the members are divided over as many of its cores as divide them, as `train_many`
            has it. None: one device trains all.
        console: Where to show the progress; None for standard output.
        return_on_signal: Whether to return after SIGINT or SIGTERM, with the signal in the outcomes.

    Returns:
        How each member ended.

    Raises:
        KeyboardInterrupt: It was stopped by SIGINT, and saved.
        OSError: The disk failed or is full, or a logger failed.
        TypeError: The environment runs in Python, or does not take `env_options`.
        ValueError: A configuration is refused, or the folder cannot be used.
    """
    group = prepare_population(config, population, folder, resume=resume, loggers=loggers, devices=devices)
    try:
        return finish_population(group, console)
    finally:
        received = group.sessions[0].received_signal
        if received is not None and not return_on_signal:
            signal.raise_signal(received)


@dataclasses.dataclass(frozen=True)
class Members:
    """A population that is ready to be trained.

    Attributes:
        claim: Its folder.
        population: How the members learn from each other.
        sessions: The members.
        batch: Their batch.
    """

    claim: Claim
    population: Population
    sessions: list[Session]
    batch: Batch


def prepare_population(
    config: RunConfig,
    population: Population,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    loggers: Sequence[str | Logger] = (),
    devices: Literal["cores"] | None = None,
) -> Members:
    """Check everything that can be checked before training; takes and raises what `pbt` does.

    Returns:
        The population, ready to be trained by `finish_population`.
    """
    config, population = dataclasses.replace(config, history=()), population.checked(config)
    if resume:
        if folder is None or not is_population(Path(folder)):
            raise ValueError(f"`folder` must be that of a population to resume it, got {folder}")
        _check_same(Path(folder), config, population)
    if devices == "cores":
        split_cores(config.seeds)
    maker = SharedMaker(members(config, population)[0], on_cores=devices == "cores")
    known = own_values(maker.agent)
    for name in population.space:
        if name not in known:
            raise ValueError(
                f"`space` must be of real numbers that the agent has in its state, got {name}; these: "
                f"{', '.join(sorted(known))}"
            )
    if resume:
        claim = Claim(Path(str(folder)))
    else:
        claim = claim_free(default_folder(config)) if folder is None else claim_empty(Path(folder))
    try:
        if not resume:
            save_population(claim.folder, population)
            save_config(claim.folder, config)
        configs = members(config, population)
        folders = [claim.folder / f"{MEMBER}{i:02d}" for i in range(config.seeds)]
        configs = _rewound(configs, folders)
        if resume:
            save_config(claim.folder, config)
        sessions, batch = prepare_many(configs, folders, resume=True, loggers=loggers, maker=maker)
    except BaseException:
        claim.release()
        raise
    return Members(claim, population, sessions, batch)


def finish_population(group: Members, console: Console | None = None) -> list[Outcome]:
    """Train what was prepared, show the progress, and draw what has come of it; raises what `pbt` does.

    Args:
        group: The population; its folders are released.
        console: Where to show the progress; None for standard output.

    Returns:
        How each member ended; SIGINT and SIGTERM have no other effect than this.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(group.claim.release)
        rounds = Rounds(group.population, group.sessions, group.batch)
        outcomes = finish_many(group.sessions, group.batch, console, rounds)
        plot_population(group.claim.folder)
    return outcomes


def members(config: RunConfig, population: Population) -> list[RunConfig]:
    """Give the runs with which the members of a population begin.

    Args:
        config: What they have in common.
        population: How they learn from each other.
    """
    found = []
    for number, seed in enumerate(config.seed_numbers()):
        values: dict[str, Any] = draw(population.space, population.seed, number) if population.draw else {}
        found.append(with_parameters(dataclasses.replace(config, seed=seed, seeds=1), values))
    return found


def _check_same(folder: Path, config: RunConfig, population: Population) -> None:
    """Refuse to resume a population with other settings than those it was started with."""
    stored = load_population(folder)
    for field in dataclasses.fields(Population):
        before, after = getattr(stored, field.name), getattr(population, field.name)
        if before != after:
            raise ValueError(f"`{field.name}` must be {before} to resume {folder}, got {after}; leave it as it was")
    before = load_config(folder)
    every = config.log_every or before.log_every
    check_same_run(before, dataclasses.replace(config, log_every=every), folder)


def _rewound(configs: Sequence[RunConfig], folders: Sequence[Path]) -> list[RunConfig]:
    """Bring all members to the newest step that each has a checkpoint of: a kill may leave some without the last one.

    Args:
        configs: The runs with which they began.
        folders: Their folders.

    Returns:
        The runs as they were at that step.
    """
    kept = [{int(path.name): path for path in checkpoint.complete(folder / CHECKPOINTS)} for folder in folders]
    step = max(set.intersection(*(set(paths) for paths in kept)), default=0)
    found = []
    for config, folder, paths in zip(configs, folders, kept, strict=True):
        if not (folder / CONFIG_FILE).is_file():
            found.append(config)
            continue
        stored = load_config(folder)
        then = rewound(stored, step)
        save_config(folder, then)
        for later in (number for number in paths if number > step):
            checkpoint.remove(paths[later])
        found.append(dataclasses.replace(then, **{name: getattr(config, name) for name in RESUMABLE - {"history"}}))
    return found

"""Suites: which methods are trained in which tasks, for how long, and what is measured. A TOML file each."""

import dataclasses
import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from memorax.core.checks import boolean, check_fields, choice, instance, integer, sequence, size
from memorax.core.registry import suggest
from memorax.experiment.config import RunConfig
from memorax.experiment.env_options import read_env_options
from memorax.experiment.recipes import default_run

_FOLDER = resources.files("memorax.experiment.benchmark") / "suites"
_OF_CELLS = frozenset({"env", "env_options", "seed", "seeds", "steps", "hyperparameters"})
"""Fields of a run that follow from the cell."""
_MERGED = ("run", "hyperparameters")
"""Tables of a file that are laid over those of its `base`; others take their place."""
METRICS = ("mmer", "final", "speed")


@dataclass(frozen=True)
class Horizons:
    """How policies are tested in longer variants of the task that they were trained in.

    Attributes:
        option: The argument of the environment that says how long it is.
        factors: What it is multiplied with.
        episodes: Episodes of each variant and seed.
    """

    option: str
    factors: tuple[int, ...]
    episodes: int

    def __post_init__(self) -> None:
        check_fields(self, option=instance(str, called="a name"), factors=sequence(size()), episodes=size(2))


@dataclass(frozen=True)
class Cell:
    """A method in a task.

    Attributes:
        task: The task, as the command line has it: `memory::TMaze length=20`.
        method: Name of the method.
    """

    task: str
    method: str

    @property
    def folder(self) -> str:
        """Name of its run's folder."""
        return re.sub(r"[^A-Za-z0-9._=-]+", "-", f"{self.method}-{self.task}")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A table of runs.

    Attributes:
        name: Its name.
        title: What it is, in a few words.
        about: What it measures.
        metric: `mmer`, the highest mean episode return of a logging interval; `final`, the mean return over the last
            tenth of the run; `speed`, environment steps per second of all seeds together.
        reference: The method that others are compared with.
        tasks: Tasks, as the command line has them.
        methods: By name, the fields of the run in which methods differ, and those of the algorithm as
            `hyperparameters`.
        passes: Environment steps of each seed at which there is a table. All runs get to the first before one goes on.
        seeds: Number of seeds.
        seed: The first of them.
        run: Fields of all runs.
        hyperparameters: Fields of the algorithm, of all runs.
        horizons: How policies are tested in longer tasks; None: they are not.
        published: Scores that others published, by task and name of the column: `[mean, standard deviation]`.
        source: Where they are from.
        one_scale: Whether the scores of all tasks are on one scale; where they are not, they are not averaged.
    """

    name: str
    title: str
    about: str
    metric: str
    reference: str
    tasks: tuple[str, ...]
    methods: Mapping[str, Mapping[str, Any]]
    passes: tuple[int, ...]
    seeds: int
    seed: int = 0
    run: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    horizons: Horizons | None = None
    published: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    source: str = ""
    one_scale: bool = True

    def __post_init__(self) -> None:
        names = sequence(instance(str, called="a name"))
        check_fields(self, metric=choice(*METRICS), tasks=names, passes=sequence(size()), seeds=size(), seed=integer(0))
        check_fields(self, one_scale=boolean())
        if self.reference not in self.methods:
            raise ValueError(f"`reference` must be one of {', '.join(self.methods)}, got {self.reference}")
        for name, values in (("run", self.run), *self.methods.items()):
            taken = sorted(_OF_CELLS & values.keys() - {"hyperparameters"})
            if taken:
                raise ValueError(f"`{name}` of suite {self.name} must not have {', '.join(taken)}; the suite says it")
        every = self.run.get("log_every")
        if not isinstance(every, int) or any(steps % every for steps in self.passes):
            raise ValueError(
                f"`log_every` of suite {self.name} must divide all of its passes, {self.passes}, got {every}; scores "
                "are read at these steps"
            )
        if any(b <= a for a, b in itertools.pairwise(self.passes)):
            raise ValueError(f"`passes` of suite {self.name} must increase, got {self.passes}")

    def cells(self) -> Iterator[Cell]:
        """All cells in the order in which they are trained: task by task, so that whole rows are there early."""
        return (Cell(task, method) for task in self.tasks for method in self.methods)

    def config(self, cell: Cell, steps: int) -> RunConfig:
        """Give the run of a cell.

        Args:
            cell: The cell.
            steps: Environment steps of each seed.

        Raises:
            ValueError: A field is unknown, or a value is refused.
        """
        own = dict(self.methods[cell.method])
        hyperparameters = {**self.hyperparameters, **own.pop("hyperparameters", {})}
        fields = {"model": cell.method, **self.run, **own}
        default = default_run(fields.pop("algorithm", "ppo"))
        env, *options = cell.task.split()
        fields |= {"env": env, "env_options": read_env_options(options), "steps": steps}
        fields |= {"seeds": self.seeds, "seed": self.seed}
        fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
        try:
            return dataclasses.replace(
                default,
                **fields,
                hyperparameters=dataclasses.replace(default.hyperparameters, **hyperparameters),
            )
        except TypeError as error:
            raise ValueError(f"suite {self.name} has a field that its runs do not have ({error})") from error

    def narrowed(
        self,
        *,
        tasks: Sequence[str] = (),
        methods: Sequence[str] = (),
        seeds: int | None = None,
        seed: int | None = None,
        steps: int | None = None,
    ) -> "Suite":
        """Give a part of the suite, or one with other seeds.

        Args:
            tasks: Names of tasks, with or without their namespace, or parts of names. None: all.
            methods: Names of methods, in their order. None: all.
            seeds: Number of seeds; None: as it is.
            seed: First seed; None: as it is.
            steps: Environment steps of each seed at which runs end; None: as it is.

        Raises:
            ValueError: No task contains the word, a method is unknown, or `steps` is not a multiple of `log_every`.
        """
        kept = {task for word in tasks for task in self._named(word)}
        for name in methods:
            if name not in self.methods:
                raise ValueError(f"`methods` must be among {', '.join(self.methods)}, got {name}")
        chosen = {name: self.methods[name] for name in methods} or self.methods
        return dataclasses.replace(
            self,
            tasks=tuple(task for task in self.tasks if not tasks or task in kept),
            methods=chosen,
            reference=self.reference if self.reference in chosen else next(iter(chosen)),
            seeds=self.seeds if seeds is None else seeds,
            seed=self.seed if seed is None else seed,
            passes=self.passes if steps is None else (*(x for x in self.passes if x < steps), steps),
        )

    def _named(self, word: str) -> list[str]:
        """Tasks of this name, or else those whose name has it as a part."""
        exact = [task for task in self.tasks if word in (task, task.rpartition("::")[2])]
        found = exact or [task for task in self.tasks if word in task]
        if not found:
            raise ValueError(f"`tasks` must be parts of {', '.join(self.tasks)}, got {word}")
        return found


def suite_names() -> list[str]:
    """The names of all suites."""
    return sorted(path.name.removesuffix(".toml") for path in _FOLDER.iterdir() if path.name.endswith(".toml"))


def load_suite(name: str) -> Suite:
    """Read a suite.

    Args:
        name: Its name.

    Raises:
        ValueError: There is none of that name; the message suggests near misses.
    """
    fields = _read(name)
    published = fields.pop("published", {})
    horizons = fields.pop("horizons", None)
    tables = {"source": published.pop("source", ""), "published": published}
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    if horizons is not None:
        tables["horizons"] = Horizons(**{**horizons, "factors": tuple(horizons["factors"])})
    return Suite(name=name, **fields, **tables)


def _read(name: str) -> dict[str, Any]:
    """Read a file; what it does not have is that of its `base`."""
    if name not in suite_names():
        raise ValueError(f"unknown suite `{name}`{suggest(name, tuple(suite_names()))}")
    fields = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    base = fields.pop("base", None)
    if base is None:
        return fields
    below = _read(base)
    return below | {key: below[key] | value if key in _MERGED else value for key, value in fields.items()}

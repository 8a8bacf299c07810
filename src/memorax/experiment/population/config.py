"""Configuration of population-based training."""

import dataclasses
from pathlib import Path
from typing import Any

from memorax.core.checks import boolean, check_fields, integer, optional, real, sequence
from memorax.core.hyperparameters import config_values
from memorax.experiment.config import FACTORS, RunConfig
from memorax.experiment.run.files import read_json, write_json
from memorax.experiment.schedules import LEARNING_RATES
from memorax.experiment.space import Choice, LogUniform, Uniform, space_from_dict, space_to_dict
from memorax.experiment.sweep.settings import check_space

POPULATION_FILE = "population.json"
_EXCHANGES = 20
"""About how often a population exchanges by default."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Population:
    """How the members of a population learn from each other, as in Jaderberg et al. (2017, arXiv:1711.09846).

    Every `every` steps the worst members copy the best ones (exploit: truncation selection), and change the
    hyperparameters that they have copied (explore).

    Attributes:
        space: The hyperparameters that change, by name, and the bounds that they keep: `LogUniform(1e-5, 1e-2)` or
            `Uniform(0.0, 0.1)`. Sizes and choices decide about the program and cannot change.
        every: Environment steps of each member between two exchanges, rounded up to the end of a logging interval.
            None: a twentieth of the run.
        share: Share of the members that copy, and of those that are copied, (0, 0.5]; at least one.
        factors: What a copied value is multiplied by, one of these, each as likely. A value of `Uniform` is moved
            by the same part of the interval instead: 1.25 by a quarter of it.
        resample: Probability that a value is drawn anew instead.
        draw: Whether the members begin with values that are drawn; False: with those of the run.
        seed: Random seed of what is drawn and of who is copied.
    """

    space: dict[str, Uniform | LogUniform] = dataclasses.field(default_factory=dict)
    every: int | None = None
    share: float = 0.25
    factors: tuple[float, ...] = (0.8, 1.25)
    resample: float = 0.25
    draw: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(
            self,
            every=optional(integer(1)),
            share=real(maximum=0.5, above=0),
            factors=sequence(real(above=0)),
            resample=real(0, 1),
            draw=boolean(),
            seed=integer(0),
        )
        example = "{'learning_rate': LogUniform(1e-5, 1e-2)}"
        if not isinstance(self.space, dict):
            raise TypeError(f"`space` must map names to bounds, got {self.space!r}; write for example {example}")
        if not self.space:
            raise ValueError(f"`space` must have at least one hyperparameter, got none; write for example {example}")
        for name, of in self.space.items():
            if isinstance(of, Choice):
                raise ValueError(f"`{name}` of `space` must have bounds, which a population moves it in, got {of}")
            if not isinstance(of, Uniform | LogUniform):
                raise TypeError(f"`{name}` of `space` must be bounds such as LogUniform(1e-5, 1e-2), got {of!r}")

    def checked(self, run: RunConfig) -> "Population":
        """Check that a run takes it.

        Args:
            run: What all members have in common; each of its seeds is a member.

        Returns:
            The population with `every` filled in, and the bounds as floats.

        Raises:
            TypeError: A bound is of the wrong kind.
            ValueError: The run has no such hyperparameter, refuses a bound, or does something that members cannot.
        """
        known = [name for name in (*LEARNING_RATES, *FACTORS) if getattr(run, name) is not None]
        known += sorted(config_values(run.hyperparameters))
        for name in self.space:
            if name not in known:
                raise ValueError(
                    f"`space` must be of real numbers that the run has in its state, got {name}; these: "
                    f"{', '.join(known)}"
                )
        space: Any = check_space(self.space, run)
        if run.seeds < 2:
            raise ValueError(f"`seeds` must be at least 2 for a population, of which each is a member, got {run.seeds}")
        for name in ("keep_best", "stop_at", "patience"):
            if getattr(run, name) is not None:
                raise ValueError(
                    f"`{name}` must be None in a population, whose members go on together, got {getattr(run, name)}"
                )
        every = self.every or max(1, run.steps // _EXCHANGES)
        if every >= run.steps:
            raise ValueError(f"`every` must be below `steps` ({run.steps:,}), got {every:,}; nothing would be copied")
        return dataclasses.replace(self, space=space, every=every)


def save_population(folder: Path, population: Population) -> None:
    """Write it into the folder of a population."""
    fields = {field.name: getattr(population, field.name) for field in dataclasses.fields(population)}
    write_json(folder / POPULATION_FILE, fields | {"space": space_to_dict(population.space)})


def is_population(folder: Path) -> bool:
    """Whether a folder holds a population."""
    return (folder / POPULATION_FILE).is_file()


def load_population(folder: Path) -> Population:
    """Read it from the folder of a population.

    Raises:
        ValueError: The folder holds none, or it cannot be understood.
    """
    path = folder / POPULATION_FILE
    if not path.is_file():
        raise ValueError(f"{folder} must be the folder of a population, got one without {POPULATION_FILE}")
    content = read_json(path)
    known = {field.name for field in dataclasses.fields(Population)}
    if not isinstance(content, dict) or content.keys() != known:
        raise ValueError(f"{path} must hold a population of this version of memorax, got something else")
    space: Any = space_from_dict(content["space"])
    return Population(**content | {"space": space, "factors": tuple(content["factors"])})

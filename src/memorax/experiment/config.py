"""What a run is: everything needed to build its agent again, and to repeat it bit for bit."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from memorax.core.checks import between, whole
from memorax.experiment.env_options import EnvOptions, check_env_options, write_env_options
from memorax.experiment.run.files import CONFIG_FILE, read_json, write_json

C = TypeVar("C")

_RESUMABLE = frozenset({"steps", "checkpoint_every"})
"""Fields that a resumed run may change: they say how far to go, not what is done at a step.

A finished run that goes further keeps its last log line, which is over a shorter interval where `log_every` did not
divide the steps; a run that was given all steps at once has no line there.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(Generic[C]):
    """Configuration of a run."""

    # The command line names it before the options.
    algorithm: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress]
    """Name of the algorithm."""
    env: str
    """Name of the environment; `memorax list environments` shows all."""
    env_options: EnvOptions = dataclasses.field(default_factory=dict)
    """Arguments of the environment, `length=20`; what is left out is as the environment has it."""
    model: str = "gru"
    """Name of the memory model; `memorax list models` shows all."""
    steps: int = 1_000_000
    """Environment steps of each seed, over all its environments, rounded down to whole updates."""
    warmup: int = 0
    """Environment steps of each seed with random actions before these, which fill a replay; rounded down to whole
    steps of all environments. Nothing is learned or logged meanwhile."""
    seeds: int = 4
    """How many seeds to train side by side."""
    seed: int = 0
    """The first seed; the others follow it. Seed 3 has the same keys whether trained alone or beside others."""
    features: int = 64
    """Width of feature extractor and memory."""
    share_trunk: bool = True
    """Whether actor and critic share feature extractor and memory."""
    learning_rate: float = 3e-4
    """Step size of Adam."""
    anneal_learning_rate: bool = False
    """Whether the step size falls linearly to zero over `steps`."""
    max_grad_norm: float = 0.5
    """Gradients longer than this are scaled down to it."""
    checkpoint_every: int = 100_000
    """Environment steps between two checkpoints of each seed, rounded up to the end of a log interval."""
    log_every: int | None = None
    """Environment steps of each seed between two log lines, in whole updates. None: about a hundredth of `steps`."""
    hyperparameters: C
    """Configuration of the algorithm."""

    def __post_init__(self) -> None:
        for name in ("steps", "seeds", "features", "checkpoint_every"):
            whole(self, name, 1)
        whole(self, "warmup", 0)
        whole(self, "seed", 0)
        between(self, "seed", 0, 2**31 - 1)
        check_env_options(self.env_options)
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above 0, got {getattr(self, name)}")
        if self.log_every is not None:
            whole(self, "log_every", 1)

    def seed_numbers(self) -> list[int]:
        """The numbers of all seeds."""
        return [self.seed + i for i in range(self.seeds)]

    def task(self) -> str:
        """The environment and its options, as the command line has them: `memory::TMaze length=20`."""
        return " ".join([self.env, *write_env_options(self.env_options)])


def config_class(algorithm: str) -> type:
    """Give the configuration class of an algorithm.

    Raises:
        ValueError: No algorithm has that name; the message suggests near misses.
    """
    from memorax.algorithms import ALGORITHMS

    return ALGORITHMS.get(algorithm)[1]


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Turn a configuration into what JSON can hold."""
    return dataclasses.asdict(config)


def from_dict(content: dict[str, Any], source: str = "the configuration") -> RunConfig:
    """Build a configuration from what `to_dict` made.

    Args:
        content: Fields by name; missing ones have their defaults.
        source: Where it was found, for the messages.

    Raises:
        ValueError: A field is unknown or missing without a default, or its value is refused.
    """
    if not isinstance(content, dict) or not isinstance(content.get("algorithm"), str):
        raise ValueError(f"`algorithm` must be in {source}, which does not look like a run's configuration")
    fields = dict(content)
    cls = config_class(fields["algorithm"])
    hyperparameters = fields.pop("hyperparameters", {})
    _check_fields(cls, hyperparameters, source)
    _check_fields(RunConfig, fields, source)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in hyperparameters.items()}
    try:
        return RunConfig(**fields, hyperparameters=cls(**values))
    except TypeError as error:
        raise ValueError(f"{source} does not hold a run's configuration ({error})") from error


def save_config(folder: Path, config: RunConfig) -> None:
    """Write the configuration into a run's folder."""
    write_json(folder / CONFIG_FILE, to_dict(config))


def load_config(folder: Path) -> RunConfig:
    """Read the configuration from a run's folder.

    Raises:
        ValueError: The folder holds no run, or its configuration cannot be understood.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{folder} must be a run's folder, got one without {CONFIG_FILE}; `memorax train` makes one")
    return from_dict(read_json(path), str(path))


def check_same_run(stored: RunConfig, wanted: RunConfig, folder: Path) -> None:
    """Refuse to resume a run as another one; only how far it goes and how often it is saved may change.

    Raises:
        ValueError: A field differs; the message names it and both values.
    """
    before, after = _flat(stored), _flat(wanted)
    free = _RESUMABLE - ({"steps"} if stored.anneal_learning_rate else set())
    for name in before | after:
        if before.get(name) != after.get(name) and name not in free:
            raise ValueError(
                f"`{name}` must be {before.get(name)} to resume {folder}, got {after.get(name)}; "
                "leave the option out, or start a new run with another `--out`"
            )


def _flat(config: RunConfig) -> dict[str, Any]:
    """All fields, in the order in which a difference is named: what follows from others comes after them."""
    fields = to_dict(config)
    return {"algorithm": fields["algorithm"]} | fields.pop("hyperparameters") | fields


def _check_fields(cls: type, content: dict[str, Any], source: str) -> None:
    known = {field.name for field in dataclasses.fields(cls)}
    for name in content:
        if name not in known:
            raise ValueError(
                f"`{name}` in {source} is not a field of {cls.__name__}; it was written by another version of memorax"
            )

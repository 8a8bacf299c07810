"""The configuration of a run: everything needed to build its agent again, and to repeat the run bit for bit."""

import dataclasses
from typing import Annotated, Any, Generic, TypeVar

import tyro

from memorax.core.checks import boolean, check_fields, instance, integer, optional, real, sequence
from memorax.experiment.env_options import EnvOptions, check_env_options, write_env_options

C = TypeVar("C")

_MOST_STEPS = 2**32 - 1
"""A state counts the environment steps of its seed in 32 bits."""
_MOST_SEEDS = 2**16
_MOST_ENVS = 2**20
_MOST_FEATURES = 2**16
_MOST = 2**31 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(Generic[C]):
    """Configuration of a run."""

    # The command line names it before the options.
    algorithm: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress]
    """Name of the algorithm."""
    env: str
    """Name of the environment, as in `memorax list environments`; or `my_module:make_env` for a function of your own
    that returns an environment, or an environment and its parameters."""
    env_options: EnvOptions = dataclasses.field(default_factory=dict)
    """Keyword arguments of the environment, such as `length=20`."""
    model: str = "gru"
    """Name of the memory model, as in `memorax list models`."""
    steps: int = 1_000_000
    """Total number of environment steps per seed, summed over its parallel environments; rounded down to whole
    updates."""
    warmup: int = 0
    """Number of environment steps per seed with random actions before training, to fill the replay buffer; rounded
    down to whole steps of all environments. Nothing is learned or logged during warmup."""
    seeds: int = 4
    """Number of random seeds, trained in parallel."""
    seed: int = 0
    """First random seed; the others follow it. A seed gives the same run alone or beside others."""
    features: int = 64
    """Width of the feature extractor and the memory model."""
    share_trunk: bool = True
    """Whether actor and critic share the feature extractor and the memory model."""
    learning_rate: float = 3e-4
    """Learning rate of the Adam optimizer."""
    anneal_learning_rate: bool = False
    """Whether to anneal the learning rate linearly to zero over the updates of `steps` that learn."""
    max_grad_norm: float = 0.5
    """Maximum global norm of the gradients; larger gradients are scaled down to it."""
    checkpoint_every: int = 100_000
    """Environment steps per seed between checkpoints, rounded up to the end of a logging interval."""
    log_every: int | None = None
    """Environment steps per seed in a logging interval, rounded down to whole updates. None: about a hundredth of
    `steps`."""
    loggers: Annotated[tuple[str, ...], tyro.conf.arg(name="logger", metavar="NAME ...")] = ()
    """Where to log metrics besides `metrics.jsonl`: `tensorboard`."""
    # The command line has an option that every command has.
    imports: Annotated[tuple[str, ...], tyro.conf.Fixed, tyro.conf.Suppress] = ()
    """Modules to import first, which register environments, models or algorithms."""
    hyperparameters: C
    """Hyperparameters of the algorithm."""

    def __post_init__(self) -> None:
        names = sequence(instance(str, called="a name"), empty=True)
        check_fields(
            self,
            algorithm=instance(str, called="a name"),
            env=instance(str, called="a name"),
            model=instance(str, called="a name"),
            steps=integer(1, _MOST_STEPS),
            warmup=integer(0, _MOST_STEPS),
            seeds=integer(1, _MOST_SEEDS),
            seed=integer(0, _MOST),
            features=integer(1, _MOST_FEATURES),
            share_trunk=boolean(),
            learning_rate=real(above=0),
            anneal_learning_rate=boolean(),
            max_grad_norm=real(above=0),
            checkpoint_every=integer(1),
            log_every=optional(integer(1)),
            loggers=names,
            imports=names,
        )
        check_env_options(self.env_options)
        if self.warmup + self.steps > _MOST_STEPS:
            raise ValueError(f"`steps` must be at most {_MOST_STEPS - self.warmup} after the warmup, got {self.steps}")
        self._check_hyperparameters()

    def _check_hyperparameters(self) -> None:
        given: Any = self.hyperparameters
        if not dataclasses.is_dataclass(given) or isinstance(given, type):
            raise TypeError(
                f"`hyperparameters` must be the algorithm's configuration, such as PPOConfig(), got {given!r}"
            )
        for field in dataclasses.fields(given):
            value, most = getattr(given, field.name), _MOST_ENVS if field.name == "num_envs" else _MOST
            if isinstance(value, int) and value > most:
                raise ValueError(f"`{field.name}` must be at most {most}, got {value}")

    def seed_numbers(self) -> list[int]:
        """All random seeds."""
        return [self.seed + i for i in range(self.seeds)]

    def task(self) -> str:
        """The environment and its options, as the command line has them: `memory::TMaze length=20`."""
        return " ".join([self.env, *write_env_options(self.env_options)])

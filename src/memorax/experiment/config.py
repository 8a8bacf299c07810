"""The configuration of a run: everything needed to build its agent again, and to repeat the run bit for bit."""

import dataclasses
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro

from memorax.core.checks import boolean, check_fields, choice, instance, integer, optional, real, sequence
from memorax.experiment.env_options import EnvOptions, check_env_options, write_env_options
from memorax.experiment.schedules import Schedules, check_schedules

C = TypeVar("C")

_MOST_STEPS = 2**53 - 1
"""The largest whole number that every reader of JSON holds exactly."""
_MOST_SEEDS = 2**16
_MOST_ENVS = 2**20
_MOST_FEATURES = 2**16
_MOST = 2**31 - 1
EVAL_METRICS = tuple(f"eval/{kind}{name}" for kind in ("", "sampled_") for name in ("return", "length", "episodes"))
"""What an evaluation while training measures."""
FACTORS = ("max_grad_norm", "weight_decay", "reward_scale")
"""Hyperparameters of a run besides the learning rates."""
_WITHOUT_DECAY = ("adam", "radam", "rmsprop", "sgd")


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
    inputs: tuple[Literal["observation", "action", "reward"], ...] = ("observation", "action", "reward")
    """What the networks see: the observation, the previous action, the previous reward. Give `observation`
    alone for a control without memory (`--model mlp`): a previous action carries what was decided earlier."""
    critic_only: tuple[str, ...] = ()
    """Entries of a dictionary observation that only the critic sees, in training; acting does not need them (asymmetric
    actor-critic). The critic then has a trunk of its own."""
    share_trunk: bool = True
    """Whether actor and critic share the feature extractor and the memory model."""
    optimizer: str = "adam"
    """Optimizer: `adam`, `adamw`, `lion`, `muon`, `radam`, `rmsprop`, `sgd`, or one of your own."""
    learning_rate: float = 3e-4
    """Learning rate of the optimizer."""
    critic_learning_rate: float | None = None
    """Learning rate of the critic's optimizer, where actor and critic have one each. None: `learning_rate`."""
    anneal_learning_rate: bool = False
    """Whether to anneal the learning rate linearly to zero over the updates of `steps` that learn; the same as
    `--schedules learning_rate=linear`."""
    weight_decay: float | None = None
    """Weight decay of `adamw`, `lion` and `muon`. None: the default of optax."""
    max_grad_norm: float = 0.5
    """Maximum global norm of the gradients; larger gradients are scaled down to it."""
    schedules: Schedules = dataclasses.field(default_factory=dict)
    """Schedules over the run of `epsilon`, or of any hyperparameter that is a real number, such as `learning_rate` or
    `entropy_coefficient`: `constant`, or from its value to END (0 unless given), `linear` or along half a `cosine`.
    With WARMUP, it first rises linearly from 0 over that fraction of the run: `learning_rate=cosine:0:0.1`."""
    reward_scale: float = 1.0
    """Factor by which rewards are multiplied for learning; logged returns are not scaled."""
    checkpoint_every: int = 100_000
    """Environment steps per seed between checkpoints, rounded up to the end of a logging interval."""
    log_every: int | None = None
    """Environment steps per seed in a logging interval, rounded down to whole updates. None: about a hundredth of
    `steps`."""
    eval_every: int | None = None
    """Environment steps per seed between evaluations, rounded up to the end of a logging interval. None: no
    evaluations while training."""
    eval_episodes: int = 32
    """Episodes of each seed in an evaluation, once with greedy and once with sampled actions."""
    eval_env: str | None = None
    """Environment of evaluations. None: that of training."""
    eval_env_options: EnvOptions = dataclasses.field(default_factory=dict)
    """Keyword arguments of the environment of evaluations; those of training that are not named here are kept."""
    keep_best: str | None = None
    """Also keep the checkpoint at which this metric, averaged over seeds, was highest: `eval/return`, for instance."""
    stop_at: float | None = None
    """Stop when the metric of `stop_metric`, averaged over seeds, is at least this, `stop_after` times in a row."""
    stop_after: int = 1
    """How many times in a row `stop_at` must be reached."""
    patience: int | None = None
    """Stop when the metric of `stop_metric`, averaged over seeds, has not improved this many times in a row."""
    stop_metric: str = "eval/return"
    """Metric that `stop_at` and `patience` refer to."""
    loggers: Annotated[tuple[str, ...], tyro.conf.arg(name="logger", metavar="NAME ...")] = ()
    """Where to log metrics besides `metrics.jsonl`: `tensorboard`, `wandb`, `trackio`."""
    # The command line has an option that every command has.
    imports: Annotated[tuple[str, ...], tyro.conf.Fixed, tyro.conf.Suppress] = ()
    """Modules to import first, which register environments, models or algorithms."""
    # Written by the run itself.
    fork: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    """Folder of the run whose parameters this one began with."""
    fork_step: Annotated[int | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    """Step of the checkpoint that they were taken from."""
    history: Annotated[tuple[dict[str, Any], ...], tyro.conf.Fixed, tyro.conf.Suppress] = ()
    """What was changed when the run was resumed, oldest first: `step`, and the values `before` and `after` by field."""
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
            inputs=sequence(choice("observation", "action", "reward")),
            critic_only=names,
            share_trunk=boolean(),
            optimizer=instance(str, called="a name"),
            learning_rate=real(above=0),
            critic_learning_rate=optional(real(above=0)),
            anneal_learning_rate=boolean(),
            weight_decay=optional(real(0)),
            max_grad_norm=real(above=0),
            reward_scale=real(above=0),
            checkpoint_every=integer(1),
            log_every=optional(integer(1)),
            eval_every=optional(integer(1)),
            eval_episodes=integer(1, _MOST_ENVS),
            eval_env=optional(instance(str, called="a name")),
            keep_best=optional(instance(str, called="a name")),
            stop_at=optional(real()),
            stop_after=integer(1),
            patience=optional(integer(1)),
            stop_metric=instance(str, called="a name"),
            loggers=names,
            imports=names,
            fork=optional(instance(str, called="a folder")),
            fork_step=optional(integer(0)),
        )
        if "observation" not in self.inputs or len(set(self.inputs)) < len(self.inputs):
            raise ValueError(
                f"`inputs` must be `observation`, and `action` and `reward` where they are seen, each once, got "
                f"{' '.join(self.inputs)}"
            )
        check_env_options(self.env_options)
        check_env_options(self.eval_env_options, "eval_env_options")
        self._check_hyperparameters()
        self._check_optimizer()
        self._check_metrics()

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

    def _check_optimizer(self) -> None:
        check_schedules(
            self.schedules, self.hyperparameters, [name for name in FACTORS if getattr(self, name) is not None]
        )
        if self.anneal_learning_rate and "learning_rate" in self.schedules:
            raise ValueError("`anneal_learning_rate` must be off where `schedules` has `learning_rate`; leave it out")
        if self.weight_decay is not None and self.optimizer in _WITHOUT_DECAY:
            raise ValueError(
                f"`weight_decay` must be None with `optimizer={self.optimizer}`, got {self.weight_decay}; "
                "choose adamw, lion or muon"
            )

    def _check_metrics(self) -> None:
        wanted = {"keep_best": self.keep_best}
        if self.stop_at is not None or self.patience is not None:
            wanted["stop_metric"] = self.stop_metric
        for name, metric in wanted.items():
            if metric is None or not metric.startswith("eval/"):
                continue
            if metric not in EVAL_METRICS:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(EVAL_METRICS)}, or not of evaluations, got {metric}"
                )
            if self.eval_every is None:
                raise ValueError(f"`eval_every` must be given for `{name}` ({metric}), got None")
        if self.eval_every is not None and self.eval_every > self.steps:
            raise ValueError(f"`eval_every` must be at most `steps` ({self.steps}), got {self.eval_every}")

    def seed_numbers(self) -> list[int]:
        """All random seeds."""
        return [self.seed + i for i in range(self.seeds)]

    def task(self) -> str:
        """The environment and its options, as the command line has them: `memory::TMaze length=20`."""
        return " ".join([self.env, *write_env_options(self.env_options)])

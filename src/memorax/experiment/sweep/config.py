"""The configuration of a sweep: what is searched, how, and how its results are compared."""

import dataclasses
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from memorax.core.checks import check_fields, choice, instance, integer, optional, real, sequence
from memorax.experiment.config import EVAL_METRICS, RunConfig
from memorax.experiment.config_file import from_dict as run_from_dict
from memorax.experiment.config_file import to_dict as run_to_dict
from memorax.experiment.env_options import EnvOptions, check_env_options
from memorax.experiment.run.files import read_json, write_json
from memorax.experiment.space import Space, space_from_dict, space_to_dict
from memorax.experiment.sweep.settings import check_space, is_real

R = TypeVar("R", bound=RunConfig)

SWEEP_FILE = "sweep.json"
ENGINES = ("local", "optuna", "ray", "slurm")
_SAMPLERS = {"local": ("random",), "optuna": ("tpe", "nsga2", "random"), "ray": ("random",), "slurm": ("random",)}
_SCHEDULERS = {"local": ("none",), "optuna": ("none", "asha"), "ray": ("none", "asha", "pbt"), "slurm": ("none",)}
ASHA_REDUCTION = 4
"""Of the trials that get to a rung of ASHA, one in this many goes on."""
_FIRST_RUNG = 16
"""Which part of the run is the first rung."""
_BATCH, _BATCH_OF_OPTUNA = 32, 8
_FREE = frozenset({"trials", "budget", "workers", "batch", "address", "gpus", "slurm", "best"})
"""Fields that a resumed sweep may change."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepConfig(Generic[R]):
    """Configuration of a sweep over settings of a run."""

    space: Space = dataclasses.field(default_factory=dict)
    """Search space, by field of the run or of its algorithm: `log_uniform:LOW,HIGH`, `uniform:LOW,HIGH` or
    `choice:A,B,...`; integers between two integers. `env_options.NAME` is an argument of the environment."""
    metric: tuple[str, ...] = ("episode/return",)
    """Metric that trials are compared by: its mean over seeds, over the last tenth of the run. Several with
    `--sampler nsga2`."""
    direction: tuple[Literal["maximize", "minimize"], ...] = ("maximize",)
    """Whether the metric should be high or low, for each metric."""
    trials: int = 32
    """Number of settings that are tried. The seeds of each trial are those of the run (`--seeds`)."""
    budget: float | None = None
    """Hours after which the command stops; running trials are saved, and continue with `--resume`. None: no limit."""
    engine: Literal["local", "optuna", "ray", "slurm"] = "local"
    """What runs the trials: processes on this machine, the same with Optuna's samplers, Ray, or SLURM through
    submitit."""
    sampler: Literal["random", "tpe", "nsga2"] | None = None
    """How settings are drawn: at random, or by Optuna's TPE or NSGA-II. None: at random; with Optuna TPE for one metric
    and NSGA-II for several."""
    scheduler: Literal["none", "asha", "pbt"] = "none"
    """How trials are stopped early or changed: not at all, ASHA (Optuna, Ray), or population-based training (Ray)."""
    sampler_seed: int = 0
    """Random seed of the search."""
    workers: int = 1
    """Number of processes, Ray tasks or SLURM jobs that train at the same time."""
    batch: int | None = None
    """Number of trials of the same sizes that are trained side by side in one program. None: 32, or 8 with Optuna's
    samplers, which learn from each batch for the next. With Ray's schedulers every trial is a process of its own."""
    storage: Literal["journal", "sqlite"] = "journal"
    """Where Optuna keeps its study in the folder of the sweep: a journal file, also for network drives, or an SQLite
    database."""
    address: str | None = None
    """Address of a Ray cluster's head, `HOST:PORT` or `auto`. None: a cluster on this machine for the time of the
    sweep."""
    gpus: float = 0.0
    """GPUs of each trial or batch; with Ray, a fraction lets several share one."""
    slurm: EnvOptions = dataclasses.field(default_factory=dict)
    """Parameters of submitit's executor, such as `timeout_min=240 slurm_partition=gpu cpus_per_task=8`;
    `cluster=local` runs the jobs on this machine."""
    best: int = 3
    """Number of the best settings that are trained again with fresh seeds at the end."""
    fresh_seeds: int = 8
    """Number of fresh seeds. Returns of the seeds of the search are too high: the winners were chosen by them."""
    run: R
    """What all trials have in common."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            metric=sequence(instance(str, called="a name")),
            direction=sequence(choice("maximize", "minimize")),
            trials=integer(1, 1_000_000),
            budget=optional(real(above=0)),
            engine=choice(*ENGINES),
            sampler=optional(choice("random", "tpe", "nsga2")),
            scheduler=choice("none", "asha", "pbt"),
            sampler_seed=integer(0),
            workers=integer(1, 4096),
            batch=optional(integer(1, 4096)),
            storage=choice("journal", "sqlite"),
            address=optional(instance(str, called="an address")),
            gpus=real(0),
            best=integer(0),
            fresh_seeds=integer(1, 2**16),
            run=instance(RunConfig, called="a RunConfig"),
        )
        check_env_options(self.slurm, "slurm")
        if not isinstance(self.space, dict) or not self.space:
            raise ValueError(
                "`space` must have at least one field to search, got none; write for example "
                "--space learning_rate=log_uniform:1e-4,1e-2"
            )
        object.__setattr__(self, "space", check_space(self.space, self.run))
        self._check_metrics()
        self._check_engine()

    def _check_metrics(self) -> None:
        if len(self.direction) == 1:
            object.__setattr__(self, "direction", self.direction * len(self.metric))
        if len(self.direction) != len(self.metric):
            raise ValueError(
                f"`direction` must be one for each of {len(self.metric)} metrics, got {len(self.direction)}"
            )
        for metric in self.metric:
            if metric.startswith("eval/") and (metric not in EVAL_METRICS or self.run.eval_every is None):
                raise ValueError(
                    f"`metric` must be one of {', '.join(EVAL_METRICS)} with `eval_every`, or not of evaluations, got "
                    f"{metric}"
                )
        if len(self.metric) > 1 and (self.how() != "nsga2" or self.scheduler != "none"):
            raise ValueError(
                f"`metric` must be a single one, got {' '.join(self.metric)}; several need --engine optuna --sampler "
                "nsga2 without a scheduler"
            )

    def _check_engine(self) -> None:
        for name, value, known in (("sampler", self.how(), _SAMPLERS), ("scheduler", self.scheduler, _SCHEDULERS)):
            if value not in known[self.engine]:
                fitting = ", ".join(engine for engine in ENGINES if value in known[engine])
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known[self.engine])} with engine {self.engine}, got {value}; "
                    f"choose engine {fitting}"
                )
        if self.scheduler == "pbt":
            fixed = [name for name in self.space if not is_real(name, self.run)]
            if fixed:
                raise ValueError(
                    "`space` must be of real numbers for pbt, which changes them while it trains, got "
                    f"{', '.join(fixed)}"
                )
        if self.gpus != int(self.gpus) and self.engine != "ray":
            raise ValueError(f"`gpus` must be a whole number with engine {self.engine}, got {self.gpus}")

    def how(self) -> str:
        """The sampler, also where none was named."""
        default = "random" if self.engine != "optuna" else "tpe" if len(self.metric) == 1 else "nsga2"
        return self.sampler or default

    def batch_size(self) -> int:
        """How many trials are trained side by side at most."""
        return self.batch or (_BATCH if self.how() == "random" else _BATCH_OF_OPTUNA)

    def first_rung(self) -> int:
        """The step at which ASHA first stops trials."""
        return max(1, self.run.steps // _FIRST_RUNG)

    def fresh_run(self) -> RunConfig:
        """The run with seeds that the search has not seen."""
        return dataclasses.replace(self.run, seed=self.run.seed + self.run.seeds, seeds=self.fresh_seeds)


def to_dict(config: SweepConfig) -> dict[str, Any]:
    """Convert a sweep to a dictionary that JSON can hold."""
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return fields | {"space": space_to_dict(config.space), "run": run_to_dict(config.run)}


def from_dict(content: dict[str, Any], source: str = "the configuration") -> SweepConfig:
    """Convert a dictionary made by `to_dict` to a sweep.

    Args:
        content: Fields by name; missing ones have their defaults.
        source: Where it comes from, for error messages.

    Raises:
        ValueError: A field is unknown or missing without a default, or its value is refused.
    """
    known = {field.name for field in dataclasses.fields(SweepConfig)}
    if not isinstance(content, dict) or not {"space", "run"} <= content.keys() or content.keys() - known:
        raise ValueError(
            f"{source} must hold the configuration of a sweep of this version of memorax, got something else"
        )
    fields: dict[str, Any] = content | {
        name: tuple(value) for name, value in content.items() if isinstance(value, list)
    }
    fields |= {"run": run_from_dict(content["run"], source), "space": space_from_dict(content["space"])}
    return SweepConfig(**fields)


def save_sweep_config(folder: Path, config: SweepConfig) -> None:
    """Write the configuration into the folder of a sweep."""
    write_json(folder / SWEEP_FILE, to_dict(config))


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds a sweep."""
    return (folder / SWEEP_FILE).is_file()


def load_sweep_config(folder: str | Path) -> SweepConfig:
    """Read the configuration of a sweep from its folder; imports the modules that its runs import.

    Raises:
        ValueError: The folder holds no sweep, or its configuration cannot be understood.
    """
    path = Path(folder) / SWEEP_FILE
    if not path.is_file():
        raise ValueError(
            f"{folder} must be the folder of a sweep, got one without {SWEEP_FILE}; `memorax sweep` makes one"
        )
    return from_dict(read_json(path), str(path))


def check_same_sweep(stored: SweepConfig, wanted: SweepConfig, folder: Path) -> None:
    """Check that a sweep is resumed as it was started, but for how far it goes and where it runs.

    Raises:
        ValueError: A field differs; the message names it and both values.
    """
    before, after = to_dict(stored), to_dict(wanted)
    runs = before.pop("run"), after.pop("run")
    for name in (name for name in before if name not in _FREE):
        if before[name] != after[name]:
            raise ValueError(
                f"`{name}` must be {before[name]} to resume {folder}, got {after[name]}; leave the option out, or "
                "start a new sweep with another `--out`"
            )
    for name in runs[0]:
        if runs[0][name] != runs[1][name] and name != "imports":
            raise ValueError(
                f"`{name}` must be {runs[0][name]} to resume {folder}, got {runs[1][name]}; leave the option out, or "
                "start a new sweep with another `--out`"
            )

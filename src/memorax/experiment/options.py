"""The options of the commands; each field's docstring is its help."""

import dataclasses
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import tyro

R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class TrainOptions(Generic[R]):
    """Train an agent and leave configuration, metrics, checkpoints, learning curve and summary in a folder."""

    run: R
    out: Path | None = None
    """Folder of the run. None: `runs/ALGORITHM-ENV-MODEL`, with a number behind it where that is taken."""
    resume: bool = False
    """Go on with the run in `--out`, or with the newest of that name; its options need not be repeated."""


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Play whole episodes with the agent of a run, as well as it can, and write `evaluation.json` into its folder."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    episodes: int = 100
    """Episodes of each seed."""
    max_steps: int = 100_000
    """An episode that lasts longer is left out."""


@dataclasses.dataclass(frozen=True)
class PlotOptions:
    """Draw the learning curves of runs side by side."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of the runs."""
    out: Path | None = None
    """The picture. None: `learning_curve.png` in the folder of a single run, `learning_curves.png` here for several."""
    statistic: Literal["mean", "iqm"] = "mean"
    """What is drawn over seeds: the mean, or the interquartile mean."""


@dataclasses.dataclass(frozen=True)
class ListOptions:
    """List what can be trained, and on what."""

    what: Annotated[str, tyro.conf.Positional]
    """`environments`, `models` or `algorithms`."""

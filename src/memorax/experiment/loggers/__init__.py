"""Where the metrics of a run go.

A logger is an object with the methods of `Logger`. One that is registered in `LOGGERS` can be asked for by name, in
`RunConfig.loggers` and on the command line by `--logger`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memorax.experiment.loggers.background import Background
from memorax.experiment.loggers.base import LOGGERS, Logger, Row
from memorax.experiment.loggers.composite import Composite, LoggerError
from memorax.experiment.loggers.jsonl import JsonLines, read_rows
from memorax.experiment.loggers.tensorboard import TensorBoard
from memorax.experiment.loggers.trackio import Trackio
from memorax.experiment.loggers.wandb import WeightsAndBiases
from memorax.experiment.run.files import METRICS_FILE

ALWAYS = "jsonl"
"""The logger that every run has: the rest of memorax reads its file."""

LOGGERS.register(ALWAYS, lambda folder, config: JsonLines(folder / METRICS_FILE))
LOGGERS.register("tensorboard", lambda folder, config: TensorBoard(folder / "tensorboard"))
LOGGERS.register("trackio", Trackio)
LOGGERS.register("wandb", WeightsAndBiases)


def make_loggers(names: Sequence[str], objects: Sequence[Logger], folder: Path, config: dict[str, Any]) -> Composite:
    """Make the logger of a run: JSON lines, and what was asked for besides.

    Args:
        names: Names of registered loggers; each has a thread of its own.
        objects: Further loggers, which training waits for.
        folder: The run's folder.
        config: The run's configuration, as `config.json` has it.

    Returns:
        All of them as one.

    Raises:
        ImportError: A library is not installed; the message says how to install it.
        ValueError: A name is unknown.
    """
    path = folder / METRICS_FILE
    composite = Composite({ALWAYS: LOGGERS.get(ALWAYS)(folder, config)})
    for name in dict.fromkeys(names):
        if name != ALWAYS:
            logger = LOGGERS.get(name)(folder, config)
            composite.loggers[name] = Background(name, logger, path, composite.notices.append)
    composite.loggers |= {f"{type(logger).__name__} ({i})": logger for i, logger in enumerate(objects, start=1)}
    return composite


__all__ = [
    "LOGGERS",
    "Background",
    "Composite",
    "JsonLines",
    "Logger",
    "LoggerError",
    "Row",
    "make_loggers",
    "read_rows",
]

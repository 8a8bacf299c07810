"""Giving the metrics of a run to other loggers afterwards."""

from collections.abc import Sequence
from pathlib import Path

from memorax.experiment.config_file import load_config, to_dict
from memorax.experiment.loggers import LOGGERS, Composite, read_rows
from memorax.experiment.run.files import METRICS_FILE
from memorax.experiment.run.folders import Claim


def log_run(folder: str | Path, loggers: Sequence[str]) -> int:
    """Give the metrics of a run, all of them, to loggers that it did not have.

    One that it had has every row once afterwards, as after `--resume`.

    Args:
        folder: The run's folder; no process trains in it.
        loggers: Names of registered loggers.

    Returns:
        The number of rows.

    Raises:
        ImportError: The library of a logger is not installed.
        LoggerError: A logger failed.
        ValueError: The folder holds no run or is in use, or a logger is unknown.
    """
    folder = Path(folder)
    config = to_dict(load_config(folder))
    makers = {name: LOGGERS.get(name) for name in loggers}
    claim = Claim(folder)
    try:
        composite = Composite({name: make(folder, config) for name, make in makers.items()})
        rows = read_rows(folder / METRICS_FILE)
        try:
            composite.start(rows)
            composite.sync()
        finally:
            composite.close()
    finally:
        claim.release()
    return len(rows)

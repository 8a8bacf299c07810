"""Where the numbers of a run go."""

from memorax.experiment.loggers.base import Logger, Row
from memorax.experiment.loggers.jsonl import JsonLines, read_rows, truncate

__all__ = ["JsonLines", "Logger", "Row", "read_rows", "truncate"]

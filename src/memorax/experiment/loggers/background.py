"""A logger on a thread of its own, so that training never waits for a disk or a network."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from memorax.experiment.loggers.base import Logger, Row
from memorax.experiment.loggers.jsonl import parse_lines

_AT_ONCE = 2**20
"""Bytes of `metrics.jsonl` that are read at a time: what is waiting in memory is never more."""


class Background:
    """Passes rows on to a logger from a thread of its own.

    What is waiting is in `metrics.jsonl`, which the thread reads, so that it takes no memory however far the logger
    falls behind. A row is not safe before the run is closed or resumed: then `start` gives the logger all of them.

    Args:
        name: The logger's name, for messages.
        logger: The logger.
        path: File of the rows; they are there before they are written here.
        warn: Called once with a message, when the logger has fallen behind.
        behind: By how many rows.
    """

    def __init__(
        self,
        name: str,
        logger: Logger,
        path: Path,
        warn: Callable[[str], object] = lambda text: None,
        behind: int = 1000,
    ) -> None:
        self._name, self._logger, self._path, self._warn, self._behind = name, logger, path, warn, behind
        self._written = self._passed = 0
        self._error: Exception | None = None
        self._more, self._closing = threading.Event(), False
        self._thread: threading.Thread | None = None

    def start(self, rows: Sequence[Row]) -> None:
        """Start the logger, and the thread; as `Logger.start`."""
        self._logger.start(rows)
        file = self._path.open("rb")  # now, for the folder may be moved while the run trains
        file.seek(0, os.SEEK_END)
        self._thread = threading.Thread(target=self._work, args=(file,), name=f"logger {self._name}", daemon=True)
        self._thread.start()

    def write(self, rows: Sequence[Row]) -> None:
        """Tell the thread that there are more rows.

        Raises:
            Exception: The logger failed at earlier ones.
        """
        self._raise()
        self._written += len(rows)
        self._more.set()
        waiting = self._written - self._passed
        if waiting > self._behind:
            self._behind = 2**62
            self._warn(f"logger `{self._name}` is {waiting:,} rows behind; they follow, also after the last step")

    def sync(self) -> None:
        """Do not wait: rows that are lost here are given to `start` again.

        Raises:
            Exception: The logger failed.
        """
        self._raise()

    def close(self) -> None:
        """Pass on what is waiting, and close the logger.

        Raises:
            Exception: The logger failed.
        """
        if self._thread is not None:
            self._closing = True
            self._more.set()
            self._thread.join()
        self._logger.close()
        self._raise()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self, file: BinaryIO) -> None:
        with file:
            try:
                while not self._closing:
                    self._more.wait()
                    self._more.clear()
                    self._pass_on(file)
            except Exception as error:  # raised where training calls the next time
                self._error = error

    def _pass_on(self, file: BinaryIO) -> None:
        """Give the logger the complete lines that follow; stay before one that is half written."""
        rest = b""
        while block := file.read(_AT_ONCE):
            complete, newline, rest = (rest + block).rpartition(b"\n")
            rows = parse_lines(complete + newline, self._path)
            if rows:
                self._logger.write(rows)
                self._passed += len(rows)
        file.seek(-len(rest), os.SEEK_CUR)

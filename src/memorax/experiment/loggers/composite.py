"""Several loggers as one."""

from collections.abc import Callable, Mapping, Sequence

from memorax.experiment.loggers.base import Logger, Row


class LoggerError(OSError):
    """A logger failed; the message names it."""


class Composite:
    """Passes everything on to several loggers, in order.

    An error of one does not keep it from the others; then it is raised under that logger's name.

    Args:
        loggers: The loggers by name.

    Attributes:
        notices: What somebody who watches the run should know; whoever shows it empties the list.
    """

    def __init__(self, loggers: Mapping[str, Logger]) -> None:
        self.loggers = dict(loggers)
        self.notices: list[str] = []

    def start(self, rows: Sequence[Row]) -> None:
        """Start all; as `Logger.start`."""
        self._each(lambda logger: logger.start(rows))

    def write(self, rows: Sequence[Row]) -> None:
        """Write to all; as `Logger.write`."""
        self._each(lambda logger: logger.write(rows))

    def sync(self) -> None:
        """Wait for all; as `Logger.sync`."""
        self._each(lambda logger: logger.sync())

    def close(self) -> None:
        """Close all; as `Logger.close`."""
        self._each(lambda logger: logger.close())

    def _each(self, call: Callable[[Logger], None]) -> None:
        failed: tuple[str, Exception] | None = None
        for name, logger in self.loggers.items():
            try:
                call(logger)
            except Exception as error:
                failed = failed or (name, error)
        if failed is not None:
            name, error = failed
            raise LoggerError(f"logger `{name}` failed ({type(error).__name__}: {error})") from error

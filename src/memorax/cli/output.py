"""What the commands print."""

import logging
import sys
from typing import Any

from rich.console import Console

from memorax.cli.terminal import say

_WIDTH = 140
"""Columns of a table where there is no terminal to ask."""


def make_console() -> Console:
    """A console for tables: as wide as the terminal, or wide enough where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH)


def print_result(returns: dict[str, Any]) -> None:
    """Print the mean episode return of a run, with its interval over seeds where there are several.

    Args:
        returns: As `memorax.experiment.report.statistics.summarize` makes it.
    """
    if returns["mean_interval_95"] is None:
        say(f"mean episode return {returns['mean']:.3f} (1 seed; a confidence interval needs several)")
        return
    low, high = returns["mean_interval_95"]
    interval = f"[{low:.3f}, {high:.3f}]"
    say(f"mean episode return {returns['mean']:.3f} {interval} (95 % interval over {returns['runs']} seeds)")


def silence_libraries() -> None:
    """Leave errors to us: orbax logs every error that it also raises."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)

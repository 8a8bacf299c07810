"""Progress of training: a progress bar on a terminal, plain lines elsewhere."""

from typing import Protocol

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from memorax.core.text import printable
from memorax.experiment.loggers import Row


class Display(Protocol):
    """Shows the progress of a run."""

    def note(self, text: str) -> None:
        """Print a message."""
        ...

    def show(self, step: int, rows: list[Row]) -> None:
        """Show the rows of the interval that ends at `step`, one for each seed."""
        ...

    def close(self) -> None:
        """Stop showing progress."""
        ...


class Quiet:
    """Shows nothing: for scripts that train in the background."""

    def note(self, text: str) -> None:
        """Print nothing."""

    def show(self, step: int, rows: list[Row]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Stop showing progress."""


class Lines:
    """Prints a line for each logging interval.

    Args:
        console: Where to.
        total: Step at which the run ends.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total = console, total

    def note(self, text: str) -> None:
        """Print a message."""
        _say(self.console, text)

    def show(self, step: int, rows: list[Row]) -> None:
        """Write the line."""
        speed = rows[0]["time/steps_per_second"]
        left = (self.total - step) * len(rows) / speed if speed else 0.0
        percent = f"{step / self.total:4.0%}"
        text = f"step {step:,} of {self.total:,} ({percent})  {_return(rows)}  {_speed(speed)}  {_clock(left)} left"
        _say(self.console, text)

    def close(self) -> None:
        """Do nothing: every line is complete."""


class Bar:
    """A progress bar with return, speed and remaining time.

    Args:
        console: A terminal.
        total: Step at which the run ends.
        done: Step from which it begins.
    """

    def __init__(self, console: Console, total: int, done: int = 0) -> None:
        columns = (
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[steps]}"),
            TextColumn("[bold]{task.fields[score]}"),
            _Speed(),
            TimeRemainingColumn(),
        )
        self.console, self.total = console, total
        self._progress = Progress(*columns, console=console, expand=True, speed_estimate_period=60.0)
        self._task = self._progress.add_task("", total=total, completed=done, steps="", score="compiling", speed=0.0)
        self._progress.start()

    def note(self, text: str) -> None:
        """Write a line above the bar."""
        _say(self._progress.console, text)

    def show(self, step: int, rows: list[Row]) -> None:
        """Move the bar."""
        speed, steps = rows[0]["time/steps_per_second"], f"{step:,}/{self.total:,} steps"
        self._progress.update(self._task, completed=step, steps=steps, score=_return(rows), speed=speed)

    def close(self) -> None:
        """Stop updating the bar."""
        self._progress.stop()


def make_display(console: Console, total: int, done: int = 0) -> Display:
    """Make a progress bar on a terminal, plain lines elsewhere."""
    return Bar(console, total, done) if console.is_terminal else Lines(console, total)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(_speed(task.fields["speed"]) if task.fields["speed"] else "")


def _say(console: Console, text: str) -> None:
    """Print a line as it is: not wrapped, so that it can be copied and searched, and without markup."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def _return(rows: list[Row]) -> str:
    returns = [row["episode/return"] for row in rows if "episode/return" in row]
    if not returns:
        return "no episode ended"
    spread = f" ± {np.std(returns):.3f}" if len(returns) > 1 else ""
    evaluated = [row["eval/return"] for row in rows if "eval/return" in row]
    greedy = f", evaluated {np.mean(evaluated):.3f}" if evaluated else ""
    return f"mean return {np.mean(returns):.3f}{spread}{greedy}"


def _speed(speed: float) -> str:
    return f"{speed:,.0f} steps/s"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

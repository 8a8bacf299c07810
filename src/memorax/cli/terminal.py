"""What every command says passes through here, so that no name in it can speak to the terminal."""

import sys
import warnings
from pathlib import Path

import memorax
from memorax.core.text import printable

_PACKAGE = Path(memorax.__file__).parent
_usual_format = warnings.formatwarning


def show_warnings_plainly() -> None:
    """Let a warning of memorax be a line of its own, without the line of code that it comes from."""
    warnings.formatwarning = _format_warning


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    if issubclass(category, UserWarning) and Path(filename).is_relative_to(_PACKAGE):
        return printable(f"memorax: warning: {message}") + "\n"
    return _usual_format(message, category, filename, lineno, line)


def say(text: str) -> None:
    """Print on standard output, at once."""
    print(printable(text), flush=True)


def complain(problem: object) -> None:
    """Print why a command does not do what it was asked to, on standard error."""
    print(printable(f"memorax: {problem}"), file=sys.stderr)

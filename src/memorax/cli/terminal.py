"""What every command says passes through here, so that no name in it can speak to the terminal."""

import sys

from memorax.core.text import printable


def say(text: str) -> None:
    """Print on standard output, at once."""
    print(printable(text), flush=True)


def complain(problem: object) -> None:
    """Print why a command does not do what it was asked to, on standard error."""
    print(printable(f"memorax: {problem}"), file=sys.stderr)

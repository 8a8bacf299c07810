"""The command line; a file for each command. `COMMANDS` in `commands.py` lists them."""

from memorax.cli.commands import main

__all__ = ["main"]

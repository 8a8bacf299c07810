"""The commands of `memorax`, and the choice between them.

A command is a module of this package with a function `run(arguments) -> exit code`, and a line in `COMMANDS`. It is
imported when it is asked for, so that `memorax --help` answers at once.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import memorax
from memorax.cli.refusal import FAILED, REFUSED, Refusal, choose
from memorax.cli.terminal import complain, say, show_warnings_plainly


class Command(NamedTuple):
    """A command, as the help shows it.

    Attributes:
        arguments: What follows its name.
        summary: What it does, in a line.
    """

    arguments: str
    summary: str


COMMANDS: dict[str, Command] = {
    "train": Command("[ALGORITHM]", "train an agent; by default PPO with a GRU on a memory task"),
    "sweep": Command("[FILE]", "try many settings of a run, and train the best again with fresh seeds"),
    "evaluate": Command("RUN", "run whole episodes with the greedy policy of a trained agent"),
    "play": Command("RUN", "record a video of a trained agent, with its actions, rewards and values"),
    "export": Command("RUN", "export a trained policy to JAX, ONNX or safetensors, for use without memorax"),
    "diagnose": Command("RUN", "examine a trained agent: how far back it looks, how much its memory contributes"),
    "plot": Command("RUN...", "plot the learning curves of runs in one figure"),
    "log": Command("RUN", "send the metrics of a run to TensorBoard, W&B or Trackio"),
    "compare": Command("RUN...", "compare the final returns and the settings of runs in the terminal"),
    "report": Command("RUN...", "write a report on runs as one HTML file"),
    "benchmark": Command("SUITE", "train methods in the tasks of a suite, and write a table of their scores"),
    "list": Command("WHAT", "list environments, models or algorithms"),
}
"""By name, which is also the name of the command's module in this package."""

_HELP = """\
usage: memorax COMMAND [OPTIONS]

Train agents with memory.

{commands}

  --version           show the version
  -h, --help          show this text; `memorax COMMAND --help` shows the options of a command

examples:
  memorax train
  memorax train ppo --env memory::RepeatFirstEasy --model lstm --steps 500_000 --seeds 4
  memorax train --resume --out runs/NAME
  memorax plot runs/ONE runs/OTHER
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What follows `memorax` on the command line; None takes it from there.

    Returns:
        The exit code: 0 done, 1 failed, 2 refused, 128 + n stopped by signal n.
    """
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    if not words or words[0] in ("-h", "--help", "help"):
        say(help_text().removesuffix("\n"))
        return 0
    if words[0] == "--version":
        say(memorax.__version__)
        return 0
    show_warnings_plainly()
    try:
        name = choose("command", words[0], COMMANDS)
        return importlib.import_module(f"memorax.cli.{name}").run(words[1:])
    except Refusal as refusal:
        complain(refusal)
        return REFUSED
    except OSError as error:
        complain(error)
        return FAILED
    except KeyboardInterrupt:
        return 130


def help_text() -> str:
    """The help of `memorax`, with all commands."""
    lines = (f"  {f'{name} {command.arguments}':<20}{command.summary}" for name, command in COMMANDS.items())
    return _HELP.format(commands="\n".join(lines))

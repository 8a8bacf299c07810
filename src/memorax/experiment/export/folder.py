"""The folder of an export: a program or parameters, a card, and a loader that needs neither memorax nor Flax."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from memorax.core.checks import check, choice
from memorax.experiment.export.card import describe_origin, make_card
from memorax.experiment.export.onnx import to_onnx
from memorax.experiment.export.program import Program
from memorax.experiment.export.safetensors import to_safetensors
from memorax.experiment.export.stablehlo import to_stablehlo
from memorax.experiment.export.step import ExportedStep
from memorax.experiment.run.files import check_new_folder, write_folder, write_json

if TYPE_CHECKING:
    from memorax.experiment.policy import TrainedPolicy

FORMATS: dict[str, Callable[[ExportedStep], Program]] = {
    "stablehlo": to_stablehlo,
    "onnx": to_onnx,
    "safetensors": to_safetensors,
}
"""What makes the file of each format."""
CARD_FILE, LOADER_FILE = "card.json", "load.py"
_LOADERS = Path(__file__).parent / "loaders"


class Export(NamedTuple):
    """An export.

    Attributes:
        folder: Where it is.
        card: What `card.json` says.
    """

    folder: Path
    card: dict[str, Any]


def export_policy(policy: "TrainedPolicy", folder: str | Path, form: str = "stablehlo") -> Export:
    """Write a policy to a folder that is used without memorax and without Flax.

    Args:
        policy: The policy.
        folder: A new folder, or an empty one. It is complete or not there.
        form: `"stablehlo"` for JAX, `"onnx"` for ONNX Runtime, `"safetensors"` for the parameters alone.

    Returns:
        The folder and its card.

    Raises:
        ImportError: A library of the format is not installed.
        ValueError: The format is unknown, the folder is not empty, or the format has no counterpart for an operation
            of the networks; the message names it.
    """
    check("format", form, choice(*FORMATS))
    folder = Path(folder)
    check_new_folder(folder)
    hidden = () if policy.config is None else policy.config.critic_only
    step = ExportedStep(policy.agent, policy.state, hidden)
    program = FORMATS[form](step)
    spaces = {"observation_space": policy.observation_space, "action_space": policy.action_space}
    card = make_card(form, step, program, spaces, describe_origin(policy.agent, policy.state, policy.config))

    def fill(temporary: Path) -> None:
        (temporary / program.file).write_bytes(program.data)
        (temporary / LOADER_FILE).write_bytes((_LOADERS / f"{form}.py").read_bytes())
        write_json(temporary / CARD_FILE, card)

    write_folder(folder, fill)
    return Export(folder, card)

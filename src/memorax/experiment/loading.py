"""Loading what a run has learned."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from memorax.core.checks import check, integer
from memorax.core.types import PyTree
from memorax.experiment.config import RunConfig
from memorax.experiment.config_file import load_config
from memorax.experiment.policy import TrainedPolicy
from memorax.experiment.recipes import build_agent
from memorax.experiment.run import checkpoint, origin
from memorax.experiment.run.files import BEST, CHECKPOINTS
from memorax.experiment.run.programs import restore_state, seed_keys


class SavedRun(NamedTuple):
    """A run at one of its checkpoints.

    Attributes:
        config: Its configuration.
        agent: Its agent.
        state: The state of all seeds, `[seeds, ...]`.
        step: Environment steps that each seed has been trained for.
    """

    config: RunConfig
    agent: Any
    state: PyTree
    step: int


def load(folder: str | Path, *, seed: int | None = None, step: int | Literal["last", "best"] = "last") -> TrainedPolicy:
    """Load the policy that a run has learned.

    Args:
        folder: The run's folder.
        seed: Which of the run's random seeds; None for the first.
        step: `"last"` for the newest checkpoint, `"best"` for the one that `keep_best` of the run kept, or the step of
            one that is kept.

    Returns:
        The policy: `action, memory = policy.predict(observation, memory, reward=reward)`.

    Raises:
        TypeError: `seed` is not an integer, or `step` neither an integer nor a string.
        ValueError: The folder holds no run or no such checkpoint, the checkpoint is damaged, or the run has no such
            seed.
    """
    folder = Path(folder)
    numbers = load_config(folder).seed_numbers()
    number = numbers[0] if seed is None else check("seed", seed, integer())
    if number not in numbers:
        known = str(numbers[0]) if len(numbers) == 1 else f"from {numbers[0]} to {numbers[-1]}"
        raise ValueError(f"`seed` must be a seed of {folder}, {known}, got {number}")
    run = restore_run(folder, step)
    state = jax.tree.map(lambda x: x[numbers.index(number)], run.state)
    return TrainedPolicy(run.agent, state, run.config)


def restore_run(folder: Path, step: int | str = "last") -> SavedRun:
    """Restore a run, all seeds, from one of its checkpoints.

    Raises:
        TypeError: `step` is neither an integer nor a string.
        ValueError: The folder holds no run or no such checkpoint, or the checkpoint is damaged.
    """
    config = load_config(folder)
    path = find_checkpoint(folder, step)
    agent = build_agent(config)
    init_keys, _, _ = seed_keys(config.seed_numbers())
    state = restore_state(agent, init_keys, path, lambda found: origin.check(found, config, path))
    return SavedRun(config, agent, state, int(path.name))


def find_checkpoint(folder: Path, step: int | str = "last") -> Path:
    """Find a checkpoint of a run.

    Args:
        folder: The run's folder.
        step: `"last"`, `"best"`, or the step of a checkpoint that is kept.

    Raises:
        TypeError: `step` is neither an integer nor a string.
        ValueError: There is no such checkpoint; the message names those that are kept.
    """
    best = checkpoint.newest(folder / BEST)
    kept = {int(path.name): path for path in checkpoint.complete(folder / CHECKPOINTS)}
    if not kept:
        raise ValueError(
            f"{folder} must hold a checkpoint, got none; resume the run with `memorax train --resume --out {folder}`"
        )
    if step == "last":
        return kept[max(kept)]
    known = ", ".join(str(number) for number in sorted(kept))
    if step == "best":
        if best is None:
            raise ValueError(
                f"`step` must be 'last' or a step that is kept ({known}), got 'best': {folder} did not record which "
                "checkpoint was the best; train with `--eval-every` and `--keep-best eval/return`"
            )
        return best
    if isinstance(step, str):
        raise ValueError(f"`step` must be 'last', 'best' or a step that is kept ({known}), got {step!r}")
    number = check("step", step, integer())
    if number not in kept:
        raise ValueError(f"`step` must be 'last' or a step that {folder} keeps a checkpoint of ({known}), got {number}")
    return kept[number]

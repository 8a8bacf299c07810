"""The sizes of rollouts, epochs and minibatches in the configuration of on-policy algorithms."""

from typing import Any

from memorax.core.checks import check_fields, divides, integer, optional


def check_rollout_config(config: Any) -> None:
    """Check the sizes of rollouts, epochs and minibatches in the configuration of an on-policy algorithm.

    Raises:
        TypeError: A size is not an integer.
        ValueError: A size is too small, or the burn-in leaves nothing to learn from.
    """
    check_fields(
        config,
        **dict.fromkeys(("num_envs", "num_steps", "update_epochs"), integer(1)),
        num_minibatches=optional(integer(1)),
        burn_in_length=integer(0),
    )
    if config.burn_in_length >= config.num_steps:
        raise ValueError(f"`burn_in_length` ({config.burn_in_length}) must be below `num_steps` ({config.num_steps})")


def rollout_minibatches(config: Any, sequences: bool, default: int, whose: str = "recurrent networks") -> int:
    """Choose the number of minibatches of a rollout.

    Args:
        config: Has `num_minibatches`, `num_envs` and `num_steps`.
        sequences: Whether minibatches are made of whole sequences; else of single steps.
        default: As for `choose_minibatches`.
        whose: Who needs whole sequences.

    Raises:
        ValueError: `num_minibatches` does not divide the number of sequences or steps.
    """
    if sequences:
        return choose_minibatches(config.num_minibatches, default, ("num_envs", config.num_envs), whose)
    steps = ("num_envs * num_steps", config.num_envs * config.num_steps)
    return choose_minibatches(config.num_minibatches, default, steps, "networks without memory")


def choose_minibatches(num_minibatches: int | None, default: int, size: tuple[str, int], whose: str) -> int:
    """Choose the number of minibatches.

    Args:
        num_minibatches: The configured number, or None.
        default: Number where None is configured; where it does not divide the size, the largest divisor below it.
        size: Name and value of the number of sequences that are distributed among minibatches.
        whose: For whom the number must divide the size.

    Raises:
        ValueError: The configured number does not divide the size.
    """
    if num_minibatches is None:
        return next(number for number in range(min(default, size[1]), 0, -1) if size[1] % number == 0)
    divides(("num_minibatches", num_minibatches), size, whose)
    return num_minibatches

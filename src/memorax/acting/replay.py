"""What algorithms with a replay have in common: how much is kept, how it is drawn, and when it is learned from."""

import dataclasses
from typing import Any

import jax

from memorax.acting.normalization import NormalizationConfig
from memorax.buffers import get_full_start_flags, make_episode_buffer
from memorax.core.checks import between, whole


@dataclasses.dataclass(frozen=True)
class ReplayConfig(NormalizationConfig):
    """Configuration of what acts, keeps and learns from what it kept."""

    num_envs: int = 8
    """Environments that run side by side."""
    gamma: float = 0.99
    """Discount per step, [0, 1]."""
    train_frequency: int = 4
    """Transitions of all environments per update; any number, exactly."""
    batch_size: int = 32
    """Sequences per update."""
    sequence_length: int | None = None
    """Steps per sequence; the first `burn_in_length` only refresh the memory, the last only bootstraps. None: what
    n-step returns need for networks without memory, 16 steps to learn from for others."""
    sequence_period: int | None = None
    """Sequences begin with every so many steps of an environment, and a memory is kept for these only. None: so that
    every step is learned from in two sequences; any step for networks without memory."""
    burn_in_length: int = 0
    """First steps of each sequence that only refresh the memory; networks without memory ignore it."""
    store_carry: bool = True
    """Whether sequences begin with the memory they had while acting. Off: with a fresh one."""
    buffer_size: int = 100_000
    """Transitions that the replay keeps."""
    learning_starts: int = 1_000
    """Transitions that the replay holds before anything is learned, warmup included."""
    tau: float = 1.0
    """How far a target network moves when it moves, (0, 1]: 1 copies."""
    target_update_frequency: int = 1_000
    """Transitions between two moves of a target network."""

    def __post_init__(self) -> None:
        sizes = ("num_envs", "train_frequency", "batch_size", "buffer_size", "learning_starts")
        for name in (*sizes, "target_update_frequency"):
            whole(self, name, 1)
        for name in ("sequence_length", "sequence_period"):
            if getattr(self, name) is not None:
                whole(self, name, 1)
        whole(self, "burn_in_length", 0)
        between(self, "gamma", 0, 1)
        if not 0.0 < self.tau <= 1.0:
            raise ValueError(f"`tau` must be above 0 and at most 1, got {self.tau}")
        if self.learning_starts > self.buffer_size:
            raise ValueError(
                f"`learning_starts` ({self.learning_starts}) must be at most `buffer_size` ({self.buffer_size}), or "
                "nothing is ever learned"
            )
        if self.sequence_length is not None:
            check_length(self.sequence_length, self.burn_in_length)


def check_length(length: int, burn_in: int) -> None:
    """Refuse sequences that leave nothing to learn from.

    Raises:
        ValueError: They do.
    """
    if length < burn_in + 2:
        raise ValueError(
            f"`sequence_length` must be at least {burn_in + 2}, got {length}: `burn_in_length` ({burn_in}) steps, one "
            "to learn from and the last, which only bootstraps"
        )


def default_buffer(config: Any, recurrent: bool, n_step: int, make: Any = make_episode_buffer, **options: Any) -> Any:
    """Make the replay that follows from a configuration.

    Args:
        config: A `ReplayConfig`.
        recurrent: Whether what is learned has a memory.
        n_step: How many rewards a return has.
        make: `make_episode_buffer`, or what takes the same arguments.
        **options: Further arguments of it.

    Raises:
        ValueError: The sizes do not fit each other.
    """
    burn_in = config.burn_in_length if recurrent else 0
    length = config.sequence_length or burn_in + 1 + (16 if recurrent else n_step)
    check_length(length, burn_in)
    period = config.sequence_period or (max(1, (length - burn_in - 1) // 2) if recurrent else 1)
    least = config.num_envs * -(-length // period) * period
    if config.buffer_size < least:
        raise ValueError(
            f"`buffer_size` must be at least {least}, a sequence of {length} steps in each of {config.num_envs} "
            f"environments, got {config.buffer_size}"
        )
    # The ring has whole periods only, so it may hold a little less than `buffer_size`.
    holds = config.buffer_size // (config.num_envs * period) * config.num_envs * period
    return make(
        max_length=config.buffer_size,
        min_length=min(config.learning_starts, holds),
        sample_batch_size=config.batch_size,
        sample_sequence_length=length,
        get_start_flags=get_full_start_flags,
        add_sequences=True,
        add_batch_size=config.num_envs,
        period=period,
        **options,
    )


def check_sequences(config: Any, buffer: Any, item: Any, recurrent: bool) -> None:
    """Refuse a replay that cannot be learned from.

    Args:
        config: A `ReplayConfig`.
        buffer: The replay.
        item: What is kept of one step of one environment.
        recurrent: Whether what is learned has a memory.

    Raises:
        ValueError: It does not draw sequences, or of another length than configured, or keeps too little.
    """
    state = jax.eval_shape(buffer.init, item)
    sample = jax.eval_shape(buffer.sample, state, jax.random.key(0))
    shape = sample.experience.reward.shape
    if len(shape) != 2:
        raise ValueError(
            f"`buffer` must draw sequences, [batch, time, ...], got {list(shape)}; make it with `make_episode_buffer`"
        )
    check_length(shape[1], config.burn_in_length if recurrent else 0)
    if config.sequence_length not in (None, shape[1]):
        raise ValueError(
            f"`sequence_length` must be {shape[1]}, what `buffer` draws, or None, got {config.sequence_length}"
        )
    kept = getattr(getattr(state, "experience", None), "reward", None)
    if kept is not None and kept.shape[1] < shape[1]:
        raise ValueError(
            f"`buffer` must hold at least a sequence of {shape[1]} steps per environment, got room for {kept.shape[1]}"
        )

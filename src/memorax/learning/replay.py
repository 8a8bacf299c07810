"""What algorithms with a replay buffer share: their configuration, the default buffer, and its checks."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from memorax.acting.normalization import NormalizationConfig
from memorax.acting.off_policy import OffPolicy
from memorax.acting.vector_env import RolloutState
from memorax.buffers import get_full_start_flags, make_episode_buffer
from memorax.buffers.protocol import Buffer
from memorax.core.checks import boolean, check_fields, integer, optional, real, size
from memorax.core.types import Key

_DEFAULT_BUFFER_SIZE = 100_000
_LARGE_SHARE, _LARGE_BYTES = 0.9, 64 * 2**20
"""Stored memories are large that take more than this share of a replay buffer, and more than so many bytes."""


@dataclasses.dataclass(frozen=True)
class ReplayConfig(NormalizationConfig):
    """Configuration of an off-policy algorithm with a replay buffer of sequences."""

    num_envs: int = 8
    """Number of parallel environments."""
    gamma: float = 0.99
    """Discount factor per step, [0, 1]."""
    train_frequency: int = 4
    """Transitions of all environments per update; any number, kept exactly."""
    batch_size: int = 32
    """Sequences per update."""
    sequence_length: int | None = None
    """Steps per replayed sequence; the first `burn_in_length` only refresh the memory, the last is only bootstrapped
    from. None: what n-step returns need for networks without memory, 16 steps to learn from for recurrent ones."""
    sequence_period: int | None = None
    """Steps of an environment between the starts of two sequences; the memory is stored at these starts. None: half of
    the steps that a sequence is learned from, so that each step is in two sequences; all of them where memories are
    stored compactly (see `store_carry`); 1 for networks without memory."""
    burn_in_length: int = 0
    """First steps of each sequence that only refresh the memory; ignored by networks without memory."""
    store_carry: bool | None = None
    """Whether replayed sequences start from the memory that was stored while acting, or from an initial one. None: from
    the stored one; if all would take more than nine tenths of the replay buffer and more than 64 MiB, they are stored
    compactly: half as often, and in bfloat16. True: stored exactly, however large."""
    buffer_size: int | None = None
    """Capacity of the replay buffer, in transitions. None: 100,000, or more where one sequence of each environment
    needs it."""
    learning_starts: int = 1_000
    """Transitions in the replay buffer before learning starts, warmup included."""
    tau: float = 1.0
    """Step size of target network updates, (0, 1]: 1 copies the network, less is Polyak averaging."""
    target_update_frequency: int = 1_000
    """Transitions between two target network updates."""

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("num_envs", "batch_size", "learning_starts")
        periods = ("train_frequency", "target_update_frequency")
        check_fields(
            self,
            **dict.fromkeys(counts, integer(1)),
            **dict.fromkeys(periods, size()),
            **dict.fromkeys(("sequence_length", "sequence_period", "buffer_size"), optional(integer(1))),
            burn_in_length=integer(0),
            gamma=real(0, 1),
            store_carry=optional(boolean()),
            tau=real(above=0, maximum=1),
        )
        if self.buffer_size is not None and self.learning_starts > self.buffer_size:
            raise ValueError(
                f"`learning_starts` ({self.learning_starts}) must be at most `buffer_size` ({self.buffer_size}), or "
                "nothing is ever learned"
            )
        if self.sequence_length is not None:
            check_length(self.sequence_length, self.burn_in_length)


def check_length(length: int, burn_in: int) -> None:
    """Require sequences that leave something to learn from.

    Raises:
        ValueError: They do not.
    """
    if length < burn_in + 2:
        raise ValueError(
            f"`sequence_length` must be at least {burn_in + 2}, got {length}: `burn_in_length` ({burn_in}) steps, one "
            "to learn from and the last, which only bootstraps"
        )


def default_buffer(
    config: ReplayConfig,
    recurrent: bool,
    n_step: int,
    make: Any = make_episode_buffer,
    *,
    compact: bool = False,
    **options: Any,
) -> Buffer:
    """Make the replay buffer that a configuration asks for.

    Args:
        config: The configuration.
        recurrent: Whether the networks have a memory.
        n_step: Number of rewards in a return.
        make: `make_episode_buffer`, or a function with the same arguments.
        compact: Whether the memories are large, so that fewer are stored.
        **options: Further arguments of it.

    Raises:
        ValueError: The sizes do not fit each other.
    """
    burn_in = config.burn_in_length if recurrent else 0
    length = config.sequence_length or burn_in + 1 + (16 if recurrent else n_step)
    check_length(length, burn_in)
    learned = length - burn_in - 1
    period = config.sequence_period or (max(1, learned if compact else learned // 2) if recurrent else 1)
    least = config.num_envs * -(-length // period) * period
    size = config.buffer_size or max(_DEFAULT_BUFFER_SIZE, least, config.learning_starts)
    if size < least:
        raise ValueError(
            f"`buffer_size` must be at least {least}, a sequence of {length} steps in each of {config.num_envs} "
            f"environments, got {size}"
        )
    # The ring has whole periods only, so it may hold a little less than `size`.
    holds = size // (config.num_envs * period) * config.num_envs * period
    return make(
        max_length=size,
        min_length=min(config.learning_starts, holds),
        sample_batch_size=config.batch_size,
        sample_sequence_length=length,
        get_start_flags=get_full_start_flags,
        add_sequences=True,
        add_batch_size=config.num_envs,
        period=period,
        **options,
    )


def use_sequences(agent: OffPolicy[Any, Any], buffer: Buffer | None, default: Callable[[], Buffer]) -> None:
    """Give an agent a replay buffer of sequences, in which the memory is stored as the configuration asks for it.

    Args:
        agent: An agent with a `ReplayConfig`, whose networks are set.
        buffer: The replay buffer; None for the default one.
        default: Makes that with `default_buffer`, `compact` where the agent's `compact_carry` is set.

    Raises:
        TypeError: It is not a buffer.
        ValueError: It does not draw sequences, or of another length than configured, or holds too little.
    """
    config: ReplayConfig = agent.config
    store = config.store_carry is not False and agent.recurrent

    def reset(key: Key) -> RolloutState:
        return agent.vector_env.reset(key, agent.initialize_carry(key, config.num_envs))

    def use(buffer: Buffer) -> tuple[Buffer, Any]:
        agent.use_buffer(buffer, store_carry=store)
        return buffer, agent.example_item(jax.eval_shape(reset, jax.random.key(0)))

    used, item = use(default() if buffer is None else buffer)
    if buffer is None and store and config.store_carry is None:
        exact, steps = stored_bytes(used, item)
        if exact > max(_LARGE_BYTES, _LARGE_SHARE * (exact + steps)):
            agent.compact_carry = True
            used, item = use(default())
            agent.remarks += (_remark(used, exact, stored_bytes(used, item)[0]),)
    check_sequences(config, used, item, agent.recurrent)


def stored_bytes(buffer: Buffer, item: Any) -> tuple[int, int]:
    """Compute how many bytes a replay buffer of steps like `item` takes for memories, and for all else of the steps."""
    stored = jax.eval_shape(buffer.init, item).experience
    parts = stored.carry, dataclasses.replace(stored, carry=None)
    carry, steps = (sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(part)) for part in parts)
    return carry, steps


def _remark(buffer: Any, exact: int, compact: int) -> str:
    return (
        f"the replay buffer stores memories every {buffer.layout.period} steps in bfloat16, {compact / 2**20:,.0f} MiB "
        f"in place of {exact / 2**20:,.0f}; `store_carry=True` keeps them exact"
    )


def check_sequences(config: ReplayConfig, buffer: Any, item: Any, recurrent: bool) -> None:
    """Require a replay buffer that can be learned from.

    Args:
        config: The configuration.
        buffer: The replay buffer.
        item: What is stored of one step of one environment.
        recurrent: Whether the networks have a memory.

    Raises:
        ValueError: It does not draw sequences, or of another length than configured, or holds too little.
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
    stored = getattr(getattr(state, "experience", None), "reward", None)
    if stored is not None and stored.shape[1] < shape[1]:
        raise ValueError(
            f"`buffer` must hold at least a sequence of {shape[1]} steps per environment, got room for "
            f"{stored.shape[1]}"
        )

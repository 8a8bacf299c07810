"""Layout of a replay buffer: its sizes, what can be added to it, and where sequences can be sampled."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from memorax.buffers.starts import get_start_flags_from_done
from memorax.buffers.sum_tree import Window
from memorax.core.checks import boolean, check_fields, function, integer, optional
from memorax.core.types import Array, PyTree, Transition

MOST_STARTS = 2**31 - 1
"""Possible starts of sequences in all rows are counted in int32."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sizes of a replay buffer; the fields are the arguments of `make_episode_buffer`.

    Steps are stored in a ring buffer of `length` columns along time, with a row for each environment. Sequences can
    start at the columns that are multiples of `period`, called places. Rows and columns have separate int32 indices.

    Args:
        max_length: Steps stored, in all rows together.
        min_length: Steps needed before sequences can be sampled, in all rows together.
        sample_batch_size: Sequences per sample.
        sample_sequence_length: Steps per sequence.
        get_start_flags: Function from steps `[batch, time, ...]` to start flags, bool `[batch, time]`.
        add_sequences: Whether what is added has a time axis.
        add_batch_size: Number of rows; None for a single row and items without a batch axis.
        min_length_time_axis: Steps needed in each row, in place of `min_length`.
        period: Sequences start at multiples of this many steps.

    Raises:
        TypeError: A size is not an integer, or `get_start_flags` is not callable.
        ValueError: A size is below 1, or the sizes do not fit each other.
    """

    max_length: int
    min_length: int
    sample_batch_size: int
    sample_sequence_length: int
    get_start_flags: Callable[[PyTree], Array] = get_start_flags_from_done
    add_sequences: bool = False
    add_batch_size: int | None = None
    min_length_time_axis: int | None = None
    period: int = 1

    def __post_init__(self) -> None:
        sizes = ("max_length", "min_length", "sample_batch_size", "sample_sequence_length", "period")
        check_fields(
            self,
            **dict.fromkeys(sizes, integer(1)),
            **dict.fromkeys(("add_batch_size", "min_length_time_axis"), optional(integer(1))),
            get_start_flags=function(),
            add_sequences=boolean(),
        )
        if self.period > 1 and self.begins_with_episodes:
            raise ValueError(
                f"`period` ({self.period}) must be 1 if sequences start at episode starts only; "
                "pass `get_start_flags=get_full_start_flags`"
            )
        self._check_sizes()

    def _check_sizes(self) -> None:
        needed = self.rows * -(-self.sample_sequence_length // self.period) * self.period
        if self.max_length < needed:
            raise ValueError(
                f"`max_length` must be at least {needed}, one sequence of `sample_sequence_length` "
                f"({self.sample_sequence_length}) in each of {self.rows} rows, got {self.max_length}"
            )
        if self.min_columns > self.length:
            name = "min_length" if self.min_length_time_axis is None else "min_length_time_axis"
            most = self.length * (self.rows if self.min_length_time_axis is None else 1)
            raise ValueError(f"`{name}` must be at most {most}, the capacity of the buffer, got {getattr(self, name)}")
        if self.rows * self.places > MOST_STARTS:
            raise ValueError(
                f"`max_length` must be below {(MOST_STARTS + 1) * self.period}, because starts are counted in int32, "
                f"got {self.max_length}"
            )

    @property
    def rows(self) -> int:
        """Number of environments stored side by side."""
        return self.add_batch_size or 1

    @property
    def length(self) -> int:
        """Columns of the ring buffer: `max_length` divided by the number of rows, rounded down to whole periods."""
        return self.max_length // self.rows // self.period * self.period

    @property
    def places(self) -> int:
        """Number of columns that sequences may start at, in each row."""
        return self.length // self.period

    @property
    def min_columns(self) -> int:
        """Number of columns that must hold steps before sequences can be sampled."""
        return self.min_length_time_axis or -(-self.min_length // self.rows)

    @property
    def begins_with_episodes(self) -> bool:
        """Whether sequences start at episode starts only; then no carry is needed, and none is stored."""
        return self.get_start_flags is get_start_flags_from_done

    def allocate(self, item: PyTree) -> PyTree:
        """Allocate storage for items like this one.

        Args:
            item: One step without batch and time axes, `[...]`.

        Returns:
            Zeros, `[rows, length, ...]`; for the carry of a transition `[rows, places, ...]`.

        Raises:
            TypeError: The start flags are not boolean.
            ValueError: `get_start_flags` does not return one flag for each step.
        """

        def room(tree: PyTree, columns: int) -> PyTree:
            return jax.tree.map(lambda x: jnp.zeros((self.rows, columns, *jnp.shape(x)), jnp.result_type(x)), tree)

        step, carry = self.split(item)
        one = jax.eval_shape(lambda: room(step, 1))
        flags = jax.eval_shape(self.get_start_flags, one)
        if flags.shape != (self.rows, 1):
            raise ValueError(
                f"`get_start_flags` must return one flag per step, [batch, time] = {(self.rows, 1)}, got {flags.shape}"
            )
        if flags.dtype != jnp.bool_:
            raise TypeError(f"`get_start_flags` must return booleans, got {flags.dtype}")
        return join(room(step, self.length), room(carry, self.places))

    def split(self, item: PyTree) -> tuple[PyTree, PyTree]:
        """Separate a transition's carry from what is stored for every step; None where no carry is stored."""
        if not isinstance(item, Transition):
            return item, None
        return dataclasses.replace(item, carry=None), None if self.begins_with_episodes else item.carry

    def with_all_axes(self, batch: PyTree, experience: PyTree) -> PyTree:
        """Check the steps to be added, and give them the axes `[batch, time, ...]`.

        Raises:
            ValueError: The steps have other shapes or dtypes than the items the buffer was made for.
        """
        announced = (self.add_batch_size is not None) + bool(self.add_sequences)

        def check(path: tuple, old: Array, new: Array) -> Array:
            new, name = jnp.asarray(new), jax.tree_util.keystr(path, simple=True, separator=".") or "it"
            axes = new.ndim - (old.ndim - 2)
            if axes == announced < 2:
                new = new if self.add_batch_size is not None else new[None]
                new = new if self.add_sequences else new[:, None]
            if new.shape != (*old.shape[:1], *new.shape[1:2], *old.shape[2:]) or new.dtype != old.dtype:
                expected = f"{old.dtype} [{old.shape[0]}, time, {', '.join(map(str, old.shape[2:]))}".rstrip(", ")
                raise ValueError(
                    f"`{name}` must be {expected}] to be added, got {new.dtype} {list(new.shape)}; "
                    "see `add_batch_size` and `add_sequences`"
                )
            return new

        step, carry = self.split(batch)
        old_step, old_carry = self.split(experience)
        new = jax.tree_util.tree_map_with_path(check, (old_step, old_carry), (step, carry))
        return join(*new)

    def write(self, experience: PyTree, head: Array, batch: PyTree) -> PyTree:
        """Write at most `length` columns, `[rows, time, ...]`, starting at column `head` and wrapping around."""
        (old, old_carry), (new, new_carry) = self.split(experience), self.split(batch)
        count = jax.tree.leaves(new)[0].shape[1]
        columns = (head + jnp.arange(count)) % self.length
        place, offset, inside = self._places(head, count)
        place = jnp.where(inside, place, self.places)

        def put(old: Array, new: Array) -> Array:
            if count == 1:
                return jax.lax.dynamic_update_slice_in_dim(old, new, head, axis=1)
            return old.at[:, columns].set(new, mode="promise_in_bounds", unique_indices=True)

        def put_carry(old: Array, new: Array) -> Array:
            return old.at[:, place].set(new.at[:, offset].get(mode="clip"), mode="drop")

        return join(jax.tree.map(put, old, new), jax.tree.map(put_carry, old_carry, new_carry))

    def read(self, experience: PyTree, rows: Array, places: Array) -> PyTree:
        """Read whole sequences, `[batch, time, ...]`, with the carry before each, `[batch, 1, ...]`."""
        step, carry = self.split(experience)
        columns = places[:, None] * self.period + jnp.arange(self.sample_sequence_length)[None]
        columns = jnp.where(columns < self.length, columns, columns - self.length)
        step = jax.tree.map(lambda x: x.at[rows[:, None], columns].get(mode="promise_in_bounds"), step)
        carry = jax.tree.map(lambda x: x.at[rows, places].get(mode="promise_in_bounds")[:, None], carry)
        return join(step, carry)

    def changed_starts(self, experience: PyTree, head: Array, filled: Array, count: int) -> list[Window]:
        """Find the starts of sequences that became available or unavailable when columns were added.

        Args:
            experience: The stored steps, the new columns included.
            head: The column after the newest.
            filled: Number of columns that hold steps.
            count: Number of new columns.

        Returns:
            Windows of flags: True where a sequence can be sampled now.
        """
        whole = self.sample_sequence_length
        # Ages, 1 being the newest column: the new columns, and those whose sequence is complete now.
        ages = [(1, count), (whole, whole + count - 1)]
        if count >= whole - 1:
            ages = [(1, min(whole + count - 1, self.length))]
        return [self._starts(experience, head, filled, *window) for window in ages]

    def _starts(self, experience: PyTree, head: Array, filled: Array, newest: int, oldest: int) -> Window:
        begin = (head - oldest) % self.length
        place, offset, inside = self._places(begin, oldest - newest + 1)
        # A column older than the ring is long was overwritten by the one that is younger by that length.
        age = (oldest - offset - 1) % self.length + 1
        valid = (age >= self.sample_sequence_length) & (age <= filled)
        steps = jax.tree.map(lambda x: x[:, place * self.period], self.split(experience)[0])
        return Window(place[0], self.get_start_flags(steps) & valid[None], inside)

    def _places(self, begin: Array, width: int) -> tuple[Array, Array, Array]:
        """List the places among `width` columns from `begin` on: index, distance from `begin`, whether inside."""
        first = -(-begin // self.period)
        numbers = first + jnp.arange((width - 1) // self.period + 1)
        offset = numbers * self.period - begin
        return numbers % self.places, offset, offset < width


def join(step: PyTree, carry: PyTree) -> PyTree:
    """Put a transition's carry back: the inverse of `Layout.split`."""
    return dataclasses.replace(step, carry=carry) if isinstance(step, Transition) else step

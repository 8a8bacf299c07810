"""How steps lie in a replay: which sizes it has, what may be added, and where sequences can be drawn."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from memorax.buffers.starts import get_start_flags_from_done
from memorax.buffers.sum_tree import Window
from memorax.core.checks import whole
from memorax.core.types import Array, PyTree, Transition

MOST_STARTS = 2**31 - 1
"""They are counted in int32."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The sizes of a replay; the fields are the arguments of `make_episode_buffer`.

    Steps lie in a ring of `length` columns, a row for each environment. A column may begin a sequence where it is a
    multiple of `period`: it is a place. Rows and columns are numbered apart, in int32.
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
        for name in ("max_length", "min_length", "sample_batch_size", "sample_sequence_length", "period"):
            whole(self, name, 1)
        for name in ("add_batch_size", "min_length_time_axis"):
            if getattr(self, name) is not None:
                whole(self, name, 1)
        if not callable(self.get_start_flags):
            raise TypeError(f"`get_start_flags` must be a function of the experience, got {self.get_start_flags!r}")
        if self.period > 1 and self.begins_with_episodes:
            raise ValueError(
                f"`period` ({self.period}) must be 1 where sequences begin with episodes, which have no period; "
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
            raise ValueError(f"`{name}` must be at most {most}, what the replay holds, got {getattr(self, name)}")
        if self.rows * self.places > MOST_STARTS:
            raise ValueError(
                f"`max_length` must be below {(MOST_STARTS + 1) * self.period}, the starts that can be counted, "
                f"got {self.max_length}"
            )

    @property
    def rows(self) -> int:
        """How many environments are stored side by side."""
        return self.add_batch_size or 1

    @property
    def length(self) -> int:
        """Columns of the ring: `max_length` shared out among the rows, in whole periods."""
        return self.max_length // self.rows // self.period * self.period

    @property
    def places(self) -> int:
        """Columns that sequences may begin with, in each row."""
        return self.length // self.period

    @property
    def min_columns(self) -> int:
        """How many columns must hold steps before sequences may be drawn."""
        return self.min_length_time_axis or -(-self.min_length // self.rows)

    @property
    def begins_with_episodes(self) -> bool:
        """Whether sequences begin with episodes; they need no memory from before, and none is stored."""
        return self.get_start_flags is get_start_flags_from_done

    def allocate(self, item: PyTree) -> PyTree:
        """Make room for items like this one, `[...]`: `[rows, length, ...]`, a carry `[rows, places, ...]`.

        Raises:
            TypeError: The start flags are not boolean.
            ValueError: They are not one for each step.
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
        """Take a transition's carry apart from what is stored for every step; drop it where none is stored."""
        if not isinstance(item, Transition):
            return item, None
        return dataclasses.replace(item, carry=None), None if self.begins_with_episodes else item.carry

    def with_all_axes(self, batch: PyTree, experience: PyTree) -> PyTree:
        """Check what is to be added, and give it the axes `[batch, time, ...]`.

        Raises:
            ValueError: It is not what the replay was made for.
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
        """Write columns `[rows, time, ...]`, at most `length`, from `head` on, the first after the last."""
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
        """Read whole sequences, `[batch, time, ...]`, and the carry before each, `[batch, 1, ...]`."""
        step, carry = self.split(experience)
        columns = places[:, None] * self.period + jnp.arange(self.sample_sequence_length)
        columns = jnp.where(columns < self.length, columns, columns - self.length)
        step = jax.tree.map(lambda x: x.at[rows[:, None], columns].get(mode="promise_in_bounds"), step)
        carry = jax.tree.map(lambda x: x.at[rows, places].get(mode="promise_in_bounds")[:, None], carry)
        return join(step, carry)

    def changed_starts(self, experience: PyTree, head: Array, filled: Array, count: int) -> list[Window]:
        """Tell where sequences can be drawn now, and could not or could others before.

        Args:
            experience: The replay with the new columns in it.
            head: The column after the newest.
            filled: How many columns hold steps.
            count: How many are new.

        Returns:
            Windows of flags.
        """
        whole = self.sample_sequence_length
        # By age, 1 is the newest column: the new ones, and those whose sequence is complete with them.
        ages = [(1, count), (whole, whole + count - 1)]
        if count >= whole - 1:
            ages = [(1, min(whole + count - 1, self.length))]
        return [self._starts(experience, head, filled, *window) for window in ages]

    def _starts(self, experience: PyTree, head: Array, filled: Array, newest: int, oldest: int) -> Window:
        begin = (head - oldest) % self.length
        place, offset, inside = self._places(begin, oldest - newest + 1)
        # The column that is older than the ring is long was overwritten by the one that is that much younger.
        age = (oldest - offset - 1) % self.length + 1
        valid = (age >= self.sample_sequence_length) & (age <= filled)
        steps = jax.tree.map(lambda x: x[:, place * self.period], self.split(experience)[0])
        return Window(place[0], self.get_start_flags(steps) & valid, inside)

    def _places(self, begin: Array, width: int) -> tuple[Array, Array, Array]:
        """List the places among `width` columns from `begin` on: number, distance from `begin`, whether inside."""
        first = -(-begin // self.period)
        numbers = first + jnp.arange((width - 1) // self.period + 1)
        offset = numbers * self.period - begin
        return numbers % self.places, offset, offset < width


def join(step: PyTree, carry: PyTree) -> PyTree:
    """Put a transition's carry back."""
    return dataclasses.replace(step, carry=carry) if isinstance(step, Transition) else step

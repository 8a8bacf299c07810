"""The shapes of spooled logs: joined along time, stacked by scans, padded in branches."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp


@functools.partial(jax.tree_util.register_dataclass, data_fields=["value", "present"], meta_fields=["depth"])
@dataclasses.dataclass(frozen=True)
class Log:
    """What one key logged: `value` is `[*vmapped, time, ...]` with `depth` vmapped axes.

    `present` says at which times it was logged, bool `[*vmapped, time]`; None: always.
    """

    value: Any
    depth: int
    present: Any = None

    def split(self) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
        """The shape in three: vmapped axes, time, the logged value's own axes."""
        shape = self.value.shape
        return shape[: self.depth], shape[self.depth], shape[self.depth + 1 :]

    def lift(self, mapped: tuple[int, ...]) -> "Log":
        """Repeat a value that no `vmap` touched along `mapped`, the vmapped axes of its key's other values."""
        if self.depth or not mapped:
            return self
        value, present = (
            None if x is None else jnp.broadcast_to(x, (*mapped, *x.shape)) for x in (self.value, self.present)
        )
        return Log(value, len(mapped), present)

    def times(self) -> Any:
        """At which times it was logged, bool `[*vmapped, time]`."""
        return jnp.ones(self.value.shape[: self.depth + 1], bool) if self.present is None else self.present


LogsByKey: TypeAlias = dict[str, Log]


def _agree(key: str, logs: Sequence[Log]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The vmapped axes and the value's axes that all `logs` of one key share; an error where they do not."""
    mapped = max((item.split()[0] for item in logs), key=len)
    if any(item.depth and item.split()[0] != mapped for item in logs):
        shapes = ", ".join(str(item.split()[0]) for item in logs)
        raise ValueError(f"`{key}` must be under the same vmaps wherever it is logged, got {shapes}; use another key")
    shapes = list(dict.fromkeys(item.split()[2] for item in logs))
    if len(shapes) > 1:
        got = " and ".join(map(str, shapes))
        raise ValueError(f"`{key}` must have one shape wherever it is logged, got {got}; use another key")
    return mapped, shapes[0]


def join(parts: Sequence[LogsByKey]) -> LogsByKey:
    """Join logs that follow each other in time."""
    joined: LogsByKey = {}
    for key in dict.fromkeys(key for part in parts for key in part):
        logs = [part[key] for part in parts if key in part]
        mapped, _ = _agree(key, logs)
        lifted, axis = [item.lift(mapped) for item in logs], len(mapped)
        if len(lifted) == 1:
            joined[key] = lifted[0]
            continue
        always = all(item.present is None for item in lifted)
        present = None if always else jnp.concatenate([item.times() for item in lifted], axis)
        joined[key] = Log(jnp.concatenate([item.value for item in lifted], axis), axis, present)
    return joined


def flatten_time(stacked: Log) -> Log:
    """Fold a scan's axis into time: `[scan, *vmapped, time, ...]` becomes `[*vmapped, scan * time, ...]`."""
    depth = stacked.depth

    def fold(x: Any) -> Any:
        x = jnp.moveaxis(x, 0, depth)
        return x.reshape(*x.shape[:depth], x.shape[depth] * x.shape[depth + 1], *x.shape[depth + 2 :])

    return Log(fold(stacked.value), depth, None if stacked.present is None else fold(stacked.present))


def pad(logs: LogsByKey, key: str, branches: Sequence[LogsByKey]) -> Log:
    """What a branch logged of `key`, in the one shape and dtype that serves all `branches`; 0 where it did not."""
    every = [branch[key] for branch in branches if key in branch]
    mapped, rest = _agree(key, every)
    axis, times = len(mapped), [branch[key].split()[1] if key in branch else 0 for branch in branches]
    dtype = jnp.result_type(*[item.value.dtype for item in every])
    own = [logs[key].lift(mapped)] if key in logs else []
    missing = max(times) - sum(item.split()[1] for item in own)
    values = [item.value.astype(dtype) for item in own] + [jnp.zeros((*mapped, missing, *rest), dtype)] * (missing > 0)
    value = jnp.concatenate(values, axis)
    if len(set(times)) == 1 and all(item.present is None for item in every):
        return Log(value, axis)
    flags = [item.times() for item in own] + [jnp.zeros((*mapped, missing), bool)] * (missing > 0)
    return Log(value, axis, jnp.concatenate(flags, axis))

"""The shapes of spooled logs: joined along time, stacked by scans, padded in branches."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp


@functools.partial(jax.tree_util.register_dataclass, data_fields=["value"], meta_fields=["depth"])
@dataclasses.dataclass(frozen=True)
class Log:
    """What one key logged: `value` is `[*vmapped, time, ...]` with `depth` vmapped axes."""

    value: Any
    depth: int

    def split(self) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
        """The shape in three: vmapped axes, time, the logged value's own axes."""
        shape = self.value.shape
        return shape[: self.depth], shape[self.depth], shape[self.depth + 1 :]

    def lift(self, mapped: tuple[int, ...]) -> "Log":
        """Repeat a value that no `vmap` touched along `mapped`, the vmapped axes of its key's other values."""
        if self.depth or not mapped:
            return self
        return Log(jnp.broadcast_to(self.value, (*mapped, *self.value.shape)), len(mapped))


Logs: TypeAlias = dict[str, Log]


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


def join(parts: Sequence[Logs]) -> Logs:
    """Join logs that follow each other in time."""
    joined: Logs = {}
    for key in dict.fromkeys(key for part in parts for key in part):
        logs = [part[key] for part in parts if key in part]
        mapped, _ = _agree(key, logs)
        lifted = [item.lift(mapped) for item in logs]
        value = lifted[0].value if len(lifted) == 1 else jnp.concatenate([x.value for x in lifted], len(mapped))
        joined[key] = Log(value, len(mapped))
    return joined


def flatten_time(stacked: Log) -> Log:
    """Fold a scan's axis into time: `[scan, *vmapped, time, ...]` becomes `[*vmapped, scan * time, ...]`."""
    value = jnp.moveaxis(stacked.value, 0, stacked.depth)
    mapped, rest = value.shape[: stacked.depth], value.shape[stacked.depth + 2 :]
    times = value.shape[stacked.depth] * value.shape[stacked.depth + 1]
    return Log(value.reshape(*mapped, times, *rest), stacked.depth)


def pad(logs: Logs, key: str, branches: Sequence[Logs]) -> Log:
    """What a branch logged of `key`, in the one shape and dtype that serves all `branches`; NaN where it did not."""
    present = [branch[key] for branch in branches if key in branch]
    mapped, rest = _agree(key, present)
    times = [branch[key].split()[1] if key in branch else 0 for branch in branches]
    dtype = jnp.result_type(*[item.value.dtype for item in present])
    if len(set(times)) > 1 and not jnp.issubdtype(dtype, jnp.inexact):
        dtype = jnp.dtype(jnp.float32)
    own = [logs[key].lift(mapped).value.astype(dtype)] if key in logs else []
    missing = max(times) - sum(item.shape[len(mapped)] for item in own)
    absent = [jnp.full((*mapped, missing, *rest), jnp.nan, dtype)] if missing else []
    return Log(jnp.concatenate(own + absent, len(mapped)), len(mapped))

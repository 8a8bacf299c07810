"""Several processes that train one run: the first one decides, shows and writes, the others compute their share.

What the first one is about to compute it announces to the others by the service with which JAX connects processes, so
that all of them run the same programs in the same order. Nothing is decided twice.
"""

import contextlib
import functools
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import jax

from memorax.core.checks import check, integer, real

_PATIENCE = 30
"""Seconds without a sign of life after which a process counts as lost, and all others end."""
_COMPILING = 3_600_000
"""Milliseconds that a process waits for the slowest one to compile."""
_TURN = 10_000
"""Milliseconds of one attempt to read an announcement."""
_SIGNALS = "memorax/signal/"
_NUMBERS = "memorax/processes/"
_KEPT = 64
"""Announcements that are kept; every process has read older ones."""


class LostProcessError(RuntimeError):
    """Another process of the run has ended, or cannot be reached; the run can be resumed from its last checkpoint."""


class FollowedError(RuntimeError):
    """The run ended by an error, which the first process tells."""


def connect(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    patience: float = 300.0,
) -> None:
    """Connect this process to the others of its run, before anything is computed.

    Where they do not come together, the process ends and says so: JAX cannot go on then.

    Args:
        coordinator: Address of the first process, `HOST:PORT`; None for what SLURM, Open MPI or Kubernetes say.
        num_processes: Number of processes; None likewise.
        process_id: Which of them this one is, from 0; None likewise.
        patience: Seconds to wait for the others.

    Raises:
        TypeError: A number is of the wrong kind.
        ValueError: Only some of the three are given, one is out of range, none is and nothing says them either, or
            another process was given another number of them.
    """
    given = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    lacking = [name for name, value in given.items() if value is None]
    if lacking and len(lacking) < len(given):
        raise ValueError(
            f"`coordinator`, `process_id` and `num_processes` must be given together, got none of {', '.join(lacking)}"
        )
    if num_processes is not None:
        check("num_processes", num_processes, integer(1))
        check("process_id", process_id, integer(0, num_processes - 1))
    if coordinator is not None and not coordinator.rpartition(":")[2].isdigit():
        raise ValueError(f"`coordinator` must be HOST:PORT, got {coordinator}")
    check("patience", patience, real(above=0))
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    together = threading.Timer(patience, _give_up, [patience])
    together.daemon = True
    together.start()
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=round(patience) + _PATIENCE,
            heartbeat_timeout_seconds=_PATIENCE,
            shutdown_timeout_seconds=_PATIENCE,
        )
        _check_agreement(round(1000 * patience))
    except ValueError as error:
        if coordinator is not None:
            raise
        raise ValueError(
            f"`distributed` must be started by SLURM, Open MPI or in Kubernetes, got {error}; elsewhere give "
            "`coordinator`, `process_id` and `num_processes`"
        ) from error
    finally:
        together.cancel()


def _give_up(patience: float) -> None:
    """Say why the processes have not come together, and end: what JAX waits in cannot be left otherwise."""
    from jax._src import distributed

    state = distributed.global_state
    host, _, port = str(state.coordinator_address).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 5.0).close()
    except OSError as error:
        why = f"the first process cannot be reached ({error}); check that it runs, its address, and firewalls"
    else:
        why = "not all have come; check that each was started, with the same number of processes and its own index"
    sys.stderr.write(
        f"error: {state.num_processes} processes must come together at {state.coordinator_address} within "
        f"{patience:g} seconds, this is number {state.process_id}: {why}\n"
    )
    sys.stderr.flush()
    os._exit(1)


def _check_agreement(patience: int) -> None:
    """Check that all processes were given the same number of them.

    Args:
        patience: Milliseconds to wait for each.

    Raises:
        ValueError: Another one was given another number.
    """
    from jax._src import distributed

    state = distributed.global_state
    client: Any = state.client
    mine, first = state.num_processes, state.process_id == 0
    client.key_value_set(f"{_NUMBERS}{state.process_id}", str(mine))
    for other in range(1, mine) if first else [0]:
        theirs = int(client.blocking_key_value_get(f"{_NUMBERS}{other}", patience))
        if theirs != mine:
            raise ValueError(
                f"`num_processes` must be the same in all processes, got {mine} in number {state.process_id} and "
                f"{theirs} in number {other}"
            )


class Group:
    """The processes of a run.

    Attributes:
        leads: Whether this is the process that decides and writes.
        several: Whether there are others.
    """

    def __init__(self) -> None:
        # Not to be asked otherwise: counting processes fixes the number of devices.
        self.several = jax.distributed.is_initialized() and jax.process_count() > 1
        self.leads = not self.several or jax.process_index() == 0
        self._turn = self._meetings = 0

    def announce(self, what: str, **details: Any) -> None:
        """Tell the others what is computed next; nothing where this process does not lead others."""
        if not (self.several and self.leads):
            return
        self._client().key_value_set(_order(self._turn), json.dumps([what, details]))
        if self._turn >= _KEPT:
            self._client().key_value_delete(_order(self._turn - _KEPT))
        self._turn += 1

    def receive(self) -> tuple[str, dict[str, Any]]:
        """Wait for what the first process announces.

        Raises:
            LostProcessError: It cannot be reached.
        """
        while True:
            try:
                what, details = json.loads(self._client().blocking_key_value_get(_order(self._turn), _TURN))
            except Exception as error:
                if "DEADLINE_EXCEEDED" in str(error):
                    continue
                raise LostProcessError(_lost(error)) from error
            self._turn += 1
            return what, details

    def meet(self) -> None:
        """Wait until all are here, as after compiling: what exchanges data waits for a short time only."""
        if self.several:
            self._meetings += 1
            self._client().wait_at_barrier(f"memorax/meeting/{self._meetings}", _COMPILING)

    def pass_on(self, signal: int | None) -> None:
        """Tell the first process which signal this one received."""
        if signal is not None:
            key = f"{_SIGNALS}{jax.process_index()}"
            self._client().key_value_set(key, str(int(signal)), allow_overwrite=True)

    def signal(self) -> int | None:
        """The signal that another process has received; None if none did."""
        if not self.several:
            return None
        received = [int(value) for _, value in self._client().key_value_dir_get(_SIGNALS)]
        if received:
            self._client().key_value_delete(_SIGNALS)
        return max(received, default=None)

    def _client(self) -> Any:
        from jax._src import distributed

        return distributed.global_state.client


@functools.cache
def group() -> Group:
    """The processes that this one belongs to; itself alone where `connect` was not called."""
    return Group()


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """Tell the other processes when what the first one does inside, or in a function, ends by an error.

    Raises:
        LostProcessError: It failed because another process was lost.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not group().several:
            raise
        raise LostProcessError(
            f"another process of the run was lost, or failed ({str(error).splitlines()[0]})"
        ) from error
    except BaseException:
        group().announce("end", failed=True)
        raise


def _lost(error: Exception) -> str:
    return (
        f"another process of the run was lost, or failed ({str(error).splitlines()[0]}); resume from the last "
        "checkpoint with `--resume`, in all processes"
    )


def _order(turn: int) -> str:
    return f"memorax/order/{turn}"

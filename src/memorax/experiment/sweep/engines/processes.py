"""Processes on this machine: each trains a batch, saves and ends when it is asked to, or when nobody is left to ask."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from memorax.experiment.sweep.config import SweepConfig

LOGS = "logs"
_LONGEST = 200
"""Characters of a line that are shown."""
_GPUS = "CUDA_VISIBLE_DEVICES"


class Process:
    """A process that trains a batch.

    Args:
        command: What it runs.
        order: What it is told first.
        log: File of what it prints.
        environment: Its environment variables.
    """

    def __init__(self, command: Sequence[str], order: str, log: Path, environment: dict[str, str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        with log.open("ab") as file:
            # In a session of its own, so that Ctrl-C reaches the sweep alone, which stops it in good order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=file, stderr=file, env=environment, start_new_session=True
            )
        assert self._process.stdin is not None  # noqa: S101
        # It stays open: its end tells the process that nobody waits for it any more.
        self._process.stdin.write(f"{order}\n".encode())
        self._process.stdin.flush()

    def poll(self) -> str | None:
        """None while it trains; then what went wrong, empty where nothing did."""
        code = self._process.poll()
        if code is None:
            return None
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.close()
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}, see {self._log}"
        return "" if code == 0 else f"its process failed with exit code {code} ({self._last_words()}), see {self._log}"

    def stop(self) -> None:
        """Ask it to save and to end."""
        self._process.terminate()

    def _last_words(self) -> str:
        """The last line that it printed."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:_LONGEST] if lines else "it printed nothing"


class Processes:
    """Starts processes on this machine.

    Args:
        folder: Folder of the sweep.
        config: The sweep.
    """

    def __init__(self, folder: Path, config: SweepConfig) -> None:
        self._folder, self._gpus = folder, int(config.gpus)
        self._slots: list[Process | None] = [None] * config.workers

    def start(self, names: Sequence[str]) -> Process:
        """Train trials in a process of their own."""
        slot = next(i for i, job in enumerate(self._slots) if job is None or job.poll() is not None)
        order = json.dumps({"folder": str(self._folder), "names": list(names), "jax": compilation_settings()})
        log = self._folder / LOGS / f"{names[0].replace('/', '-')}.log"
        command = [sys.executable, "-m", "memorax.experiment.sweep.worker"]
        process = Process(command, order, log, dict(os.environ) | visible_gpus(self._gpus, slot))
        self._slots[slot] = process
        return process

    def close(self) -> None:
        """Do nothing: processes end by themselves."""


def visible_gpus(count: int, slot: int, environment: dict[str, str] | None = None) -> dict[str, str]:
    """Which GPUs a process sees.

    Args:
        count: GPUs of each process; 0 leaves it to see what there is.
        slot: Number of the process among those that train at the same time.
        environment: Environment variables, which may name the GPUs that may be used; None for those of this process.
    """
    if count == 0:
        return {}
    given = (os.environ if environment is None else environment).get(_GPUS, "")
    mine = range(slot * count, (slot + 1) * count)
    named = given.split(",") if given else [str(i) for i in range((slot + 1) * count)]
    return {_GPUS: ",".join(named[i] for i in mine if i < len(named))}


def compilation_settings() -> dict[str, str | int | float | None]:
    """Where this process keeps compiled programs, for the processes that train for it."""
    import jax

    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    return {name: getattr(jax.config, name) for name in names}

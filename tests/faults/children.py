"""Runs in forked children of a process that has imported everything and started nothing.

A child does one thing with a run's folder and reports how it ended. What a run left is compared by its fingerprint: all
metrics but times, and every array of the newest checkpoint.
"""

from tests import conftest  # noqa: I001, F401  flags and the cache of programs, before JAX is imported

import dataclasses
import hashlib
import io
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import matplotlib.backends.backend_agg
import matplotlib.figure
import numpy as np
import orbax.checkpoint
from rich.console import Console
from tests.experiment import fake_agent
from tests.faults.injector import Fault, Injector, limit_file_size

from memorax.cli.train import train_options
from memorax.experiment import RunConfig, load_config
from memorax.experiment.loggers import read_rows
from memorax.experiment.report import summary
from memorax.experiment.run import train as training
from memorax.experiment.run.files import write_text

assert matplotlib.figure, matplotlib.backends.backend_agg
assert orbax.checkpoint
PATIENCE = 600.0
"""Seconds until a child is said to hang, on a machine that is busy with something else."""
warnings.filterwarnings("ignore", message="os.fork.. was called", category=RuntimeWarning)
Ending = dict[str, Any]
"""`end` is one of `finished`, `refused`, `traceback`, `killed`, `hung`; `message` and `fingerprint` say more."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A run.

    Attributes:
        words: Its options, as `memorax train` takes them; none for an agent that compiles in no time.
    """

    words: tuple[str, ...] = ()

    def config(self) -> RunConfig:
        """Its configuration."""
        return train_options(list(self.words))[0] if self.words else fake_agent.config()

    def use(self) -> None:
        """Let runs of this process use its agent, and draw no pictures, which take longer than all else."""
        if not self.words:
            training.build_agent = lambda config: fake_agent.FakeAgent()
        summary.plot_runs = lambda folders, out: write_text(out, "a picture")


def train(job: Job, folder: Path, fault: Fault | None = None, size: int | None = None) -> Ending:
    """Begin the run in a folder, or resume what is there, as a person would; then take its fingerprint."""
    job.use()
    injector = Injector(folder, fault or Fault("kill", 0))
    config = job.config()
    if fault is not None:
        injector.install()
    if size is not None:
        limit_file_size(size)
    try:
        resume = (folder / "config.json").exists()
        session = training.prepare(load_config(folder) if resume else config, folder, resume=resume)
        training.finish(session, Console(file=io.StringIO()))
    except (OSError, ValueError) as error:
        return {"end": "refused", "message": str(error), "operations": injector.seen}
    operations = list(injector.seen)
    injector.fault = Fault("kill", 0)  # the run is over; it is only looked at from here on
    return {"end": "finished", "operations": operations, "fingerprint": fingerprint(folder)}


def fingerprint(folder: Path) -> str:
    """What a finished run has left, read from the disk."""
    session = training.prepare(load_config(folder), folder, resume=True)
    content = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(session.state):
        array = np.asarray(leaf)
        content.update(f"{path}{array.dtype}{array.shape}".encode() + array.tobytes())
    rows = read_rows(folder / "metrics.jsonl")
    kept = [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]
    content.update(json.dumps(kept, sort_keys=True).encode())
    session.close()
    return f"{session.step} {content.hexdigest()}"


class Child:
    """A forked process that calls a function and sends back what it returns.

    Args:
        function: The function; it returns what JSON can hold.
        arguments: Its arguments.
    """

    def __init__(self, function: Callable[..., Ending], *arguments: Any) -> None:
        assert threading.active_count() == 1, "a thread would be missing in the child"
        self._pipe, end = os.pipe()
        self.began = time.monotonic()
        self.process = os.fork()
        if not self.process:
            _be_child(end, function, arguments)
        os.close(end)

    def kill(self) -> None:
        """Kill it, if it is still there."""
        os.kill(self.process, signal.SIGKILL)

    def ending(self) -> Ending:
        """Wait for its end."""
        parts = []
        while True:
            ready, _, _ = select.select([self._pipe], [], [], max(0.0, self.began + PATIENCE - time.monotonic()))
            part = os.read(self._pipe, 1 << 16) if ready else None
            if not part:
                break
            parts.append(part)
        if part is None:
            self.kill()
        os.close(self._pipe)
        _, status = os.waitpid(self.process, 0)
        if part is None:
            return {"end": "hung"}
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return {"end": "killed" if number == signal.SIGKILL else "traceback", "message": f"signal {number}"}
        return json.loads(b"".join(parts))


def run(function: Callable[..., Ending], *arguments: Any) -> Ending:
    """Call a function in a child, and wait for it."""
    return Child(function, *arguments).ending()


def _be_child(end: int, function: Callable[..., Ending], arguments: tuple[Any, ...]) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    sys.unraisablehook = lambda unraisable: None
    try:
        ending = function(*arguments)
    except BaseException as error:
        text = "".join(traceback.format_exception(error)[-2:])
        ending = {"end": "traceback", "message": f"{type(error).__name__}: {error}"[:400], "text": text[:2000]}
    content = json.dumps(ending).encode()
    while content:
        content = content[os.write(end, content) :]
    os._exit(0)

"""Makes the n-th operation on the files below a folder fail: by a kill, a write torn in half, a full or a broken disk.

Operations are what Python does, orbax's Python included: to open, make, rename, remove, list, write and sync. The array
library writes its own files from C++; those meet kills at random moments, and limits on the size of a file.
"""

import builtins
import dataclasses
import errno
import io
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

KINDS = ("kill", "torn", "full", "broken")
ERRORS = {"full": errno.ENOSPC, "broken": errno.EIO}
AUDITED = {
    "open": 0,
    "os.rename": 0,
    "os.mkdir": 0,
    "os.remove": 0,
    "os.rmdir": 0,
    "os.scandir": 0,
    "os.listdir": 0,
    "os.truncate": 0,
    "os.link": 0,
}
"""Events of `sys.addaudithook` that are operations on files, and which argument is the path."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault to inject.

    Attributes:
        kind: One of `KINDS`.
        at: The operation that it hits, counted from 1; 0 for none.
    """

    kind: str
    at: int


class Injector:
    """Counts operations below a folder and lets one of them fail; afterwards a broken disk stays broken.

    Args:
        folder: The folder.
        fault: The fault.
    """

    def __init__(self, folder: Path, fault: Fault) -> None:
        self.folder, self.fault = str(folder.absolute()), fault
        self.seen: list[str] = []
        self._lock = threading.Lock()
        self._fsync = os.fsync

    def install(self) -> None:
        """Begin; there is no way back, so only in a process that ends with it."""
        sys.addaudithook(self._audit)
        os.fsync = self._sync
        opened = builtins.open

        def open_and_count(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            made = opened(file, mode, *args, **kwargs)
            path = os.fspath(file) if isinstance(file, str | os.PathLike) else ""
            counted = self._concerns(path) and set(mode) & set("wax+")
            return Writes(made, self, str(path)) if counted else made

        builtins.open = io.open = open_and_count

    def happens(self, what: str, path: str) -> str | None:
        """Count an operation; the kind of the fault if it is to be torn, which only a write can be."""
        with self._lock:
            self.seen.append(f"{what} {path.removeprefix(self.folder)}")
            here, after = len(self.seen) == self.fault.at, len(self.seen) > self.fault.at > 0
        if here and self.fault.kind == "torn" and what == "write":
            return "torn"
        if here and self.fault.kind in ("kill", "torn"):
            os.kill(os.getpid(), signal.SIGKILL)
        # A full disk still removes, renames and lists; a disk that fails once is lucky afterwards.
        full = self.fault.kind == "full" and (here or after) and what in ("open w", "write", "os.mkdir", "fsync")
        if full or (here and self.fault.kind == "broken"):
            number = ERRORS[self.fault.kind]
            raise OSError(number, os.strerror(number), path if what not in ("write", "fsync") else None)
        return None

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in AUDITED:
            return
        path = arguments[AUDITED[event]]
        if isinstance(path, str | bytes | os.PathLike) and self._concerns(os.fsdecode(path)):
            writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            self.happens("open w" if writing else event, os.fsdecode(path))

    def _concerns(self, path: str) -> bool:
        return path.startswith(self.folder)

    def _sync(self, descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        path = os.readlink(f"/proc/self/fd/{number}")
        if self._concerns(path):
            self.happens("fsync", path)
        self._fsync(descriptor)


class Writes:
    """A file whose writes are operations, and can be torn."""

    def __init__(self, file: Any, injector: Injector, path: str) -> None:
        self._file, self._injector, self._path = file, injector, path

    def write(self, content: Any) -> int:
        """Write, or fail to; where the disk fails, half of it is written."""
        try:
            torn = self._injector.happens("write", self._path)
        except OSError:
            self._half(content)
            raise
        if torn:
            self._half(content)
            os.kill(os.getpid(), signal.SIGKILL)
        return self._file.write(content)

    def _half(self, content: Any) -> None:
        self._file.write(content[: len(content) // 2])
        self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "Writes":
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)


def limit_file_size(size: int) -> None:
    """Let every write beyond a size fail, those of C++ included, as a full quota does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

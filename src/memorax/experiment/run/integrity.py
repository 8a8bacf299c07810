"""Folders that are on the disk as a whole, and that say later whether they still hold what was written."""

import hashlib
import json
import os
from pathlib import Path

from memorax.experiment.run.files import sync_file, sync_folder

DIGESTS_FILE = "digests.json"
"""SHA-256 of every other file of the folder; checkpoints of earlier versions lack it."""


def seal(folder: Path) -> None:
    """Write down what the files of a folder hold, and wait until the disk has them and their names."""
    digests = {str(file.relative_to(folder)): digest(file) for file in _files(folder)}
    (folder / DIGESTS_FILE).write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")
    for file in _files(folder):
        sync_file(file)
    for inner, _, _ in os.walk(folder):
        sync_folder(Path(inner))


def check_sealed(folder: Path) -> None:
    """Read every file of a folder, and compare it with what `seal` wrote down, if it did.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is missing, or not as it was written.
    """
    found = {str(file.relative_to(folder)): digest(file) for file in _files(folder)}
    if DIGESTS_FILE not in found:
        return
    written = json.loads((folder / DIGESTS_FILE).read_text(encoding="utf-8"))
    for name, before in written.items():
        if found.get(name) != before:
            raise ValueError(f"file {name} is {'not what was written' if name in found else 'missing'}")


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise error

    return sorted(Path(at, name) for at, _, names in os.walk(folder, onerror=refuse) for name in names)

"""Saving and restoring the state of a run.

A checkpoint is a folder named after its step. It gets that name when it is complete, by one rename, so a kill at any
moment leaves the ones before it. Arrays only, no pickle; every array carries a checksum.
"""

import contextlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from memorax.core.types import PyTree

KEEP = 3
"""Number of checkpoints of a run that are kept."""
_CHECKSUMS = "checksums"
_ORIGIN = "origin"
"""What the checkpoint belongs to, as bytes of JSON; checkpoints of earlier versions lack it."""
_STEP = "step"
"""The count of steps, which earlier versions kept in one word: the lower one of `StepCount`."""
_COMPLETE = re.compile(r"\d{12,}")
_LEFT_OVER = re.compile(r"\d{12,}\.(orbax-checkpoint-tmp.*|trash)")
"""Left behind by a kill: a checkpoint that orbax had begun to write, or one that was about to be removed."""


class CheckpointWriter:
    """Writes checkpoints of a run in the background while it trains.

    Args:
        folder: Where they go; made if it is not there. What an earlier, killed run left half-written is removed.
        keep: Number of newest checkpoints that are kept.
    """

    def __init__(self, folder: Path, keep: int = KEEP) -> None:
        import orbax.checkpoint as ocp

        self.folder = folder.absolute()
        self.keep = keep
        self.folder.mkdir(parents=True, exist_ok=True)
        self._orbax = ocp.StandardCheckpointer()
        self._pending: int | None = None
        for path in self.folder.iterdir():
            if path.is_dir() and _LEFT_OVER.fullmatch(path.name):
                shutil.rmtree(path)

    def save(self, step: int, state: PyTree, origin: dict[str, Any] | None = None) -> None:
        """Start saving in the background; waits for an earlier save that is still under way.

        The state is copied before the call returns, so that its buffers may be donated to the next step of training.

        Args:
            step: The step the state belongs to, which names the checkpoint. One that exists is left as it is.
            state: Arrays only.
            origin: What the checkpoint belongs to, which JSON can hold; None to leave it out.

        Raises:
            OSError: The previous save failed.
        """
        self.wait()
        path = self.folder / f"{step:012d}"
        if path.exists():
            return
        # A true copy: a view would keep the buffer from being donated.
        arrays = {name: np.array(leaf) for name, leaf in flatten(state).items() if np.size(leaf)}
        if origin is not None:
            arrays[_ORIGIN] = np.frombuffer(json.dumps(origin, sort_keys=True).encode(), np.uint8).copy()
        arrays[_CHECKSUMS] = _checksums(arrays)
        self._orbax.save(path, arrays)
        self._pending = step

    def wait(self) -> int | None:
        """Wait until the last save is complete, then remove what is older than the newest few.

        Returns:
            The step that was saved, if one was under way.

        Raises:
            OSError: It failed.
        """
        saved, self._pending = self._pending, None
        if saved is None:
            return None
        try:
            self._orbax.wait_until_finished()
        except Exception as error:
            reason = str(error).rsplit(": ", 1)[-1]
            raise OSError(f"checkpoint of step {saved:,} in {self.folder} could not be written ({reason})") from error
        for path in complete(self.folder)[: -self.keep]:
            trash = path.with_name(path.name + ".trash")
            path.rename(trash)
            shutil.rmtree(trash)
        return saved

    def close(self) -> None:
        """Wait for the last save, and release resources."""
        try:
            self.wait()
        finally:
            self._orbax.close()


def complete(folder: Path) -> list[Path]:
    """List the complete checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and _COMPLETE.fullmatch(path.name))


def newest(folder: Path) -> Path | None:
    """Find the newest complete checkpoint in a folder; None if there is none."""
    found = complete(folder)
    return found[-1] if found else None


def restore(
    path: Path, abstract: PyTree, check: Callable[[dict[str, Any] | None], object] = lambda origin: None
) -> PyTree:
    """Restore a checkpoint.

    Args:
        path: Its folder.
        abstract: A tree of the arrays' shapes and dtypes, as `jax.eval_shape` makes it.
        check: Given what the checkpoint belongs to, None if it does not say; raises to refuse it.

    Returns:
        The state, of the same tree, on the host.

    Raises:
        OSError: It cannot be read, which says nothing about what is in it.
        ValueError: It is damaged, or it holds something else than `abstract`; the message names path and leaf.
    """
    import orbax.checkpoint as ocp

    path = path.absolute()
    expected = flatten(abstract)
    stored = {name: leaf for name, leaf in expected.items() if np.prod(leaf.shape)}
    with ocp.StandardCheckpointer() as orbax:
        with _reading(path):
            _check_readable(path)
            found: dict[str, Any] = dict(orbax.metadata(path).item_metadata.tree)
        checksums = found.pop(_CHECKSUMS, None)
        origin = found.pop(_ORIGIN, None)
        if checksums is None or not found:
            raise ValueError(_damaged(path, "it does not say what is in it"))
        one_word = _STEP in found and f"{_STEP}/high" in stored
        if one_word:
            del stored[f"{_STEP}/high"]
            stored[_STEP] = stored.pop(f"{_STEP}/low")
        _compare(path, stored, found)
        target = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in stored.items()}
        if origin is not None:
            target[_ORIGIN] = np.empty(origin.shape, origin.dtype)
        target[_CHECKSUMS] = np.empty(checksums.shape, checksums.dtype)
        with _reading(path):
            arrays = orbax.restore(path, target)
    if not np.array_equal(arrays.pop(_CHECKSUMS), _checksums(arrays)):
        raise ValueError(_damaged(path, "a checksum does not match"))
    check(None if origin is None else json.loads(arrays.pop(_ORIGIN).tobytes()))
    if one_word:
        arrays[f"{_STEP}/low"] = arrays.pop(_STEP)
    arrays |= {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in expected.items() if name not in arrays}
    return jax.tree.unflatten(jax.tree.structure(abstract), [arrays[name] for name in expected])


def flatten(tree: PyTree) -> dict[str, Any]:
    """List a tree's leaves by name: `learner/actor/params/...`, in the order of the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Distinguish a damaged checkpoint from a disk error or missing permissions."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        raise ValueError(_damaged(path, error)) from error


def _check_readable(path: Path) -> None:
    """Open every file: orbax reports some unreadable files as missing, others by errors of its own."""

    def refuse(error: OSError) -> None:
        raise error

    for folder, _, names in os.walk(path, onerror=refuse):
        for name in names:
            Path(folder, name).open("rb").close()


def _checksums(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.array([zlib.crc32(arrays[name].tobytes()) for name in sorted(arrays)], np.uint32)


def _compare(path: Path, expected: dict[str, Any], found: dict[str, Any]) -> None:
    """Refuse a different tree; orbax by itself would silently crop or pad an array of another shape."""
    for name in expected | found:
        want = _describe(expected[name]) if name in expected else "nothing"
        got = _describe(found[name]) if name in found else "nothing"
        if want != got:
            raise ValueError(
                f"checkpoint {path} is of another configuration: `{name}` must be {want}, got {got}; "
                "resume with the options the run was started with, or start a new run with another `--out`"
            )


def _describe(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"


def _damaged(path: Path, reason: Exception | str) -> str:
    text = str(reason).split("\n")[0]
    text = text if len(text) < 160 else text[:157] + "..."
    return (
        f"checkpoint {path} is damaged ({text}); delete this folder and resume again: "
        "the run then goes on from the checkpoint before it"
    )

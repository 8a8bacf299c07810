"""Saving and restoring the state of a run.

A checkpoint is a folder named after its step. It gets that name when it is complete, by one rename, so a kill at any
moment leaves the ones before it, and what it holds is on the disk before, so a power failure does, too. Arrays only, no
pickle; every array carries a checksum.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.types import PyTree
from memorax.experiment.run.files import is_open, open_folder, reason, sync_folder
from memorax.experiment.run.integrity import check_sealed, seal
from memorax.experiment.run.orbax_noise import silence_late_callbacks

KEEP = 3
"""Number of checkpoints of a run that are kept."""
_CHECKSUMS = "checksums"
ORIGIN = "origin"
"""What the checkpoint belongs to, as bytes of JSON; checkpoints of earlier versions lack it."""
_STEP = "step"
"""The count of steps, which earlier versions kept in one word: the lower one of `StepCount`."""
_COMPLETE = re.compile(r"\d{12,}")
_HALF = ".half"
"""What follows the name of a checkpoint that is being written."""
_LEFT_OVER = re.compile(r"\d{12,}\.(half.*|orbax-checkpoint-tmp.*|trash)")
"""Left behind by a kill: a checkpoint that orbax had begun to write, or one that was about to be removed."""


class CheckpointWriter:
    """Writes checkpoints of a run in the background while it trains.

    Args:
        folder: Where they go; made if it is not there. What an earlier, killed run left half-written is removed.
        keep: Number of newest checkpoints that are kept.
    """

    def __init__(self, folder: Path, keep: int = KEEP) -> None:
        import orbax.checkpoint as ocp

        silence_late_callbacks()
        self.folder = folder.absolute()
        self.keep = keep
        self.folder.mkdir(parents=True, exist_ok=True)
        sync_folder(self.folder.parent)
        self._orbax = ocp.StandardCheckpointer(**_alone())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._pending: int | None = None
        self._remove_left_overs()
        self._open = open_folder(self.folder)

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
        arrays = {name: np.array(_plain(leaf)) for name, leaf in flatten(state).items() if np.size(leaf)}
        if origin is not None:
            arrays[ORIGIN] = np.frombuffer(json.dumps(origin, sort_keys=True).encode(), np.uint8).copy()
        arrays[_CHECKSUMS] = _checksums(arrays)
        half = path.with_name(path.name + _HALF)
        self._orbax.save(half, arrays)
        self._pending, self._writing = step, self._thread.submit(self._complete, half, path, set(arrays))

    def wait(self) -> int | None:
        """Wait until the last save is complete, then remove what is older than the newest few.

        Returns:
            The step that was saved, if one was under way.

        Raises:
            OSError: It failed.
        """
        saved, self._pending = self._pending, None
        if saved is None or self._writing is None:
            return None
        try:
            self._writing.result()
        except Exception as error:
            with contextlib.suppress(OSError):  # the room it takes may be what is missing
                self._remove_left_overs()
            text = f"checkpoint of step {saved:,} in {self.folder} could not be written ({reason(error)})"
            raise OSError(text) from error
        for path in complete(self.folder)[: -self.keep]:
            remove(path)
        return saved

    def close(self) -> None:
        """Wait for the last save, and release resources."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            self._orbax.close()
            os.close(self._open)

    def _complete(self, half: Path, path: Path, names: set[str]) -> None:
        """Give a checkpoint its name once the disk has all of it."""
        self._orbax.wait_until_finished()
        if not is_open(self.folder, self._open):  # orbax makes folders that are not there
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.folder))
        found = self._orbax.metadata(half).item_metadata
        if found is None or set(found.tree) != names:  # orbax does not report every write that fails
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(half))
        seal(half)
        half.rename(path)
        sync_folder(self.folder)

    def _remove_left_overs(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir() and _LEFT_OVER.fullmatch(path.name):
                shutil.rmtree(path)


def holds_only_left_overs(folder: Path) -> bool:
    """Whether a folder of checkpoints holds none, and nothing else that anybody has put there."""
    return all(path.is_dir() and _LEFT_OVER.fullmatch(path.name) for path in folder.iterdir())


def remove(path: Path) -> None:
    """Remove a checkpoint: by one rename, and what a kill leaves of it is removed by the next `CheckpointWriter`."""
    trash = path.with_name(path.name + ".trash")
    path.rename(trash)
    shutil.rmtree(trash)


def complete(folder: Path) -> list[Path]:
    """List the complete checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.is_dir() and _COMPLETE.fullmatch(path.name))
    return sorted(found, key=lambda path: int(path.name))


def newest(folder: Path) -> Path | None:
    """Find the newest complete checkpoint in a folder; None if there is none."""
    found = complete(folder)
    return found[-1] if found else None


def restore(
    path: Path,
    abstract: PyTree,
    check: Callable[[dict[str, Any] | None], object] = lambda origin: None,
    defaults: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> PyTree:
    """Restore a checkpoint.

    Args:
        path: Its folder.
        abstract: A tree of the arrays' shapes and dtypes, as `jax.eval_shape` makes it.
        check: Given what the checkpoint belongs to, None if it does not say; raises to refuse it.
        defaults: Leaves by name that checkpoints of earlier versions lack.

    Returns:
        The state, of the same tree, on the host.

    Raises:
        OSError: It cannot be read, which says nothing about what is in it.
        ValueError: It is damaged, or it holds something else than `abstract`; the message names path and leaf.
    """
    import orbax.checkpoint as ocp

    silence_late_callbacks()
    path = path.absolute()
    wanted = flatten(abstract)
    expected = {name: jax.eval_shape(_plain, leaf) if _is_key(leaf) else leaf for name, leaf in wanted.items()}
    stored = {name: leaf for name, leaf in expected.items() if np.prod(leaf.shape)}
    with ocp.StandardCheckpointer(**_alone()) as orbax:
        with _reading(path):
            # First: orbax calls unreadable files missing, and leaves tasks behind that report damage when it is late.
            check_sealed(path)
            found: dict[str, Any] = dict(orbax.metadata(path).item_metadata.tree)
        checksums = found.pop(_CHECKSUMS, None)
        origin = found.pop(ORIGIN, None)
        if checksums is None or not found:
            raise ValueError(_damaged(path, "it does not say what is in it"))
        one_word = _STEP in found and f"{_STEP}/high" in stored
        if one_word:
            del stored[f"{_STEP}/high"]
            stored[_STEP] = stored.pop(f"{_STEP}/low")
        lacking = {name: array for name, array in defaults.items() if name in stored and name not in found}
        stored = {name: leaf for name, leaf in stored.items() if name not in lacking}
        _compare(path, stored, found)
        target = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in stored.items()}
        if origin is not None:
            target[ORIGIN] = np.empty(origin.shape, origin.dtype)
        target[_CHECKSUMS] = np.empty(checksums.shape, checksums.dtype)
        with _reading(path):
            arrays = orbax.restore(path, target)
    if not np.array_equal(arrays.pop(_CHECKSUMS), _checksums(arrays)):
        raise ValueError(_damaged(path, "a checksum does not match"))
    check(None if origin is None else json.loads(arrays.pop(ORIGIN).tobytes()))
    if one_word:
        arrays[f"{_STEP}/low"] = arrays.pop(_STEP)
    arrays |= lacking
    arrays |= {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in expected.items() if name not in arrays}
    leaves = [_typed(arrays[name], leaf) if _is_key(leaf) else arrays[name] for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(abstract), leaves)


def flatten(tree: PyTree) -> dict[str, Any]:
    """List a tree's leaves by name: `learner/actor/params/...`, in the order of the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _alone() -> dict[str, Any]:
    """Tell orbax that this process does not wait for others: one alone writes, and each reads for itself."""
    import orbax.checkpoint as ocp

    if jax.process_count() == 1:
        return {}
    me = jax.process_index()
    return {"multiprocessing_options": ocp.options.MultiprocessingOptions(me, {me}, f"process{me}")}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Distinguish a damaged checkpoint from a disk error or missing permissions."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        raise ValueError(_damaged(path, error)) from error


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Any:
    """A random key as the numbers it is made of; anything else as it is."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _typed(array: np.ndarray, like: Any) -> Any:
    """The random keys that are made of these numbers, of the same kind as `like`."""
    kinds: list[Any] = []
    jax.eval_shape(lambda keys: kinds.append(jax.random.key_impl(keys)), like)
    return jax.random.wrap_key_data(jnp.asarray(array), impl=kinds[0])


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
    if any(other.name < path.name for other in complete(path.parent)):
        advice = "delete this folder and resume again: the run then goes on from the checkpoint before it"
    else:
        advice = "there is none before it, so restore this folder from a copy, or start a new run with another `--out`"
    return f"checkpoint {path} is damaged ({text}); {advice}"

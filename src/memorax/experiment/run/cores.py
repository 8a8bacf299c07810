"""The cores of a CPU as devices, each of which trains an equal share of the seeds."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from memorax.experiment.run.checkpoint import ORIGIN, newest
from memorax.experiment.run.files import CHECKPOINTS

_NUMBER = "JAX_NUM_CPU_DEVICES"


def split_cores(seeds: int) -> None:
    """Let JAX have a CPU device for each core, as far as the seeds can be divided over them.

    It has no effect where JAX has computed already, or where the user chose how many CPU devices there are, by
    `XLA_FLAGS` or `JAX_NUM_CPU_DEVICES`.

    Args:
        seeds: Number of seeds.
    """
    if _chosen():
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        jax.config.update("jax_num_cpu_devices", _largest_share(seeds, cores))
    except RuntimeError:  # it has computed
        return


def cores_for(seeds: int, folder: Path | None = None) -> int:
    """Choose how many CPU devices train a run: those that trained it before, else as many as divide the seeds.

    Args:
        seeds: Number of seeds.
        folder: Folder of a run that is resumed.

    Returns:
        How many; 1 on other platforms, and where the user chose how many CPU devices there are.
    """
    if jax.default_backend() != "cpu" or _chosen():
        return 1
    latest = None if folder is None else newest(folder / CHECKPOINTS)
    before = None if latest is None else _devices_of(latest)
    if before is not None and before <= jax.device_count():
        return before
    return _largest_share(seeds, jax.device_count())


def _devices_of(checkpoint: Path) -> int | None:
    """How many devices trained a run up to a checkpoint; None where it does not say, or cannot be read."""
    import orbax.checkpoint as ocp

    reader = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    try:
        metadata: Any = reader.metadata(checkpoint.absolute()).item_metadata
        about = metadata.tree[ORIGIN]
        wanted = {ORIGIN: np.empty(about.shape, about.dtype)}
        how = {ORIGIN: ocp.RestoreArgs(restore_type=np.ndarray)}
        found = reader.restore(
            checkpoint.absolute(),
            args=ocp.args.PyTreeRestore(item=wanted, restore_args=how, partial_restore=True),
        )
        return json.loads(found[ORIGIN].tobytes()).get("devices", 1)
    except (OSError, KeyError, ValueError, AttributeError):
        return None  # restoring it says what is wrong with it
    finally:
        reader.close()


def _chosen() -> bool:
    """Whether the user chose how many CPU devices there are."""
    return "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "") or _NUMBER in os.environ


def _largest_share(seeds: int, most: int) -> int:
    return max(number for number in range(1, min(seeds, most) + 1) if seeds % number == 0)

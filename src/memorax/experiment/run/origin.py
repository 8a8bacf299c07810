"""What a checkpoint belongs to: its run's configuration, step and metrics, and the versions that wrote it."""

import importlib.metadata
import itertools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

import memorax
from memorax.experiment.config import RunConfig
from memorax.experiment.config_file import numeric_fields
from memorax.experiment.loggers import Row, read_rows
from memorax.experiment.run.files import CONFIG_FILE, METRICS_FILE, SUMMARY_FILE


class RowCount:
    """How many rows of metrics there are, and a checksum of them without their times, which differ from run to run.

    Args:
        rows: The first of them.
    """

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.count, self.checksum = 0, 0
        self.add(rows)

    def add(self, rows: Sequence[Row]) -> None:
        """Count further rows."""
        for row in rows:
            values = [[name, None if name.startswith("time/") else value] for name, value in sorted(row.items())]
            self.checksum = zlib.crc32(json.dumps(values).encode(), self.checksum)
        self.count += len(rows)


def describe(config: RunConfig, step: int, rows: RowCount, devices: int = 1) -> dict[str, Any]:
    """Describe the run at a step, as a checkpoint holds it.

    Args:
        config: The run.
        step: Environment steps that each seed has been trained for.
        rows: Rows of `metrics.jsonl` up to that step.
        devices: Number of devices that train it.
    """
    return {
        "config": numeric_fields(config),
        "step": step,
        "seeds": config.seed_numbers(),
        "rows": rows.count,
        "rows_checksum": rows.checksum,
        "versions": _versions(),
        "devices": devices,
    }


def check(
    origin: dict[str, Any] | None,
    config: RunConfig,
    path: Path,
    rows: RowCount | None = None,
    devices: int | None = None,
) -> list[str]:
    """Check that a checkpoint is of this run.

    Args:
        origin: What `describe` gave when it was written; None in a checkpoint of an earlier version.
        config: The run.
        path: The checkpoint's folder.
        rows: Rows of `metrics.jsonl` up to its step; None where they do not matter.
        devices: Number of devices that train it from now on; None where it does not matter.

    Returns:
        Warnings: why the run may not go on with the same bits.

    Raises:
        ValueError: It is of another run or another step, or metrics are missing.
    """
    if origin is None:
        return []
    if origin["step"] != int(path.name):
        raise ValueError(
            f"checkpoint {path} must be of step {int(path.name):,}, got one of step {origin['step']:,}; "
            f"it was renamed or copied: give it the name {origin['step']:012d}, or delete it"
        )
    now = numeric_fields(config, origin["step"])
    for name, before in origin["config"].items():
        if name in now and now[name] != before:
            raise ValueError(
                f"`{name}` of checkpoint {path} is {before}, but {now[name]} in {CONFIG_FILE}; "
                f"set it to {before} there if the file was edited, or put back the checkpoint of this run"
            )
    if rows is not None and rows.count != origin["rows"]:
        raise ValueError(
            f"{METRICS_FILE} must have {origin['rows']:,} rows up to checkpoint {path}, got {rows.count:,}; restore "
            "it, or delete this checkpoint to go on from the one before it"
        )
    if rows is not None and rows.checksum != origin.get("rows_checksum", rows.checksum):
        raise ValueError(
            f"{METRICS_FILE} must have the rows that were written before checkpoint {path}, got others; restore it, "
            "or delete this checkpoint to go on from the one before it"
        )
    changed = {name: (before, _versions().get(name)) for name, before in origin["versions"].items()}
    warnings = [
        f"the checkpoint was written with {name} {before}, this is {after}: the same bits are no longer promised"
        for name, (before, after) in changed.items()
        if before != after
    ]
    trained_on = origin.get("devices", 1)
    if devices not in (None, trained_on):
        warnings.append(
            f"the checkpoint was written on {trained_on} device{'s' if trained_on > 1 else ''}, this is {devices}: the "
            "same bits are no longer promised"
        )
    return warnings


def check_not_lost(folder: Path, stored: RunConfig) -> None:
    """Refuse to begin a run again whose checkpoints are gone: its metrics would be lost.

    Args:
        folder: The run's folder, without any checkpoint.
        stored: Its configuration. A checkpoint is complete before there are metrics after the next one has begun.

    Raises:
        ValueError: The metrics go further than a run without a checkpoint gets.
    """
    steps = sorted({row["step"] for row in read_rows(folder / METRICS_FILE)})
    every = stored.checkpoint_every
    begun = [b for a, b in itertools.pairwise([0, *steps]) if b // every > a // every]
    if (folder / SUMMARY_FILE).exists() or (len(begun) > 1 and steps[-1] > begun[1]):
        raise ValueError(
            f"{folder} must hold a checkpoint to be resumed, got metrics up to step {max(steps, default=0):,} and no "
            "checkpoint; restore the checkpoints, or start a new run with another `--out`"
        )


def _versions() -> dict[str, str]:
    return {
        "memorax": memorax.__version__,
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "device": jax.devices()[0].device_kind,
    }

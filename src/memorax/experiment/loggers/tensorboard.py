"""Metrics for TensorBoard, in the run's folder: `tensorboard --logdir runs`."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memorax.experiment.libraries import require
from memorax.experiment.loggers.base import Row


class TensorBoard:
    """Writes an event file for each seed; metrics of the same name share a chart.

    Args:
        folder: Where the event files go, in a folder for each seed. Resuming a run writes them anew, which takes about
            a second.

    Raises:
        ImportError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._library = require("tensorboardX", "tensorboard", "logger `tensorboard`")
        self._files: dict[int, Any] = {}
        self._began = 0.0

    def start(self, rows: Sequence[Row]) -> None:
        """Replace all event files by these rows."""
        for old in self.folder.glob("seed-*"):
            shutil.rmtree(old)
        # Wall time counts training only, not the time between two processes.
        self._began = time.time() - (rows[-1].get("time/elapsed_seconds", 0.0) if rows else 0.0)
        self.write(rows)

    def write(self, rows: Sequence[Row]) -> None:
        """Add a point to the chart of each metric."""
        for row in rows:
            seed, step = int(row["seed"]), int(row["step"])
            if seed not in self._files:
                folder = self.folder / f"seed-{seed}"
                folder.mkdir(parents=True)
                # Not through its SummaryWriter, whose `flush` does not wait for the queue that it writes from.
                self._files[seed] = self._library.event_file_writer.EventsWriter(str(folder / "events"))
                # Of `purge_step`: a TensorBoard that is open forgets what it has read of the file before.
                began = self._library.proto.event_pb2.SessionLog(status=self._library.proto.event_pb2.SessionLog.START)
                event = self._library.proto.event_pb2.Event(wall_time=self._began, step=0, session_log=began)
                self._files[seed].write_event(event)
            when = self._began + row.get("time/elapsed_seconds", 0.0)
            for name in sorted(row.keys() - {"seed", "step"}):
                summary = {"value": [{"tag": name, "simple_value": row[name]}]}
                event = self._library.proto.event_pb2.Event(wall_time=when, step=step, summary=summary)
                self._files[seed].write_event(event)

    def sync(self) -> None:
        """Wait until the disk has everything."""
        for writer in self._files.values():
            writer.flush()

    def close(self) -> None:
        """Close the event files."""
        for writer in self._files.values():
            writer.close()

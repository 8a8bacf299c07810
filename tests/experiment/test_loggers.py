"""Properties of every registered logger, and how a run uses its loggers."""

import importlib
import importlib.util
import io
import struct
import sys

import numpy as np
import pytest
from rich.console import Console
from tests.experiment.fake_agent import FakeAgent, config

from memorax.experiment import load_config, train
from memorax.experiment.loggers import LOGGERS, Composite, JsonLines, LoggerError, read_rows
from memorax.experiment.run import train as training
from memorax.experiment.run.train import prepare

QUIET = {"console": Console(file=io.StringIO())}
NEEDS = {"tensorboard": "tensorboardX"}


def points(rows):
    """What rows say: seed, step, metric and value, as float32."""
    return sorted(
        (int(row["seed"]), int(row["step"]), name, float(np.float32(row[name])))
        for row in rows
        for name in row.keys() - {"seed", "step"}
    )


def read_event_files(folder):
    """The scalars in the event files of TensorBoard: records of a length, its checksum, an event, its checksum."""
    event_class = importlib.import_module("tensorboardX.proto.event_pb2").Event
    found = []
    for path in folder.glob("tensorboard/seed-*/events.*"):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            assert len(data) >= length + 16, "a record is cut off"
            event, data = event_class.FromString(data[12 : 12 + length]), data[length + 16 :]
            seed = int(path.parent.name.removeprefix("seed-"))
            found += [(seed, event.step, value.tag, value.simple_value) for value in event.summary.value]
    return sorted(found)


READERS = {
    "jsonl": lambda folder: points(read_rows(folder / "metrics.jsonl")),
    "tensorboard": read_event_files,
}
"""By name of the logger: what it keeps in the run's folder, every point as often as it is there."""


def interval(step, *, seeds=(7, 8), shift=0.0):
    """The rows of an interval; some metrics have no value for some seeds."""
    rows = [{"step": step, "seed": seed, "losses/actor": 0.1 * seed + step + shift} for seed in seeds]
    rows[0]["episode/return"] = -1.5 + shift
    return [row | {"time/elapsed_seconds": step / 10} for row in rows]


@pytest.fixture(params=list(LOGGERS))
def logger(request, tmp_path):
    """A function that makes the logger, and one that reads what it keeps."""
    if NEEDS.get(request.param) and importlib.util.find_spec(NEEDS[request.param]) is None:
        pytest.skip(f"{NEEDS[request.param]} is not installed")
    return lambda: LOGGERS.get(request.param)(tmp_path, {}), lambda: READERS[request.param](tmp_path)


def test_every_logger_is_read_back():
    assert set(READERS) == set(LOGGERS)


def test_everything_that_is_written_is_found_again(logger):
    make, read = logger
    log, rows = make(), [*interval(10), *interval(20), *interval(30)]
    log.start([])
    for i in range(0, len(rows), 2):
        log.write(rows[i : i + 2])
    log.sync()
    assert read() == points(rows)  # before it is closed: a killed process loses nothing
    log.close()
    assert read() == points(rows)


def test_a_resumed_run_has_no_duplicate_and_no_gap(logger):
    make, read = logger
    killed = make()
    killed.start([])
    for step in (10, 20, 30):
        killed.write(interval(step))
    killed.sync()
    # The newest checkpoint is of step 20; what follows is written again.
    again = make()
    again.start([*interval(10), *interval(20)])
    for step in (30, 40):
        again.write(interval(step, shift=0.25))
    again.close()
    rows = [*interval(10), *interval(20), *interval(30, shift=0.25), *interval(40, shift=0.25)]
    assert read() == points(rows)
    killed.close()


def test_a_logger_that_is_added_to_a_run_has_all_of_it(logger):
    make, read = logger
    log = make()
    log.start([*interval(10), *interval(20)])
    log.write(interval(30))
    log.close()
    assert read() == points([*interval(10), *interval(20), *interval(30)])


def test_a_logger_that_was_never_started_can_be_closed(logger):
    make, _ = logger
    make().close()


class Memory:
    """A logger of one's own."""

    def __init__(self, fails_at=None):
        self.rows, self.calls, self.fails_at = [], [], fails_at

    def _called(self, name):
        self.calls.append(name)
        if name == self.fails_at:
            raise RuntimeError("no connection")

    def start(self, rows):
        self._called("start")
        self.rows = list(rows)

    def write(self, rows):
        self._called("write")
        self.rows += rows

    def sync(self):
        self._called("sync")

    def close(self):
        self._called("close")


@pytest.mark.parametrize("method", ["start", "write", "sync", "close"])
def test_a_logger_that_fails_is_named_and_does_not_stop_the_others(method):
    good, late = Memory(), Memory()
    loggers = Composite({"good": good, "bad": Memory(fails_at=method), "late": late})
    call = {"start": lambda: loggers.start([]), "write": lambda: loggers.write([]), "sync": loggers.sync}
    with pytest.raises(LoggerError, match=r"logger `bad` failed \(RuntimeError: no connection\)"):
        call.get(method, loggers.close)()
    assert good.calls == late.calls == [method]


def test_writing_before_the_start_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="`start` must be called before `write`"):
        JsonLines(tmp_path / "metrics.jsonl").write(interval(10))


class FailsAt(Memory):
    """Fails at its nth write."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def write(self, rows):
        super().write(rows)
        if self.calls.count("write") == self.count:
            raise RuntimeError("no connection")


@pytest.fixture
def agent(monkeypatch):
    agent = FakeAgent()
    monkeypatch.setattr(training, "build_agent", lambda config: agent)
    monkeypatch.setattr(training, "write_summary", lambda *args: {})
    return agent


def test_a_run_logs_to_an_object(agent, tmp_path):
    memory = Memory()
    train(config(), tmp_path / "run", loggers=[memory], **QUIET)
    assert memory.rows == read_rows(tmp_path / "run" / "metrics.jsonl")
    # Before each checkpoint the logs are safe.
    assert memory.calls == ["start", "write", "write", "sync", "write", "write", "sync", "write", "sync", "close"]
    again = Memory()
    train(config(), tmp_path / "run", resume=True, loggers=[again], **QUIET)
    assert again.rows == memory.rows


@pytest.mark.parametrize("method", ["start", "write", "sync"])
def test_a_run_ends_when_a_logger_fails_and_can_be_resumed(agent, tmp_path, method):
    with pytest.raises(LoggerError, match=r"logger `Memory \(1\)` failed"):
        train(config(), tmp_path / "run", loggers=[Memory(fails_at=method)], **QUIET)
    train(config(), tmp_path / "run", resume=True, **QUIET)
    train(config(), tmp_path / "straight", **QUIET)
    ours, theirs = (
        [row["losses/move"] for row in read_rows(tmp_path / x / "metrics.jsonl")] for x in ("run", "straight")
    )
    assert ours == theirs


def test_a_run_remembers_the_names_of_its_loggers(agent, tmp_path, monkeypatch):
    made = []
    monkeypatch.setitem(LOGGERS._entries, "memory", lambda folder, config: made.append((folder, config)) or Memory())
    train(config(), tmp_path / "run", loggers=["memory"], **QUIET)
    assert load_config(tmp_path / "run").loggers == ("memory",)
    assert made[0][0] == tmp_path / "run"
    assert made[0][1]["algorithm"] == "ppo"
    train(load_config(tmp_path / "run"), tmp_path / "run", resume=True, **QUIET)
    assert len(made) == 2


def test_an_unknown_logger_is_refused_before_anything_is_written(agent, tmp_path):
    with pytest.raises(
        ValueError, match="unknown logger `tensorbord`; nearest: tensorboard; known: jsonl, tensorboard"
    ):
        prepare(config(), tmp_path / "run", loggers=["tensorbord"])
    assert not (tmp_path / "run").exists()


def test_a_missing_library_names_the_command_that_installs_it(agent, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"logger `tensorboard` needs tensorboardX, .*run `pip install memorax\[tens"):
        prepare(config(), tmp_path / "run", loggers=["tensorboard"])
    prepare(config(), tmp_path / "run").close()  # the folder is still free


def test_a_resumed_run_is_whole_in_every_logger(agent, tmp_path):
    pytest.importorskip("tensorboardX")
    folder = tmp_path / "run"
    with pytest.raises(LoggerError, match="no connection"):
        train(config(), folder, loggers=["tensorboard", FailsAt(4)], **QUIET)
    train(config(loggers=("tensorboard",)), folder, resume=True, **QUIET)
    rows = read_rows(folder / "metrics.jsonl")
    assert READERS["tensorboard"](folder) == points(rows)

"""Properties of every registered logger, and how a run uses its loggers."""

import importlib
import importlib.util
import io
import json
import struct
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from tests.experiment.fake_agent import FakeAgent, config

from memorax.experiment import load_config, train
from memorax.experiment.loggers import LOGGERS, Background, Composite, JsonLines, LoggerError, read_rows
from memorax.experiment.run import train as training
from memorax.experiment.run.train import prepare

QUIET = {"console": Console(file=io.StringIO())}
NEEDS = {"tensorboard": "tensorboardX", "wandb": "wandb", "trackio": "trackio"}
RESTORED = {"wandb", "trackio"}
"""Loggers that promise nothing before they are closed: what is lost is given to `start` again."""
CONFIG = {"seed": 7, "seeds": 2, "algorithm": "ppo"}


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


def offline_records(path):
    """The records in a file of W&B: pieces with a checksum, a length and a kind, in blocks of 32 KiB."""
    data, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack("<HB", data[position + 4 : position + 7])
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def read_offline_runs(folder):
    """The history in the offline files of W&B, of every run that would be uploaded."""
    record_class = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    found = []
    for path in folder.glob("wandb/offline-run-*/*.wandb"):
        seed = int(path.stem.rpartition("-")[2])
        for data in offline_records(path):
            record = record_class.FromString(data)
            if record.WhichOneof("record_type") == "history":
                items = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }
                step = items.get("_step", record.history.step.num)
                found += [(seed, step, name, f32(x)) for name, x in items.items() if not name.startswith("_")]
    return sorted(found)


def read_trackio(folder):
    """What Trackio's database has of the project."""
    storage = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
    found = []
    for name in storage.get_runs("memorax"):
        for row in storage.get_logs("memorax", name):
            seed = int(name.rpartition("-")[2])
            names = row.keys() - {"step", "timestamp"}
            found += [(seed, row["step"], metric, f32(row[metric])) for metric in names]
    return sorted(found)


def settled(read, rows):
    """What a reader finds as soon as it is all of the rows, or after a minute: W&B writes in a process of its own."""
    for _ in range(120):
        if len(read()) >= len(points(rows)):
            break
        time.sleep(0.5)
    return read()


def f32(number):
    return float(np.float32(number))


READERS = {
    "jsonl": lambda folder: points(read_rows(folder / "metrics.jsonl")),
    "tensorboard": read_event_files,
    "trackio": read_trackio,
    "wandb": read_offline_runs,
}
"""By name of the logger: what it keeps in the run's folder, every point as often as it is there."""


def interval(step, *, seeds=(7, 8), shift=0.0):
    """The rows of an interval; some metrics have no value for some seeds."""
    rows = [{"step": step, "seed": seed, "losses/actor": 0.1 * seed + step + shift} for seed in seeds]
    rows[0]["episode/return"] = -1.5 + shift
    return [row | {"time/elapsed_seconds": step / 10} for row in rows]


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] if name in RESTORED else []) for name in LOGGERS])
def logger(request, tmp_path, monkeypatch):
    """A function that makes the logger, and one that reads what it keeps."""
    if NEEDS.get(request.param) and importlib.util.find_spec(NEEDS[request.param]) is None:
        pytest.skip(f"{NEEDS[request.param]} is not installed")
    stay_offline(monkeypatch, tmp_path)
    return lambda: LOGGERS.get(request.param)(tmp_path, CONFIG), lambda: READERS[request.param](tmp_path)


def stay_offline(monkeypatch, folder):
    for name, value in offline(folder).items():
        monkeypatch.setenv(name, value)
    if importlib.util.find_spec("trackio") is not None:  # it has read the variable when it was imported
        for module in ("trackio.utils", "trackio.sqlite_storage", "trackio"):
            monkeypatch.setattr(importlib.import_module(module), "TRACKIO_DIR", folder / "trackio-data", raising=False)


def offline(folder):
    return {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "TRACKIO_DIR": str(folder / "trackio-data")}


def test_every_logger_is_read_back():
    assert set(READERS) == set(LOGGERS)


def test_everything_that_is_written_is_found_again(logger, request):
    make, read = logger
    log, rows = make(), [*interval(10), *interval(20), *interval(30)]
    log.start([])
    for i in range(0, len(rows), 2):
        log.write(rows[i : i + 2])
    log.sync()
    if request.node.callspec.params["logger"] not in RESTORED:
        assert read() == points(rows)  # before it is closed: a killed process loses nothing
    log.close()
    assert settled(read, rows) == points(rows)


def test_a_resumed_run_has_no_duplicate_and_no_gap(logger):
    make, read = logger
    killed = make()
    killed.start([])
    for step in (10, 20, 30):
        killed.write(interval(step))
    killed.close()
    # The newest checkpoint is of step 20; what follows is written again.
    again = make()
    again.start([*interval(10), *interval(20)])
    for step in (30, 40):
        again.write(interval(step, shift=0.25))
    again.close()
    rows = [*interval(10), *interval(20), *interval(30, shift=0.25), *interval(40, shift=0.25)]
    assert settled(read, rows) == points(rows)


def test_a_logger_that_is_added_to_a_run_has_all_of_it(logger):
    make, read = logger
    log = make()
    log.start([*interval(10), *interval(20)])
    log.write(interval(30))
    log.close()
    assert settled(read, [*interval(10), *interval(20), *interval(30)]) == points(
        [*interval(10), *interval(20), *interval(30)]
    )


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
        ValueError, match="unknown logger `tensorbord`; nearest: tensorboard; known: jsonl, tensorboard, trackio, wandb"
    ):
        prepare(config(), tmp_path / "run", loggers=["tensorbord"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "library"), NEEDS.items())
def test_a_missing_library_names_the_command_that_installs_it(agent, tmp_path, monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'logger `{name}` needs {library}, .*run `pip install "memorax\[{name}\]"`'):
        prepare(config(), tmp_path / "run", loggers=[name])
    prepare(config(), tmp_path / "run").close()  # the folder is still free


def test_a_resumed_run_is_whole_in_every_logger(agent, tmp_path):
    pytest.importorskip("tensorboardX")
    folder = tmp_path / "run"
    with pytest.raises(LoggerError, match="no connection"):
        train(config(), folder, loggers=["tensorboard", FailsAt(4)], **QUIET)
    train(config(loggers=("tensorboard",)), folder, resume=True, **QUIET)
    rows = read_rows(folder / "metrics.jsonl")
    assert READERS["tensorboard"](folder) == points(rows)


class Slow(Memory):
    """Waits at its first write until it is let go."""

    def __init__(self, fails_at=None):
        super().__init__(fails_at)
        self.go, self.thread = threading.Event(), None

    def write(self, rows):
        self.thread = threading.current_thread()
        assert self.go.wait(60)
        super().write(rows)


@pytest.fixture
def written(tmp_path):
    """`metrics.jsonl`, begun."""
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.start(interval(10))
    yield lines
    lines.close()


def test_a_slow_logger_is_not_waited_for_and_loses_nothing(written, tmp_path):
    slow, warnings = Slow(), []
    logger = Background("slow", slow, tmp_path / "metrics.jsonl", warnings.append, behind=5)
    logger.start(interval(10))
    rows = [interval(step) for step in range(20, 120, 10)]
    begin = time.perf_counter()
    for made in rows:
        written.write(made)
        logger.write(made)
        logger.sync()
    assert time.perf_counter() - begin < 5.0
    assert slow.rows == interval(10)
    assert warnings == ["logger `slow` is 6 rows behind; they follow, also after the last step"]
    slow.go.set()
    logger.close()
    assert slow.rows == [*interval(10), *(row for made in rows for row in made)]
    assert slow.thread is not threading.current_thread()
    assert slow.calls[-1] == "close"
    assert not slow.thread.is_alive()


def test_a_line_that_is_half_written_is_waited_for(written, tmp_path):
    memory = Memory()
    logger = Background("memory", memory, tmp_path / "metrics.jsonl")
    logger.start([])
    written._file.write('{"step": 20, "se')
    written._file.flush()
    logger.write(interval(20))
    time.sleep(0.05)
    written._file.write('ed": 7}\n')
    written._file.flush()
    logger.close()
    assert memory.rows == [{"step": 20, "seed": 7}]


def test_what_fails_in_the_background_ends_the_run(written, tmp_path):
    failing = Memory(fails_at="write")
    composite = Composite({"bad": Background("bad", failing, tmp_path / "metrics.jsonl")})
    composite.start([])
    written.write(interval(20))
    composite.write(interval(20))
    with pytest.raises(LoggerError, match=r"logger `bad` failed \(RuntimeError: no connection\)"):
        composite.close()
    assert failing.calls[-1] == "close"


def test_a_run_says_that_a_logger_is_behind(agent, tmp_path, monkeypatch):
    slow = Slow()
    monkeypatch.setitem(LOGGERS._entries, "slow", lambda folder, config: slow)
    monkeypatch.setattr(Background.__init__, "__defaults__", (lambda text: None, 3))
    out = io.StringIO()
    threading.Timer(2.0, slow.go.set).start()
    train(config(), tmp_path / "run", loggers=["slow"], console=Console(file=out))
    assert "warning: logger `slow` is 4 rows behind" in out.getvalue()
    assert slow.rows == read_rows(tmp_path / "run" / "metrics.jsonl")


def test_an_open_tensorboard_forgets_what_was_written_before(agent, tmp_path):
    """What the `purge_step` of a SummaryWriter does: an event that says from which step the file counts."""
    pytest.importorskip("tensorboardX")
    train(config(), tmp_path / "run", loggers=["tensorboard"], **QUIET)
    proto = importlib.import_module("tensorboardX.proto.event_pb2")
    for path in (tmp_path / "run").glob("tensorboard/seed-*/events.*"):
        data = path.read_bytes()
        first = struct.unpack("<Q", data[:8])[0] + 16  # the version of the file
        (length,) = struct.unpack("<Q", data[first : first + 8])
        event = proto.Event.FromString(data[first + 12 : first + 12 + length])
        assert (event.step, event.session_log.status) == (0, proto.SessionLog.START)


@pytest.mark.parametrize("name", list(NEEDS))
@pytest.mark.slow
def test_a_run_is_given_to_a_logger_afterwards(agent, tmp_path, monkeypatch, capsys, name):
    from memorax.cli import main

    pytest.importorskip(NEEDS[name])
    stay_offline(monkeypatch, tmp_path / "run")
    train(config(), tmp_path / "run", **QUIET)
    for _ in range(2):
        assert main(["log", str(tmp_path / "run"), "--to", name]) == 0
        rows = read_rows(tmp_path / "run" / "metrics.jsonl")
        assert settled(lambda rows=rows: READERS[name](tmp_path / "run"), rows) == points(rows)
    viewer = {"tensorboard": "tensorboard --logdir ", "trackio": "trackio show", "wandb": "wandb sync "}[name]
    assert f"next:\n  {viewer}" in capsys.readouterr().out
    assert main(["log", str(tmp_path / "run"), "--to", "tensorbord"]) == 2
    assert main(["log", str(tmp_path), "--to", name]) == 2


def test_without_an_account_another_way_is_named(tmp_path, monkeypatch):
    class UsageError(Exception): ...

    def init(**options):
        raise UsageError("No API key configured. Use `wandb login` to log in.")

    library = SimpleNamespace(UsageError=UsageError, init=init, Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", library)
    with pytest.raises(RuntimeError, match=r"`wandb login` to log in. Or set WANDB_MODE=offline"):
        LOGGERS.get("wandb")(tmp_path, CONFIG).start([])

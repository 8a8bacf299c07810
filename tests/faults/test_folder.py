"""The folder of a run is lost, locked or on a disk that fails: what is kept, and what the message says."""

import errno
import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console
from tests.experiment.fake_agent import FakeAgent, config
from tests.experiment.test_run import assert_same, metrics, saved_steps

from memorax.experiment import load_config, train
from memorax.experiment.run import checkpoint, files, folders, origin
from memorax.experiment.run import train as training
from memorax.experiment.run.folders import Claim, TakenError
from memorax.experiment.run.recovery import FolderLostError

QUIET = {"console": Console(file=io.StringIO())}


@pytest.fixture
def agent(monkeypatch):
    agent = FakeAgent()
    monkeypatch.setattr(training, "build_agent", lambda config: agent)
    monkeypatch.setattr(training, "write_summary", lambda *args: {})
    return agent


@pytest.fixture
def straight(agent, tmp_path):
    """A run that nothing disturbed."""
    train(config(), tmp_path / "straight", **QUIET)
    return tmp_path / "straight"


class At:
    """A logger that does something when it is written to for the nth time."""

    def __init__(self, count, act):
        self.count, self.act = count, act

    def start(self, rows): ...

    def write(self, rows):
        self.count -= 1
        if self.count == 0:
            self.act()

    def sync(self): ...

    def close(self): ...


def resume(folder):
    return train(load_config(folder), folder, resume=True, **QUIET)


def remove(path):
    """At one moment, whatever is being written into it."""
    trash = path.with_name("trash")
    path.rename(trash)
    shutil.rmtree(trash, ignore_errors=True) if trash.is_dir() else trash.unlink()


def is_open_elsewhere(folder):
    """Whether the files of a folder are still in use by this process, by its lock."""
    try:
        Claim(folder).release()
    except TakenError:
        return True
    return False


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_folder_that_is_moved_is_saved_where_it_is(straight, agent, tmp_path, count):
    folder, moved = tmp_path / "run", tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    pattern = (
        f"{folder} was moved to {moved} while the run trained; everything up to step {24 * count} is saved in {moved}, "
        f"resume with: memorax train --resume --out {moved}"
    )
    with pytest.raises(FolderLostError, match=pattern):
        train(config(), folder, loggers=[At(count, lambda: folder.rename(moved))], **QUIET)
    assert saved_steps(moved)[-1] == 24 * count
    assert not is_open_elsewhere(moved)
    resume(moved)
    assert_same(straight, moved, agent)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_folder_that_is_removed_is_saved_beside_it(straight, agent, tmp_path, count):
    folder, kept = tmp_path / "run", tmp_path / "run-rescued"
    pattern = (
        f"{folder} was removed while the run trained; everything up to step {24 * count} is saved in {kept}, resume"
    )
    with pytest.raises(FolderLostError, match=pattern):
        train(config(), folder, loggers=[At(count, lambda: remove(folder))], **QUIET)
    assert not folder.exists()
    assert not is_open_elsewhere(kept)
    resume(kept)
    assert_same(straight, kept, agent)


def test_a_folder_in_the_place_of_another_is_left_alone(straight, agent, tmp_path):
    folder, kept = tmp_path / "run", tmp_path / "run-rescued"

    def replace():
        remove(folder)
        shutil.copytree(straight, folder)

    kept.mkdir()
    (kept / "notes.txt").touch()
    with pytest.raises(FolderLostError, match=r"was removed .* is saved in .*run-rescued-2, resume"):
        train(config(), folder, loggers=[At(2, replace)], **QUIET)
    assert_same(straight, folder, agent)
    resume(tmp_path / "run-rescued-2")
    assert_same(straight, tmp_path / "run-rescued-2", agent)


@pytest.mark.parametrize("part", ["metrics.jsonl", "config.json", "checkpoints"])
def test_a_part_that_is_removed_is_written_again(straight, agent, tmp_path, part):
    folder = tmp_path / "run"

    with pytest.raises(FolderLostError, match=rf"{part} in .*run was removed or replaced .* up to step 72 is saved"):
        train(config(), folder, loggers=[At(3, lambda: remove(folder / part))], **QUIET)
    resume(folder)
    assert_same(straight, folder, agent)


def test_what_cannot_be_saved_elsewhere_is_said(agent, tmp_path, monkeypatch):
    folder = tmp_path / "run"

    def refuse(base):
        raise ValueError("`out` must be a folder that can be written to")

    monkeypatch.setattr("memorax.experiment.run.recovery.claim_free", refuse)
    with pytest.raises(
        FolderLostError, match=r"was removed .* could not be saved elsewhere .`out` must be a folder that"
    ):
        train(config(), folder, loggers=[At(3, lambda: remove(folder))], **QUIET)


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_names_path_what_is_safe_and_how_to_go_on(straight, agent, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:

        def fill_up():
            while saved_steps(folder) != [48]:
                time.sleep(0.01)
            patch.setattr(checkpoint, "seal", full)

        fill = At(4, fill_up)
        with pytest.raises(OSError, match="No space left") as caught:
            train(config(), folder, loggers=[fill], **QUIET)
    assert str(caught.value) == (
        f"checkpoint of step 96 in {folder}/checkpoints could not be written (No space left on device); everything up "
        f"to step 48 is safe, the last good checkpoint is {folder}/checkpoints/000000000048; make room on the disk, "
        f"then resume with: memorax train --resume --out {folder}"
    )
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["000000000048"]
    resume(folder)
    assert_same(straight, folder, agent)


def test_metrics_that_cannot_be_written_are_named(straight, agent, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        fill = At(1, lambda: patch.setattr(os, "fsync", full))
        with pytest.raises(
            OSError, match=r"metrics.jsonl could not be written \(No space left on device\)\)?; there is no"
        ):
            train(config(), folder, loggers=[fill], **QUIET)
    resume(folder)
    assert_same(straight, folder, agent)


def test_a_folder_that_cannot_be_synced_is_named(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"):
            files.sync_folder(tmp_path)


def test_a_summary_that_cannot_be_written_leaves_a_complete_run(agent, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_summary", full)
        with pytest.raises(
            OSError, match=r"the run itself is complete and saved; to write its summary resume with: mem"
        ):
            train(config(), tmp_path / "run", **QUIET)
    assert resume(tmp_path / "run").step == 120


def test_a_signal_reaches_the_caller_of_a_run_that_fails(agent, tmp_path):
    """Who catches the error and goes on would never hear of it."""

    def act():
        os.kill(os.getpid(), signal.SIGINT)
        raise ConnectionError("the server is gone")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(config(), tmp_path / "run", loggers=[At(3, act)], **QUIET)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (
            ValueError("DATA_LOSS: Error writing local file: No space left on device [spec='{...}']"),
            "No space left on device",
        ),
        (ValueError("x" * 500), "x" * 157 + "..."),
        (RuntimeError("one\ntwo"), "one"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_a_reason_is_short(error, words):
    assert files.reason(error) == words


def test_a_folder_without_locks_is_held_by_a_file(straight, agent, tmp_path, monkeypatch):
    for number in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):

        def no_locks(file, operation, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", no_locks)
        folder = tmp_path / str(number)
        session = training.prepare(config(), folder)
        assert any(
            "has no locks" in text and ".lock-held keeps other processes out" in text for text in session.warnings
        )
        with pytest.raises(TakenError, match=rf"in use by process {os.getpid()} on .*delete .*\.lock-held"):
            Claim(folder)
        session.close()
        assert not (folder / ".lock-held").exists()
        resume(folder)
        assert_same(straight, folder, agent)


@pytest.mark.parametrize("content", ["", "{}", '{"host": "elsewhere", "process": 1}', "[1]"])
def test_a_held_folder_of_who_knows_whom_is_refused(tmp_path, monkeypatch, content):
    def no_locks(file, operation):
        raise OSError(errno.ENOSYS, "no")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".lock-held").write_text(content)
    with pytest.raises(TakenError, match="if that process has ended, delete"):
        Claim(tmp_path)
    assert (tmp_path / ".lock-held").read_text() == content


def test_a_folder_held_by_a_killed_process_is_taken_over(tmp_path, monkeypatch):
    def no_locks(file, operation):
        raise OSError(errno.ENOSYS, "no")

    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        child = ended.pid
    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".lock-held").write_text(json.dumps({"host": folders.socket.gethostname(), "process": child}))
    claim = Claim(tmp_path)
    assert json.loads((tmp_path / ".lock-held").read_text())["process"] == os.getpid()
    claim.release()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_lock_that_is_no_file_is_refused(tmp_path):
    victim, lock = tmp_path / "victim", tmp_path / "run" / ".lock"
    lock.parent.mkdir()
    makers = [lambda: lock.symlink_to(victim), lambda: lock.symlink_to(lock), lock.mkdir, lambda: os.mkfifo(lock)]
    for make in makers:
        make()
        with pytest.raises(ValueError, match=r"`.*\.lock` must be a plain file, got something else \(.*\); delete it"):
            Claim(lock.parent)
        assert not victim.exists()
        lock.rmdir() if lock.is_dir() and not lock.is_symlink() else lock.unlink()
    Claim(lock.parent).release()


def test_temporary_files_of_kills_are_removed_on_resume(straight, agent, tmp_path):
    left = [f".{name}-0123456789abcdef.{kind}" for name, kind in (("config", "json"), ("learning_curve", "png"))]
    mine = [".hidden", ".config-mine.json", ".notes-0123456789abcdef.json"]
    for name in [*left, *mine]:
        (straight / name).write_text("half")
    half = straight / "checkpoints" / "000000000999.half.orbax-checkpoint-tmp"
    half.mkdir()
    with (straight / ".summary-0123456789abcdef.json").open("w") as file:  # by a process that is writing it
        fcntl.flock(file, fcntl.LOCK_EX)
        resume(straight)
        assert (straight / ".summary-0123456789abcdef.json").exists()
    names = {path.name for path in straight.iterdir()}
    assert not names & set(left)
    assert names >= set(mine)
    assert not half.exists()


def test_changed_metrics_are_refused(straight):
    path = straight / "metrics.jsonl"
    before = path.read_text()
    for line in (0, 3):
        rows = [json.loads(text) for text in before.splitlines()]
        rows[line]["episode/return"] += 1.0
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(ValueError, match=r"must have the rows that were written before checkpoint .*, got others"):
            resume(straight)
    rows = [json.loads(text) for text in before.splitlines()]
    del rows[0]["time/elapsed_seconds"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match="got others"):
        resume(straight)
    path.write_text(before)
    resume(straight)


def test_times_are_not_part_of_what_metrics_are(straight):
    rows = metrics(straight)
    with_times = [row | {"time/elapsed_seconds": float(i)} for i, row in enumerate(rows)]
    others = [row | {"time/elapsed_seconds": 7.0} for row in rows]
    assert origin.RowCount(with_times).checksum == origin.RowCount(others).checksum != origin.RowCount(rows).checksum

import json
import os

import pytest

from memorax.experiment.loggers import read_rows
from memorax.experiment.run.files import check_writable, read_json, write_atomically, write_json


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "content.json"
    write_json(path, {"a": 1})

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, fail)
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_permissions_of_any_other(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            # It belongs to the process: while one thread had it changed, another would make files open to everyone.
            patch.setattr(os, "umask", None)
            write_json(tmp_path / "content.json", {"a": 1})
    finally:
        os.umask(before)
    assert (tmp_path / "content.json").stat().st_mode & 0o777 == 0o640


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "content.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_broken_json_is_named(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"config.json` must be a JSON file, got something else"):
        read_json(path)


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        ValueError, match=r"`out` must be a folder that can be written to, got .*file/run \(Not a directory\)"
    ):
        check_writable(tmp_path / "file" / "run")


def test_a_half_written_last_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "seed": 0}\n{"step": 2, "se')
    assert read_rows(path) == [{"step": 1, "seed": 0}]


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "seed": 0}\nnonsense\n{"step": 3, "seed": 0}\n')
    with pytest.raises(ValueError, match=r"line 2 of .*metrics.jsonl must be JSON, got 'nonsense'; restore the file"):
        read_rows(path)


def test_rows_up_to_a_step_are_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": step, "seed": seed} for step in (10, 20, 30) for seed in (0, 1)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4')
    assert read_rows(path, 20) == rows[:4]
    assert read_rows(path) == rows
    assert read_rows(tmp_path / "missing.jsonl", 20) == []

import json

import pytest
from tests.cli.test_cli import TINY, assert_refused, run


@pytest.mark.slow
def test_a_run_is_diagnosed(tmp_path):
    folder = tmp_path / "run"
    assert run("train", *TINY, "--out", str(folder))[0] == 0
    code, out, err = run("diagnose", str(folder), "--max-lag", "3", "--episodes", "4", "--seed", "1")
    assert (code, err) == (0, "")
    assert "memory reset every step " in out
    assert "environment Hard" in out
    content = json.loads((folder / "diagnosis.json").read_text())
    assert len(content["recall_over_lag"]["lags"]) == 4
    assert list(content["horizon_generalization"]) == ["Easy", "Medium", "Hard"]
    assert (folder / "diagnosis.png").read_bytes().startswith(b"\x89PNG")
    assert_refused(run("diagnose", str(folder), "--seed", "9"), "`seed` must be a seed of")
    assert_refused(run("diagnose", str(folder), "--vary", "colour"), "`values` must be given for `colour`")


def test_what_is_no_run_is_refused(tmp_path):
    assert_refused(run("diagnose", str(tmp_path)), str(tmp_path))

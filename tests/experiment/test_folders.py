import subprocess
import sys

import pytest
from tests.experiment.fake_agent import config

from memorax.experiment.run.folders import Claim, TakenError, claim_empty, claim_free, default_folder, latest_folder


def freely(base):
    """The folder that a new run gets, given back."""
    claim = claim_free(base)
    claim.release()
    return claim.folder


def test_folders_are_numbered(tmp_path):
    base = tmp_path / "runs" / "name"
    assert latest_folder(base) == base
    for name in ("name", "name-2", "name-10", "name-other"):
        (base.parent / name).mkdir(parents=True)
        (base.parent / name / "config.json").touch()
    assert freely(base).name == "name-3"
    assert latest_folder(base).name == "name-10"
    (base.parent / "name-3" / ".config-half.json").touch()  # what a killed process leaves
    assert freely(base).name == "name-3"


def test_a_folder_belongs_to_one(tmp_path):
    claim = claim_empty(tmp_path)
    for take in (Claim, claim_empty):
        with pytest.raises(TakenError, match=r"`out` is in use by another process, got .*; wait for it, stop it, or"):
            take(tmp_path)
    claim.release()
    claim_empty(tmp_path).release()


def test_a_folder_in_use_is_passed_by(tmp_path):
    first = claim_free(tmp_path / "name")
    assert freely(tmp_path / "name").name == "name-2"
    first.release()
    assert freely(tmp_path / "name").name == "name"


def test_a_process_that_is_killed_gives_its_folder_back(tmp_path):
    code = (
        "import sys; from pathlib import Path; from memorax.experiment.run.folders import Claim\n"
        "claim = Claim(Path(sys.argv[1])); print('claimed', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], **pipes) as process:
        assert process.stdout.readline() == "claimed\n"
        with pytest.raises(TakenError, match="in use by another process"):
            Claim(tmp_path)
        process.kill()
    Claim(tmp_path).release()


def test_a_folder_that_filled_meanwhile_is_refused(tmp_path, monkeypatch):
    class Late(Claim):
        def __init__(self, folder):
            super().__init__(folder)
            (folder / "config.json").touch()  # by a process that has finished

    monkeypatch.setattr("memorax.experiment.run.folders.Claim", Late)
    with pytest.raises(TakenError, match="`out` must be an empty or a new folder"):
        claim_empty(tmp_path)
    Claim(tmp_path).release()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "ppo-memory-RepeatPreviousEasy-gru"),
        ({"b": True, "a": -1}, "ppo-memory-RepeatPreviousEasy-a=-1-b=true-gru"),
        ({"path": "../x y"}, "ppo-memory-RepeatPreviousEasy-path=..-x-y-gru"),
    ],
)
def test_a_folder_is_named_after_its_run(options, name):
    folder = default_folder(config(env_options=options))
    assert (folder.parent.name, folder.name) == ("runs", name)

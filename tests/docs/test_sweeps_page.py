"""The commands of the page about sweeps do what it says, at small sizes and in its order."""

import contextlib
import importlib
import importlib.util
import io
import itertools
from pathlib import Path

import pytest
from tests.docs.test_documentation import ROOT, commands, write_files

from memorax.cli import main
from memorax.experiment.sweep import load_sweep_config, read_trials

if importlib.util.find_spec("submitit") is not None:
    importlib.import_module("submitit")  # not in a test: it closes all handlers of logs, those of a running test, too

PAGE = ROOT / "docs" / "sweeps.md"
NEEDS = {"optuna": "optuna", "ray": "ray", "slurm": "submitit"}
SIZES = {"--trials": "2", "--seeds": "1", "--workers": "2"}
"""In place of what the page says."""
SMALL = [
    *("--steps", "2_048"),
    *("--features", "4"),
    *("--num-envs", "4"),
    *("--num-minibatches", "1"),
    *("--update-epochs", "1"),
    *("--best", "1"),
    *("--fresh-seeds", "2"),
]


def small(words):
    """Reduce the sizes of a command, and do without a cluster."""
    words = [SIZES.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    words = ["cluster=local" if word.startswith("slurm_") else word for word in words]
    words = ["timeout_min=10" if word.startswith("timeout_min") else word for word in words]
    for option in ("--gpus", "--trials"):
        if option in words and (option == "--gpus" or "--resume" in words):
            place = words.index(option)
            words = [*words[:place], *words[place + 2 :]]
    trials = [] if "--trials" in words or "--resume" in words else ["--trials", "2"]
    return [*words, *SMALL, *trials] if words[0] == "sweep" and "--resume" not in words else words


def is_possible(words):
    """Whether the library of an engine is there."""
    engines = [word for before, word in itertools.pairwise(words) if before == "--engine"]
    return all(importlib.util.find_spec(NEEDS[engine]) is not None for engine in engines)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_commands_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(PAGE.read_text(), tmp_path)
    for words in filter(is_possible, commands(PAGE.read_text())):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = main(small(words))
        assert code == 0, f"memorax {' '.join(words)}: {out.getvalue()}"
    assert Path("first.html").is_file()
    sweeps = sorted(path for path in Path("sweeps").iterdir())
    assert {path.name for path in sweeps} >= {"first", "ppo-memory-RepeatPreviousEasy-gru"}
    for path in sweeps:
        assert {trial.state for trial in read_trials(path)} <= {"complete", "pruned"}, path
        assert load_sweep_config(path).space

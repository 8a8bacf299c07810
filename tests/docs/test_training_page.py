"""The commands of the page about training options do what it says, at small sizes and in its order."""

import contextlib
import importlib.util
import io
import json
from pathlib import Path

import pytest
from tests.docs.test_documentation import ROOT, commands
from tests.experiment.test_loggers import NEEDS, offline

from memorax.cli import main
from memorax.experiment import load_config
from memorax.experiment.loggers import read_rows

PAGE = ROOT / "docs" / "training.md"
SIZES = {"--steps": "1_536", "--eval-every": "512"}
"""In place of what the page says."""
COMMON = ["--features", "4", "--seeds", "1", "--num-envs", "4", "--steps", "1_024", "--log-every", "256"]
OWN = {
    "ppo": ["--num-steps", "16", "--num-minibatches", "1", "--update-epochs", "1"],
    "dqn": ["--buffer-size", "2_000", "--batch-size", "4", "--sequence-length", "4", "--train-frequency", "16"],
}


def small(words):
    """Reduce the sizes of a command."""
    words = [SIZES.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    if "--logger" in words:
        installed = [name for name, library in NEEDS.items() if importlib.util.find_spec(library) is not None]
        words = [word for word in words if word not in NEEDS or word in installed]
        words = words if installed else [word for word in words if word != "--logger"]
    new = words[0] == "train" and not {"--resume", "--fork"} & set(words)
    return [*words, *COMMON, *OWN[words[1]]] if new else words


def run(words):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(words)
    assert code == 0, f"memorax {' '.join(words)}: {out.getvalue()}"


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in offline(tmp_path).items():
        monkeypatch.setenv(name, value)
    for words in commands(PAGE.read_text()):
        needed = [NEEDS[word] for word in words if words[0] == "log" and word in NEEDS]
        if all(importlib.util.find_spec(library) is not None for library in needed):
            run(small(words))
    runs = {path.name for path in Path("runs").iterdir()}
    assert runs == {"live", "maze", "enough", "adamw", "cosine", "dqn", "first", "second", "longer", "logged"}
    assert any("eval/return" in row for row in read_rows(Path("runs/live/metrics.jsonl")))
    assert json.loads(Path("runs/live/evaluation.json").read_text())["step"] > 0
    assert load_config("runs/first").history[0]["after"] == {"learning_rate": 1e-4, "entropy_coefficient": 0}
    assert load_config("runs/longer").env_options == {"length": 40}
    assert load_config("runs/longer").fork == "runs/maze"
    assert "schedules/entropy_coefficient" in read_rows(Path("runs/cosine/metrics.jsonl"))[-1]

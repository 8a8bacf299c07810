"""The commands of the pages about finished runs do what they say, at small sizes and in their order."""

import importlib.util
from pathlib import Path

import pytest
from tests.docs.test_documentation import ROOT, commands
from tests.docs.test_training_page import run, small

FIRST = ["train", "ppo", "--out", "runs/first"]
WRITTEN = {
    "play": ["runs/first/play.gif", "film.mp4", "runs/cartpole/learning_curve.png"],
    "export": ["exported/policy.stablehlo", "exported-onnx/policy.onnx", "parameters/parameters.safetensors"],
    "diagnostics": ["runs/chain/diagnosis.json", "runs/chain/diagnosis.png"],
    "reports": ["runs/gru/summary.json", "runs/mlp/summary.json", "report.html"],
}
"""What there is after the commands of a page, other than that of libraries that are not installed."""
NEEDS = {
    "film.mp4": "imageio_ffmpeg",
    "exported": "flatbuffers",
    "exported-onnx": "onnxruntime",
    "parameters": "safetensors",
    "pendulum": "brax",
    "cartpole": "gymnasium",
}
"""Libraries, by a part of the paths that only they are needed for."""


def installed(path):
    """Whether what a path needs is there."""
    needed = [library for part, library in NEEDS.items() if part in Path(path).parts]
    return all(importlib.util.find_spec(library) is not None for library in needed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of pictures without pygame, and of Brax
@pytest.mark.parametrize("page", WRITTEN)
def test_the_commands_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = commands((ROOT / "docs" / f"{page}.md").read_text())
    begun = any("runs/first" in words for words in found)
    for words in [FIRST, *found] if begun else found:
        if all(installed(word) for word in words):
            run(small(words))
    missing = [path for path in WRITTEN[page] if installed(path) and not (tmp_path / path).is_file()]
    assert not missing

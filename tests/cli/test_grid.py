"""Several values of an option: every combination, side by side."""

import json

import pytest
from tests.experiment.fake_agent import FakeAgent

from memorax.cli import main
from memorax.cli.grid import combinations, is_grid
from memorax.cli.refusal import Refusal
from memorax.experiment import load_config
from memorax.experiment.loggers import read_rows
from memorax.experiment.run import train as training
from memorax.experiment.run import train_many as many


def test_only_several_numbers_make_a_grid():
    assert is_grid(["ppo", "--learning-rate", "1e-4,3e-4"])
    assert is_grid(["--gamma=0.9,0.99"])
    for words in (["--learning-rate", "1e-4"], ["--env-options", "name=a,b"], ["--out", "runs/a,b"], ["--import=a,b"]):
        assert not is_grid(words)


def test_every_combination_has_a_command_line_and_a_name():
    found = combinations(["dqn", "--learning-rate", "1e-4,3e-4", "--gamma=0.9,0.99", "--seeds", "2"])
    assert list(found) == [
        "learning_rate=1e-4,gamma=0.9",
        "learning_rate=1e-4,gamma=0.99",
        "learning_rate=3e-4,gamma=0.9",
        "learning_rate=3e-4,gamma=0.99",
    ]
    assert found["learning_rate=3e-4,gamma=0.9"] == ["dqn", "--learning-rate", "3e-4", "--gamma=0.9", "--seeds", "2"]
    with pytest.raises(Refusal, match=r"every combination must be given once, got gamma=0.9 twice"):
        combinations(["--gamma", "0.9,0.9"])
    with pytest.raises(Refusal, match=r"a grid must have at most 1024 combinations"):
        combinations(["--gamma", ",".join(str(i / 2000) for i in range(1025))])


@pytest.fixture
def agent(monkeypatch):
    """The stand-in, in place of what the configuration asks for; no curves are drawn."""
    agent = FakeAgent()
    for module in (training, many):
        monkeypatch.setattr(module, "build_agent", lambda config: agent)
    final = {"mean": 0.5, "mean_interval_95": None, "runs": 1}
    monkeypatch.setattr(training, "write_summary", lambda *args: {"final": {"episode/return": final}})
    return agent


def test_a_grid_is_trained_and_resumed_by_its_folder(agent, tmp_path, capsys):
    base = tmp_path / "grid"
    options = ["ppo", "--steps", "120", "--seeds", "1", "--log-every", "24", "--out", str(base)]
    assert main(["train", *options, "--learning-rate", "1e-4,3e-4", "--gamma", "0.9,0.99"]) == 0
    names = sorted(path.name for path in base.iterdir())
    assert names == sorted(combinations(["--learning-rate", "1e-4,3e-4", "--gamma", "0.9,0.99"]))
    config = load_config(base / "learning_rate=3e-4,gamma=0.9")
    assert (config.learning_rate, config.hyperparameters.gamma) == (3e-4, 0.9)
    out = capsys.readouterr().out
    assert "final episode returns" in out
    assert out.count("gamma=0.99 ") >= 2
    assert main(["train", "--resume", "--out", str(base), "--set", "gamma=0.5", "--steps", "240"]) == 0
    assert "resuming from step 120 with gamma=0.5 instead of 0.9" in capsys.readouterr().out
    for name in names:
        stored = json.loads((base / name / "config.json").read_text())
        assert stored["history"][0]["after"] == {"gamma": 0.5}
        assert stored["steps"] == 240
        assert read_rows(base / name / "metrics.jsonl")[-1]["step"] == 240
    assert main(["train", "--resume", "--out", str(base), "--gamma", "0.1"]) == 2
    assert "`gamma` must be 0.5 to resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-steps", "32,64"], "`num_steps` must have one value: it decides about the program"),
        (["--gamma", "0.9,1.5"], "`gamma` must be in"),
        (["--gamma", "0.9,0.5", "--devices", "2"], "`--devices` is for one run"),
    ],
)
def test_what_cannot_be_a_grid_is_refused(options, message, tmp_path, capsys):
    assert main(["train", "ppo", "--out", str(tmp_path / "run"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

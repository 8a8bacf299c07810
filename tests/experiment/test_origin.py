"""Configuration, metrics and checkpoints of a run belong together: what does not fit is refused, and left as it is."""

import io
import json
import shutil

import pytest
from rich.console import Console
from tests.experiment.fake_agent import FakeAgent, config

from memorax.experiment import load_config, train
from memorax.experiment.run import checkpoint, origin
from memorax.experiment.run import train as training

CONSOLE = Console(file=io.StringIO())


@pytest.fixture
def run(tmp_path, monkeypatch):
    agent = FakeAgent()
    monkeypatch.setattr(training, "build_agent", lambda config: agent)
    monkeypatch.setattr(training, "write_summary", lambda *_: {})
    train(config(), tmp_path / "run", console=CONSOLE)
    return tmp_path / "run"


def resume(folder):
    return train(load_config(folder), folder, resume=True, console=CONSOLE)


def edit(folder, **fields):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    for name, value in fields.items():
        (content if name in content else content["hyperparameters"])[name] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("fields", [{"learning_rate": 0.5}, {"seed": 8}, {"max_grad_norm": 9.0}, {"gamma": 0.5}])
def test_an_edited_configuration_is_refused(run, fields):
    edit(run, **fields)
    with pytest.raises(ValueError, match=f"`{next(iter(fields))}` of checkpoint .* is .* in config.json"):
        resume(run)


def test_how_often_it_is_saved_may_be_edited(run):
    edit(run, checkpoint_every=1_000_000)
    assert resume(run).signal is None


def test_a_renamed_checkpoint_is_refused(run):
    older, newer = checkpoint.complete(run / "checkpoints")[-2:]
    older_name = int(older.name)
    newer.rename(run / "moved")
    older.rename(newer)
    with pytest.raises(ValueError, match=f"got one of step {older_name:,}; it was renamed"):
        resume(run)


def test_missing_metrics_are_refused_and_left(run):
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=rf"must have {len(lines)} rows up to checkpoint .*, got {len(lines) - 1}"):
        resume(run)
    assert path.read_text() == "".join(lines[:-1])


def test_other_versions_are_a_warning(run, monkeypatch):
    monkeypatch.setattr(origin, "_versions", lambda: {"jax": "0.0.1", "memorax": "9"})
    session = training.prepare(load_config(run), run, resume=True)
    session.close()
    assert any("jax" in text and "0.0.1" in text for text in session.warnings)


ODD = [
    *(b"{}\n", b"\xff\n", b"[]\n", b"7\n", b"\n", b'{"step": 1}\n'),
    *(b'{"step": "1", "seed": 0}\n', b'{"step": 1.5, "seed": 0}\n', b'{"step": true, "seed": 0}\n'),
    *(b'{"step": -1, "seed": 0}\n', b'{"step": 1, "seed": null}\n', b'{"step": 1, "seed": 0, "x": "1"}\n'),
    *(b'{"step": 1, "seed": 0, "x": NaN}\n', b'{"step": 1, "seed": 0, "episode/return": 1.0, "episode/count": 1.5}\n'),
]


@pytest.mark.parametrize("line", ODD)
def test_odd_lines_of_metrics_are_named(run, line):
    path = run / "metrics.jsonl"
    number = path.read_bytes().count(b"\n") + 1
    with path.open("ab") as file:
        file.write(line)
    with pytest.raises(ValueError, match=rf"line {number} of .*metrics.jsonl must"):
        resume(run)


def test_hyperparameters_of_another_kind_are_refused(run):
    path = run / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hyperparameters": []}))
    with pytest.raises(ValueError, match=r"`hyperparameters` in .* must map names to values"):
        load_config(run)


def test_lost_checkpoints_are_refused_and_metrics_left(run):
    shutil.rmtree(run / "checkpoints")
    (run / "summary.json").unlink(missing_ok=True)
    before = (run / "metrics.jsonl").read_text()
    with pytest.raises(ValueError, match=r"must hold a checkpoint to be resumed, got metrics up to step"):
        resume(run)
    assert (run / "metrics.jsonl").read_text() == before

"""`memorax train --population`: members that copy each other, stopped, resumed and reported."""

import json
import signal

import pytest
from tests.experiment.test_population import Climber, use

from memorax.cli import main
from memorax.experiment import load_config
from memorax.experiment.population import train as population_training
from memorax.experiment.population.figure import plot_population
from memorax.experiment.population.rounds import Rounds
from memorax.experiment.run import train as training

OPTIONS = ["ppo", "--steps", "144", "--seeds", "4", "--log-every", "12", "--checkpoint-every", "24"]
POPULATION = ["--population", "learning_rate=log_uniform:1e-3,1", "--exchange-every", "24"]


@pytest.fixture
def agent(monkeypatch):
    """The stand-in, in place of what the configuration asks for."""
    use(monkeypatch, Climber())
    final = {"mean": 0.5, "mean_interval_95": None, "runs": 1}
    monkeypatch.setattr(training, "write_summary", lambda *args: {"final": {"episode/return": final}})
    monkeypatch.setattr(population_training, "plot_population", plot_population)


def test_a_population_is_trained_stopped_resumed_and_reported(agent, tmp_path, capsys, monkeypatch):
    base, before = tmp_path / "pop", Rounds.before

    def stop(self, lanes, parts):
        before(self, lanes, parts)
        if self.sessions[0].step == 48:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Rounds, "before", stop)
    assert main(["train", *OPTIONS, *POPULATION, "--out", str(base)]) == 128 + signal.SIGTERM
    assert f"stopped and saved at step 60; resume with: memorax train --resume --out {base}" in capsys.readouterr().out
    assert main(["train", "--resume", "--out", str(base)]) == 0
    out = capsys.readouterr().out
    assert "member-03: resuming from step 60" in out
    assert "copies member-" in out
    assert "final episode returns" in out
    assert (base / "population.png").stat().st_size > 10_000
    content = json.loads((base / "population.json").read_text())
    assert (content["every"], content["space"]) == (24, {"learning_rate": {"log_uniform": [1e-3, 1.0]}})
    copies = [change for i in range(4) for change in load_config(base / f"member-{i:02d}").history]
    assert copies
    assert main(["report", str(base), "--out", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert f"Population {base.name}" in page
    assert f"all {len(copies)} copies" in page
    assert main(["plot", str(base / "member-00"), "--out", str(tmp_path / "one.png")]) == 0
    assert main(["plot", str(base), "--out", str(tmp_path / "all.png")]) == 0
    assert main(["train", "--resume", "--out", str(base), "--steps", "168"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--exchange-every", "24"], "`--exchange-every` needs `--population`, got it alone"),
        ([*POPULATION[:2], "--exchange-every", "0"], "`every` must be at least 1 or None, got 0"),
        ([*POPULATION, "--seeds", "1"], "`seeds` must be at least 2 for a population"),
        ([*POPULATION, "--devices", "2"], "`--devices` is for one run, got it with a population"),
        (
            [*POPULATION, "--gamma", "0.9,0.99"],
            "`--population` is for one run, got it with several values",
        ),
        (["--population", "learning_rate=choice:1,2"], "`learning_rate` of `space` must have bounds"),
        (["--population", "num_steps=uniform:1,2"], "`space` must be of real numbers that the run has in its state"),
    ],
)
def test_what_cannot_be_a_population_is_refused(options, message, agent, tmp_path, capsys):
    assert main(["train", *OPTIONS, "--out", str(tmp_path / "pop"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "pop").exists()

import re

import pytest
from tests.cli.test_cli import run
from tests.experiment.sweep.sweeps import SPACE, begin, small_sweep

from memorax.experiment.sweep import Choice, Trial, write_sweep_report
from memorax.experiment.sweep.figures import height
from memorax.experiment.sweep.trials import write_trial


def fill(folder, config):
    """A sweep with trials in all states, and a best one that was lucky."""
    sweep = begin(folder, config)
    sweep.add_random()
    states = ["complete", "complete", "pruned", "failed", "complete", "running", "complete"]
    values = [9.0, 7.0, 1.0, None, 5.0, None, 3.0]
    for trial, state, value in zip(sweep.trials(), states, values, strict=True):
        known = () if value is None else (value,) * len(config.metric)
        error = "<b>num_minibatches</b> must divide" if state == "failed" else None
        write_trial(folder, Trial(name=trial.name, parameters=trial.parameters, state=state, values=known, error=error))
    best = sweep.trials()[0]
    again = Trial(
        name="fresh/0000",
        parameters=best.parameters,
        state="complete",
        values=(6.0,),
        per_seed=(5.0, 6.0, 7.0),
        step=2560,
    )
    write_trial(folder, again)
    return best


@pytest.fixture
def sweep(tmp_path):
    config = small_sweep(space=SPACE | {"model": Choice(("gru", "mlp"))}, trials=7)
    fill(tmp_path / "sweep", config)
    return tmp_path / "sweep"


def section(page, name):
    return re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)[0]


def test_the_best_are_told_by_their_fresh_seeds(sweep, tmp_path):
    page = write_sweep_report(sweep, tmp_path / "sweep.html").read_text()
    best = section(page, "best")
    rows = re.findall(r"<tr.*?</tr>", best, re.DOTALL)[1:]
    assert "trials/0000" in rows[0]
    assert re.search(r"6\.000 \[5\.\d+,\s7\.\d+\]", rows[0])
    assert [re.search(r"trials/\d+", row)[0] for row in rows] == [f"trials/{i:04d}" for i in (0, 1, 4, 6)]


def test_everything_that_was_tried_is_there(sweep, tmp_path):
    page = write_sweep_report(sweep, tmp_path / "sweep.html").read_text()
    trials = section(page, "trials")
    for state in ("complete", "pruned", "running"):
        assert f"<td>{state}</td>" in trials
    assert "failed: &lt;b&gt;num_minibatches&lt;/b&gt; must divide" in trials
    assert "4 complete, 1 pruned, 1 failed, 1 running" in section(page, "sweep")
    assert page.count("data:image/png") >= 2
    assert "http://" not in page
    assert "https://" not in page


def test_a_sweep_that_has_just_begun_has_a_report(tmp_path):
    begin(tmp_path / "sweep", small_sweep()).add_random()
    page = write_sweep_report(tmp_path / "sweep", tmp_path / "sweep.html").read_text()
    assert "no trial is complete yet" in page
    assert "needs at least 4 complete trials" in page


def test_importance_needs_optuna_and_says_so(sweep, tmp_path, monkeypatch):
    from memorax.experiment.sweep import report

    def missing(config, trials):
        raise ImportError('engine optuna needs optuna, which is not installed; run `pip install "memorax[optuna]"`')

    monkeypatch.setattr(report, "importance", missing)
    page = write_sweep_report(sweep, tmp_path / "sweep.html").read_text()
    assert 'pip install "memorax[optuna]"' in section(page, "importance")


def test_several_metrics_have_a_figure_of_their_front(tmp_path):
    metrics = {"metric": ("episode/return", "losses/entropy"), "engine": "optuna"}
    fill(tmp_path / "sweep", small_sweep(trials=7, **metrics))
    page = write_sweep_report(tmp_path / "sweep", tmp_path / "sweep.html").read_text()
    assert "losses/entropy over episode/return" in page


def test_places_on_the_axes():
    assert height(SPACE["learning_rate"], 1e-3) == pytest.approx(0.5)
    assert height(SPACE["gamma"], 0.9) == 0.0
    assert [height(Choice(("a", "b", "c")), value) for value in "abc"] == [0.0, 0.5, 1.0]


def test_the_command_knows_a_sweep(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("report", str(sweep), "--out", "sweep.html")
    assert code == 0
    assert "report: sweep.html" in out
    assert "Parallel coordinates" in (tmp_path / "sweep.html").read_text()
    code, _, err = run("report", str(sweep), str(sweep / "trials" / "0000"))
    assert code == 2
    assert "one sweep alone" in err


def test_other_files_are_refused(sweep, tmp_path):
    with pytest.raises(ValueError, match=r"\.html"):
        write_sweep_report(sweep, tmp_path / "sweep.pdf")
    with pytest.raises(ValueError, match=r"sweep\.json"):
        write_sweep_report(tmp_path, tmp_path / "sweep.html")

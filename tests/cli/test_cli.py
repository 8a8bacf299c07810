import contextlib
import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.experiment.fake_agent import FakeAgent

import memorax
from memorax.algorithms import ALGORITHMS, PPOConfig
from memorax.cli import main
from memorax.cli.output import print_result
from memorax.cli.train import train_options
from memorax.experiment import RunConfig, default_run, evaluate, load_config, plot_runs, train
from memorax.experiment.loggers import read_rows
from memorax.experiment.report.statistics import summarize
from memorax.experiment.run import checkpoint

TINY = [
    *("--env", "memory::RepeatPreviousEasy"),
    *("--features", "7"),
    *("--num-envs", "4"),
    *("--num-steps", "16"),
    *("--num-minibatches", "2"),
    *("--update-epochs", "1"),
    *("--seeds", "2"),
    *("--steps", "1_280"),
    *("--log-every", "320"),
]


def run(*arguments):
    """Exit code, standard output and standard error of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as exit:  # tyro's own
            code = exit.code
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run in its default place, and what was printed about it."""
    folder = tmp_path_factory.mktemp("work")
    before = os.getcwd()
    os.chdir(folder)
    try:
        code, out, err = run("train", *TINY)
    finally:
        os.chdir(before)
    assert (code, err) == (0, "")
    return folder / "runs" / "ppo-memory-RepeatPreviousEasy-gru", out


def assert_refused(result, *parts):
    code, _, err = result
    assert code == 2
    assert err.count("\n") == 1, "one line, no traceback"
    for part in parts:
        assert part in err


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_help_has_every_field_with_its_docstring(algorithm, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    code, out, _ = run("train", algorithm, "--help")
    assert code == 0
    for cls in (RunConfig, ALGORITHMS.get(algorithm)[1]):
        for field in dataclasses.fields(cls):
            name = {"loggers": "logger", "imports": "import"}.get(field.name, field.name).replace("_", "-")
            assert re.search(rf"--{name}[ ,]", out) or name in ("algorithm", "hyperparameters", "history")
    for words in ("Discount factor per step", "Number of random seeds", "--no-share-trunk", "--resume", "--out"):
        assert words in out
    assert "run.hyperparameters" not in out
    # A string below a field is one paragraph of the help, wherever its lines end in the source.
    assert "rounded down to whole updates. (default:" in out
    assert "are known by name. May be given several times." in out


def test_help_of_a_plain_command_has_whole_paragraphs(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    code, out, _ = run("benchmark", "--help")
    assert (code, "`length-observation`, `credit`, `classic` or `speed`." in out) == (0, True)


def test_help_and_version_need_no_jax():
    code = "import sys; from memorax.cli import main; main(sys.argv[1:]); sys.exit('jax' in sys.modules)"
    for arguments in (["--help"], ["--version"]):
        begin = time.perf_counter()
        result = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
        assert time.perf_counter() - begin < 5.0
        assert "usage: memorax" in result.stdout or arguments == ["--version"]


@pytest.mark.parametrize("what", ["environments", "models", "algorithms"])
def test_list_names_everything(what):
    code, out, _ = run("list", what)
    assert code == 0
    for name in {"environments": ["memory::RepeatPreviousEasy", "gymnax"], "models": ["gru"], "algorithms": ["ppo"]}[
        what
    ]:
        assert name in out


def test_a_library_with_many_environments_is_listed_in_full_when_asked(monkeypatch):
    names = tuple(f"Task{i}-v0" for i in range(1650))
    monkeypatch.setattr("memorax.environments.libraries.names_of", lambda namespace: names)
    code, out, _ = run("list", "environments")
    assert (code, "Task59-v0" in out, "Task60-v0" in out) == (0, True, False)
    assert "and 1,590 more: memorax list environments --library gymnasium" in " ".join(out.split())
    code, out, _ = run("list", "environments", "--library", "gymnasium")
    assert (code, "Task1649-v0" in out, "RepeatPreviousEasy" in out, "more" in out) == (0, True, False, False)
    assert_refused(run("list", "models", "--library", "gymnasium"), "`--library` must be given with `memorax list env")
    assert_refused(run("list", "environments", "--library", "gymnasiun"), "unknown adapter `gymnasiun`; nearest: gymn")
    monkeypatch.setattr("memorax.environments.libraries.names_of", lambda namespace: ())
    assert_refused(run("list", "environments", "--library", "gymnasium"), "`library` must be one that names its env")


def test_a_warning_is_a_line_of_its_own(capsys, monkeypatch):
    monkeypatch.setattr("warnings.formatwarning", warnings.formatwarning)
    run("list", "algorithm")
    form = warnings.formatwarning
    assert form("pygame is missing", UserWarning, memorax.__file__, 3) == "memorax: warning: pygame is missing\n"
    assert "DeprecationWarning" in form("old", DeprecationWarning, memorax.__file__, 3)
    assert "UserWarning" in form("theirs", UserWarning, "/elsewhere/code.py", 3)


def test_models_are_listed_without_compiling_them(monkeypatch):
    monkeypatch.setattr(
        "memorax.experiment.report.costs.measure_costs", lambda name: pytest.fail(f"{name} is compiled")
    )
    code, out, _ = run("list", "models")
    assert (code, "mamba2" in out) == (0, True)


def test_what_is_misspelt_is_answered_with_what_is_near(here):
    assert_refused(run("trian"), "unknown command `trian`; nearest: train; known: train, sweep, evaluate")
    assert_refused(run("list", "model"), "unknown list `model`; nearest: models")
    assert_refused(run("train", "pppo"), "unknown algorithm `pppo`; nearest: ppo")
    assert_refused(run("train", "--env", "memory::RepeatPreviousEasi"), "nearest: memory::RepeatPreviousEasy")
    assert_refused(run("train", "--model", "gruu"), "unknown memory model `gruu`; nearest: gru")
    assert_refused(run("train", "--env", "memory::Nothing"), "in all; `memorax list environments` shows them")
    assert_refused(run("train", "--env", "CartPole-v1"), "did you mean `gymnax::CartPole-v1`")
    assert_refused(run("train", "--lr", "0.1"), "unknown option `--lr`; did you mean `--learning-rate`")
    assert_refused(run("train", "--n_envs=3"), "unknown option `--n_envs`; did you mean `--num-envs`")
    assert_refused(run("train", "--logger", "tensorbord"), "unknown logger `tensorbord`; nearest: tensorboard")
    assert not list(here.iterdir())


def test_an_unknown_option_is_answered_with_what_is_near(here):
    code, _, err = run("train", "--stesp", "3")
    assert code == 2
    assert "--steps" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--num-envs 6 --num-minibatches 4", "`num_minibatches` (4) must divide `num_envs` (6)"),
        ("--steps 10", "`steps` must be at least one update"),
        ("--env memory::TMaze --env-options lenth=3", "`lenth` is not an argument of `memory::TMaze`"),
        ("--env memory::TMaze --env-options length=0", "`length` must be at least 1, got 0"),
        ("--resume --out empty", "empty must be a run's folder, got one without config.json"),
        ("--resume", "runs/ppo-memory-RepeatPreviousEasy-gru must be a run's folder"),
        ("--out file/run", "`out` must be a folder that can be written to, got file/run (Not a directory)"),
        ("--out full", "`out` must be an empty or a new folder, got full, which holds something"),
    ],
)
def test_what_cannot_be_done_is_refused(here, options, message):
    (here / "empty").mkdir()
    (here / "full").mkdir()
    (here / "full" / "thesis.txt").touch()
    (here / "file").touch()
    assert_refused(run("train", *options.split()), message)


@pytest.mark.parametrize(
    "options",
    [
        *("--features -1", "--num-envs 0", "--seeds 0", "--learning-rate -1", "--gamma 2"),
        # At once, not after a search through as many numbers.
        *(f"{name} 1e20" for name in ("--steps", "--seeds", "--num-envs", "--features", "--num-steps", "--warmup")),
    ],
)
def test_sizes_out_of_range_are_refused(here, options):
    name = options.split()[0].strip("-").replace("-", "_")
    assert_refused(run("train", *options.split()), f"memorax: `{name}` must be")


@pytest.mark.parametrize("value", ["1.5", "1e1000000000", "nan", "inf", "many", "1e-3"])
def test_what_is_no_integer_is_refused(here, value):
    code, _, err = run("train", "--steps", value)
    assert code == 2
    assert f"Error parsing --steps: must be an integer such as 50_000 or 1e6, got {value}" in " ".join(err.split())


@pytest.mark.parametrize("number", ["2e3", "2_000", "2000", "2.0e3", "2000.0"])
def test_integers_are_read_as_they_are_written(number):
    options = [f"--steps={number}", "--log-every", number, "--num-envs=4e0", "--num-minibatches=1"]
    config, _, _ = train_options(options)
    assert (config.steps, config.log_every, config.hyperparameters.num_envs) == (2000, 2000, 4)
    assert {type(x) for x in (config.steps, config.log_every, config.hyperparameters.num_envs)} == {int}


def test_one_seed_has_no_interval(capsys):
    print_result(summarize(np.array([-0.5031])))
    assert capsys.readouterr().out == "mean episode return -0.503 (1 seed; a confidence interval needs several)\n"


def test_a_folder_may_be_a_string(here, monkeypatch):
    monkeypatch.setattr("memorax.experiment.run.train.build_agent", lambda config: FakeAgent())
    config = dataclasses.replace(default_run(), steps=120, seeds=2)
    outcome = train(config, "runs/x", console=Console(file=io.StringIO()))
    assert (here / "runs" / "x" / "summary.json").exists()
    assert outcome.folder == Path("runs/x")
    assert load_config("runs/x").steps == 120
    plot_runs(["runs/x"], "curve.png")
    with pytest.raises(ValueError, match="missing must be a run's folder"):
        evaluate("missing")


@pytest.mark.parametrize("python", [False, True])
def test_no_diagnosis_is_proposed_where_the_environment_runs_in_python(here, monkeypatch, python):
    monkeypatch.setattr("memorax.experiment.run.train.build_agent", lambda config: FakeAgent())
    monkeypatch.setattr("memorax.experiment.run.python_environments.in_python", lambda agent: python)
    code, out, _ = run("train", "--steps", "120", "--seeds", "1", "--out", "runs/some")
    assert (code, "memorax play" in out, "memorax diagnose" in out) == (0, True, not python)


def test_a_run_ends_with_its_curve(trained):
    folder, out = trained
    assert out.splitlines()[0] == (
        "ppo with gru on memory::RepeatPreviousEasy, 2 seeds -> runs/ppo-memory-RepeatPreviousEasy-gru"
    )
    assert "learning curve: runs/ppo-memory-RepeatPreviousEasy-gru/learning_curve.png" in out.splitlines()
    assert "mean episode return -" in out
    assert "(95 % interval over 2 seeds)" in out
    # What to do next, as commands that can be copied.
    run_folder = "runs/ppo-memory-RepeatPreviousEasy-gru"
    for command in (
        f"evaluate {run_folder}",
        f"play {run_folder}",
        f"report {run_folder}",
        f"train --resume --out {run_folder} --steps 2_560",
    ):
        assert f"  memorax {command} " in out
    assert (folder / "learning_curve.png").stat().st_size > 10_000


def test_options_reach_the_run(trained):
    config = load_config(trained[0])
    assert config.hyperparameters == PPOConfig(num_envs=4, num_steps=16, num_minibatches=2, update_epochs=1)
    assert (config.steps, config.seeds, config.features) == (1280, 2, 7)


def test_a_second_run_does_not_touch_the_first(trained, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder.parents[1])
    monkeypatch.setattr("memorax.experiment.run.train.build_agent", lambda config: FakeAgent())
    before = (folder / "metrics.jsonl").read_bytes()
    _, out, _ = run("train", "--steps", "120", "--log-every", "60")
    assert f"-> runs/{folder.name}-2" in out
    assert (folder / "metrics.jsonl").read_bytes() == before
    assert read_rows(folder.with_name(f"{folder.name}-2") / "metrics.jsonl")[-1]["step"] == 120


def test_a_finished_run_needs_no_options_to_be_resumed(trained, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder.parents[1])
    code, out, _ = run("train", "--resume", "--out", f"runs/{folder.name}")
    assert (code, "resuming from step 1,280" in out) == (0, True)
    assert_refused(
        run("train", "--resume", f"--out=runs/{folder.name}", "--gamma", "0.5"), "`gamma` must be 0.99 to resume"
    )


def test_the_same_command_goes_on_by_resume(here, monkeypatch):
    monkeypatch.setattr("memorax.experiment.run.train.build_agent", lambda config: FakeAgent())
    command = ["train", "--steps", "120", "--log-every", "70", "--out", "run", "--env-options", "loud=true", "k=3"]
    assert run(*command)[0] == 0
    config = load_config(here / "run")
    assert (config.log_every, config.env_options) == (60, {"loud": True, "k": 3})
    for again in (command, ["train", "--out", "run"]):
        code, out, err = run(*again, "--resume")
        assert (code, err) == (0, "")
        assert "ppo with gru on memory::RepeatPreviousEasy k=3 loud=true, 4 seeds -> run" in out
    assert_refused(
        run("train", "--resume", "--out", "run", "--env-options", "k=4"), "`env_options` must be {'loud': True, 'k': 3}"
    )


def test_options_of_the_environment_name_the_folder(here, monkeypatch):
    monkeypatch.setattr("memorax.experiment.run.train.build_agent", lambda config: FakeAgent(endless=True))
    code, out, err = run(
        "train", "--env", "memory::TMaze", "--env-options", "length=9", "--steps", "24", "--log-every", "12"
    )
    assert (code, err) == (0, "")
    assert (here / "runs" / "ppo-memory-TMaze-length=9-gru" / "config.json").exists()
    assert "no episode ended, so there is no learning curve; train longer" in out.splitlines()


def test_evaluate_plays_whole_episodes(trained):
    folder, _ = trained
    code, out, _ = run("evaluate", str(folder), "--episodes", "3")
    assert code == 0
    result = json.loads((folder / "evaluation.json").read_text())
    assert result["episodes"] == [3, 3]
    assert result["step"] == 1280
    for value in result["length"]["per_seed"].values():
        assert value == 51.0
    for value in result["return"]["per_seed"].values():
        assert -1.0 <= value <= 1.0
        assert f"{value:.3f}" in out


def test_evaluate_samples_where_it_is_asked_to(trained):
    folder, _ = trained
    results = {}
    for flags in ((), ("--deterministic",), ("--stochastic",)):
        code, out, _ = run("evaluate", str(folder), "--episodes", "3", *flags)
        assert code == 0
        results[flags] = json.loads((folder / "evaluation.json").read_text())
        policy = "stochastic" if "--stochastic" in flags else "deterministic"
        assert results[flags]["policy"] == policy
        assert f"{policy} policy" in out
    greedy, same, sampled = (result["return"]["per_seed"] for result in results.values())
    assert greedy == same != sampled
    code, _, err = run("evaluate", str(folder), "--stochastic", "--deterministic")
    assert code == 2
    assert "--stochastic" in err


def test_evaluate_and_plot_refuse_what_is_no_run(here):
    (here / "empty").mkdir()
    assert_refused(run("evaluate", "empty"), "empty must be a run's folder")
    assert_refused(run("plot", "missing"), "missing must be a run's folder")
    assert_refused(run("plot"), "`memorax plot` needs the folder of at least one run")
    assert_refused(run("evaluate", "empty", "--episodes", "0"), "`episodes` must be at least 1, got 0")
    assert_refused(run("evaluate", "empty", "--max-steps", "0"), "`max_steps` must be at least 1, got 0")
    assert_refused(run("plot", "missing", "--out", "curve"), "`out` must end in one of")


def test_plot_draws_runs_side_by_side(trained, here):
    folder, _ = trained
    code, out, _ = run("plot", str(folder), str(folder), "--out", "both.png", "--statistic", "iqm")
    assert (code, out) == (0, "learning curve: both.png\n")
    assert (here / "both.png").read_bytes().startswith(b"\x89PNG")


def test_a_seed_alone_learns_what_it_learns_beside_others(trained, here):
    folder, _ = trained
    assert run("train", *TINY, "--seeds", "1", "--seed", "1", "--out", "alone")[0] == 0
    beside = [row for row in read_rows(folder / "metrics.jsonl") if row["seed"] == 1]
    alone = read_rows(here / "alone" / "metrics.jsonl")
    assert [row["episode/return"] for row in alone] == pytest.approx(
        [row["episode/return"] for row in beside], abs=1e-6
    )
    # Matrix products of one and of several seeds are added up in another order.
    for a, b in zip(alone, beside, strict=True):
        assert {n: x for n, x in a.items() if n.startswith("losses/")} == pytest.approx(
            {n: x for n, x in b.items() if n.startswith("losses/")}, rel=1e-3, abs=1e-5
        )


def test_divergence_is_reported(here, monkeypatch):
    monkeypatch.setattr("memorax.experiment.run.train.build_agent", lambda config: FakeAgent(breaks_at=24))
    code, _, err = run("train", "--steps", "120", "--log-every", "24", "--out", "bad")
    assert (code, err.count("\n")) == (1, 1)
    assert "`losses/move` of seed 0 became NaN or infinite in update 3 (step 36)" in err


@pytest.mark.slow
def test_divergence_of_an_agent_is_found(here):
    code, _, err = run("train", *TINY, "--learning-rate", "1e38", "--out", "bad")
    assert code == 1
    assert err.count("\n") == 1
    assert "became NaN or infinite in update" in err
    assert "there is no checkpoint before it" in err
    assert checkpoint.complete(here / "bad" / "checkpoints") == []
    assert all(np.isfinite(list(row.values())).all() for row in read_rows(here / "bad" / "metrics.jsonl"))

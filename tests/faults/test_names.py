"""Names that are odd: in figures, on the terminal, on the command line; and results that cannot be written."""

import contextlib
import errno
import io
import os

import pytest
from matplotlib.figure import Figure
from rich.console import Console
from tests.experiment.fake_agent import config
from tests.experiment.test_plot import RETURNS, write_run

from memorax.cli import main
from memorax.core.text import printable
from memorax.experiment import evaluate, evaluation, load_config, plot_runs
from memorax.experiment.report.plot import draw, make_curve
from memorax.experiment.run.display import Lines

RED = "\x1b[31mred"


def run(*arguments):
    """Exit code, standard output and standard error of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("name", ["_x", "$x^$", "a$", "_$x_{$", RED, "\x9b31m", "\u202egnp.x"])
def test_a_run_of_any_name_is_drawn_and_has_its_entry(tmp_path, name):
    folders = [write_run(tmp_path / name, RETURNS), write_run(tmp_path / "other", RETURNS)]
    curves = plot_runs(folders, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    axes = Figure(layout="constrained").add_subplot()
    draw(axes, curves, [load_config(folder) for folder in folders], "mean")
    shown = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert shown[:2] == [f"{printable(name)} (3 seeds)", "other (3 seeds)"]
    assert all(text.isprintable() for text in shown)


def test_a_task_of_any_name_is_a_title():
    axes = Figure().add_subplot()
    rows = [{"step": 1, "seed": 0, "episode/return": 1.0}]
    draw(axes, [make_curve(rows, "a")], [config(env="mine::$x^$")], "mean")
    assert axes.get_title() == "mine::$x^$"
    axes.figure.savefig(io.BytesIO())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (RED, r"\x1b[31mred"),
        ("a\x9b31m\rb\x07", r"a\x9b31m\rb\x07"),
        ("a\u202eb\u200b", r"a\u202eb\u200b"),
        ("\udcff", r"\udcff"),
        ("lines\nand\ttabs, café, 記憶", "lines\nand\ttabs, café, 記憶"),
    ],
)
def test_what_speaks_to_a_terminal_is_spelt(text, shown):
    assert printable(text) == shown
    out = io.StringIO()
    Lines(Console(file=out), 3).note(text)
    assert out.getvalue().split() == shown.split()


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", f"runs/{RED}"],
        ["plot", f"runs/{RED}"],
        ["train", "ppo", "--env", f"memory::{RED}"],
        ["train", f"{RED}"],
        ["train", "--resume", "--out", f"{RED}\udcff"],
        ["list", RED],
        [RED],
    ],
)
def test_names_in_messages_do_not_reach_the_terminal(arguments):
    code, out, err = run(*arguments)
    assert code == 2
    assert r"\x1b[31mred" in err
    assert "\x1b" not in out + err
    (out + err).encode()


def test_env_options_given_twice_are_refused():
    for second in (["--env-options", "k=3"], ["--env_options=k=3"]):
        code, _, err = run("train", "ppo", "--env-options", "decks=2", *second)
        assert code == 2
        assert "`--env-options` must be given once, with all names after it" in err


def test_results_are_shown_where_they_cannot_be_written(tmp_path, monkeypatch):
    result = {"step": 7, "episodes": [3], "policy": "deterministic"}
    for name in ("return", "length"):
        result[name] = {"per_seed": {"0": 0.25}, "mean": 0.25, "mean_interval_95": None}

    def read_only(path, content):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(evaluation, "measure", lambda folder, **options: result)
    monkeypatch.setattr(evaluation, "write_json", read_only)
    monkeypatch.setattr("memorax.experiment.run.files.write_json", read_only)
    code, out, err = run("evaluate", str(tmp_path))
    assert code == 1
    assert "mean episode return 0.250" in out
    assert "Read-only file system" in err
    with pytest.warns(RuntimeWarning, match="result of the evaluation is returned, but .*Read-only file system"):
        assert evaluate(tmp_path) == result

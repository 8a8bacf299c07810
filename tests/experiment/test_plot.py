import json

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tests.experiment.fake_agent import config

from memorax.experiment import plot_runs
from memorax.experiment.config_file import save_config
from memorax.experiment.loggers import read_rows
from memorax.experiment.report.plot import Curve, best_return, draw, make_curve


def write_run(folder, returns, **fields):
    """A run with the given returns, `[seeds, points]`; NaN leaves one out."""
    folder.mkdir()
    save_config(folder, config(**fields))
    lines = []
    for point in range(returns.shape[1]):
        for seed in range(returns.shape[0]):
            row = {"step": 100 * (point + 1), "seed": seed, "episode/count": 3}
            if np.isfinite(returns[seed, point]):
                row["episode/return"] = returns[seed, point]
            lines.append(json.dumps(row) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


RETURNS = np.array([[0.0, 1.0, 2.0, 3.0], [0.5, 1.5, np.nan, 3.5], [4.0, 4.0, 8.0, 4.5]])


def test_the_curve_is_what_the_metrics_say(tmp_path):
    folder = write_run(tmp_path / "a", RETURNS)
    (curve,) = plot_runs([folder], tmp_path / "a.png")
    np.testing.assert_array_equal(curve.steps, [100, 200, 300, 400])
    np.testing.assert_allclose(curve.center, np.nanmean(RETURNS, axis=0))
    assert np.all(curve.low <= curve.center)
    assert np.all(curve.center <= curve.high)
    assert (curve.label, curve.seeds) == ("a", 3)


def test_a_picture_is_drawn(tmp_path):
    folders = [
        write_run(tmp_path / "a", RETURNS),
        write_run(tmp_path / "b", RETURNS[:1], env="memory::RepeatFirstEasy"),
    ]
    curves = plot_runs(folders, tmp_path / "curves.png", statistic="iqm")
    picture = (tmp_path / "curves.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
    assert [curve.label for curve in curves] == ["a", "b"]
    assert not list(tmp_path.glob(".*"))


def test_many_runs_are_told_apart_and_the_legend_covers_none(tmp_path):
    folders = [write_run(tmp_path / f"run-{i}", RETURNS + 0.1 * i) for i in range(12)]
    curves = [make_curve(read_rows(folder / "metrics.jsonl"), folder.name) for folder in folders]
    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes, curves, [config()] * 12, "mean")
    figure.canvas.draw()
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines[:12]}
    assert len(looks) == 12
    (legend,) = figure.legends
    assert not legend.get_window_extent().overlaps(axes.get_tightbbox())
    assert figure.bbox.fully_contains(*legend.get_window_extent().min)
    assert figure.bbox.fully_contains(*legend.get_window_extent().max)
    assert axes.get_position().height * figure.get_figheight() > 3.5, "the figure grows by its legend"
    assert [text.get_text() for text in legend.get_texts()][:2] == ["run-0 (3 seeds)", "run-1 (3 seeds)"]


def test_lines_of_several_tasks_are_named():
    curve = Curve("a", *np.zeros((4, 1)), seeds=1)
    figure = Figure(layout="constrained")
    both = [config(env=f"memory::{name}") for name in ("RepeatFirstEasy", "MemoryChain")]
    draw(figure.add_subplot(), [curve, curve], both, "mean")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[2:] == [
        "best with memory (1)",
        "best without memory in RepeatFirstEasy (-0.499)",
        "best without memory in MemoryChain (0)",
    ]


def test_runs_of_the_same_name_are_told_apart(tmp_path):
    for parent in ("x", "y"):
        (tmp_path / parent).mkdir()
    folders = [write_run(tmp_path / parent / "run", RETURNS) for parent in ("x", "y")]
    assert len({curve.label for curve in plot_runs(folders, tmp_path / "curves.png")}) == 2


def test_a_run_without_an_episode_cannot_be_drawn(tmp_path):
    folder = write_run(tmp_path / "a", np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match=r"`episode/return` must have a value .* of a to be plotted, got none"):
        plot_runs([folder], tmp_path / "a.png")


def test_an_unknown_statistic_is_refused():
    with pytest.raises(ValueError, match="`statistic` must be one of mean, iqm, got median"):
        make_curve([], "a", statistic="median")


def test_best_returns_come_from_the_environment():
    assert best_return(config(env="memory::RepeatPreviousEasy"), memory=True) == 1.0
    assert best_return(config(env="memory::RepeatPreviousEasy"), memory=False) < 0.0
    assert best_return(config(env="nowhere::Task"), memory=True) is None
    assert best_return(config(env_options={"nothing": 3}), memory=True) is None


@pytest.mark.parametrize("name", ["curve", "curve.txt", ".png"])
def test_a_picture_without_a_known_suffix_is_refused(tmp_path, name):
    folder = write_run(tmp_path / "a", RETURNS)
    with pytest.raises(ValueError, match=rf"`out` must end in one of .*\.pdf, .*, got .*{name}; write for example "):
        plot_runs([folder], tmp_path / name)
    assert list(tmp_path.iterdir()) == [folder]

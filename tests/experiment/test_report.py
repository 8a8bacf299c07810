"""Reports and comparisons: the statistics against SciPy, and what a page says of runs with awkward names."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tests.experiment.test_plot import write_run

from memorax.experiment import compare_runs, load_results, write_report
from memorax.experiment.changes import apply_changes
from memorax.experiment.report.comparison import differing_fields, score_methods
from memorax.experiment.report.statistics import (
    holm_adjusted,
    interquartile_mean,
    mann_whitney,
    performance_profile,
    probability_of_improvement,
)

RNG = np.random.default_rng(3)
CHAIN = {"env": "memory::MemoryChain", "env_options": {"length": 6}}
AWKWARD = "<script>alert(1)<_script> & $x^$"


def curve(top, seeds=5):
    return top * (1 - np.exp(-np.arange(20) / 5)) + 0.01 * RNG.normal(size=(seeds, 20))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "gru", curve(1.0), seeds=5, model="gru", **CHAIN)
    write_run(root / AWKWARD, curve(0.1), seeds=5, model="mlp", **CHAIN)
    write_run(root / "other", curve(0.9), seeds=5, model="gru", env="memory::RepeatPreviousEasy", env_options={})
    write_run(root / "_other", curve(0.2), seeds=5, model="mlp", env="memory::RepeatPreviousEasy", env_options={})
    write_run(root / "unfinished", np.full((5, 2), np.nan), seeds=5, model="lru", **CHAIN)
    return root


def test_the_probability_of_improvement_is_the_mann_whitney_statistic():
    x, y = RNG.normal(0.3, 1, 12), np.round(RNG.normal(size=9), 1)
    probability, (low, high) = probability_of_improvement(x, y)
    statistic = stats.mannwhitneyu(x, y).statistic
    assert probability == pytest.approx(statistic / (12 * 9))
    assert low < probability < high
    assert probability_of_improvement(np.ones(3), np.ones(3)) == (0.5, (0.5, 0.5))


def test_the_interquartile_mean_is_the_trimmed_mean():
    x = RNG.normal(size=16)
    assert interquartile_mean(x) == pytest.approx(stats.trim_mean(x, 0.25))


def test_p_values_are_adjusted_by_holm():
    assert holm_adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_adjusted([0.9, 0.8]) == [1.0, 1.0]
    assert holm_adjusted([]) == []


def test_equal_scores_surprise_nobody():
    assert mann_whitney(np.ones(4), np.ones(5)) == 1.0
    assert mann_whitney(np.arange(4.0), np.arange(4.0) + 10) == pytest.approx(2 / 70)


def test_profiles_fall_from_one_to_zero():
    scores = RNG.normal(size=(4, 3))
    profile = performance_profile(scores, np.array([-10.0, 0.0, 10.0]))
    assert list(profile) == [1.0, (scores > 0).mean(), 0.0]


def test_pairs_of_the_same_task_are_compared(runs):
    results = load_results([runs / name for name in ("gru", AWKWARD, "other", "unfinished")])
    (pair,) = compare_runs(results)
    assert (pair.first, pair.second, pair.probability) == ("gru", AWKWARD, 1.0)
    assert pair.verdict == f"gru is better than {AWKWARD}"
    assert pair.difference == pytest.approx(0.9 * (1 - np.exp(-19 / 5)), abs=0.05)
    assert pair.p_value == pytest.approx(2 / 252)


def test_few_seeds_decide_nothing(tmp_path):
    write_run(tmp_path / "a", curve(1.0, 3), seeds=3, **CHAIN)
    write_run(tmp_path / "b", curve(0.1, 3), seeds=3, **CHAIN)
    (pair,) = compare_runs(load_results([tmp_path / "a", tmp_path / "b"]))
    assert pair.verdict == "undecided: at least 4 seeds of each are needed"


def test_methods_are_scored_over_the_tasks_they_share(runs):
    results = load_results([runs / name for name in ("gru", AWKWARD, "other", "_other")])
    best, worst = score_methods(results)
    assert (best.method, worst.method, best.tasks) == ("ppo gru", "ppo mlp", 2)
    assert best.interval[0] < best.iqm < best.interval[1]
    assert score_methods(results[:2]) == [], "a single task"
    assert list(differing_fields(results[:2])) == ["model"]


def test_settings_are_written_as_the_command_line_takes_them(runs):
    (result,) = load_results([runs / "gru"])
    changed = apply_changes(result.config, {"gamma": 0.5, "learning_rate": 0.01}, 65_536)
    changed = dataclasses.replace(
        changed, steps=200_000, env_options={"length": 3}, schedules={"learning_rate": "cosine:0:0.1"}
    )
    found = differing_fields([result, dataclasses.replace(result, config=changed)])
    assert {name: values[1] for name, values in found.items()} == {
        "env_options": "length=3",
        "steps": "200_000",
        "schedules": "learning_rate=cosine:0:0.1",
        "learning_rate": "0.01",
        "gamma": "0.5",
        "history": "from step 65,536: gamma=0.5, learning_rate=0.01",
    }
    assert found["history"][0] == ""


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.sources, self.contents = [], "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.contents += [value for name, value in attributes if tag == "img" and name == "class"]
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def test_a_report_is_whole_and_escapes_what_others_wrote(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    folders = sorted((tmp_path / "runs").iterdir())
    (folders[0] / "play.gif").write_bytes(b"GIF89a")
    (folders[1] / "diagnosis.png").write_bytes(b"PNG")
    machine = {"versions": {"jax": "<1.0>"}, "machine": {"system": "Plan 9"}, "wall_time_seconds": 12.0}
    (folders[1] / "summary.json").write_text(json.dumps({**machine, "steps_per_second": 4321.0}))
    evaluated = {"mean": 0.875, "mean_interval_95": [0.5, 1.0]}
    (folders[1] / "evaluation.json").write_text(json.dumps({"return": evaluated}))
    out = write_report(folders, tmp_path / "report.html")
    page = Page(out.read_text())
    assert "script" not in page.tags
    assert AWKWARD in page.text
    assert "gru is better than" in page.text
    assert "no episode ended" in page.text
    for text in ("jax <1.0>", "Plan 9", "12 s", "4,321", "0.875 [0.500,\u00a01.000]"):
        assert text in page.text
    for section in (
        "Results",
        "Learning curves",
        "Comparison",
        "Methods over all tasks",
        "Settings",
        "Memory",
        "Episodes",
    ):
        assert section in page.text
    # Nothing is loaded from anywhere else.
    assert all(re.match(r"#|data:", source) for source in page.sources)
    assert page.tags.count("img") == 7
    assert page.contents.count("figures") == 1
    assert page.contents.count("figure") == 5, "these are wider than a phone, so that their text can be read"
    assert page.contents.count("picture") == 1
    assert re.search(r"\[\S+,\u00a0\S+\]", page.text), "an interval is not divided at the end of a line"
    assert not [x for x in tmp_path.iterdir() if x.name.startswith(".")]


def test_a_report_of_one_run_has_no_comparison(runs, tmp_path):
    page = Page(write_report([runs / "gru"], tmp_path / "one.html").read_text())
    assert "Comparison" not in page.text
    assert "Report on gru" in page.text


def test_what_is_no_page_is_refused(runs, tmp_path):
    with pytest.raises(ValueError, match=r"`out` must end in .html"):
        write_report([runs / "gru"], tmp_path / "report.pdf")
    with pytest.raises(ValueError, match=str(Path("nowhere"))):
        write_report([tmp_path / "nowhere"], tmp_path / "report.html")


def test_the_terminal_shows_the_same(runs):
    from tests.cli.test_cli import assert_refused, run

    code, out, err = run("compare", str(runs / "gru"), str(runs / AWKWARD))
    assert (code, err) == (0, "")
    assert f"gru is better than {AWKWARD}" in out
    assert "differing settings" in out
    assert_refused(run("compare", str(runs / "gru")), "at least two runs")
    assert_refused(run("report"), "needs the folder of a run")

"""The tables of benchmarks: from stored results, without any run."""

import csv
import html
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy.stats import trim_mean
from tests.experiment.benchmark_suites import TASKS, suite, write_cell

from memorax.experiment.benchmark.report import markdown, write_tables
from memorax.experiment.benchmark.results import collect
from memorax.experiment.benchmark.suite import Cell
from memorax.experiment.benchmark.tables import aggregates, horizon_tables, score_table, tables

SCORES = {("gru", 0): 0.5, ("no memory", 0): -0.25, ("gru", 1): 0.75, ("no memory", 1): 0.0, ("gru", 2): 1.0}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All but one cell got to the first pass, one of them to the second, and one diverged."""
    root, wanted = tmp_path_factory.mktemp("runs"), suite()
    for (method, task), score in SCORES.items():
        cell = Cell(TASKS[task], method)
        write_cell(root / cell.folder, wanted, cell, 192 if task == 0 and method == "gru" else 64, score)
    failed = Cell(TASKS[2], "no memory")
    (root / failed.folder).mkdir()
    (root / failed.folder / "config.json").write_text("{}")
    (root / failed.folder / "failed.json").write_text(json.dumps({"message": "it diverged at step 7"}))
    found = {"horizons": json.loads(HORIZONS)}
    path = root / Cell(TASKS[0], "gru").folder / "horizons.json"
    path.write_text(json.dumps({"step": 192, "returns": found["horizons"]}))
    return json.loads(json.dumps(collect(wanted, root)))


HORIZONS = """{
  "3": {"best": 1.0, "memoryless": 0.0, "returns": {"5": 1.0, "6": 0.5, "7": 0.75}},
  "12": {"best": 1.0, "memoryless": 0.0, "returns": {"5": 0.5, "6": null, "7": 0.0}}
}"""


def test_mmer_is_the_highest_mean_of_an_interval(results):
    (one,) = [r for r in results["results"] if (r["task"], r["method"]) == (TASKS[0], "gru")]
    # In the last interval, of step 192, returns are lower by 0.5, and count for neither pass.
    assert one["scores"] == {name: {"5": 0.5, "6": 0.6, "7": 0.7} for name in ("64", "192")}
    assert (one["steps"], one["seconds"], one["seeds"]) == (192, 1.92, [5, 6, 7])
    assert one["curve"]["steps"] == [32, 64, 96, 128, 160, 192]
    assert one["curve"]["mean"] == [0.6] * 5 + [0.1]


def test_the_final_return_is_that_of_the_last_tenth(tmp_path):
    wanted, cell = suite(metric="final"), Cell(TASKS[0], "gru")
    write_cell(tmp_path / cell.folder, wanted, cell, 192, 0.5)
    (one,) = collect(wanted, tmp_path)["results"]
    assert one["scores"]["192"] == {"5": 0.0, "6": 0.1, "7": 0.2}
    assert one["scores"]["64"] == {"5": 0.5, "6": 0.6, "7": 0.7}


def test_the_speed_is_the_median_of_the_intervals(tmp_path):
    wanted, cell = suite(metric="speed"), Cell(TASKS[0], "gru")
    write_cell(tmp_path / cell.folder, wanted, cell, 192, 0.5)
    results = collect(wanted, tmp_path)
    assert results["results"][0]["scores"]["192"] == {"all": 112.0}
    assert score_table(results, 192).rows[0][1] == "112"


def test_a_table_has_a_row_for_each_task(results):
    table = score_table(results, 64)
    assert table.header == ("task", "gru", "no memory", "theirs", "their best")
    assert table.rows[0] == (
        "MemoryChain length=3",
        "**0.60 [0.50, 0.70]**",
        "-0.15 [-0.25, -0.05]",
        "0.25 ± 0.12",
        "0.50",
    )
    assert table.rows[2][1:3] == ("1.10 [1.00, 1.20]", "diverged")
    assert "Mean over 3 seeds" in table.note
    assert "Published scores: a paper." in table.note


def test_a_pass_has_a_table_where_a_run_got_there(results):
    titles = [table.title for table in tables(results)]
    assert titles[:2] == ["MMER at 192 steps per seed", "MMER at 64 steps per seed"]
    (row, *_) = score_table(results, 192).rows
    assert row[1:3] == ("0.60 [0.50, 0.70]", "")


def test_aggregates_are_over_tasks_that_all_methods_have(results):
    gru, control = aggregates(results, 64)
    assert (gru.method, control.method) == ("gru", "no memory")
    values = np.array([[0.5, 0.6, 0.7], [0.75, 0.85, 0.95]])
    np.testing.assert_allclose(gru.scores, values.T)
    assert gru.iqm == pytest.approx(trim_mean(values.reshape(-1), 0.25))
    assert gru.interval[0] < gru.iqm < gru.interval[1]
    assert gru.improvement is None
    assert control.improvement == (0.0, (0.0, 0.0))
    assert aggregates(results, 192) == []
    assert aggregates(results | {"one_scale": False}, 64) == []


def test_a_method_with_few_tasks_does_not_take_the_others_out_of_the_comparison(results):
    cell = next(r for r in results["results"] if r["method"] == "gru")
    late = results | {
        "methods": [*results["methods"], "late"],
        "results": [*results["results"], cell | {"method": "late"}],
    }
    assert [entry.method for entry in aggregates(late, 64)] == ["gru", "no memory"]


def test_returns_in_longer_tasks(results):
    (table,) = horizon_tables(results)
    assert table.header == ("method", "3", "12")
    assert table.rows == (
        ("gru", "0.75 [0.50, 1.00]", "0.25 [0.00, 0.50]"),
        ("*best possible*", "1.00", "1.00"),
        ("*memoryless possible*", "0.00", "0.00"),
    )


def test_all_files_are_written(results, tmp_path):
    paths = write_tables(results, tmp_path)
    assert [path.name for path in paths] == [
        "results.json",
        "table.md",
        "table.csv",
        "curves.png",
        "report.html",
        "horizons.png",
    ]
    lines = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert lines[0] == {"task": TASKS[0], "method": "gru", "steps": "64", "seed": "5", "mmer": "0.5"}
    assert len(lines) == 3 * (len(SCORES) + 1)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "report.html").read_text()
    HTMLParser().feed(page)
    assert "0.60 [0.50,\u00a00.70]" in html.unescape(page)  # intervals stay on one line
    assert "**" not in page
    assert json.loads((tmp_path / "results.json").read_text()) == results


def test_the_text_says_when_and_with_what_it_was_made(results):
    text = markdown(results, 3)
    assert re.search(r"^### MMER at 192 steps per seed$", text, re.MULTILINE)
    assert results["date"] in text
    assert f"memorax {results['versions']['memorax']}" in text

"""The pages of results show what is stored, and what is stored is of suites that exist."""

import copy
from pathlib import Path

import pytest
from benchmarks.suites import AGAIN, PAGES, beside, page, stored

from memorax.experiment.benchmark import load_suite
from memorax.experiment.benchmark.tables import score_table

RESULTS = stored()
CHAIN = "memory::MemoryChain length=10"
EXAMPLE = {
    "suite": "length",
    "metric": "final",
    "reference": "gru",
    "published": {},
    "passes": [64, 128],
    "tasks": [CHAIN],
    "methods": ["gru", "mlp"],
    "date": "2026-11-27",
    "versions": {"memorax": "1", "jax": "2", "python": "3"},
    "machine": {"cpus": 2, "devices": "1 x cpu"},
    "results": [
        {"task": CHAIN, "method": "gru", "seeds": [3, 4], "scores": {"64": {"3": 0.5, "4": 1}}, "failed": None},
        {"task": CHAIN, "method": "mlp", "seeds": [3, 4], "scores": {"64": {"3": 0, "4": 0.2}}, "failed": None},
    ],
}


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.md")), ids=lambda path: path.name)
def test_pages_show_what_is_stored(path):
    text = path.read_text()
    assert page(text, RESULTS) == text, "write the pages anew: python -m benchmarks.suites"


@pytest.mark.parametrize("name", RESULTS)
def test_stored_results_are_of_the_suite_as_it_is(name):
    found, suite = RESULTS[name], load_suite(RESULTS[name]["suite"])
    assert found["metric"] == suite.metric
    assert set(found["tasks"]) <= set(suite.tasks)
    assert set(found["methods"]) <= set(suite.methods)
    assert found["run"] == dict(suite.run)
    assert found["hyperparameters"] == dict(suite.hyperparameters)
    for result in found["results"]:
        for steps, scores in result["scores"].items():
            assert int(steps) <= result["steps"]
            assert sorted(map(int, scores)) == result["seeds"]
    assert any(score_table(found, steps).rows for steps in found["passes"])


def test_two_tables_are_shown_beside_each_other():
    second = copy.deepcopy(EXAMPLE)
    for result, scores in zip(second["results"], ({"7": 0.75, "8": 0.75}, {"7": 0.5, "8": 0.5}), strict=True):
        result |= {"seeds": [7, 8], "scores": {"64": scores, "128": scores}}
    text = beside(EXAMPLE, second)
    assert "| task | method | steps | seeds 3 to 4 | seeds 7 to 8 |" in text
    assert "| MemoryChain length=10 | gru | 64 | 0.75 [0.50, 1.00] | 0.75 [0.75, 0.75] |" in text
    assert "In 1 of 2 cells the ranges of the seeds overlap." in text


def test_markers_are_filled_once_and_again():
    text = "before\n<!-- length-again-table -->\nafter\n"
    results = {"length": EXAMPLE, f"length{AGAIN}": EXAMPLE}
    once = page(text, results)
    assert "| MemoryChain length=10 | mlp | 64 |" in once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert page(once, results) == once
    assert Path(PAGES / "index.md").is_file()

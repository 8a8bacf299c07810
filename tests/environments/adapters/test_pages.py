"""The environments that the pages train on are those that the libraries have; skipped where one is not installed."""

import re

import pytest
from tests.docs.test_documentation import ROOT, commands
from tests.environments.adapters.test_grids import benchmark

from memorax.cli.train import train_options
from memorax.environments import MissingExtraError
from memorax.experiment.imports import make_environment

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

PAGES = {path.stem: path.read_text() for path in (ROOT / "docs" / "environments").glob("*.md")}
TRAINED = [words[1:] for text in PAGES.values() for words in commands(text) if words[0] == "train"]
RUNS = {(run.env, tuple(run.env_options.items())) for run, *_ in map(train_options, TRAINED)}


@pytest.mark.parametrize(("env", "options"), sorted(RUNS))
def test_what_a_page_trains_on_can_be_made(env, options, monkeypatch):
    chosen = dict(options)
    if "benchmark" in chosen:
        xminigrid = pytest.importorskip("xminigrid", reason="the extra `xminigrid` is not installed")
        assert chosen["benchmark"] in xminigrid.registered_benchmarks()
        monkeypatch.setattr(xminigrid, "load_benchmark", lambda name: benchmark())  # instead of a download
    try:
        made, params = make_environment(env, chosen)
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert made.action_space(params) is not None


def test_the_benchmarks_of_xland_have_these_names():
    xminigrid = pytest.importorskip("xminigrid", reason="the extra `xminigrid` is not installed")
    from memorax.environments.adapters import xminigrid as adapter

    text = PAGES["grid-worlds"] + (adapter.make.__doc__ or "")
    named = set(re.findall(r"`(\w+-\d+[km])`", text))
    assert named <= set(xminigrid.registered_benchmarks())
    assert named

"""A little of the fault campaign, the rest of which `make faults` runs, and its counts as the page has them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults import campaign, corruption

ROOT = Path(__file__).parents[2]
QUICK = ("operations",)
"""Those of which a little takes less than ten seconds."""


def counts(part):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    command = [sys.executable, "-m", "tests.faults.campaign", part, "--few"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=[] if part in QUICK else pytest.mark.slow) for part in campaign.PARTS]
)
def test_a_little_of_each_part(part):
    for count in counts(part):
        assert count["lost"] == 0, count["findings"]
        assert count["tried"] > 0


def test_a_little_corruption_of_every_file(tmp_path):
    for tally in corruption.run(tmp_path, count=3, seed=1):
        assert not tally.lost


def test_the_campaign_notices_what_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("memorax.experiment.run.session.origin.check", lambda *args: [])
    lost = {tally.what: tally.lost for tally in corruption.run(tmp_path, count=12, seed=2)}
    assert lost["`metrics.jsonl` damaged, resumed"]


def test_the_page_has_the_counts_of_the_campaign():
    results = json.loads(campaign.RESULTS.read_text())
    assert set(results["parts"]) == set(campaign.PARTS)
    assert all(count["tried"] and not count["lost"] for part in results["parts"].values() for count in part["counts"])
    page = campaign.PAGE.read_text()
    assert page.split(campaign.BEGIN)[1].split(campaign.END)[0].strip() == campaign.table(results)

"""Every check of the Makefile is run by a workflow."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_set_of_tests_is_run_by_a_workflow():
    targets = re.findall(r"^(test[a-z-]*|faults|lint|docs):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    workflows = "".join(path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml"))
    assert set(targets) - set(re.findall(r"run: make ([a-z-]+)", workflows)) == set()
    assert len(targets) > 6

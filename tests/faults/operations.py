"""Faults at chosen operations on files: kills, torn writes, full and broken disks; then the run is resumed."""

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.faults import children
from tests.faults.children import Ending, Job
from tests.faults.injector import KINDS, Fault
from tests.faults.tally import LOST, REFUSED, SURVIVED, Tally

NAMES = {
    "kill": "killed at the n-th operation on a file, resumed",
    "torn": "killed in the middle of the n-th write, resumed",
    "full": "disk full from the n-th operation on, resumed when there is room",
    "broken": "input/output error at the n-th operation, resumed",
}
STRIDE = 8
"""Of eight operations one is tried, where it is not a write."""
SIZES = (0, 1, 60, 200, 500, 1000, 2000, 3000)
"""Bytes that a file may have where writes beyond fail."""


def run(base: Path, *, few: bool, seed: int = 0) -> Iterator[Tally]:
    """Try each kind of fault at each operation, or at a few.

    Args:
        base: Where the runs are made.
        few: Whether to try a few only.
        seed: Which few.
    """
    job = Job()
    straight = children.run(children.train, job, base / "straight", Fault("kill", 0))
    assert straight["end"] == "finished", straight
    operations = straight["operations"]
    for kind in KINDS:
        points = range(1, len(operations) + 1)
        if kind == "torn":
            points = [point for point in points if operations[point - 1].startswith("write ")]
        elif not few:
            points = points[::STRIDE]
        if few:
            points = [random.Random(f"{seed} {kind}").choice(points)]
        tally = Tally(NAMES[kind])
        for point in points:
            ending = children.run(children.train, job, base / "run", Fault(kind, point))
            where = f"{kind} at operation {point}"
            tally.add(*judge(job, base / "run", ending, straight["fingerprint"], where))
        yield tally
    tally = Tally("every file limited to a few bytes, arrays included, resumed without the limit")
    for size in SIZES[3:4] if few else SIZES:
        ending = children.run(children.train, job, base / "run", None, size)
        tally.add(*judge(job, base / "run", ending, straight["fingerprint"], f"files of {size} bytes at most"))
    yield tally


def judge(job: Job, folder: Path, ending: Ending, expected: str, where: str) -> tuple[str, str]:
    """Resume a run that ended somehow, compare it with one that nothing disturbed, and remove it."""
    problem = _problem(ending)
    if problem is None and ending["end"] != "finished":
        again = children.run(children.train, job, folder)
        if again["end"] == "finished" and again["fingerprint"] != expected:
            problem = f"resumed, and ended as {again['fingerprint'][:20]} instead of {expected[:20]}"
        elif again["end"] != "finished":
            problem = f"could not be resumed: {again['end']} {again.get('message', '')[:300]}"
        elif hidden := [path.name for path in folder.iterdir() if re.match(r"\..*-[0-9a-f]{16}", path.name)]:
            problem = f"temporary files stay: {hidden}"
    elif problem is None and ending["fingerprint"] != expected:
        problem = "went on as if nothing had happened, and ended differently"
    shutil.rmtree(folder, ignore_errors=True)
    return (SURVIVED, "") if problem is None else (LOST, f"{where}: {problem}")


def _problem(ending: Ending) -> str | None:
    """What is wrong with how a disturbed run ended; a message has to name a path, in a few lines."""
    if ending["end"] in ("traceback", "hung"):
        return f"{ending['end']} {ending.get('text') or ending.get('message', '')}"
    if ending["end"] == REFUSED:
        text = ending["message"]
        if "/" not in text or len(text) > 900:
            return f"says {text[:400]!r}"
    return None

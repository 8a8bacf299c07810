"""Kills at random moments, of every algorithm: runs are killed again and again, and end as if nothing had happened."""

import random
import time
from pathlib import Path

from tests.cli.test_every_algorithm import SIZES
from tests.faults import children
from tests.faults.children import Child, Job
from tests.faults.operations import judge
from tests.faults.tally import LOST, Tally

STEPS = {"stream_ac": 12_800, "dqn": 25_600, "r2d2": 25_600, "sac": 12_800}
"""Steps of a run that takes some seconds once it is compiled; 51,200 where nothing is said."""
REPLAY = ("dqn", "r2d2", "sac")
CHAIN = 5
"""Kills of a run before it is left to finish."""


def job(algorithm: str) -> Job:
    """A small run of an algorithm, with 40 intervals and 20 checkpoints."""
    steps = STEPS.get(algorithm, 51_200)
    lengths = [f"--steps={steps}", f"--log-every={steps // 40}", f"--checkpoint-every={steps // 20}"]
    return Job((algorithm, *SIZES[algorithm], "--features=8", "--seeds=2", *lengths, "--normalize-rewards"))


def run(base: Path, *, kills: int, algorithms: list[str] | None = None, seed: int = 0) -> list[Tally]:
    """Kill runs.

    Args:
        base: Where they are made.
        kills: Number of kills of each algorithm.
        algorithms: Their names; all if None.
        seed: Which moments.
    """
    tallies = [Tally("algorithms with replay killed at random"), Tally("algorithms without replay killed at random")]
    for algorithm in algorithms or SIZES:
        straight = children.run(children.train, job(algorithm), base / f"{algorithm}-straight")
        assert straight["end"] == "finished", straight
        began = time.monotonic()  # again, with compiled programs
        children.run(children.train, job(algorithm), base / f"{algorithm}-again")
        duration = time.monotonic() - began
        source = random.Random(f"{seed} {algorithm}")
        for number in range(0, kills, CHAIN):
            outcomes = _chain(base / "run", job(algorithm), min(CHAIN, kills - number), duration, source)
            where = f"{algorithm} killed {', '.join(outcomes)}"
            outcome = judge(job(algorithm), base / "run", {"end": "killed"}, straight["fingerprint"], where)
            tally = tallies[algorithm not in REPLAY]
            for _ in outcomes:  # none of them shows by itself which it was
                tally.add(*outcome)
            if outcome[0] == LOST:
                print(outcome[1], flush=True)
    return [tally for tally in tallies if tally.survived or tally.lost]


def _chain(folder: Path, job: Job, kills: int, duration: float, source: random.Random) -> list[str]:
    """Kill a run several times, at moments from before there is a folder to after the end; say when."""
    moments = []
    while len(moments) < kills:
        child = Child(children.train, job, folder)
        moment = source.uniform(0.0, 1.05 * duration)
        time.sleep(moment)
        child.kill()
        child.ending()
        moments.append(f"after {moment:.2f} s")
    return moments

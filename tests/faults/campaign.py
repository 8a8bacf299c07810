"""The fault campaign: `python -m tests.faults.campaign [PART...]` writes `results.json` and `docs/reliability.md`.

Parts that are named are run anew, the counts of the others stay. Each part is a process of its own: forked children
need a parent that has started nothing.
"""

from tests import conftest  # noqa: I001, F401  flags and the cache of programs, before JAX is imported

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax

import memorax
from tests.faults.tally import LOST, REFUSED, SURVIVED, Tally

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- counts: begin -->", "<!-- counts: end -->"
SOAK_SECONDS = 60.0 * float(os.environ.get("SOAK_MINUTES", "60"))
"""After which the soak stops."""


def _operations(base: Path, *, few: bool) -> Iterable[Tally]:
    from tests.faults import operations

    return operations.run(base, few=few)


def _kills(base: Path, *, few: bool) -> Iterable[Tally]:
    from tests.faults import kills

    return kills.run(base, kills=1, algorithms=["ppo"]) if few else kills.run(base, kills=25)


def _corruption(base: Path, *, few: bool) -> Iterable[Tally]:
    from tests.faults import corruption

    return corruption.run(base, count=4 if few else 500)


def _constructors(base: Path, *, few: bool) -> Iterable[Tally]:
    from tests.structure import constructor_fuzz as fuzz

    tally = Tally("wrong and doubtful values given to arguments of public constructors")
    cases = list(fuzz.targets())
    for case in cases[::25] if few else cases:
        for field, kind in case.fields.items():
            for value in fuzz.WRONG[kind]:
                finding = fuzz.judge(case, field, value)
                tally.add(LOST if finding else _accepted_or_refused(case, field, value), str(finding))
    return [tally]


def _accepted_or_refused(case: Any, field: str, value: Any) -> str:
    try:
        case.build(**(case.base | {field: value}))
    except (TypeError, ValueError):
        return REFUSED
    return SURVIVED


def _memory(base: Path, *, few: bool) -> Iterable[Tally]:
    from tests.faults import memory

    return memory.run(base, intervals=20 if few else 1000)


def _soak(base: Path, *, few: bool) -> Iterable[Tally]:
    from tests.faults import soak

    if few:
        return soak.run(base, algorithms=["ppo"], models=["gru"], until=time.monotonic() + SOAK_SECONDS)
    return soak.run(base, until=time.monotonic() + SOAK_SECONDS)


PARTS: dict[str, Callable[..., Iterable[Tally]]] = {
    "operations": _operations,
    "kills": _kills,
    "corruption": _corruption,
    "constructors": _constructors,
    "memory": _memory,
    "soak": _soak,
}


def main() -> int:
    """Run parts; fail if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="parts to run; all if none is named")
    parser.add_argument(
        "--few", action="store_true", help="a few trials of a single part; write counts to standard output"
    )
    arguments = parser.parse_args()
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    if arguments.few:
        print(json.dumps(list(_run(arguments.parts[0], few=True))))
        return 0
    names = arguments.parts or list(PARTS)
    if len(names) == 1:
        counts: list[dict[str, Any]] = []
        for count in _run(names[0], few=False):
            counts.append(count)
            _record(names[0], counts)
        return sum(count["lost"] for count in counts) > 0
    commands = [[sys.executable, "-m", "tests.faults.campaign", name] for name in names]
    return max([subprocess.run(command, check=False).returncode for command in commands])


def _run(part: str, *, few: bool) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="memorax-faults-") as base:
        for tally in PARTS[part](Path(base), few=few):
            yield tally.counts()


def _record(part: str, counts: list[dict[str, Any]]) -> None:
    """Put the counts of a part into the results and the page."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"parts": {}}
    made_with = {"memorax": memorax.__version__, "jax": jax.__version__, "python": platform.python_version()}
    results["parts"][part] = {"made_with": made_with, "counts": counts}
    results["parts"] = {name: results["parts"][name] for name in PARTS if name in results["parts"]}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    if PAGE.exists():
        page = PAGE.read_text()
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}")
    print(f"{part}: {counts[-1]['what']}: {counts[-1]['tried']} tried, {counts[-1]['lost']} lost", flush=True)
    for finding in counts[-1]["findings"]:
        print(f"  {finding}", flush=True)


def table(results: dict[str, Any]) -> str:
    """The counts as the page has them."""
    lines = ["| what was tried | tried | survived | refused clearly | lost |", "|---|---:|---:|---:|---:|"]
    for part in results["parts"].values():
        for count in part["counts"]:
            numbers = " | ".join(f"{count[name]:,}" for name in ("tried", SURVIVED, REFUSED, LOST))
            lines.append(f"| {count['what']} | {numbers} |")
    return "\n".join(lines)


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    sys.exit(main())

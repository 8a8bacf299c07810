"""Draw the tables and curves of `docs/results/` anew from the stored results of suites: `python -m benchmarks.suites`.

`memorax benchmark SUITE` leaves `results.json` in its folder. `python -m benchmarks.suites NAME=FOLDER ...` first
stores that file as `benchmarks/results/suite-NAME.json`. A name that ends in `-again` is the same suite with other
seeds; its scores are shown beside those of the first.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from benchmarks._report import RESULTS
from benchmarks.tables import table

from memorax.experiment.benchmark.report import markdown, write_curves, write_horizons
from memorax.experiment.benchmark.results import RESULTS_FILE
from memorax.experiment.benchmark.tables import METRIC_TITLES, cell_scores, provenance, short, with_interval

PAGES = Path(__file__).parent.parent / "docs" / "results"
AGAIN = "-again"


def stored() -> dict[str, dict[str, Any]]:
    """Read all stored results of suites, by name."""
    paths = sorted(RESULTS.glob("suite-*.json"))
    return {path.stem.removeprefix("suite-"): json.loads(path.read_text()) for path in paths}


def beside(first: dict[str, Any], second: dict[str, Any]) -> str:
    """Show the scores of both in the cells that both have, at the most steps that both have."""
    rows, overlapping = [], 0
    for steps in reversed(first["passes"]):
        ours, theirs = cell_scores(first, steps), cell_scores(second, steps)
        both = [cell for cell in ours if cell in theirs]
        for task, method in both:
            a, b = ours[task, method], theirs[task, method]
            overlapping += max(a.min(), b.min()) <= min(a.max(), b.max())
            texts = (with_interval(x, first["metric"]) for x in (a, b))
            rows.append([short(task), method, f"{steps:,}", *texts])
        if rows:
            break
    head = ["task", "method", "steps", _seeds(first), _seeds(second)]
    note = f"In {overlapping} of {len(rows)} cells the ranges of the seeds overlap. Second table: {provenance(second)}"
    return f"{METRIC_TITLES[first['metric']]}; in brackets 95 % intervals.\n\n{table(head, rows)}\n\n{note}"


def page(text: str, results: dict[str, dict[str, Any]]) -> str:
    """Replace what stands between the markers of every suite that is stored."""
    for name, found in results.items():
        begin, end = f"<!-- {name}-table -->", f"<!-- end of {name}-table -->"
        if begin not in text:
            continue
        again = name.endswith(AGAIN)
        made = beside(results[name.removesuffix(AGAIN)], found) if again else markdown(found, 3).removesuffix("\n")
        new = f"{begin}\n\n{made}\n\n{end}"
        old = re.compile(re.escape(begin) + r"(.*?" + re.escape(end) + ")?", re.DOTALL)
        text = old.sub(lambda _, new=new: new, text, count=1)
    return text


def _seeds(results: dict[str, Any]) -> str:
    seeds = sorted({seed for result in results["results"] for seed in result["seeds"]})
    return f"seeds {seeds[0]} to {seeds[-1]}"


def main() -> None:
    """Store what is named, and draw everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="NAME=FOLDER", help="results to store first")
    for pair in parser.parse_args().runs:
        name, _, folder = pair.partition("=")
        (RESULTS / f"suite-{name}.json").write_text((Path(folder) / RESULTS_FILE).read_text())
    results = stored()
    for path in sorted(PAGES.glob("*.md")):
        path.write_text(page(path.read_text(), results))
    for name, found in results.items():
        if not name.endswith(AGAIN):
            write_curves(found, PAGES / f"{name}.png")
            write_horizons(found, PAGES / f"{name}-horizons.png")
    print(f"wrote {PAGES} from {', '.join(results) or 'nothing'}")


if __name__ == "__main__":
    main()

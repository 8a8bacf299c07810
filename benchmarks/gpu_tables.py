"""Join results of `benchmarks.gpu` and write `docs/benchmarks-gpu.md` from them: `python -m benchmarks.gpu_tables`.

Rows of later files replace those of earlier ones that describe the same case; what was left out for lack of time is
dropped. The joined results are written to the first file.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from benchmarks._report import RESULTS
from benchmarks.tables import caption, table

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks-gpu.md"
Row = dict[str, Any]
IDENTITY = [
    "check",
    "model",
    "kernel",
    "precision",
    "chunk",
    "numbers",
    "method",
    "pass",
    "shape",
    "window",
    "dtype",
    "way",
    "num_envs",
    "num_steps",
    "cell",
]
"""What tells rows of a section apart."""
COLUMNS: dict[str, tuple[str, str]] = {
    "ms": ("ms", ",.2f"),
    "tokens_per_second": ("tokens/s", ",.3g"),
    "steps_per_second": ("steps/s", ",.0f"),
    "gbs": ("GB/s", ",.0f"),
    "share_of_copy": ("of a copy", ".0%"),
    "tflops": ("TFLOP/s", ".1f"),
    "share_of_product": ("of the product", ".0%"),
    "outputs": ("outputs", ".1e"),
    "gradients": ("gradients", ".1e"),
    "stepwise": ("step by step", ".1e"),
    "default_precision_outputs": ("outputs, TF32", ".1e"),
    "compile_seconds": ("compile, s", ".1f"),
    "temporary_mib": ("memory, MiB", ",.0f"),
}
"""Heading and format of what is measured."""
SECTIONS = (
    "kernels", "models", "agents", "pallas", "ppo", "linear_scan", "cells", "matrix", "precision", "attention",
    "all_models", "graphs",
)  # fmt: skip


def join(reports: list[Row]) -> Row:
    """Put later results over earlier ones."""
    joined = dict(reports[-1])
    joined["ceilings"] = {name: value for report in reports for name, value in report["ceilings"].items()}
    joined["seconds"] = {name: value for report in reports for name, value in report["seconds"].items()}
    joined["results"] = {}
    for section in SECTIONS:
        rows: dict[str, Row] = {}
        for report in reports:
            for row in report["results"].get(section, []):
                if "skipped" not in row:
                    rows[str([row.get(name) for name in IDENTITY])] = row
        if rows:
            joined["results"][section] = list(rows.values())
    return joined


def show(rows: list[Row]) -> str:
    """Lay out a section: what tells its rows apart, then what was measured."""
    named = [name for name in IDENTITY if any(name in row for row in rows)]
    measured = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    lines = []
    for row in rows:
        what = [" x ".join(map(str, row[n])) if n == "shape" else str(row.get(n, "")) for n in named]
        figures = [format(row[n], COLUMNS[n][1]) if row.get(n) is not None else "" for n in measured]
        if "error" in row:
            figures[0] = "failed"
        lines.append([*what, *figures])
    return table([*(name.replace("_", " ") for name in named), *(COLUMNS[name][0] for name in measured)], lines)


def ceilings(report: Row) -> str:
    """Say what the device itself can do."""
    rates = {name[: -len("_tflops")]: value for name, value in report["ceilings"].items() if name.endswith("_tflops")}
    lines = [["copy of memory", f"{report['ceilings']['copy_gbs']:,.0f} GB/s"]]
    lines += [[f"product, {name}", f"{value:.0f} TFLOP/s"] for name, value in rates.items() if value]
    return f"{table(['', report['device']], lines)}\n\n{caption(report)}"


def main() -> None:
    """Join, and write results and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, default=[RESULTS / "gpu-h100.json"])
    options = parser.parse_args()
    report = join([json.loads(path.read_text()) for path in options.files])
    options.files[0].write_text(json.dumps(report, indent=2) + "\n")
    made = {name: show(rows) for name, rows in report["results"].items() if name != "agents"}
    made["ceilings"] = ceilings(report)
    text = PAGE.read_text()
    for name, content in made.items():
        begin, end = f"<!-- {name}-table -->", f"<!-- end of {name}-table -->"
        old = re.compile(re.escape(begin) + r"(.*?" + re.escape(end) + ")?", re.DOTALL)
        text = old.sub(lambda _, new=f"{begin}\n\n{content}\n\n{end}": new, text, count=1)
    PAGE.write_text(text)
    print(f"wrote {options.files[0]} and {PAGE}")


if __name__ == "__main__":
    main()

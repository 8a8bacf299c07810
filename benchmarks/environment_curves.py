"""Learning curves of finished runs: `python -m benchmarks.environment_curves RUN ...`.

Draws the mean return of each run, a line for each seed, into `docs/environments/learning_curves.png`, and writes what
is drawn, with the configuration and the versions of each run, to `benchmarks/results/environment_curves.json`, which
holds the runs of earlier calls, too.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

PICTURE = Path(__file__).parent.parent / "docs" / "environments" / "learning_curves.png"
RESULT = Path(__file__).parent / "results" / "environment_curves.json"
POINTS, COLUMNS = 50, 3


def read(folder: Path) -> dict[str, Any]:
    """Read a run: configuration, versions, and for each seed steps and mean returns, over windows of equal length."""
    config = json.loads((folder / "config.json").read_text())
    summary = folder / "summary.json"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    width = max(row["step"] for row in rows) / POINTS
    windows: dict[int, dict[int, list[tuple[float, int]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if "episode/return" in row:
            window = min(int(row["step"] / width), POINTS - 1)
            windows[row["seed"]][window].append((row["episode/return"], row["episode/count"]))
    curves = {}
    for seed, parts in sorted(windows.items()):
        means = [sum(x * n for x, n in part) / sum(n for _, n in part) for _, part in sorted(parts.items())]
        curves[str(seed)] = {
            "step": [round((i + 1) * width) for i in sorted(parts)],
            "return": [round(mean, 4) for mean in means],
        }
    content = json.loads(summary.read_text()) if summary.exists() else {}
    return {"config": config, "versions": content.get("versions"), "machine": content.get("machine"), "seeds": curves}


def draw(runs: dict[str, Any]) -> None:
    """Draw all runs, a panel each."""
    rows = -(-len(runs) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(4 * COLUMNS, 2.8 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(runs) :]:
        axis.axis("off")
    for axis, (name, run) in zip(axes.flat, runs.items(), strict=False):
        for curve in run["seeds"].values():
            axis.plot([step / 1e6 for step in curve["step"]], curve["return"])
        config = run["config"]
        axis.set_title(f"{name}\n{config['algorithm']} with {config['model']}", fontsize=9)
        axis.set_xlabel("million steps", fontsize=8)
        axis.set_ylabel("mean return", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Read, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs; none: draw again what is stored")
    folders = parser.parse_args().runs
    runs = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    runs |= {folder.name: read(folder) for folder in folders}
    runs = dict(sorted(runs.items()))
    RESULT.write_text(json.dumps(runs) + "\n")
    draw(runs)
    print(f"wrote {RESULT} and {PICTURE}")


if __name__ == "__main__":
    main()

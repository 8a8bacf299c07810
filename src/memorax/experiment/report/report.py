"""A report on runs as one HTML file that needs nothing else."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import numpy as np

import memorax
from memorax.experiment.loggers import Row
from memorax.experiment.report.comparison import (
    MethodScore,
    RunResult,
    all_fields,
    compare_runs,
    load_results,
    score_methods,
)
from memorax.experiment.report.page import (
    add,
    add_figure,
    add_image,
    add_section,
    add_table,
    interval_text,
    new_page,
    render,
)
from memorax.experiment.report.plot import RETURN, add_legend_below, draw, line_style, make_curve
from memorax.experiment.report.statistics import performance_profile
from memorax.experiment.run.files import DIAGNOSIS_FIGURE, EVALUATION_FILE, SUMMARY_FILE, read_json, write_text

_MOST_LOSSES = 12
_PICTURES = (".gif", ".png", ".webp")


def write_report(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write a report on runs: one HTML file with all pictures inside, which loads nothing from the network.

    Args:
        folders: The runs' folders.
        out: File of the report, ending in `.html`.

    Returns:
        The file.

    Raises:
        ValueError: A folder holds no run, its files are damaged, or `out` does not end in `.html`.
    """
    out = Path(out)
    if out.suffix.lower() not in {".html", ".htm"}:
        raise ValueError(f"`out` must end in .html, got {out}; write for example {out}.html")
    results = load_results(folders)
    title = "Report on " + (results[0].label if len(results) == 1 else f"{len(results)} runs")
    html, body = new_page(title)
    add(body, "p", f"written by memorax {memorax.__version__}", **{"class": "note"})
    of_learning = (_results, _curves, _populations, _comparison, _methods, _losses)
    for section in (*of_learning, _settings, _memory, _pictures, _machines):
        section(body, results)
    nav = Element("nav")
    for section in body.iter("section"):
        heading = section.find("h2")
        add(nav, "a", "" if heading is None else heading.text or "", href=f"#{section.get('id')}")
    body.insert(2, nav)
    write_text(out, render(html))
    return out


def _results(body: Element, results: Sequence[RunResult]) -> None:
    """The final numbers of all runs."""
    note = "Mean episode return over the last tenth of each run; in brackets 95 % bootstrap intervals over seeds."
    section = add_section(body, "results", "Results", note)
    rows = []
    for result in results:
        summary, wrote = result.summary(), _read(result, SUMMARY_FILE)
        evaluation = _read(result, EVALUATION_FILE).get("return")
        rows.append(
            (
                result.label,
                "no episode ended" if summary is None else interval_text(summary, "mean"),
                "" if summary is None else interval_text(summary, "iqm"),
                "" if evaluation is None else interval_text(evaluation, "mean"),
                result.config.task(),
                result.config.algorithm,
                result.config.model,
                str(result.config.seeds),
                f"{max((row['step'] for row in result.rows), default=0):,}",
                f"{wrote['steps_per_second']:,.0f}" if wrote.get("steps_per_second") else "",
            )
        )
    # On a phone the first columns are seen at once.
    header = ("run", "mean return", "interquartile mean", "evaluated", "task", "algorithm", "model", "seeds")
    add_table(section, (*header, "steps per seed", "steps/s"), rows)


def _curves(body: Element, results: Sequence[RunResult]) -> None:
    """Learning curves, a figure for each task: over seeds, and each seed by itself."""
    section = add_section(body, "curves", "Learning curves")
    for task, runs in _by_task(results).items():
        known = [result for result in runs if any(RETURN in row for row in result.rows)]
        if not known:
            add(section, "p", f"{task}: no episode ended")
            continue

        def aggregate(figure: Any, known: list[RunResult] = known) -> None:
            curves = [make_curve(result.rows, result.label) for result in known]
            draw(figure.add_subplot(), curves, [result.config for result in known], "mean")

        add_figure(section, aggregate, f"{task}: mean over seeds")
        if any(result.config.seeds > 1 for result in known):
            add_figure(section, partial(_draw_seeds, known=known), f"{task}: each seed by itself")


def _populations(body: Element, results: Sequence[RunResult]) -> None:
    """Populations whose members are among the runs."""
    from memorax.experiment.population.config import is_population
    from memorax.experiment.population.figure import add_population

    for base in dict.fromkeys(result.folder.resolve().parent for result in results):
        if is_population(base):
            add_population(body, base)


def _draw_seeds(figure: Any, known: Sequence[RunResult]) -> None:
    axes, first = figure.add_subplot(), dict[str, Any]()
    for i, result in enumerate(known):
        for seed in sorted({row["seed"] for row in result.rows}):
            steps, values = _series([row for row in result.rows if row["seed"] == seed], RETURN)
            (line,) = axes.plot(steps, values, linewidth=1.0, alpha=0.8, **line_style(i))
            first.setdefault(result.label, line)
    _finish(axes, "mean episode return")
    add_legend_below(figure, {line: label for label, line in first.items()})


def _comparison(body: Element, results: Sequence[RunResult]) -> None:
    """A verdict for every two runs of a task."""
    pairs = compare_runs(results)
    if not pairs:
        return
    note = (
        "Probability of improvement: how probable it is that a seed of the first run ends above one of the second. The "
        "verdict is that of a Mann-Whitney test at 0.05, with p-values adjusted for the number of pairs (Holm)."
    )
    section = add_section(body, "comparison", "Comparison", note)
    rows = [
        (
            f"{pair.first}\nagainst {pair.second}",
            pair.verdict,
            f"{pair.difference:+.3f}",
            f"{pair.probability:.2f} [{pair.interval[0]:.2f}, {pair.interval[1]:.2f}]",
            f"{pair.p_value:.3f}",
            pair.task,
        )
        for pair in pairs
    ]
    add_table(section, ("runs", "verdict", "difference", "probability of improvement", "p-value", "task"), rows)


def _methods(body: Element, results: Sequence[RunResult]) -> None:
    """Methods over several tasks: interquartile means and performance profiles."""
    scores = score_methods(results)
    if not scores:
        return
    note = (
        f"Over {scores[0].tasks} tasks, in scores of which 0 is the best return without memory and 1 the best with it. "
        "Intervals are stratified by task. Of several runs of a method in a task the first counts."
    )
    section = add_section(body, "methods", "Methods over all tasks", note)
    rows = [(s.method, f"{s.iqm:.3f} [{s.interval[0]:.3f}, {s.interval[1]:.3f}]", str(s.scores.size)) for s in scores]
    add_table(section, ("method", "interquartile mean", "runs"), rows)
    add_figure(section, partial(_draw_profiles, scores=scores), "Performance profiles: share of runs above a score")


def _draw_profiles(figure: Any, scores: Sequence[MethodScore]) -> None:
    axes = figure.add_subplot()
    low, high = min(0.0, *(s.scores.min() for s in scores)), max(1.0, *(s.scores.max() for s in scores))
    thresholds = np.linspace(low, high, 201)
    labels = {}
    for i, score in enumerate(scores):
        shares = performance_profile(score.scores, thresholds)
        (line,) = axes.step(thresholds, shares, where="post", **line_style(i))
        labels[line] = score.method
    axes.set(xlabel="score", ylabel="share of runs above it", ylim=(-0.03, 1.03))
    axes.grid(alpha=0.25)
    add_legend_below(figure, labels)


def _losses(body: Element, results: Sequence[RunResult]) -> None:
    """What was logged of learning, a small picture for each metric, as means over seeds."""
    names = [name for result in results for row in result.rows[-1:] for name in row if name.startswith("losses/")]
    names = list(dict.fromkeys(names))[:_MOST_LOSSES]
    if not names:
        return
    section = add_section(body, "losses", "Losses", "Means over seeds.")
    rows = -(-len(names) // 3)

    def draw_all(figure: Any) -> None:
        from matplotlib.ticker import EngFormatter

        lines = {}
        for i, name in enumerate(names):
            axes = figure.add_subplot(rows, 3, i + 1)
            for j, result in enumerate(results):
                (line,) = axes.plot(*_series(result.rows, name), linewidth=1.0, **line_style(j))
                lines[j] = line
            axes.set_title(name.removeprefix("losses/"), fontsize=9, parse_math=False)
            axes.tick_params(labelsize=7)
            axes.locator_params("x", nbins=4)
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.grid(alpha=0.25)
        add_legend_below(figure, {line: results[j].label for j, line in lines.items()})

    add_figure(section, draw_all, "Losses by environment steps of each seed", (9.0, 2.2 * rows))


def _settings(body: Element, results: Sequence[RunResult]) -> None:
    """All settings, those first in which runs differ."""
    fields = all_fields(results)
    differs = {name: len(set(values)) > 1 for name, values in fields.items()}
    order = sorted(fields, key=lambda name: not differs[name])
    section = add_section(
        body, "settings", "Settings", "Those in which the runs differ." if any(differs.values()) else ""
    )
    header, rows = ("setting", *(result.label for result in results)), [(name, *fields[name]) for name in order]
    if any(differs.values()):
        add_table(section, header, rows[: sum(differs.values())])
    inside = SubElement(section, "details")
    add(inside, "summary", f"all {len(fields)} settings")
    add_table(inside, header, rows, [differs[name] for name in order])


def _memory(body: Element, results: Sequence[RunResult]) -> None:
    """Diagnoses of memory, of the runs that have one."""
    found = [(result, result.folder / DIAGNOSIS_FIGURE) for result in results]
    found = [(result, path) for result, path in found if path.is_file()]
    if found:
        section = add_section(body, "memory", "Memory", "As memorax diagnose measured it.")
        for result, path in found:
            add_image(section, path.read_bytes(), "png", result.label, "figures")


def _pictures(body: Element, results: Sequence[RunResult]) -> None:
    """Episodes that were played into the runs' folders."""
    found = [
        (result, path)
        for result in results
        for path in sorted(result.folder.glob("play*"))
        if path.suffix.lower() in _PICTURES
    ]
    if found:
        section = add_section(body, "episodes", "Episodes")
        for result, path in found:
            add_image(section, path.read_bytes(), path.suffix.lower().removeprefix("."), f"{result.label}: {path.name}")


def _machines(body: Element, results: Sequence[RunResult]) -> None:
    """Machines, versions and times."""
    rows = []
    for result in results:
        summary = _read(result, SUMMARY_FILE)
        if summary:
            versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
            machine = ", ".join(str(value) for value in summary["machine"].values())
            rows.append((result.label, machine, versions, f"{summary['wall_time_seconds']:,.0f} s"))
    if rows:
        section = add_section(body, "machines", "Machines and versions")
        add_table(section, ("run", "machine", "versions", "time"), rows)


def _by_task(results: Sequence[RunResult]) -> dict[str, list[RunResult]]:
    tasks: dict[str, list[RunResult]] = {}
    for result in results:
        tasks.setdefault(result.config.task(), []).append(result)
    return tasks


def _series(rows: Sequence[Row], metric: str) -> tuple[list[int], list[float]]:
    """A metric over the steps of a run, as the mean over seeds."""
    by_step: dict[int, list[float]] = {}
    for row in rows:
        if metric in row:
            by_step.setdefault(int(row["step"]), []).append(row[metric])
    return sorted(by_step), [float(np.mean(by_step[step])) for step in sorted(by_step)]


def _finish(axes: Any, label: str) -> None:
    from matplotlib.ticker import EngFormatter

    axes.set(xlabel="environment steps per seed", ylabel=label)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.25)


def _read(result: RunResult, name: str) -> dict[str, Any]:
    """A JSON file of a run; empty where it is not there."""
    path = result.folder / name
    return read_json(path) if path.is_file() else {}

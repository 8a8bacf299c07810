"""Pictures of a diagnosis."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from memorax.diagnostics.ablation import MemoryAblation
from memorax.diagnostics.diagnosis import Diagnosis
from memorax.diagnostics.generalization import HorizonGeneralization
from memorax.diagnostics.probing import Probe
from memorax.diagnostics.recall import RecallOverLag
from memorax.diagnostics.returns import Returns

_MOST_PROBES = 8


def make_figure(diagnosis: Diagnosis, title: str = "") -> Any:
    """Draw a diagnosis.

    Args:
        diagnosis: What to draw.
        title: Title of the figure, shown as it is.

    Returns:
        A matplotlib figure; `figure.savefig(path)` writes it.
    """
    # Not through pyplot: it would choose a backend and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: list[Any] = [lambda axes: draw_recall(axes, diagnosis.recall)]
    if diagnosis.ablation is not None:
        ablation = diagnosis.ablation
        panels += [lambda axes: draw_ablation(axes, ablation), lambda axes: draw_recovery(axes, ablation)]
    if diagnosis.horizons is not None:
        horizons = diagnosis.horizons
        panels.append(lambda axes: draw_horizons(axes, horizons))
    if diagnosis.probes:
        panels.append(lambda axes: draw_probes(axes, diagnosis.probes))
    columns = min(len(panels), 2 if len(panels) == 4 else 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.2 * columns, 4.3 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        panel(axes)
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


def draw_recall(axes: Any, recall: RecallOverLag) -> None:
    """Draw the effects by lag, each relative to its largest."""
    kinds = {"perturbation": (recall.perturbation, "-")} | (
        {"gradient": (recall.gradient, ":")} if recall.gradient else {}
    )
    for kind, (effects, style) in kinds.items():
        # Of different widths: the one is seen beside the other where they agree.
        for color, width, (name, effect) in zip(("C0", "C1"), (3.2, 1.4), effects.items(), strict=True):
            top = effect.max()
            relative = effect / top if top > 0 else effect
            axes.plot(recall.lags, relative, style, color=color, label=f"{name}, {kind}", linewidth=width)
    axes.set(xlabel="lag (steps back)", ylabel="effect, relative to the largest", ylim=(-0.03, 1.06))
    axes.set_title(f"Recall over lag: mean lag of the value {recall.mean_lag():.1f} steps", fontsize=11)
    _add_legend(axes)


def draw_ablation(axes: Any, ablation: MemoryAblation) -> None:
    """Draw the returns with a damaged memory."""
    labels = {"reset": "reset every k steps", "swap": "swapped every k steps", "poison": "strange observation at k"}
    for i, (name, label) in enumerate(labels.items()):
        returns = getattr(ablation, name)
        # Side by side, or the intervals of the same `k` would cover each other.
        _errorbars(axes, [k * 2 ** (0.06 * (i - 1)) for k in returns], returns, label)
    axes.axhline(ablation.intact.mean, color="0.4", linestyle="--", linewidth=1.2, label="intact")
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(ablation.reset), [str(k) for k in ablation.reset])
    axes.set(xlabel="k (steps)", ylabel="mean episode return")
    axes.set_title("Ablation of memory", fontsize=11)
    _add_legend(axes)


def draw_recovery(axes: Any, ablation: MemoryAblation) -> None:
    """Draw how long a strange observation is felt."""
    for name, change in ablation.recovery.items():
        top = change.max()
        axes.plot(change / top if top > 0 else change, label=name, linewidth=1.8)
    axes.set(xlabel="steps after a strange observation", ylabel="change, relative to the largest", ylim=(-0.03, 1.06))
    axes.locator_params("x", integer=True)
    axes.set_title("Recovery", fontsize=11)
    _add_legend(axes)


def draw_horizons(axes: Any, horizons: HorizonGeneralization) -> None:
    """Draw the returns in variants of the environment."""
    names = [str(name) for name in horizons.variants]
    argument = names[0].partition("=")[0]
    same = all(name.startswith(f"{argument}=") for name in names)
    _errorbars(axes, range(len(names)), horizons.variants, "agent")
    for known, style, label in (
        (horizons.best, "--", "best with memory"),
        (horizons.memoryless, ":", "best without memory"),
    ):
        values = [np.nan if value is None else value for value in known.values()]
        if not np.all(np.isnan(values)):
            axes.plot(values, style, color="0.4", linewidth=1.2, label=label, zorder=3)
    ticks = [name.removeprefix(f"{argument}=") for name in names] if same else names
    axes.set_xticks(range(len(names)), ticks, parse_math=False)
    axes.set_xlabel(argument if same else "variant of the environment", parse_math=False)
    axes.set_ylabel("mean episode return")
    axes.set_title("Horizon generalization", fontsize=11)
    _add_legend(axes)


def draw_probes(axes: Any, probes: dict[str, Probe]) -> None:
    """Draw what can be read from the memory, beside what the observation tells and what is guessed."""
    shown = dict(list(probes.items())[:_MOST_PROBES])
    places = np.arange(len(shown))
    bars = {"from the memory": "score", "from the observation": "from_observation", "best constant guess": "chance"}
    for i, (label, field) in enumerate(bars.items()):
        values = [max(getattr(found, field), 0.0) for found in shown.values()]
        axes.barh(places + 0.27 * (i - 1), values, height=0.25, label=label, color=f"C{i}" if i < 2 else "0.7")
    axes.set_yticks(places, [f"{name} ({found.kind})" for name, found in shown.items()], fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.set(xlabel="score of a linear read-out", xlim=(0, 1.03))
    axes.set_title("Probes of the hidden state", fontsize=11)
    _add_legend(axes)


def _errorbars(axes: Any, places: Sequence[float], returns: Mapping[Any, Returns], label: str) -> None:
    """Draw mean returns with their confidence intervals."""
    values = np.array([x.mean for x in returns.values()])
    low, high = np.array([x.interval for x in returns.values()]).T
    axes.errorbar(places, values, [values - low, high - values], label=label, marker="o", markersize=4, capsize=2)


def _add_legend(axes: Any) -> None:
    """Add a legend below axes and their label, where it covers nothing."""
    from matplotlib.transforms import ScaledTranslation

    below = axes.transAxes + ScaledTranslation(0, -0.5, axes.figure.dpi_scale_trans)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below}
    axes.legend(**place, ncols=2, frameon=False, fontsize=8)

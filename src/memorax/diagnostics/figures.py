"""Pictures of a diagnosis."""

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
    figure = Figure(figsize=(5.2 * columns, 3.9 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        panel(axes)
        axes.grid(alpha=0.25)
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


def draw_recall(axes: Any, recall: RecallOverLag) -> None:
    """Draw the effects by lag, each relative to its largest."""
    kinds = {"perturbation": (recall.perturbation, "-")} | (
        {"gradient": (recall.gradient, ":")} if recall.gradient else {}
    )
    for kind, (effects, style) in kinds.items():
        for color, (name, effect) in zip(("C0", "C1"), effects.items(), strict=True):
            top = effect.max()
            relative = effect / top if top > 0 else effect
            axes.plot(recall.lags, relative, style, color=color, label=f"{name}, {kind}", linewidth=1.8)
    axes.set(xlabel="lag (steps back)", ylabel="effect, relative to the largest", ylim=(-0.03, 1.06))
    axes.set_title(f"Recall over lag: mean lag of the value {recall.mean_lag():.1f}", fontsize=11)
    axes.legend(edgecolor="none", framealpha=0.85, fontsize=8)


def draw_ablation(axes: Any, ablation: MemoryAblation) -> None:
    """Draw the returns with a damaged memory."""
    for name in ("reset", "swap", "poison"):
        label = {"reset": "reset every k steps", "swap": "swapped every k steps", "poison": "strange observation at k"}
        _errorbars(axes, getattr(ablation, name), label[name])
    axes.axhline(ablation.intact.mean, color="0.4", linestyle="--", linewidth=1.2, label="intact")
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(ablation.reset), [str(k) for k in ablation.reset])
    axes.set(xlabel="k (steps)", ylabel="mean episode return")
    axes.set_title("Ablation of memory", fontsize=11)
    axes.legend(edgecolor="none", framealpha=0.85, fontsize=8)


def draw_recovery(axes: Any, ablation: MemoryAblation) -> None:
    """Draw how long a strange observation is felt."""
    for name, change in ablation.recovery.items():
        top = change.max()
        axes.plot(change / top if top > 0 else change, label=name, linewidth=1.8)
    axes.set(xlabel="steps after a strange observation", ylabel="change, relative to the largest", ylim=(-0.03, 1.06))
    axes.locator_params("x", integer=True)
    axes.set_title("Recovery", fontsize=11)
    axes.legend(edgecolor="none", framealpha=0.85, fontsize=8)


def draw_horizons(axes: Any, horizons: HorizonGeneralization) -> None:
    """Draw the returns in variants of the environment."""
    names = [str(name) for name in horizons.variants]
    _errorbars(axes, dict(enumerate(horizons.variants.values())), "agent")
    for known, style, label in (
        (horizons.best, "--", "best with memory"),
        (horizons.memoryless, ":", "best without memory"),
    ):
        values = [np.nan if value is None else value for value in known.values()]
        if not np.all(np.isnan(values)):
            axes.plot(values, style, color="0.4", linewidth=1.2, label=label)
    axes.set_xticks(range(len(names)), names, parse_math=False)
    axes.set(xlabel="variant", ylabel="mean episode return")
    axes.set_title("Horizon generalization", fontsize=11)
    axes.legend(edgecolor="none", framealpha=0.85, fontsize=8)


def draw_probes(axes: Any, probes: dict[str, Probe]) -> None:
    """Draw what can be read from the memory, beside what the observation tells and what is guessed."""
    shown = dict(list(probes.items())[:_MOST_PROBES])
    places = np.arange(len(shown))
    bars = {"memory": "score", "observation": "from_observation", "guess": "chance"}
    for i, (label, field) in enumerate(bars.items()):
        values = [max(getattr(found, field), 0.0) for found in shown.values()]
        axes.barh(places + 0.27 * (i - 1), values, height=0.25, label=label, color=f"C{i}" if i < 2 else "0.7")
    axes.set_yticks(places, [f"{name} ({found.kind})" for name, found in shown.items()], fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.set(xlabel="score of a linear read-out", xlim=(0, 1.03))
    axes.set_title("Probes of the hidden state", fontsize=11)
    axes.legend(edgecolor="none", framealpha=0.85, fontsize=8)


def _errorbars(axes: Any, returns: dict[int, Returns], label: str) -> None:
    """Draw mean returns with their confidence intervals."""
    values = np.array([x.mean for x in returns.values()])
    low, high = np.array([x.interval for x in returns.values()]).T
    axes.errorbar(
        list(returns), values, [values - low, high - values], label=label, marker="o", markersize=4, capsize=2
    )

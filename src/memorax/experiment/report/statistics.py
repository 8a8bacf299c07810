"""Statistics over a few runs, with confidence intervals."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

Scores: TypeAlias = np.ndarray
"""Scores, `[runs]` or `[runs, tasks]`."""
Statistic: TypeAlias = Callable[[Scores], np.ndarray]
"""Maps scores `[..., runs]` to `[...]`."""


def mean(scores: Scores) -> np.ndarray:
    """Average over the last axis."""
    return np.mean(scores, axis=-1)


def interquartile_mean(scores: Scores) -> np.ndarray:
    """Average over the last axis without its lowest and its highest quarter (rounded down).

    More robust to outliers than the mean, and statistically more efficient than the median.

    Source:
        Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
        https://arxiv.org/abs/2108.13264
    """
    count = scores.shape[-1]
    cut = count // 4
    return np.mean(np.sort(scores, axis=-1)[..., cut : count - cut], axis=-1)


STATISTICS: dict[str, Statistic] = {"mean": mean, "iqm": interquartile_mean}
"""Statistics that a learning curve can show, by name."""


def bootstrap_interval(
    scores: Scores,
    statistic: Statistic = mean,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Estimate a confidence interval by the stratified percentile bootstrap.

    Runs are drawn with replacement within each task, so that every resample holds every task as often as the data.

    Args:
        scores: `[runs]` or `[runs, tasks]`, finite.
        statistic: The statistic that the interval is for.
        confidence: Confidence level, `(0, 1)`.
        resamples: Number of bootstrap resamples.
        seed: Random seed; the same scores give the same interval.

    Returns:
        Lower and upper end; both are the score itself if there is a single run.

    Raises:
        ValueError: `scores` has no run or the wrong number of axes, or `confidence` is outside `(0, 1)`.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim not in (1, 2) or scores.size == 0:
        raise ValueError(f"`scores` must be [runs] or [runs, tasks] and not empty, got shape {scores.shape}")
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1), got {confidence}")
    columns = scores[:, None] if scores.ndim == 1 else scores
    runs, tasks = columns.shape
    drawn = np.random.default_rng(seed).integers(runs, size=(resamples, runs, tasks))
    resampled = np.take_along_axis(columns[None], drawn, axis=1)
    estimates = statistic(resampled.reshape(resamples, runs * tasks))
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(estimates, [tail, 1.0 - tail])
    return float(low), float(high)


def summarize(scores: Scores) -> dict[str, float | list[float] | int | None]:
    """Summarize one score per run: `mean` and `iqm`, each with its 95 % interval (None for a single run).

    Args:
        scores: `[runs]`, finite.
    """
    scores = np.asarray(scores, np.float64)
    summary: dict[str, float | list[float] | int | None] = {"runs": int(scores.shape[0])}
    for name, statistic in STATISTICS.items():
        summary[name] = float(statistic(scores))
        several = scores.shape[0] > 1
        summary[f"{name}_interval_95"] = list(bootstrap_interval(scores, statistic)) if several else None
    return summary


def probability_of_improvement(
    first: Scores, second: Scores, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Estimate how probable it is that a run of the first kind has a higher score than one of the second.

    Args:
        first: Scores of one kind, `[runs]` or `[runs, tasks]`, finite.
        second: Scores of the other kind, `[runs]` or `[runs, tasks]`.
        resamples: Number of bootstrap resamples; runs are drawn within each task.
        seed: Random seed.

    Returns:
        The probability, where equal scores count half, averaged over tasks, and its 95 % percentile bootstrap interval.

    Source:
        Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
        https://arxiv.org/abs/2108.13264
    """
    columns = [np.asarray(x, np.float64).reshape(len(x), -1) for x in (first, second)]
    rng = np.random.default_rng(seed)
    drawn = (np.take_along_axis(x[None], rng.integers(len(x), size=(resamples, *x.shape)), axis=1) for x in columns)
    low, high = np.quantile(_improvement(*drawn), [0.025, 0.975])
    return float(_improvement(*columns)), (float(low), float(high))


def _improvement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The share of pairs in the same task that the first wins, over the last axes, `[..., runs, tasks]`."""
    difference = first[..., :, None, :] - second[..., None, :, :]
    return np.mean((difference > 0) + 0.5 * (difference == 0), axis=(-3, -2, -1))


def mann_whitney(first: Scores, second: Scores) -> float:
    """The two-sided p-value of the Mann-Whitney test: how surprising such scores are if both kinds are the same.

    Args:
        first: Scores of one kind, `[runs]`.
        second: Scores of the other kind, `[runs]`.

    Returns:
        The p-value: exact for few runs without ties, otherwise by the normal approximation; 1 if all scores are equal.
    """
    from scipy.stats import mannwhitneyu

    if np.unique(np.concatenate([first, second])).size == 1:
        return 1.0
    return float(mannwhitneyu(first, second, alternative="two-sided").pvalue)


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down method.

    Args:
        p_values: Those of all tests that are made.

    Returns:
        Adjusted p-values in the same order, at most 1.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure", https://www.jstor.org/stable/4615733
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def performance_profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """The share of runs whose score is above each threshold.

    Args:
        scores: Of any shape, every entry a run.
        thresholds: `[thresholds]`.

    Returns:
        `[thresholds]`, from 1 to 0.

    Source:
        Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
        https://arxiv.org/abs/2108.13264
    """
    return np.mean(np.asarray(scores).reshape(-1, 1) > np.asarray(thresholds), axis=0)

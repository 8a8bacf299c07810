"""How long the logging intervals of a run are."""

import dataclasses

from memorax.experiment.config import RunConfig

_INTERVALS = 100
"""About how many logging intervals a run has by default."""
_TRIED = 10_000
"""How far from that number of updates a logging interval is looked for that divides the run."""


def with_log_interval(config: RunConfig, update: int) -> RunConfig:
    """Fill in the length of a logging interval, in whole updates; prefer one that divides the run without a rest.

    Args:
        config: The run.
        update: Environment steps of an update.

    Raises:
        ValueError: The run is shorter than an update.
    """
    updates = config.steps // update
    if updates < 1:
        raise ValueError(f"`steps` must be at least one update ({update:,}), got {config.steps:,}")
    if config.log_every is None:
        wanted = max(1, updates // _INTERVALS)
        lengths = range(max(1, wanted // 2, wanted - _TRIED), min(2 * wanted, wanted + _TRIED) + 1)
        # What is left over at the end needs a program of its own, and should be long enough to say something.
        length = min(lengths, key=lambda n: (-updates % n, abs(n - wanted)))
    else:
        length = max(1, config.log_every // update)
    return dataclasses.replace(config, log_every=length * update)

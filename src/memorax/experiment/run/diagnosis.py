"""What became NaN or infinite first in a logging interval, where it came from, and what to do about it."""

import dataclasses
from typing import Any

import numpy as np

from memorax.acting import faults
from memorax.core.types import PyTree
from memorax.experiment.run.checkpoint import flatten
from memorax.experiment.run.metrics import Interval

_RATE = "lower `--learning-rate` or `--max-grad-norm`"
_ADVICE = {
    "environment": (
        "the networks and the optimizer are not the cause, and a lower learning rate does not help: look for it in the "
        "environment"
    ),
    "network": (
        "the network is the cause: look for an overflow, a division by zero or a logarithm in it, or try "
        "`--normalize-observations` where observations are large"
    ),
    "network, after learning": (
        "if its parameters have grown, try a {rate} in a new run; otherwise look in the network for an overflow, a "
        "division by zero or a logarithm"
    ),
    "loss": "try a {rate} in a new run, or `--normalize-rewards` where rewards are large",
    "optimizer": "try a {rate} in a new run",
    "return": "rewards are too large to be added: scale them, by `wrappers.ScaleReward` for instance",
}

_GIVEN = {faults.SEEN: "observation", faults.REWARD: "reward", faults.OBSERVATION: "observation"}


@dataclasses.dataclass(frozen=True)
class Divergence:
    """What diverged.

    Attributes:
        source: Where it came from: the environment, the network, the loss, the optimizer, or sums of rewards.
        message: What became NaN or infinite, of which seed, and when.
    """

    source: str
    message: str

    def advice(self, rate: str = _RATE) -> str:
        """Say what to do about it.

        Args:
            rate: The options of the algorithm that make steps smaller.
        """
        return _ADVICE[self.source].format(rate=rate)


@dataclasses.dataclass(frozen=True)
class _Event:
    """Something that was not finite, at a step; those of one step are ordered by cause."""

    step: int
    order: int
    name: str


def diagnose(
    interval: Interval,
    learner: PyTree,
    steps: tuple[int, int],
    seeds: list[int],
    seen: frozenset[str] = frozenset(),
    borne: frozenset[int] = frozenset(),
    warmup: np.ndarray | None = None,
) -> Divergence | None:
    """Describe what diverged in an interval; None if nothing did.

    A NaN in the logs alone may mean "no value"; it counts where the learner is not finite either. So does one that the
    environment gave: networks may know what to do with it.

    Args:
        interval: Of all seeds, on the host.
        learner: State of the learner after the interval, `[seeds, ...]`.
        steps: The steps at the interval's start and at its end.
        seeds: Numbers of the seeds.
        seen: Metrics that had a value before; one that never had any is not suspected first.
        borne: Faults of steps that did no harm before, and are not suspected.
        warmup: The first fault of the random steps before training, `[seeds]`; None: no fault is known.
    """
    for i, seed in enumerate(seeds):
        infinite = [n for n in interval.values if interval.present[n][i] and not np.isfinite(interval.values[n][i])]
        if interval.healthy[i] and not infinite:
            continue
        valued = seen | {name for name, present in interval.present.items() if present[i]}
        events = _suspects(_events(interval, i, steps, borne), valued)
        if not events:
            leaf = _leaf(learner, i)
            source = "optimizer" if leaf else "return"
            text = f"`{leaf or infinite[0]}` of seed {seed} became NaN or infinite between steps {steps[0]:,} and "
            return Divergence(source, f"{text}{steps[1]:,}")
        first = min(events, key=lambda event: (event.step, event.order, event.name not in infinite))
        if warmup is not None and first.name != faults.STEP and int(warmup[i]) in _GIVEN.keys() - borne:
            return Divergence("environment", f"{_gave(int(warmup[i]), seed)} in the random steps before training")
        return _describe(first, interval, i, steps, seed, _leaf(learner, i))
    return None


def borne_faults(interval: Interval) -> frozenset[int]:
    """List the faults of the first faulty steps of an interval in which nothing diverged."""
    return frozenset(int(fault) for fault in interval.fault if fault != faults.NO_FAULT)


def _events(interval: Interval, i: int, steps: tuple[int, int], borne: frozenset[int]) -> list[_Event]:
    events = []
    for name, bad in interval.first_bad.items():
        if bad[i] < 0 or (name == faults.STEP and int(interval.fault[i]) in borne):
            continue
        step = steps[0] + (steps[1] - steps[0]) * (int(bad[i]) + 1) // int(interval.logged[name][i])
        # Of one step, what was acted on comes before what was learned, and losses before what follows from them.
        events.append(_Event(step, {faults.STEP: 0, faults.LEARNER: 2}.get(name, 1), name))
    return events


def _suspects(events: list[_Event], valued: frozenset[str] | set[str]) -> list[_Event]:
    """Leave out metrics that never had a value, unless the learner broke when they first lacked it."""
    broke = {event.step for event in events if event.name == faults.LEARNER}
    known = {faults.STEP, faults.LEARNER} | valued
    return [event for event in events if event.name in known or event.step in broke] or events


def _describe(
    event: _Event, interval: Interval, i: int, steps: tuple[int, int], seed: int, leaf: str | None
) -> Divergence:
    if event.name == faults.STEP:
        at, fault = f"at step {event.step:,}", int(interval.fault[i])
        if fault == faults.ACTED:
            learned = interval.logged[faults.LEARNER][i]
            first = steps[0] == 0 and event.step * int(learned) <= steps[1]
            what = "an action or a value that is NaN or infinite, for a finite observation,"
            return Divergence("network" if first else "network, after learning", f"seed {seed} chose {what} {at}")
        return Divergence("environment", f"{_gave(fault, seed)} {at}")
    logged = int(interval.logged[event.name][i])
    update = event.step * logged // (steps[1] - steps[0])
    when = f"of seed {seed} became NaN or infinite in update {update:,} (step {event.step:,})"
    if event.name == faults.LEARNER:
        return Divergence("optimizer", f"`{leaf}` {when}, whose losses were finite")
    return Divergence("loss", f"`{event.name}` {when}")


def _gave(fault: int, seed: int) -> str:
    return f"the environment gave seed {seed} a NaN or infinite {_GIVEN[fault]}"


def _leaf(learner: PyTree, i: int) -> str | None:
    """The first leaf that is not finite."""

    def broken(x: Any) -> bool:
        return not np.all(np.isfinite(np.asarray(x[i], np.float32)))

    return next((name for name, x in flatten(learner).items() if broken(x)), None)

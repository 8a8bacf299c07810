"""All diagnostics of an agent at once."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from memorax.acting import Behavior
from memorax.diagnostics.ablation import MemoryAblation, memory_ablation
from memorax.diagnostics.generalization import HorizonGeneralization, horizon_generalization
from memorax.diagnostics.probing import Probe, probe
from memorax.diagnostics.recall import RecallOverLag, recall_over_lag


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What was found out about an agent's memory.

    Attributes:
        recall: How far back it looks.
        horizons: Its returns in variants of its environment; None where there were no variants.
        ablation: Its returns with a damaged memory; None for an agent without memory.
        probes: What can be read from its memory, best first.
    """

    recall: RecallOverLag
    horizons: HorizonGeneralization | None
    ablation: MemoryAblation | None
    probes: dict[str, Probe]

    def to_json(self) -> dict[str, Any]:
        """As plain numbers and lists."""
        return {
            "recall_over_lag": self.recall.to_json(),
            "horizon_generalization": self.horizons and self.horizons.to_json(),
            "memory_ablation": self.ablation and self.ablation.to_json(),
            "probes": {name: found.to_json() for name, found in self.probes.items()},
        }


def diagnose(  # noqa: PLR0913
    policy: Any,
    *,
    environments: Mapping[Any, Any] | None = None,
    max_lag: int = 32,
    episodes: int = 128,
    max_steps: int = 10_000,
    behavior: Behavior = "exploit",
    seed: int = 0,
    tell: Callable[[str], object] = lambda stage: None,
) -> Diagnosis:
    """Examine the memory of an agent.

    Args:
        policy: What `memorax.load` gives, or anything with an `agent` and its `state`.
        environments: Variants of its environment, as for `horizon_generalization`; None for none.
        max_lag: Steps to look back, and to follow a strange observation.
        episodes: Episodes to play in each variant.
        max_steps: Longest episode; longer ones are left out.
        behavior: `"exploit"` acts greedily, `"explore"` as in training.
        seed: Random seed.
        tell: Called with the name of each diagnostic before it begins.

    Returns:
        The diagnosis.

    Raises:
        TypeError: `policy` has no agent or no state, or an argument is of another type.
        ValueError: An argument is out of range, or a variant has other spaces than the agent's environment.
    """
    common: dict[str, Any] = {"behavior": behavior, "seed": seed}
    play: dict[str, Any] = {"episodes": episodes, "max_steps": max_steps, **common}
    tell("recall over lag")
    recall = recall_over_lag(policy, max_lag=max_lag, **common)
    horizons = ablation = None
    if environments:
        tell("horizon generalization")
        horizons = horizon_generalization(policy, environments, **play)
    if policy.agent.recurrent:
        tell("memory ablation")
        ablation = memory_ablation(policy, recovery_steps=max_lag, **play)
    tell("probes")
    return Diagnosis(recall, horizons, ablation, probe(policy, **common))

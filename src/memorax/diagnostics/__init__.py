"""What an agent remembers: how far back it looks, what its memory is worth, and what can be read from it."""

from memorax.diagnostics.ablation import MemoryAblation, memory_ablation
from memorax.diagnostics.diagnosis import Diagnosis, diagnose
from memorax.diagnostics.generalization import HorizonGeneralization, horizon_generalization
from memorax.diagnostics.probing import Probe, probe
from memorax.diagnostics.recall import RecallOverLag, recall_over_lag
from memorax.diagnostics.returns import Returns

__all__ = [
    "Diagnosis",
    "HorizonGeneralization",
    "MemoryAblation",
    "Probe",
    "RecallOverLag",
    "Returns",
    "diagnose",
    "horizon_generalization",
    "memory_ablation",
    "probe",
    "recall_over_lag",
]

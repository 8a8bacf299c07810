"""How agents learn: one file an algorithm."""

from memorax.algorithms.ppo import PPO, PPOConfig, PPOState
from memorax.core.registry import Registry

ALGORITHMS: Registry[tuple[type, type]] = Registry("algorithm")
"""Name to `(algorithm, configuration)`."""
ALGORITHMS.register("ppo", (PPO, PPOConfig))

__all__ = ["ALGORITHMS", "PPO", "PPOConfig", "PPOState"]

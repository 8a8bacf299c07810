"""The algorithms: one file each."""

from memorax.algorithms.dqn import DQN, DQNConfig, DQNState
from memorax.algorithms.gradient_ppo import GradientPPO, GradientPPOConfig, GradientPPOState
from memorax.algorithms.mappo import MAPPO, MAPPOConfig, MAPPOState
from memorax.algorithms.ppo import PPO, PPOConfig, PPOState
from memorax.algorithms.pqn import PQN, PQNConfig, PQNState
from memorax.algorithms.r2d2 import R2D2, R2D2Config, R2D2State
from memorax.algorithms.sac import SAC, SACConfig, SACState
from memorax.algorithms.stream_ac import StreamAC, StreamACConfig, StreamACState
from memorax.core.registry import Registry

ALGORITHMS: Registry[tuple[type, type]] = Registry("algorithm")
"""Name to `(algorithm, configuration)`."""
ALGORITHMS.register("dqn", (DQN, DQNConfig))
ALGORITHMS.register("gradient_ppo", (GradientPPO, GradientPPOConfig))
ALGORITHMS.register("mappo", (MAPPO, MAPPOConfig))
ALGORITHMS.register("ppo", (PPO, PPOConfig))
ALGORITHMS.register("pqn", (PQN, PQNConfig))
ALGORITHMS.register("r2d2", (R2D2, R2D2Config))
ALGORITHMS.register("sac", (SAC, SACConfig))
ALGORITHMS.register("stream_ac", (StreamAC, StreamACConfig))

__all__ = [
    "ALGORITHMS",
    "DQN",
    "MAPPO",
    "PPO",
    "PQN",
    "R2D2",
    "SAC",
    "DQNConfig",
    "DQNState",
    "GradientPPO",
    "GradientPPOConfig",
    "GradientPPOState",
    "MAPPOConfig",
    "MAPPOState",
    "PPOConfig",
    "PPOState",
    "PQNConfig",
    "PQNState",
    "R2D2Config",
    "R2D2State",
    "SACConfig",
    "SACState",
    "StreamAC",
    "StreamACConfig",
    "StreamACState",
]

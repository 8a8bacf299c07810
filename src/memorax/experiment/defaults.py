"""The default jobs: what `memorax train [algorithm]` does when it is told nothing else.

All their numbers are here and nowhere else.
"""

from typing import Any

from memorax.experiment.config import RunConfig, config_class

DEFAULT_ALGORITHM = "ppo"
"""What `memorax train` alone trains."""

_RUNS: dict[str, dict[str, Any]] = {
    "dqn": {
        "env": "memory::MemoryChain",
        "model": "gru",
        "steps": 200_000,
        "warmup": 2_000,
        "seeds": 4,
        "features": 64,
        "learning_rate": 1e-3,
        "max_grad_norm": 10.0,
    },
    "mappo": {
        "env": "multi_agent::PartnerRecall",
        "model": "gru",
        "steps": 200_000,
        "seeds": 4,
        "features": 64,
        "learning_rate": 2e-3,
    },
    "gradient_ppo": {
        "env": "memory::RepeatPreviousEasy",
        "model": "gru",
        "steps": 500_000,
        "seeds": 4,
        "features": 64,
        "share_trunk": False,
        "learning_rate": 2e-3,
    },
    "ppo": {
        "env": "memory::RepeatPreviousEasy",
        "model": "gru",
        "steps": 500_000,
        "seeds": 4,
        "features": 64,
        "learning_rate": 2e-3,
    },
    "pqn": {
        "env": "memory::MemoryChain",
        "model": "gru",
        "steps": 200_000,
        "seeds": 4,
        "features": 64,
        "learning_rate": 1e-3,
        "max_grad_norm": 10.0,
    },
    "r2d2": {
        "env": "memory::MemoryChain",
        "model": "gru",
        "steps": 200_000,
        "warmup": 2_000,
        "seeds": 4,
        "features": 64,
        "learning_rate": 1e-3,
        "max_grad_norm": 10.0,
    },
    "sac": {
        "env": "memory::MemoryChain",
        "model": "gru",
        "steps": 80_000,
        "warmup": 2_000,
        "seeds": 4,
        "features": 32,
        "learning_rate": 2e-3,
        "max_grad_norm": 10.0,
    },
    "stream_ac": {
        "env": "memory::MemoryChain",
        "env_options": {"length": 10},
        "model": "rtu",
        "steps": 500_000,
        "seeds": 4,
        "features": 32,
        "share_trunk": False,
    },
}
"""By algorithm: fields of the run that differ from `RunConfig`'s defaults."""

_HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    "dqn": {"num_envs": 16, "train_frequency": 16, "target_update_frequency": 500, "epsilon_steps": 50_000},
    "mappo": {"num_envs": 32, "num_steps": 32},
    "gradient_ppo": {"num_envs": 32, "num_steps": 64, "num_minibatches": 4, "truncation_length": 64},
    "ppo": {"num_envs": 32, "num_steps": 64, "num_minibatches": 4, "update_epochs": 4},
    "pqn": {"num_minibatches": 4, "epsilon_steps": 50_000},
    "r2d2": {"num_envs": 16, "train_frequency": 16, "sequence_length": 26, "burn_in_length": 5},
    "sac": {"num_envs": 16, "train_frequency": 16, "batch_size": 32, "tau": 0.02},
    "stream_ac": {"normalize_rewards": True, "entropy_coefficient": 0.1},
}
"""By algorithm: fields of its configuration that differ from the algorithm's own defaults."""


def default_run(algorithm: str = DEFAULT_ALGORITHM) -> RunConfig:
    """Give the default run of an algorithm.

    Args:
        algorithm: Its name.

    Raises:
        ValueError: No algorithm has that name; the message suggests near misses.
    """
    hyperparameters = config_class(algorithm)(**_HYPERPARAMETERS.get(algorithm, {}))
    fields: dict[str, Any] = {"env": "memory::RepeatPreviousEasy"}
    fields |= _RUNS.get(algorithm, {})
    return RunConfig(algorithm=algorithm, hyperparameters=hyperparameters, **fields)

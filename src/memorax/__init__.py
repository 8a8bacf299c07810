"""Memory-augmented reinforcement learning in JAX.

An agent is an algorithm, a network and an environment; a network is a feature extractor, a torso with memory and a
head. The names below are all that a first script needs:

* the algorithms and their configurations, `PPO` and `PPOConfig` for instance,
* `make` and `register` for environments,
* `Network`, `FeatureExtractor`, `MLP`, `CNN`, `RNN`, `Memoroid` and `heads` for networks,
* `lox` for logging from inside compiled code,
* `RunConfig`, `default_run`, `train`, `train_many` and `pbt` for whole runs with checkpoints, metrics and learning
  curves, and `load` for the policies they have learned.

The subpackages have everything else: `memorax.networks`, `memorax.environments.wrappers` and so on. `import memorax`
loads none of them; each is imported when one of its names is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memorax import (
        acting,
        algorithms,
        buffers,
        core,
        diagnostics,
        environments,
        experiment,
        kernels,
        learning,
        lox,
        networks,
        objectives,
        testing,
    )
    from memorax.algorithms import (
        DQN,
        MAPPO,
        PPO,
        PQN,
        R2D2,
        SAC,
        DQNConfig,
        GradientPPO,
        GradientPPOConfig,
        MAPPOConfig,
        PPOConfig,
        PQNConfig,
        R2D2Config,
        SACConfig,
        StreamAC,
        StreamACConfig,
    )
    from memorax.environments import make, register
    from memorax.experiment import Population, RunConfig, default_run, load, pbt, train, train_many
    from memorax.networks import CNN, MLP, RNN, FeatureExtractor, Memoroid, Network, heads

__version__ = "0.1.0"

__all__ = [
    "CNN",
    "DQN",
    "MAPPO",
    "MLP",
    "PPO",
    "PQN",
    "R2D2",
    "RNN",
    "SAC",
    "DQNConfig",
    "FeatureExtractor",
    "GradientPPO",
    "GradientPPOConfig",
    "MAPPOConfig",
    "Memoroid",
    "Network",
    "PPOConfig",
    "PQNConfig",
    "Population",
    "R2D2Config",
    "RunConfig",
    "SACConfig",
    "StreamAC",
    "StreamACConfig",
    "__version__",
    "acting",
    "algorithms",
    "buffers",
    "core",
    "default_run",
    "diagnostics",
    "environments",
    "experiment",
    "heads",
    "kernels",
    "learning",
    "load",
    "lox",
    "make",
    "networks",
    "objectives",
    "pbt",
    "register",
    "testing",
    "train",
    "train_many",
]

_HOMES = {
    "Population": "experiment",
    "RunConfig": "experiment",
    "default_run": "experiment",
    "pbt": "experiment",
    "load": "experiment",
    "train": "experiment",
    "train_many": "experiment",
    "make": "environments",
    "register": "environments",
    **dict.fromkeys(("CNN", "FeatureExtractor", "MLP", "Memoroid", "Network", "RNN", "heads"), "networks"),
    **dict.fromkeys(("DQN", "GradientPPO", "MAPPO", "PPO", "PQN", "R2D2", "SAC", "StreamAC"), "algorithms"),
    **dict.fromkeys(("DQNConfig", "GradientPPOConfig", "MAPPOConfig", "PPOConfig", "PQNConfig"), "algorithms"),
    **dict.fromkeys(("R2D2Config", "SACConfig", "StreamACConfig"), "algorithms"),
}
"""The subpackage that each public name is imported from. Other names in `__all__` are subpackages."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, and keep it."""
    if name not in __all__:
        from memorax.core.registry import suggest  # noqa: PLC0415

        raise AttributeError(f"module `{__name__}` has no attribute `{name}`{suggest(name, tuple(sorted(__all__)))}")
    if name not in _HOMES:
        return importlib.import_module(f"{__name__}.{name}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, whether they were imported yet or not."""
    return sorted({*globals(), *__all__})

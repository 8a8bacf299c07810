"""What each algorithm is trained with: how its agent is built, and its default run. All defaults of runs are here.

A recipe is registered under the algorithm's name. An algorithm that is registered in `memorax.algorithms.ALGORITHMS`
alone is trained by the recipe of its nearest base class that has one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from memorax.algorithms import (
    ALGORITHMS,
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
from memorax.core.registry import Registry
from memorax.experiment import build
from memorax.experiment.adjustments import adjust
from memorax.experiment.config import RunConfig
from memorax.experiment.imports import import_modules, make_environment
from memorax.experiment.optimizers import check_optimizer_options
from memorax.networks.sequence_models import MODELS

DEFAULT_ALGORITHM = "ppo"
"""What `memorax train` alone trains."""


@dataclass(frozen=True)
class Recipe:
    """How an algorithm is trained by name.

    Attributes:
        algorithm: Its class.
        config: The class of its configuration, a dataclass with a default for every field.
        build: Builds the agent from the algorithm's class and the `Parts` of a run; `memorax.experiment.build` has one
            for each kind of agent: `actor_critic`, `q_learner`, `soft_actor_critic`, ...
        run: Fields of its default run that differ from the defaults of `RunConfig`.
        hyperparameters: Fields of the configuration that differ, in its default run, from the algorithm's defaults.
    """

    algorithm: type
    config: type
    build: Callable[[Any, build.Parts], Any]
    run: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


def _adopt(name: str, entry: Any) -> None:
    """Register what a plug-in offers: a recipe, or `(algorithm, configuration)`."""
    if isinstance(entry, tuple):
        ALGORITHMS.register(name, entry)
    else:
        register_algorithm(name, entry)


RECIPES: Registry[Recipe] = Registry("algorithm", plugins="memorax.algorithms", adopt=_adopt)
"""Recipes by the name of the algorithm."""


def register_algorithm(name: str, recipe: Recipe) -> Recipe:
    """Make an algorithm available by name, in Python and on the command line.

    Args:
        name: A name that no other algorithm has.
        recipe: How it is trained.

    Returns:
        The recipe.

    Raises:
        TypeError: `recipe` is not a `Recipe`, or `name` not a string.
        ValueError: The name is empty or taken.
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"`recipe` of `{name}` must be a Recipe, got {recipe!r}; pass Recipe(algorithm, config, build)")
    ALGORITHMS.register(name, (recipe.algorithm, recipe.config))
    return RECIPES.register(name, recipe)


def find_recipe(name: str) -> Recipe:
    """Find how an algorithm is trained.

    Args:
        name: Its name.

    Raises:
        ValueError: No algorithm has that name (the message suggests near misses), or neither it nor a base class has
            a recipe.
    """
    if name not in ALGORITHMS:
        RECIPES.load_plugins()
    if name in RECIPES:
        return RECIPES.get(name)
    algorithm, config = ALGORITHMS.get(name)
    by_class = {RECIPES.get(known).algorithm: RECIPES.get(known) for known in RECIPES}
    for base in algorithm.__mro__:
        if base in by_class:
            recipe, known = by_class[base], {field.name for field in fields(config)}
            hyperparameters = {name: value for name, value in recipe.hyperparameters.items() if name in known}
            return replace(recipe, algorithm=algorithm, config=config, hyperparameters=hyperparameters)
    raise ValueError(
        f"`{name}` must be an algorithm with a recipe, or a subclass of one, to be trained by name, got "
        f"{algorithm.__name__}; register it by `register_algorithm({name!r}, Recipe({algorithm.__name__}, "
        f"{config.__name__}, build))` of `memorax.experiment`"
    )


def build_agent(config: RunConfig) -> Any:
    """Build the agent of a run: environment, networks, optimizers, algorithm.

    The feature extractor follows from the observation space (an MLP for vectors, a CNN for images), the policy head
    from the action space.

    Args:
        config: The run.

    Returns:
        The agent.

    Raises:
        TypeError: No head serves the environment's action space, or it does not take the options.
        ValueError: A name is unknown, an extra is missing, or the configuration does not go with the environment.
    """
    import_modules(config.imports)
    recipe = find_recipe(config.algorithm)
    MODELS.get(config.model)  # before an environment is made
    config = build.with_exploration(config)
    parts = build.Parts(config, *make_environment(config.env, config.env_options))
    agent = recipe.build(recipe.algorithm, parts)
    check_optimizer_options(config, parts.used)
    return adjust(agent, config)


def default_run(algorithm: str = DEFAULT_ALGORITHM) -> RunConfig:
    """Give the default run of an algorithm.

    Args:
        algorithm: Its name.

    Raises:
        ValueError: No algorithm has that name; the message suggests near misses.
    """
    recipe = find_recipe(algorithm)
    run = {"env": "memory::RepeatPreviousEasy", **recipe.run}
    return RunConfig(algorithm=algorithm, hyperparameters=recipe.config(**recipe.hyperparameters), **run)


_REPEAT_PREVIOUS = {
    "env": "memory::RepeatPreviousEasy",
    "model": "gru",
    "steps": 500_000,
    "seeds": 4,
    "features": 64,
    "learning_rate": 2e-3,
}
_MEMORY_CHAIN = {
    "env": "memory::MemoryChain",
    "model": "gru",
    "steps": 200_000,
    "seeds": 4,
    "features": 64,
    "learning_rate": 1e-3,
    "max_grad_norm": 10.0,
}
_REPLAY = {"num_envs": 16, "train_frequency": 16}

RECIPES.register(
    "dqn",
    Recipe(
        DQN,
        DQNConfig,
        build.q_learner,
        run=_MEMORY_CHAIN | {"warmup": 2_000},
        hyperparameters=_REPLAY | {"target_update_frequency": 500},
    ),
)
RECIPES.register(
    "gradient_ppo",
    Recipe(
        GradientPPO,
        GradientPPOConfig,
        build.actor_critic,
        run=_REPEAT_PREVIOUS | {"share_trunk": False},
        hyperparameters={"num_envs": 32, "num_steps": 64, "num_minibatches": 4},
    ),
)
RECIPES.register(
    "mappo",
    Recipe(
        MAPPO,
        MAPPOConfig,
        build.multi_agent,
        run=_REPEAT_PREVIOUS | {"env": "multi_agent::PartnerRecall", "steps": 200_000},
        hyperparameters={"num_envs": 32, "num_steps": 32},
    ),
)
RECIPES.register(
    "ppo",
    Recipe(
        PPO,
        PPOConfig,
        build.actor_critic,
        run=_REPEAT_PREVIOUS,
        hyperparameters={"num_envs": 32, "num_steps": 64, "num_minibatches": 4, "update_epochs": 4},
    ),
)
RECIPES.register(
    "pqn",
    Recipe(
        PQN,
        PQNConfig,
        build.q_learner_with_norms,
        run=_MEMORY_CHAIN | {"optimizer": "radam"},
        hyperparameters={"num_minibatches": 4},
    ),
)
RECIPES.register(
    "r2d2",
    Recipe(
        R2D2,
        R2D2Config,
        build.q_learner,
        run=_MEMORY_CHAIN | {"warmup": 2_000},
        hyperparameters=_REPLAY | {"sequence_length": 26, "burn_in_length": 5, "target_update_frequency": 2_500},
    ),
)
RECIPES.register(
    "sac",
    Recipe(
        SAC,
        SACConfig,
        build.soft_actor_critic,
        run=_MEMORY_CHAIN | {"steps": 80_000, "warmup": 2_000, "features": 32, "learning_rate": 2e-3},
        hyperparameters=_REPLAY | {"batch_size": 32, "tau": 0.02},
    ),
)
RECIPES.register(
    "stream_ac",
    Recipe(
        StreamAC,
        StreamACConfig,
        build.streaming_actor_critic,
        run={
            "env": "memory::MemoryChain",
            "env_options": {"length": 10},
            "model": "rtu",
            "steps": 500_000,
            "seeds": 4,
            "features": 32,
            "share_trunk": False,
        },
        hyperparameters={"normalize_rewards": True, "entropy_coefficient": 0.1},
    ),
)

"""Algorithms by name: every registered one has a recipe, and one that a user registers works like ours."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from memorax.algorithms import ALGORITHMS, PPO, PPOConfig
from memorax.experiment import Recipe, build_agent, default_run, register_algorithm
from memorax.experiment.build import actor_critic, with_exploration
from memorax.experiment.config_file import from_dict, to_dict
from memorax.experiment.recipes import RECIPES, find_recipe


class Mine(PPO):
    """An algorithm of one's own."""


@dataclasses.dataclass(frozen=True)
class MineConfig(PPOConfig):
    """With a hyperparameter of its own."""

    bonus: float = 0.5


class Unrelated:
    """Derived from nothing."""


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    """What a test registers is gone after it."""
    for registry in (ALGORITHMS, RECIPES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def test_every_algorithm_has_one_recipe():
    assert set(RECIPES) == set(ALGORITHMS)
    for name in RECIPES:
        assert ALGORITHMS.get(name) == (RECIPES.get(name).algorithm, RECIPES.get(name).config)


def test_a_subclass_is_trained_by_the_recipe_of_its_base():
    ALGORITHMS.register("mine", (Mine, MineConfig))
    config = default_run("mine")
    theirs = default_run("ppo")
    assert config.hyperparameters == MineConfig(**dataclasses.asdict(theirs.hyperparameters), bonus=0.5)
    same = dataclasses.replace(config, algorithm="ppo", hyperparameters=theirs.hyperparameters)
    assert same == theirs
    agent = build_agent(config)
    assert type(agent) is Mine
    assert agent.config == config.hyperparameters
    assert from_dict(to_dict(config)) == config


def test_the_nearest_base_counts():
    class Nearer(Mine):
        pass

    register_algorithm("mine", Recipe(Mine, MineConfig, actor_critic, run={"steps": 4321}))
    ALGORITHMS.register("nearer", (Nearer, MineConfig))
    assert default_run("nearer").steps == 4321
    assert find_recipe("nearer") == dataclasses.replace(RECIPES.get("mine"), algorithm=Nearer)


def test_a_configuration_without_a_field_of_the_base_keeps_its_defaults():
    @dataclasses.dataclass(frozen=True)
    class Small:
        num_envs: int = 3

    ALGORITHMS.register("mine", (Mine, Small))
    assert default_run("mine").hyperparameters == Small(num_envs=32)


def test_a_recipe_makes_an_algorithm_available():
    recipe = Recipe(Mine, MineConfig, actor_critic, run={"model": "lru"}, hyperparameters={"bonus": 0.25})
    assert register_algorithm("mine", recipe) is recipe
    assert ALGORITHMS.get("mine") == (Mine, MineConfig)
    config = default_run("mine")
    assert (config.model, config.hyperparameters) == ("lru", MineConfig(bonus=0.25))
    assert type(build_agent(dataclasses.replace(config, features=7))) is Mine


def test_an_algorithm_without_a_recipe_is_refused():
    ALGORITHMS.register("odd", (Unrelated, PPOConfig))
    with pytest.raises(
        ValueError,
        match=r"`odd` must be an algorithm with a recipe.*`register_algorithm\('odd', Recipe\(Unrelated",
    ):
        default_run("odd")


@pytest.mark.parametrize("recipe", [Mine, (Mine, MineConfig), None])
def test_what_is_no_recipe_is_refused(recipe):
    with pytest.raises(TypeError, match=r"`recipe` of `mine` must be a Recipe, got .*; pass Recipe\(algorithm, config"):
        register_algorithm("mine", recipe)
    assert "mine" not in ALGORITHMS


def test_a_taken_name_is_refused():
    with pytest.raises(ValueError, match="`name` of an algorithm must be new, got `ppo`"):
        register_algorithm("ppo", Recipe(Mine, MineConfig, actor_critic))
    assert RECIPES.get("ppo").algorithm is PPO


@pytest.mark.parametrize("name", [name for name in RECIPES if hasattr(RECIPES.get(name).config(), "epsilon_steps")])
def test_epsilon_falls_during_a_quarter_of_the_run(name):
    config = dataclasses.replace(default_run(name), steps=8_000, warmup=2_000, features=7)
    values = [float(build_agent(config).epsilon_schedule(jnp.float32(step))) for step in (0, 2_000, 4_000, 8_000)]
    assert values == pytest.approx([1.0, 0.525, 0.05, 0.05])
    own = dataclasses.replace(config.hyperparameters, epsilon_steps=1_000)
    chosen = build_agent(dataclasses.replace(config, hyperparameters=own))
    assert float(chosen.epsilon_schedule(jnp.float32(1_000))) == pytest.approx(0.05)


def test_exploration_of_a_run_that_is_continued_stays():
    config = dataclasses.replace(default_run("dqn"), steps=8_000, warmup=2_000)
    begun = with_exploration(config)
    assert begun.hyperparameters.epsilon_steps == 4_000
    longer = dataclasses.replace(config, steps=80_000)
    assert with_exploration(longer, begun).hyperparameters.epsilon_steps == 4_000
    assert with_exploration(longer).hyperparameters.epsilon_steps == 22_000
    assert with_exploration(default_run("ppo"), begun) == default_run("ppo")


def test_pqn_has_the_optimizer_of_its_paper():
    assert default_run("pqn").optimizer == "radam"


@pytest.mark.parametrize("name", RECIPES)
def test_the_default_run_can_be_built(name):
    agent = build_agent(dataclasses.replace(default_run(name), features=8))
    assert type(agent) is RECIPES.get(name).algorithm
    jax.eval_shape(agent.init, jax.random.key(0))

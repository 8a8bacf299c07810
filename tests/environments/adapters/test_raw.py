"""What all adapters share, with a library made of a few lines; and what is said where a library is missing."""

import importlib
import re
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.environments.adapters.by_hand import Library, compare

from memorax.core.spaces import Box, Dict, Discrete
from memorax.environments import MissingExtraError, make
from memorax.environments.adapters.raw import (
    RawEnvironment,
    check_name,
    joint_action,
    key_data,
    one_hot_cells,
    pooled,
)
from memorax.environments.libraries import names_of
from memorax.environments.wrappers import CriticState, ResetPool, TimeLimit
from memorax.testing import check_environment

LIBRARIES = {
    "brax": "brax",
    "craftax": "craftax",
    "jaxmarl": "jaxmarl",
    "jumanji": "jumanji",
    "navix": "navix",
    "pgx": "pgx",
    "playground": "mujoco_playground",
    "popgym_arcade": "popgym_arcade",
    "xminigrid": "xminigrid",
}
ROOT = Path(__file__).parents[3]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def start(key):
    """A library's reset: Python numbers and a key in the state."""
    return {"left": jax.random.randint(key, (), 2, 9), "time": 0, "key": key}


def go(state, action):
    """Its step: whatever is left becomes less, by 1 or 2; a mask forbids to take 2 where 1 is left, and all at 0."""
    left = state["left"] - action - 1
    return {"left": left, "time": state["time"] + 1.0, "key": jax.random.split(state["key"])[0]}


def mask_of(state):
    return jnp.stack([state["left"] >= 1, state["left"] >= 2])


def see(state):
    return jnp.stack([jnp.float32(state["left"]), jax.random.uniform(state["key"])])


class Toy(RawEnvironment):
    def begin(self, key, params):
        state = start(key)
        return see(state), state

    def advance(self, key, inner, action, params):
        state = go(inner, action)
        return see(state), state, 2, state["left"] <= 0, state["time"] >= 5

    def legal_actions(self, inner):
        return mask_of(inner)


def toy(**options):
    space = Box(-1.0, 9.0, (2,))
    return Toy("Toy", None, observation_space=space, action_space=Discrete(2), **options)


def by_hand(limit=5):
    def look(state):
        mask = mask_of(state)
        return {"action_mask": mask | ~mask.any(), "observation": see(state)}

    def reset(key):
        state = {**start(key_data(key)), "time": jnp.float32(0)}
        return look(state), state

    def step(key, state, action):
        state = go(state, action)
        return look(state), state, 2.0, state["left"] <= 0, state["time"] >= limit

    return Library(reset, step)


@pytest.mark.parametrize("reset_pool", [None, 3])
def test_it_steps_like_the_library(reset_pool):
    env, params = pooled(toy(), reset_pool)
    assert isinstance(env, ResetPool) == (reset_pool is not None)
    assert compare(env, params, by_hand()) > 20
    check_environment(env, params, steps=60)
    expected = Dict({"action_mask": Box(0, 1, (2,), bool), "observation": Box(-1.0, 9.0, (2,))})
    assert env.observation_space(params) == expected


def test_a_pool_keeps_what_surrounds_an_adapter():
    """A wrapper hands on what it does not have itself, and a pool would step past it."""
    with pytest.raises(TypeError, match="does nothing but reset, got TimeLimit"):
        ResetPool(TimeLimit(toy(), 3), 2)


def test_a_critic_sees_the_state_of_an_adapter_beside_its_masks():
    env = ResetPool(CriticState(toy(), lambda state: state.inner["left"]), 3)
    check_environment(env, steps=60)
    assert sorted(env.observation_space().spaces) == ["action_mask", "observation", "state"]
    keys = jax.random.split(jax.random.key(0), 30)
    state = jax.vmap(env.reset)(keys)[1]
    observation, *_, info = jax.jit(jax.vmap(env.step))(keys, state, jnp.ones(30, jnp.int32))
    np.testing.assert_array_equal(info["action_mask"], observation["action_mask"])
    np.testing.assert_array_equal(observation["state"], observation["observation"][:, 0])
    final = info["final_observation"]
    assert (final["state"] != observation["state"]).any()
    np.testing.assert_array_equal(final["state"], final["observation"][:, 0])


def test_a_limit_of_ours_truncates_too():
    env, params = pooled(toy(max_steps=2), None)
    assert env.horizon(params) == 2
    compare(env, params, by_hand(limit=2))


def test_states_can_be_saved():
    """Keys are given as numbers, for a checkpoint holds no others."""
    _, state = toy().reset(jax.random.key(0))
    assert {np.asarray(leaf).dtype.name for leaf in jax.tree.leaves(state)} == {"bool", "float32", "int32", "uint32"}


def test_shapes_must_not_change():
    class Growing(Toy):
        def advance(self, key, inner, action, params):
            return jnp.zeros(3), inner, 0, False, False

    space = Box(-1.0, 9.0, (2,))
    with pytest.raises(ValueError, match=r"of Growing must keep their shapes, got \(2,\) after reset and \(3,\)"):
        Growing("Growing", None, observation_space=space, action_space=Discrete(2))


@pytest.mark.parametrize("reset_pool", [0, 1.5])
def test_the_size_of_a_pool_is_checked(reset_pool):
    with pytest.raises((TypeError, ValueError), match="`reset_pool` must be"):
        pooled(toy(), reset_pool)


def forget(module, monkeypatch):
    """Let a module be imported anew, until the end of the test."""
    monkeypatch.setitem(sys.modules, module, None)
    del sys.modules[module]


@pytest.mark.parametrize("namespace", LIBRARIES)
def test_a_missing_library_names_its_extra(namespace, monkeypatch):
    monkeypatch.setitem(sys.modules, LIBRARIES[namespace], None)
    for name in [name for name in sys.modules if name.startswith(f"{LIBRARIES[namespace]}.")]:
        monkeypatch.delitem(sys.modules, name)
    forget(f"memorax.environments.adapters.{namespace}", monkeypatch)
    extra = namespace.replace("_", "-")
    with pytest.raises(MissingExtraError, match=rf'run `pip install "memorax\[{extra}\]"`'):
        make(f"{namespace}::Anything")
    assert extra in EXTRAS


def test_every_version_of_pip_finds_all_extras():
    assert {name for name in EXTRAS if not re.fullmatch("[a-z0-9-]+", name)} == set()


def test_a_library_that_is_broken_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "pgx.py").write_text("import a_module_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    forget("pgx", monkeypatch)
    forget("memorax.environments.adapters.pgx", monkeypatch)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_nobody_has"):
        importlib.import_module("memorax.environments.adapters.pgx")


def test_names_are_suggested(monkeypatch):
    with pytest.raises(ValueError, match=r"unknown environment `navix::Empty5x5`; .*Empty-5x5"):
        check_name("navix", "Empty5x5", ("Empty-5x5", "DoorKey"))
    fake = SimpleNamespace(available_envs=lambda: ("chess", "go"))
    monkeypatch.setitem(sys.modules, "pgx", fake)
    forget("memorax.environments.adapters.pgx", monkeypatch)
    with pytest.raises(ValueError, match=r"unknown environment `pgx::ches`; .*chess"):
        make("pgx::ches")


@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.parametrize("namespace", LIBRARIES)
def test_a_library_that_is_installed_lists_its_names(namespace):
    pytest.importorskip(LIBRARIES[namespace], reason=f"the extra of {namespace} is not installed")
    names = names_of(namespace)
    assert len(names) == len(set(names)) > 2
    with pytest.raises(ValueError, match=rf"unknown environment `{namespace}::{names[0]}x`.*{re.escape(names[0])}"):
        make(f"{namespace}::{names[0]}x")


def test_cells_and_joint_actions():
    cells = jnp.array([[[0, 2], [1, 0]]])
    np.testing.assert_array_equal(one_hot_cells(cells, (2, 3)), [[[1, 0, 0, 0, 1], [0, 1, 1, 0, 0]]])
    space, split = joint_action((2, 1, 3))
    assert space == Discrete(6)
    assert [split(jnp.int32(i)).tolist() for i in (0, 2, 5)] == [[0, 0, 0], [0, 0, 2], [1, 0, 2]]

import inspect
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from memorax.environments import (
    ADAPTERS,
    ENVIRONMENTS,
    Environment,
    MissingExtraError,
    make,
    register,
    register_adapter,
    registered,
)
from memorax.environments.memory import TASKS, TMaze, TMazePassive


def arguments(name):
    """The names of a task's arguments; the difficulty has a test of its own."""
    return [argument for argument in inspect.signature(TASKS[name]).parameters if argument != "difficulty"]


@pytest.fixture
def clean(monkeypatch):
    """Undo registrations."""
    monkeypatch.setattr(ENVIRONMENTS, "_entries", dict(ENVIRONMENTS._entries))
    monkeypatch.setattr(ADAPTERS, "_entries", dict(ADAPTERS._entries))


def test_every_task_is_registered():
    assert {f"memory::{name}" for name in TASKS} <= set(ENVIRONMENTS)
    assert all(make(f"memory::{name}")[0].name == name for name in TASKS)


def test_the_list_tells_what_there_is():
    cards = {card.id: card for card in registered()}
    assert tuple(cards) == ENVIRONMENTS.names()
    card = cards["memory::RepeatPreviousEasy"]
    assert (card.observation_space.shape, card.action_space.n) == ((4,), 4)
    assert (card.optimal_return, card.memory_length, card.horizon) == (1.0, 3, 51)
    assert card.memoryless_return == pytest.approx(-25 / 51)
    assert card.description == "Name the suit of the card shown k-1 cards ago."
    assert all(card.description.endswith(".") for card in cards.values())


def test_arguments_reach_the_environment():
    env, params = make("memory::TMaze", length=20)
    assert isinstance(env, TMaze)
    assert params.length == 20
    assert make("memory::RepeatPreviousEasy", k=9)[0].memory_length() == 8


@pytest.mark.parametrize(
    ("env_id", "error", "message"),
    [
        (
            "memory::RepeatPrevEasy",
            ValueError,
            "unknown environment `memory::RepeatPrevEasy`; nearest: memory::RepeatPreviousEasy",
        ),
        ("memory::tmaze", ValueError, "nearest: memory::TMaze"),
        (
            "memroy::TMaze",
            ValueError,
            r"unknown namespace `memroy` in `memroy::TMaze`; nearest: memory; known: .*",
        ),
        ("TMaze", ValueError, "must have the form `namespace::Name`, got `TMaze`; did you mean `memory::TMaze`"),
        (
            "CartPole-v1",
            ValueError,
            "must have the form .*, got `CartPole-v1`; did you mean `gymnax::CartPole-v1`",
        ),
        ("RepeatPreviousEas", ValueError, "did you mean `memory::RepeatPreviousEasy`"),
        (
            "Xyzzy-v3",
            ValueError,
            "did you mean `gymnax::Xyzzy-v3`; namespaces: ale, brax, craftax, envpool, gymnasium, gymnax",
        ),
        ("qqqq", ValueError, "got `qqqq`; namespaces: ale, brax, craftax, envpool, gymnasium, gymnax"),
        ("memory::Xyzzy", ValueError, r"\(\d+ in all; `memorax list environments` shows them\)"),
        ("memory::", ValueError, "must have the form `namespace::Name`, got `memory::`"),
        (3, TypeError, "`env_id` must be a string like `memory::RepeatPreviousEasy`, got 3"),
    ],
)
def test_a_wrong_name_is_explained(env_id, error, message):
    with pytest.raises(error, match=message):
        make(env_id)


@pytest.mark.parametrize(
    ("env_id", "arguments", "error", "message"),
    [
        ("memory::TMaze", {"length": 0}, ValueError, "`length` must be at least 1, got 0"),
        ("memory::TMaze", {"length": 2.5}, TypeError, "`length` must be an integer, got 2.5"),
        ("memory::TMaze", {"length": True}, TypeError, "`length` must be an integer, got True"),
        ("memory::TMaze", {"length": 5, "max_steps": 6}, ValueError, "`max_steps` must be at least 7, got 6"),
        (
            "memory::TMaze",
            {"depth": 3},
            TypeError,
            "`depth` is not an argument of `memory::TMaze`; it takes: length, max",
        ),
        ("memory::TMazeActive", {"length": -1}, ValueError, "`length` must be at least 1, got -1"),
        ("memory::TMazePassive", {"penalty": 0.5}, ValueError, "`penalty` must be at most 0, got 0.5"),
        ("memory::TMazePassive", {"penalty": float("nan")}, ValueError, "`penalty` must be at most 0, got nan"),
        ("memory::MemoryChain", {"num_bits": 0}, ValueError, "`num_bits` must be at least 1, got 0"),
        ("memory::MemoryChain", {"length": "9"}, TypeError, "`length` must be an integer, got '9'"),
        ("memory::RepeatPreviousEasy", {"k": 52}, ValueError, "`k` must be at most 51, got 52"),
        ("memory::RepeatPreviousEasy", {"k": 0}, ValueError, "`k` must be at least 1, got 0"),
        ("memory::RepeatFirstEasy", {"decks": 0}, ValueError, "`decks` must be at least 1, got 0"),
        (
            "memory::PositionOnlyCartPoleEasy",
            {"noise": 1},
            TypeError,
            "`noise` is not an argument of .*; it takes: no arg",
        ),
    ],
)
def test_a_wrong_argument_is_refused_when_the_environment_is_made(env_id, arguments, error, message):
    with pytest.raises(error, match=message):
        make(env_id, **arguments)


NONSENSE = [float("nan"), float("inf"), 10**20, "3x", [1], {}, object(), np.zeros(3)]
NAMES = [name for name in TASKS if not name.endswith(("Medium", "Hard"))]
ARGUMENTS = [(name, argument) for name in NAMES for argument in arguments(name)]
NUMBERS = [pair for pair in ARGUMENTS if pair[1] not in ("overwrite", "penalty", "popgym_compat")]


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_no_argument_of_a_task_takes_nonsense_and_the_message_names_it(name, argument):
    numbers = {"apple": [10**20], "noise": [10**20]}  # a number is a number
    for value in NONSENSE:
        if isinstance(value, int) and value in numbers.get(argument, []):
            continue
        with pytest.raises((TypeError, ValueError), match=f"^`{argument}` must be "):
            make(f"memory::{name}", **{argument: value})


@pytest.mark.parametrize(("name", "argument"), NUMBERS)
def test_arguments_may_be_scalars_of_numpy_and_jax(name, argument):
    others = {"keys": 12} if argument == "pairs" else {}
    for twelve in (np.int64(12), np.uint8(12), jnp.int32(12)):
        env = make(f"memory::{name}", **others, **{argument: twelve})[0]
        assert type(getattr(env, argument)) in (int, float)


@pytest.mark.parametrize("task", sorted({f.func.__name__ for f in TASKS.values() if hasattr(f, "func")}))
def test_a_wrong_difficulty_is_refused(task):
    cls = TASKS[f"{task}Easy"].func
    with pytest.raises(ValueError, match="`difficulty` must be one of Easy, Medium, Hard, got 'Extreme'"):
        cls("Extreme")


def test_a_user_registers_an_environment(clean):
    def corridor(length=3):
        """A short corridor.

        More about it.
        """
        return TMazePassive(length)

    register("mine::Corridor", corridor)
    env, params = make("mine::Corridor", length=4)
    assert isinstance(env, Environment)
    assert params.length == 4
    assert ENVIRONMENTS.get("mine::Corridor").description == "A short corridor."
    register("mine::Pair", lambda: (TMaze(3), TMaze(7).default_params), description="With parameters.")
    assert make("mine::Pair")[1].length == 7
    assert next(card for card in registered() if card.id == "mine::Pair").memory_length == 8


@pytest.mark.parametrize(
    ("env_id", "factory", "error", "message"),
    [
        ("memory::TMaze", TMaze, ValueError, "`name` of an environment must be new, got `memory::TMaze`"),
        ("TMaze", TMaze, ValueError, "must have the form `namespace::Name`"),
        (
            "gymnax::Mine",
            TMaze,
            ValueError,
            "`gymnax::Mine` must not use `gymnax`, which belongs to an adapter; choose another",
        ),
        ("mine::Number", 3, TypeError, "`factory` of `mine::Number` must be callable, got 3"),
    ],
)
def test_a_wrong_registration_is_refused(clean, env_id, factory, error, message):
    with pytest.raises(error, match=message):
        register(env_id, factory)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnax", None)
    monkeypatch.delitem(sys.modules, "memorax.environments.adapters.gymnax", raising=False)
    message = r'environment suite `gymnax` is not installed; run `pip install "memorax\[gymnax\]"`'
    with pytest.raises(ImportError, match=message) as caught:
        make("gymnax::CartPole-v1")
    assert isinstance(caught.value, MissingExtraError)
    assert caught.value.suite == "gymnax"


def test_a_user_registers_an_adapter_as_a_function(clean):
    register_adapter("walks", lambda name, **kwargs: TMaze(len(name), **kwargs))
    env, params = make("walks::four", max_steps=9)
    assert (env.length, params.length, params.max_steps_in_episode) == (4, 4, 9)
    with pytest.raises(ValueError, match="`walks::Mine` must not use `walks`, which belongs to an adapter"):
        register("walks::Mine", TMaze)


def test_a_user_registers_an_adapter_as_a_module(clean, monkeypatch, tmp_path):
    (tmp_path / "my_adapter.py").write_text(
        "from memorax.environments.memory import TMaze\n"
        "def names(): return ['Corridor-v7']\n"
        "def make(name, **kwargs): return TMaze(**kwargs), TMaze(6).default_params\n"
    )
    (tmp_path / "empty_adapter.py").write_text("")
    (tmp_path / "lacking_adapter.py").write_text("import a_library_that_is_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    register_adapter("mymaze", "my_adapter")
    assert "my_adapter" not in sys.modules
    assert make("mymaze::Corridor-v7", length=5)[1].length == 6
    with pytest.raises(ValueError, match="did you mean `mymaze::Corridor-v7`"):
        make("Corridor-v7")
    register_adapter("empty", "empty_adapter")
    with pytest.raises(TypeError, match=r"`empty_adapter` must have a function `make\(name, \*\*kwargs\)`"):
        make("empty::X")
    register_adapter("lacking", "lacking_adapter", extra="lacking[jax]")
    with pytest.raises(
        MissingExtraError, match=r'suite `lacking` is not installed; run `pip install "lacking\[jax\]"`'
    ):
        make("lacking::X")
    register_adapter("misspelt", "no_such_adapter", extra="anything")
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_adapter'"):
        make("misspelt::X")


@pytest.mark.parametrize(
    ("namespace", "source", "error", "message"),
    [
        ("gymnax", "module", ValueError, "`name` of an adapter must be new, got `gymnax`"),
        ("memory", "module", ValueError, "`namespace` must be new, got `memory`, in which environments are registered"),
        ("a::b", "module", ValueError, "`namespace` must be a name without `::`, got 'a::b'"),
        ("", "module", ValueError, "`namespace` must be a name"),
        (3, "module", TypeError, "`name` of an adapter must be a string, got 3"),
        ("new", 3, TypeError, "`source` of `new` must be a module's name or a function, got 3"),
    ],
)
def test_a_wrong_adapter_is_refused(clean, namespace, source, error, message):
    with pytest.raises(error, match=message):
        register_adapter(namespace, source)

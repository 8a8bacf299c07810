"""Names that stand for a user's own code, within one process; `tests/cli/test_own_code.py` has the others."""

import dataclasses
import sys

import pytest

from memorax.environments.memory import TASKS
from memorax.experiment import RunConfig, build_agent
from memorax.experiment.imports import import_modules, make_environment
from memorax.experiment.report.plot import best_return

MODULE = """
from memorax.environments import make

def make_env(length=6):
    return make("memory::RepeatPreviousEasy")[0] if length == 6 else make("memory::TMaze", length=length)

class Factories:
    plain = staticmethod(lambda: make("memory::RepeatFirstEasy"))

env, params = make("memory::RepeatPreviousEasy")
number = 3

def broken():
    raise RuntimeError("out of order")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the current folder, which is not on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "tasks_of_mine.py").write_text(MODULE)
    yield "tasks_of_mine"
    sys.modules.pop("tasks_of_mine", None)


def test_a_module_in_the_current_folder_is_imported_once(module):
    import_modules([module, "json"])
    first = sys.modules[module]
    import_modules([module])
    assert sys.modules[module] is first


def test_the_current_folder_hides_nothing(module, tmp_path):
    (tmp_path / "json.py").write_text("raise RuntimeError")
    import_modules([module, "json"])
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "not_there",
            r"module `not_there` cannot be found; run from the folder that contains it",
        ),
        ("json.not_there", r"module `json.not_there` cannot be found"),
        ("needs", r"module `needs` could not be imported \(No module named 'not_there_either'\)"),
        ("fails", r"module `fails` could not be imported \(RuntimeError: on purpose\)"),
        ("bad name", r"module `bad name` cannot be found"),
        (".relative", r"module `.relative` could not be imported \(TypeError: "),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(module, tmp_path, name, message):
    (tmp_path / "needs.py").write_text("import not_there_either")
    (tmp_path / "fails.py").write_text("raise RuntimeError('on purpose')")
    with pytest.raises(ValueError, match=message):
        import_modules([name])


@pytest.mark.parametrize(
    ("env", "options", "task"),
    [
        ("tasks_of_mine:make_env", {}, "RepeatPreviousEasy"),
        ("tasks_of_mine:make_env", {"length": 4}, "TMaze"),
        ("tasks_of_mine:Factories.plain", {}, "RepeatFirstEasy"),
        ("tasks_of_mine:env", {}, "RepeatPreviousEasy"),
    ],
)
def test_a_reference_makes_an_environment(module, env, options, task):
    made, params = make_environment(env, options)
    factory = TASKS[task]
    assert isinstance(made, getattr(factory, "func", factory))
    assert params is not None


def test_a_class_is_called(module, tmp_path):
    (tmp_path / "tasks_of_mine.py").write_text("from memorax.environments.memory import TMaze")
    made, _ = make_environment("tasks_of_mine:TMaze", {"length": 7})
    assert type(made).__name__ == "TMaze"


@pytest.mark.parametrize(
    ("env", "options", "error", "message"),
    [
        (
            "tasks_of_mine:nothing",
            {},
            ValueError,
            "`env` must name something in a module, got `tasks",
        ),
        ("not_there:make", {}, ValueError, "module `not_there` cannot be found"),
        ("tasks_of_mine:number", {}, TypeError, "`env` must name an environment or a function that makes one, .* 3"),
        (
            "tasks_of_mine:env",
            {"length": 3},
            TypeError,
            r"`env_options` must be empty, got {'length': 3}: `tas",
        ),
        (
            "tasks_of_mine:make_env",
            {"lenth": 3},
            TypeError,
            "`env_options` must be arguments of `tasks.*make_env`",
        ),
        ("tasks_of_mine:broken", {}, RuntimeError, "out of order"),
        ("json:loads", {"s": "3"}, TypeError, "`env` must have `reset`"),
        ("CartPole-v1", {}, ValueError, "got `CartPole-v1`; did you mean `gymnax::CartPole-v1`"),
        ("RepeatFirstEasy", {}, ValueError, "did you mean `memory::RepeatFirstEasy`"),
    ],
)
def test_a_reference_that_makes_no_environment_is_refused(module, env, options, error, message):
    with pytest.raises(error, match=message):
        make_environment(env, options)


def test_an_agent_is_built_on_a_reference(module):
    from memorax.algorithms import PPOConfig

    config = RunConfig(algorithm="ppo", env=f"{module}:make_env", features=7, hyperparameters=PPOConfig())
    assert build_agent(config).recurrent
    assert best_return(config, memory=True) == 1.0
    assert best_return(dataclasses.replace(config, env=f"{module}:nothing"), memory=True) is None

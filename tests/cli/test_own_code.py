"""A user's own environments, models and algorithms by name, in one process after another."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memorax.algorithms import ALGORITHMS
from memorax.cli import main
from memorax.cli.train import train_options
from memorax.environments import ENVIRONMENTS, make, register
from memorax.experiment.recipes import RECIPES
from memorax.networks.sequence_models import MODELS

SOURCE = Path(__file__).parents[2] / "src"
TINY = [
    *("--features", "4"),
    *("--num-envs", "2"),
    *("--num-steps", "8"),
    *("--num-minibatches", "1"),
    *("--update-epochs", "1"),
    *("--seeds", "1"),
    *("--steps", "1_120"),
    *("--log-every", "560"),
]
MODULE = '''
"""Registers an environment, a memory model and an algorithm."""
from memorax.algorithms import ALGORITHMS, PPO, PPOConfig
from memorax.environments import make, register
from memorax.networks.sequence_models import GRU, MODELS

class Mine(PPO):
    """PPO of my own."""

def make_env(version=1):
    """A task of my own."""
    return make({1: "memory::RepeatFirstEasy", 2: "memory::RepeatPreviousEasy"}[version])

def my_gru(features):
    """A GRU of my own."""
    return GRU(features)

def add():
    register("mine::Task", make_env)
    ALGORITHMS.register("mine", (Mine, PPOConfig))
    MODELS.register("mine", type(MODELS.get("gru"))(my_gru))
'''


def memorax(folder, *commands, path=()):
    """Run commands in a folder, in one process; returns their exit code, their output and their errors."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join([*map(str, path), str(SOURCE)])}
    code = f"import sys; from memorax.cli import main; sys.path.remove(''); sys.exit(sum(map(main, {commands})))"
    command = [sys.executable, "-W", "error", "-c", code]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=environment, timeout=240)
    return run.returncode, run.stdout, run.stderr


@pytest.fixture
def work(tmp_path):
    """A folder with a module that registers when it is imported, as a user has it."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "my_module.py").write_text(MODULE + "\nadd()\n")
    return folder


def install(folder, entry_points, module):
    """Put a package where Python finds it, as pip would: a module, and what it offers."""
    info = folder / "my_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "my_plugin.py").write_text(module)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


PLUGIN = """
[memorax.environments]
mine::Task = my_plugin:make_env

[memorax.models]
mine = my_plugin:my_gru

[memorax.algorithms]
mine = my_plugin:recipe
"""
RECIPE = """
from memorax.experiment import Recipe
from memorax.experiment.build import actor_critic

recipe = Recipe(Mine, PPOConfig, actor_critic)
"""


@pytest.fixture
def installed(tmp_path):
    """A folder of installed packages, with one that has an environment, a model and an algorithm."""
    install(tmp_path / "site-packages", PLUGIN, MODULE + RECIPE)
    return tmp_path / "site-packages"


def check_all_commands(folder, *options, path=(), imports=()):
    """Train a run, and evaluate and resume it in another process."""
    code, out, err = memorax(folder, ["train", *options, *imports, *TINY, "--out", "run"], path=path)
    assert (code, err) == (0, "")
    assert "mean episode return" in out
    evaluate, resume = ["evaluate", "run", "--episodes", "1"], ["train", "--resume", "--out", "run", "--steps", "1680"]
    code, out, err = memorax(folder, evaluate, resume, path=path)
    assert (code, err) == (0, "")
    assert "resuming from step 1,120" in out
    return json.loads((folder / "run" / "config.json").read_text())


@pytest.mark.parametrize("env", ["tasks:make_env", pytest.param("mine::Task", marks=pytest.mark.slow)])
def test_modules_are_imported_by_every_process(work, env):
    """One that registers an algorithm and a model, and one that the environment names with its function."""
    (work / "tasks.py").write_text(MODULE)
    options = ["mine", "--env", env, "--env-options", "version=2", "--model", "mine"]
    config = check_all_commands(work, *options, imports=["--import", "my_module"])
    assert (config["algorithm"], config["imports"]) == ("mine", ["my_module"])
    assert (config["env"], config["env_options"]) == (env, {"version": 2})


def test_an_installed_package_is_known_by_name(work, installed):
    options = ["mine", "--env", "mine::Task", "--env-options", "version=2", "--model", "mine"]
    config = check_all_commands(work, *options, path=[installed])
    assert config["imports"] == []


@pytest.fixture
def here(work, monkeypatch):
    """This process in the user's folder; what is registered or imported here is gone afterwards."""
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    for registry, group in ((ENVIRONMENTS, "environments"), (MODELS, "models"), (RECIPES, "algorithms")):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        monkeypatch.setattr(registry, "_plugins", f"memorax.{group}")
    monkeypatch.setattr(ALGORITHMS, "_entries", dict(ALGORITHMS._entries))
    yield work
    for name in ("my_module", "my_plugin"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("command", [["train"], ["evaluate", "run"], ["plot", "run"], ["list", "models"]])
def test_a_module_that_is_missing_is_refused(here, command, capsys):
    assert main([*command, "--import", "my_modul"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "module `my_modul` cannot be found; run from the folder that contains it" in err


def listed(what, capsys, *options):
    """The names in a list, each with what it is."""
    assert main(["list", what, *options]) == 0
    rows = (line.split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│"))
    return {row[1].strip(): row[2].strip() for row in rows}


KINDS = [("environments", "mine::Task"), ("models", "mine"), ("algorithms", "mine")]


@pytest.mark.parametrize(("what", "name"), KINDS)
def test_what_a_module_registers_is_listed(here, what, name, capsys):
    assert name not in listed(what, capsys)
    assert listed(what, capsys, "--import=my_module")[name].endswith("of my own.")


@pytest.mark.parametrize(("what", "name"), KINDS)
def test_what_a_package_offers_is_listed(here, installed, what, name, capsys):
    sys.path.append(str(installed))
    assert listed(what, capsys)[name].endswith("of my own.")


def test_an_entry_point_may_name_a_module_that_registers(here, tmp_path, capsys):
    install(tmp_path / "packages", "[memorax.environments]\nall = my_plugin\n", MODULE + "\nadd()\n")
    sys.path.append(str(tmp_path / "packages"))
    assert "mine::Task" in listed("environments", capsys)


def test_a_package_is_loaded_when_a_name_is_not_known(here, installed, capsys):
    sys.path.append(str(installed))
    train_options(["ppo", "--env", "memory::RepeatFirstEasy"])
    make("memory::RepeatFirstEasy")
    assert "my_plugin" not in sys.modules
    with pytest.raises(ValueError, match="unknown environment `mine::Tusk`; nearest: mine::Task"):
        make("mine::Tusk")
    assert make("mine::Task", version=2)[0].memory_length(None) == 3
    config, _, _ = train_options(["mine"])
    assert config.algorithm == "mine"


@pytest.mark.parametrize(
    ("module", "reason"),
    [("raise RuntimeError('too old')", "RuntimeError: too old"), ("", "module 'my_plugin' has no attribute 'my_gru'")],
)
def test_a_broken_package_is_named_and_does_no_harm(here, installed, module, reason, capsys):
    (installed / "my_plugin.py").write_text(module)
    sys.path.append(str(installed))
    with pytest.warns(UserWarning, match="`mine` of the installed package `my-plugin` could not be loaded") as warned:
        assert "gru" in listed("models", capsys)
    (message,) = (str(warning.message) for warning in warned)
    assert f"from `my_plugin:my_gru` ({reason}" in message.replace("AttributeError: ", "")
    assert "gru" in listed("models", capsys)  # it is said once


def test_a_package_whose_name_is_taken_is_named(here, tmp_path, capsys):
    install(tmp_path / "packages", "[memorax.models]\ngru = my_plugin:my_gru\n", MODULE)
    sys.path.append(str(tmp_path / "packages"))
    with pytest.warns(UserWarning, match="`gru` of the installed package `my-plugin` .* must be new, got `gru`"):
        assert listed("models", capsys)["gru"] != "A GRU of my own."


def test_an_environment_that_cannot_be_made_is_left_out_of_the_list(here, capsys):
    register("mine::Broken", lambda: 1 / 0)
    with pytest.warns(UserWarning, match="environment `mine::Broken` could not be made with its default arguments"):
        assert "mine::Broken" not in listed("environments", capsys)

"""Suites: what their files say exists, and what they refuse."""

import pytest
from tests.experiment.benchmark_suites import TASKS, suite

from memorax.environments import ENVIRONMENTS
from memorax.experiment.benchmark.suite import Cell, Suite, load_suite, suite_names
from memorax.experiment.imports import make_environment
from memorax.networks.sequence_models import MODELS

SUITES = {name: load_suite(name) for name in suite_names()}


def test_the_suites_are_there():
    assert {"popgym", "popgym-easy", "popgym-medium", "popgym-hard", "length", "credit", "classic", "speed"} <= set(
        SUITES
    )


@pytest.mark.parametrize("name", SUITES)
def test_every_run_of_a_suite_can_be_configured(name):
    wanted = SUITES[name]
    for cell in wanted.cells():
        config = wanted.config(cell, wanted.passes[0])
        MODELS.get(config.model)
        update = config.hyperparameters.num_envs * config.hyperparameters.num_steps
        assert config.log_every % update == 0  # intervals end where they are said to
        assert config.task() == cell.task
    folders = [cell.folder for cell in wanted.cells()]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("name", SUITES)
def test_every_task_of_a_suite_exists(name):
    pytest.importorskip("gymnax", reason="classic control is that of gymnax") if name == "classic" else None
    wanted = SUITES[name]
    for task in wanted.tasks:
        config = wanted.config(Cell(task, wanted.reference), wanted.passes[0])
        env, _ = make_environment(config.env, config.env_options)
        if wanted.horizons is not None:
            assert isinstance(getattr(env, wanted.horizons.option), int)
    assert set(wanted.published) <= set(load_suite("popgym").tasks)


@pytest.mark.parametrize("name", [name for name in SUITES if name != "speed"])
def test_controls_without_memory_see_observations_only(name):
    wanted = SUITES[name]
    controls = [method for method in wanted.methods if wanted.config(Cell(wanted.tasks[0], method), 1).model == "mlp"]
    assert controls
    for method in controls:
        assert wanted.config(Cell(wanted.tasks[0], method), 1).inputs == ("observation",)


def test_the_levels_of_popgym_are_all_of_it():
    whole = SUITES["popgym"]
    levels = [SUITES[f"popgym-{level}"] for level in ("easy", "medium", "hard")]
    assert sorted(task for level in levels for task in level.tasks) == sorted(whole.tasks)
    assert len(set(whole.tasks)) == 48
    graded = {
        name for name in ENVIRONMENTS if name.endswith(("Easy", "Medium", "Hard")) and name.startswith("memory::")
    }
    assert set(whole.tasks) == graded
    assert all(level.methods == whole.methods and level.published == whole.published for level in levels)


def test_a_file_is_laid_over_its_base():
    easy, whole = SUITES["popgym-easy"], SUITES["popgym"]
    assert easy.run == whole.run | {"features": 64}
    assert easy.hyperparameters == whole.hyperparameters


def test_cells_differ_as_the_suite_says():
    wanted = suite()
    assert [(cell.task, cell.method) for cell in wanted.cells()][:3] == [
        (TASKS[0], "gru"),
        (TASKS[0], "no memory"),
        (TASKS[1], "gru"),
    ]
    config = wanted.config(Cell(TASKS[1], "no memory"), 64)
    assert (config.env, config.env_options, config.model) == ("memory::MemoryChain", {"length": 5}, "mlp")
    assert (config.inputs, config.seeds, config.seed, config.steps) == (("observation",), 3, 5, 64)
    assert (config.features, config.hyperparameters.num_steps) == (6, 8)


def test_a_part_of_a_suite():
    part = suite().narrowed(tasks=["Chain"], methods=["no memory"], seeds=2, seed=9, steps=128)
    assert (part.tasks, list(part.methods), part.reference) == (TASKS[:2], ["no memory"], "no memory")
    assert (part.seeds, part.seed, part.passes) == (2, 9, (64, 128))
    assert suite().narrowed(steps=192).passes == (64, 192)
    assert suite().narrowed() == suite()
    lengths = ("memory::MemoryChain length=10", "memory::MemoryChain length=100")
    both = suite(tasks=lengths, published={})
    assert both.narrowed(tasks=["MemoryChain length=10"]).tasks == lengths[:1]
    assert both.narrowed(tasks=[lengths[0]]).tasks == lengths[:1]
    assert both.narrowed(tasks=["length=10"]).tasks == lengths


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "best"}, "`metric` must be"),
        ({"reference": "lstm"}, "`reference` must be one of gru, no memory"),
        ({"run": {"log_every": 50}}, "`log_every` of suite small must divide"),
        ({"run": {}}, "`log_every` of suite small must divide"),
        ({"run": {"log_every": 32, "seeds": 2}}, "`run` of suite small must not have seeds"),
        ({"passes": (192, 64)}, "`passes` of suite small must increase"),
        ({"tasks": ()}, "`tasks` must"),
    ],
)
def test_suites_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        suite(**changes)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown suite `popgym-eesy`; nearest: popgym-easy"):
        load_suite("popgym-eesy")
    with pytest.raises(ValueError, match="`tasks` must be parts of"):
        suite().narrowed(tasks=["Maze"])
    with pytest.raises(ValueError, match="`methods` must be among gru, no memory, got lstm"):
        suite().narrowed(methods=["lstm"])
    with pytest.raises(ValueError, match="suite small has a field that its runs do not have"):
        suite(run={"log_every": 32, "feature": 3}).config(Cell(TASKS[0], "gru"), 64)
    assert isinstance(suite(), Suite)

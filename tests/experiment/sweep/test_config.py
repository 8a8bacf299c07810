import dataclasses
import json

import pytest
from tests.experiment.sweep.sweeps import SPACE, small_run, small_sweep

from memorax.experiment.sweep import Choice, LogUniform, SweepConfig, Uniform, load_sweep_config
from memorax.experiment.sweep.config import check_same_sweep, from_dict, save_sweep_config, to_dict
from memorax.experiment.sweep.settings import with_parameters


def test_a_sweep_comes_back_from_its_file(tmp_path):
    space = SPACE | {
        "num_steps": Choice((16, 32)),
        "features": LogUniform(4, 64),
        "env_options.num_decks": Uniform(1, 2),
    }
    config = small_sweep(space=space, slurm={"timeout_min": 5}, engine="slurm")
    save_sweep_config(tmp_path, config)
    assert load_sweep_config(tmp_path) == config
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_settings_go_where_they_belong():
    run = with_parameters(small_run(), {"learning_rate": 0.5, "num_steps": 32, "env_options.length": 3})
    assert (run.learning_rate, run.hyperparameters.num_steps, run.env_options) == (0.5, 32, {"length": 3})
    assert run.hyperparameters.num_envs == 4


def test_real_fields_are_searched_in_real_numbers():
    config = small_sweep(space={"gamma": Uniform(0, 1), "features": Uniform(4, 8)})
    assert all(isinstance(config.space["gamma"].at(fraction), float) for fraction in (0.0, 0.6))
    assert isinstance(config.space["features"].at(0.6), int)


@pytest.mark.parametrize(
    ("name", "dimension", "error", "message"),
    [
        ("gama", Uniform(0.1, 0.2), ValueError, "gama.*gamma"),
        ("gamma", Uniform(0.5, 2.0), ValueError, "has 2.0, which is refused.*`gamma`"),
        ("seed", Uniform(0, 5), ValueError, "all trials have in common"),
        ("env", Choice(("a", "b")), ValueError, "all trials have in common"),
        ("num_steps", Uniform(0.5, 8.5), TypeError, "two integers"),
        ("model", Uniform(1, 2), ValueError, "must be a choice"),
        ("share_trunk", Choice((True, "no")), TypeError, "share_trunk"),
        ("schedules", Choice(("a", "b")), ValueError, "must be of fields"),
    ],
)
def test_spaces_that_are_refused(name, dimension, error, message):
    with pytest.raises(error, match=message):
        small_sweep(space={name: dimension})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"space": {}}, "at least one field"),
        ({"trials": 0}, "`trials`"),
        ({"budget": 0.0}, "`budget`"),
        ({"engine": "dask"}, "`engine`"),
        ({"sampler": "tpe"}, "engine optuna"),
        ({"scheduler": "asha"}, "engine optuna, ray"),
        ({"engine": "optuna", "scheduler": "pbt"}, "engine ray"),
        ({"metric": ("a", "b")}, "single one"),
        ({"metric": ("a", "b"), "engine": "optuna", "scheduler": "asha"}, "without a scheduler"),
        ({"metric": ("a",), "direction": ("maximize", "minimize")}, "one for each"),
        ({"metric": ("eval/return",)}, "with `eval_every`"),
        ({"gpus": 0.5}, "whole number"),
        ({"engine": "ray", "scheduler": "pbt", "space": {"num_steps": Choice((16, 32))}}, "real numbers for pbt"),
    ],
)
def test_sweeps_that_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        small_sweep(**fields)


def test_several_metrics_are_searched_by_nsga2():
    config = small_sweep(
        metric=("episode/return", "episode/length"), direction=("maximize", "minimize"), engine="optuna"
    )
    assert (config.how(), small_sweep(engine="optuna").how(), small_sweep().how()) == ("nsga2", "tpe", "random")


def test_fresh_seeds_are_none_of_the_search():
    config = small_sweep(run=small_run(seed=5, seeds=4), fresh_seeds=3)
    assert config.fresh_run().seed_numbers() == [9, 10, 11]


def test_a_sweep_is_resumed_as_it_was_started(tmp_path):
    config = small_sweep()
    further = dataclasses.replace(config, trials=9, workers=3, batch=2, budget=1.0, best=4)
    check_same_sweep(config, further, tmp_path)
    for changed in (
        dataclasses.replace(config, sampler_seed=1),
        dataclasses.replace(config, space={"gamma": Uniform(0.9, 0.99)}),
        dataclasses.replace(config, run=small_run(steps=5120)),
    ):
        with pytest.raises(ValueError, match="to resume"):
            check_same_sweep(config, changed, tmp_path)


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sweep\.json"):
        load_sweep_config(tmp_path)
    (tmp_path / "sweep.json").write_text('{"run": {}, "space": {}, "colour": 1}')
    with pytest.raises(ValueError, match="this version of memorax"):
        load_sweep_config(tmp_path)


def test_the_default_sweep_needs_a_space():
    with pytest.raises(ValueError, match="`space`"):
        SweepConfig(run=small_run())

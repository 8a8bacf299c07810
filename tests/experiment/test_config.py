import dataclasses
import json

import pytest

from memorax.algorithms import ALGORITHMS, PPOConfig
from memorax.experiment import RunConfig, default_run, load_config
from memorax.experiment.config import check_same_run, from_dict, save_config, to_dict

CONFIG = RunConfig(
    algorithm="ppo",
    env="memory::RepeatFirstEasy",
    model="lstm",
    steps=1234,
    seeds=3,
    seed=11,
    features=17,
    share_trunk=False,
    learning_rate=2e-4,
    anneal_learning_rate=True,
    max_grad_norm=0.7,
    checkpoint_every=100,
    log_every=55,
    hyperparameters=PPOConfig(num_envs=6, target_kl=0.02, clip_value_loss=False),
)


def test_config_json_comes_back_the_same(tmp_path):
    save_config(tmp_path, CONFIG)
    assert load_config(tmp_path) == CONFIG
    defaults = RunConfig(algorithm="ppo", env="x", hyperparameters=PPOConfig())
    changed = [f.name for f in dataclasses.fields(RunConfig) if getattr(CONFIG, f.name) == getattr(defaults, f.name)]
    assert changed == ["algorithm"], "the round trip proves nothing for a field that has its default"


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_every_algorithm_has_a_default_run(algorithm):
    config = default_run(algorithm)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_options_of_run_and_algorithm_have_different_names(algorithm):
    run = {field.name for field in dataclasses.fields(RunConfig)} | {"out", "resume"}
    assert not run & {field.name for field in dataclasses.fields(ALGORITHMS.get(algorithm)[1])}


@pytest.mark.parametrize("name", ["steps", "seeds", "features", "checkpoint_every", "log_every"])
@pytest.mark.parametrize("value", [0, -3])
def test_sizes_below_one_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got {value}"):
        dataclasses.replace(CONFIG, **{name: value})


@pytest.mark.parametrize("name", ["learning_rate", "max_grad_norm"])
def test_rates_that_are_not_positive_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be above 0, got 0.0"):
        dataclasses.replace(CONFIG, **{name: 0.0})


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match=r"`seed` must be in \[0, 2147483647\], got -1"):
        dataclasses.replace(CONFIG, seed=-1)


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(ValueError, match="unknown algorithm `pp0`; nearest: ppo; known: ppo"):
        default_run("pp0")


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"must be a run's folder, got one without config.json; `memorax train` makes one"
    ):
        load_config(tmp_path)


@pytest.mark.parametrize("where", ["run", "hyperparameters"])
def test_a_field_of_another_version_is_refused(where):
    content = to_dict(CONFIG)
    (content if where == "run" else content["hyperparameters"])["novelty"] = 1
    owner = "RunConfig" if where == "run" else "PPOConfig"
    with pytest.raises(
        ValueError, match=f"`novelty` in here is not a field of {owner}; it was written by another version"
    ):
        from_dict(content, "here")


@pytest.mark.parametrize("content", [[], {}, {"algorithm": 3}])
def test_json_that_is_no_configuration_is_refused(content):
    with pytest.raises(ValueError, match="`algorithm` must be in here, which does not look like a run's configuration"):
        from_dict(content, "here")


def test_a_missing_field_without_default_is_refused():
    content = {name: value for name, value in to_dict(CONFIG).items() if name != "env"}
    with pytest.raises(ValueError, match=r"here does not hold a run's configuration \(.*'env'\)"):
        from_dict(content, "here")


def test_a_run_may_be_resumed_to_go_further(tmp_path):
    constant = dataclasses.replace(CONFIG, anneal_learning_rate=False)
    check_same_run(constant, dataclasses.replace(constant, steps=9999, checkpoint_every=7), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 12}, "`seed` must be 11 to resume .*, got 12; leave the option out, or start a new run"),
        ({"steps": 9999}, "`steps` must be 1234 to resume .*, got 9999"),  # it decides the learning rate
        ({"hyperparameters": PPOConfig(num_envs=8)}, "`num_envs` must be 6 to resume .*, got 8"),
    ],
)
def test_a_run_cannot_be_resumed_as_another(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        check_same_run(CONFIG, dataclasses.replace(CONFIG, **change), tmp_path)

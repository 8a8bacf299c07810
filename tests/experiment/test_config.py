import dataclasses
import json

import pytest

from memorax.algorithms import ALGORITHMS, PPOConfig
from memorax.experiment import RunConfig, default_run, load_config
from memorax.experiment.config_file import check_same_run, from_dict, save_config, to_dict
from memorax.experiment.env_options import read_env_options, write_env_options

CONFIG = RunConfig(
    algorithm="ppo",
    env="memory::RepeatFirstEasy",
    env_options={"length": 20, "rate": 0.5, "loud": True, "kind": "long"},
    model="lstm",
    steps=1234,
    warmup=77,
    seeds=3,
    seed=11,
    features=17,
    share_trunk=False,
    optimizer="lion",
    learning_rate=2e-4,
    critic_learning_rate=3e-3,
    anneal_learning_rate=True,
    weight_decay=0.03,
    max_grad_norm=0.7,
    schedules={"entropy_coefficient": "cosine:0:0.1"},
    reward_scale=0.5,
    inputs=("observation", "reward"),
    critic_only=("state",),
    checkpoint_every=100,
    log_every=55,
    eval_every=200,
    eval_episodes=9,
    eval_env="memory::RepeatFirstMedium",
    eval_env_options={"length": 30},
    keep_best="eval/return",
    stop_at=0.9,
    stop_after=3,
    patience=8,
    stop_metric="eval/sampled_return",
    fork="runs/other",
    fork_step=70,
    history=({"step": 40, "before": {"gamma": 0.9}, "after": {"gamma": 0.99}},),
    loggers=("tensorboard",),
    imports=("json", "json.tool"),
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
    with pytest.raises(ValueError, match=rf"`{name}` must be at least 1( or None)?, got {value}"):
        dataclasses.replace(CONFIG, **{name: value})


@pytest.mark.parametrize("name", ["steps", "warmup", "seeds", "seed", "features", "checkpoint_every", "log_every"])
def test_sizes_beyond_reason_are_refused(name):
    with pytest.raises(ValueError, match=rf"`{name}` must be at most \d+( or None)?, got 100000000000000000000"):
        dataclasses.replace(CONFIG, **{name: 10**20})


def test_hyperparameters_beyond_reason_are_refused():
    with pytest.raises(ValueError, match="`num_envs` must be at most 1048576, got 1048577"):
        dataclasses.replace(CONFIG, hyperparameters=PPOConfig(num_envs=2**20 + 1))
    with pytest.raises(ValueError, match="`num_steps` must be at most 2147483647, got 2147483648"):
        dataclasses.replace(CONFIG, hyperparameters=PPOConfig(num_steps=2**31))


@pytest.mark.parametrize("given", [None, {"num_envs": 4}, PPOConfig])
def test_what_is_no_configuration_of_an_algorithm_is_refused(given):
    with pytest.raises(TypeError, match="`hyperparameters` must be the algorithm's configuration, such as"):
        dataclasses.replace(CONFIG, hyperparameters=given)


def test_a_run_may_have_as_many_steps_as_json_holds_exactly():
    dataclasses.replace(CONFIG, warmup=2**32, steps=2**53 - 1)
    with pytest.raises(ValueError, match="`steps` must be at most 9007199254740991, got 9007199254740992"):
        dataclasses.replace(CONFIG, steps=2**53)


@pytest.mark.parametrize("name", ["loggers", "imports"])
def test_names_must_be_a_sequence(name):
    with pytest.raises(TypeError, match=f"`{name}` must be a sequence, each entry a name, got 'json'"):
        dataclasses.replace(CONFIG, **{name: "json"})
    assert getattr(dataclasses.replace(CONFIG, **{name: ["json"]}), name) == ("json",)


def test_a_configuration_of_an_earlier_version_is_read():
    content = {name: value for name, value in to_dict(CONFIG).items() if name not in ("loggers", "imports")}
    assert from_dict(content) == dataclasses.replace(CONFIG, loggers=(), imports=())


@pytest.mark.parametrize("name", ["steps", "seeds", "seed", "features", "checkpoint_every", "log_every"])
@pytest.mark.parametrize("value", [8.0, True, "8"])
def test_what_is_no_integer_is_refused(name, value):
    with pytest.raises(TypeError, match=rf"`{name}` must be an integer( or None)?, got {value!r}"):
        dataclasses.replace(CONFIG, **{name: value})


@pytest.mark.parametrize("name", ["learning_rate", "max_grad_norm"])
def test_rates_that_are_not_positive_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be above 0, got 0.0"):
        dataclasses.replace(CONFIG, **{name: 0.0})


@pytest.mark.parametrize(
    ("seed", "message"), [(-1, "`seed` must be at least 0, got -1"), (2**31, "`seed` must be at most 2147483647")]
)
def test_a_seed_that_is_no_key_is_refused(seed, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, seed=seed)


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(ValueError, match=r"unknown algorithm `pp0`; nearest: ppo; known: .*ppo"):
        default_run("pp0")


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"must be a run's folder, got one without config.json; `memorax train` makes one"
    ):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"seeds": 1', '"seeds": 0', "`seeds` must be at least 1, got 0"),
        ('"algorithm": "ppo"', '"algorithm": "ppO"', "unknown algorithm `ppO`"),
        ('"gamma": 0.99', '"gamma": 8.99', r"`gamma` must be in \[0, 1\], got 8.99"),
        ('"observation"', '"zbservation"', "`inputs` must be"),
    ],
)
def test_a_damaged_value_is_refused_with_its_file(tmp_path, before, after, message):
    save_config(tmp_path, RunConfig(algorithm="ppo", env="memory::TMaze", seeds=1, hyperparameters=PPOConfig()))
    path = tmp_path / "config.json"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(ValueError, match=f"{path} must hold the configuration of a run: {message}.*; restore the file"):
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
    constant = dataclasses.replace(CONFIG, anneal_learning_rate=False, schedules={})
    check_same_run(constant, dataclasses.replace(constant, steps=9999, checkpoint_every=7), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 12}, "`seed` must be 11 to resume .*, got 12; leave the option out, or start a new run"),
        ({"steps": 9999}, "`steps` must be 1234 to resume .*, got 9999"),  # it decides the learning rate
        ({"hyperparameters": PPOConfig(num_envs=8)}, "`num_envs` must be 6 to resume .*, got 8"),
        # Other updates make for other log intervals, which is not what was asked for.
        ({"log_every": 56, "hyperparameters": PPOConfig(num_envs=8)}, "`num_envs` must be 6 to resume .*, got 8"),
        ({"env_options": {"length": 21}}, "`env_options` must be {'length': 20, .*} to resume .*, got {'length': 21}"),
    ],
)
def test_a_run_cannot_be_resumed_as_another(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        check_same_run(CONFIG, dataclasses.replace(CONFIG, **change), tmp_path)


def test_options_of_the_environment_are_read_and_written():
    words = ["kind=long", "length=20", "loud=true", "quiet=false", "rate=0.5", "sign=-1"]
    options = read_env_options(words)
    assert options == {"kind": "long", "length": 20, "loud": True, "quiet": False, "rate": 0.5, "sign": -1}
    assert [type(value) for value in options.values()] == [str, int, bool, bool, float, int]
    assert write_env_options(options) == words
    assert dataclasses.replace(CONFIG, env_options=options).task() == "memory::RepeatFirstEasy " + " ".join(words)
    assert dataclasses.replace(CONFIG, env_options={}).task() == "memory::RepeatFirstEasy"


@pytest.mark.parametrize("word", ["length", "=20", "a-b=3"])
def test_an_option_of_another_form_is_refused(word):
    with pytest.raises(ValueError, match=f"`env_options` must have the form length=20, got {word}"):
        read_env_options([word])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ([], TypeError, r"`env_options` must map names to values, got \[\]"),
        ({3: 4}, TypeError, "`env_options` must map names to values, got {3: 4}"),
        ({"a": [1]}, TypeError, r"`a` of `env_options` must be a number, a boolean or a string, got \[1\]"),
        ({"a": float("inf")}, ValueError, "`a` of `env_options` must be finite, got inf"),
    ],
)
def test_options_that_a_file_cannot_hold_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(CONFIG, env_options=options)


def test_an_environment_option_given_twice_is_refused():
    from memorax.experiment.env_options import read_env_options

    with pytest.raises(ValueError, match="each name once, got length twice"):
        read_env_options(["length=1", "length=2"])

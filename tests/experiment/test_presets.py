"""Presets are hyperparameters of recorded searches, and stand behind what is said on the command line."""

import dataclasses
import json

import pytest

from memorax.cli.train import train_options
from memorax.experiment import build_agent, default_run, preset_names, preset_run
from memorax.experiment.presets import FOLDER, read_preset

PRESETS = [tuple(path.stem.rsplit("_", 1)) for path in sorted(FOLDER.glob("*.toml"))]


def test_there_are_presets():
    assert ("ppo", "recall") in PRESETS
    assert preset_names("ppo") == ["recall"]
    assert preset_names("no_algorithm") == []


@pytest.mark.parametrize(("algorithm", "family"), PRESETS)
def test_a_preset_is_the_best_trial_of_its_recorded_search(algorithm, family):
    preset = read_preset(FOLDER / f"{algorithm}_{family}.toml")
    record = json.loads((FOLDER / f"{algorithm}_{family}.json").read_text())
    best = max(record["trials"], key=lambda trial: trial["score"])
    hyperparameters = preset.pop("hyperparameters")
    assert preset | hyperparameters == best["values"] == record["check"]["best"]["values"]
    assert record["check"]["best"]["score"] > record["check"]["default"]["score"]
    assert not set(record["check"]["seeds"]) & set(record["seeds"])
    assert set(best["values"]) == {*record["search"]["space"], *record["search"]["one_minus"]}
    build_agent(dataclasses.replace(preset_run(algorithm, family), features=7))


def test_options_beside_a_preset_take_precedence():
    preset, default = preset_run("ppo", "recall"), default_run("ppo")
    assert (preset.env, preset.steps) == (default.env, default.steps)
    assert preset.hyperparameters != default.hyperparameters
    assert train_options(["ppo", "--preset", "recall"])[0] == preset
    assert train_options(["--preset=recall", "--learning-rate", "0.5"])[0] == dataclasses.replace(
        preset, learning_rate=0.5
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["ppo", "--preset", "recal"],
            "`preset` must be one that ppo has, got recal; nearest: recall; known: recall",
        ),
        (["mappo", "--preset", "recall"], "`preset` must be one that mappo has, got recall; known: none"),
        (["--preset", "recall", "--resume"], "`preset` must be left out with `--resume` and `--fork`, got recall"),
        (["--preset", "recall", "--fork", "runs/x"], "`preset` must be left out with `--resume` and `--fork`"),
    ],
)
def test_wrong_presets_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        train_options(arguments)

import json

import pytest
from tests.experiment.sweep.sweeps import begin, small_run, small_sweep

from memorax.experiment.space import draw
from memorax.experiment.sweep import Choice, Trial, best_trials, read_trials
from memorax.experiment.sweep.trials import failed, finished, read_trial, trial_config, write_trial


def trial(number, *values, state="complete", **fields):
    return Trial(name=f"trials/{number:04d}", parameters={}, values=values, state=state, **fields)


def test_a_trial_comes_back_from_its_file(tmp_path):
    written = [trial(10_000), trial(9_999, 0.5, per_seed=(0.4, 0.6), step=10), failed(trial(1), "it broke", 5)]
    for one in written:
        write_trial(tmp_path, one)
    (tmp_path / "trials" / "0001").mkdir()  # its run is no trial
    assert read_trials(tmp_path) == sorted(written, key=lambda one: one.number)
    assert [one.number for one in written] == [10_000, 9_999, 1]


def test_a_damaged_file_is_named(tmp_path):
    write_trial(tmp_path, trial(0))
    path = tmp_path / "trials" / "0000.json"
    path.write_text(json.dumps({"name": "trials/0000", "colour": "red"}))
    with pytest.raises(ValueError, match=r"0000\.json"):
        read_trial(tmp_path, "trials/0000")


@pytest.mark.parametrize(("direction", "order"), [("maximize", [2, 0, 3]), ("minimize", [0, 3, 2])])
def test_the_best_come_first_and_only_complete_ones_count(direction, order):
    trials = [trial(0, 1.0), trial(1, 9.0, state="pruned"), trial(2, 2.0), trial(3, 1.0), trial(4, state="failed")]
    assert [one.number for one in best_trials(trials, (direction,))] == order


def test_of_several_metrics_those_count_that_none_is_better_than():
    trials = [trial(0, 1.0, 5.0), trial(1, 2.0, 5.0), trial(2, 3.0, 9.0), trial(3, 2.5, 9.5), trial(4, 2.0, 5.0)]
    assert [one.number for one in best_trials(trials, ("maximize", "minimize"))] == [2, 1, 4]


def rows(values, metric="episode/return"):
    return [{"step": step, "seed": seed, metric: value, "episode/count": count} for step, seed, value, count in values]


def test_the_value_is_that_of_the_end_over_the_seeds(tmp_path):
    folder = tmp_path / "trials" / "0000"
    folder.mkdir(parents=True)
    early = [(10, 0, -9.0, 1), (10, 1, -9.0, 1)]
    late = [(95, 0, 1.0, 1), (100, 0, 2.0, 3), (100, 1, 4.0, 2)]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows(early + late)))
    over = finished(tmp_path, trial(0), ["episode/return"])
    assert (over.state, over.step, over.per_seed, over.values) == ("complete", 100, (1.75, 4.0), (2.875,))
    assert finished(tmp_path, trial(0), ["episode/return"], pruned=True).state == "pruned"
    without = finished(tmp_path, trial(0), ["episode/return", "eval/return"])
    assert (without.state, without.error) == ("failed", "`eval/return` had no value in the whole run")


def test_what_is_not_of_episodes_is_averaged_over_time(tmp_path):
    folder = tmp_path / "trials" / "0000"
    folder.mkdir(parents=True)
    made = rows([(95, 0, 1.0, 1), (100, 0, 2.0, 3)], "eval/return")
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in made))
    assert finished(tmp_path, trial(0), ["eval/return"]).values == (1.5,)


def test_trials_with_fresh_seeds_have_the_settings_and_other_seeds():
    config = small_sweep()
    for name, seeds in (("trials/0002", [0, 1]), ("fresh/0002", [2, 3, 4])):
        run = trial_config(config, Trial(name=name, parameters={"gamma": 0.95}))
        assert (run.seed_numbers(), run.hyperparameters.gamma) == (seeds, 0.95)


def test_batches_are_of_trials_that_can_share_a_program(tmp_path):
    space = {"gamma": Choice((0.9, 0.95)), "num_steps": Choice((16, 32)), "num_minibatches": Choice((2, 3))}
    sweep = begin(tmp_path, small_sweep(space=space, trials=24, batch=4, workers=1))
    names = sweep.add_random()
    batches = sweep.batches(names)
    assert sorted(name for batch in batches for name in batch) == sorted(names)
    assert max(len(batch) for batch in batches) == 4
    for batch in batches:
        found = [read_trial(tmp_path, name).parameters for name in batch]
        assert len({(one["num_steps"], one["num_minibatches"]) for one in found}) == 1


def test_all_workers_have_something_to_do(tmp_path):
    sweep = begin(tmp_path, small_sweep(trials=8, workers=4))
    assert [len(batch) for batch in sweep.batches(sweep.add_random())] == [2, 2, 2, 2]


def test_a_sweep_that_goes_on_keeps_its_trials(tmp_path):
    config = small_sweep(trials=3)
    first = begin(tmp_path, config)
    first.add_random()
    write_trial(tmp_path, Trial(name="trials/0001", parameters={}, state="pruned"))
    longer = begin(tmp_path, small_sweep(trials=5))
    assert longer.add_random() == ["trials/0000", "trials/0002", "trials/0003", "trials/0004"]
    assert read_trial(tmp_path, "trials/0004").parameters == draw(config.space, config.sampler_seed, 4)


def test_the_run_of_all_trials_stays_as_it_is():
    run = small_run()
    assert trial_config(small_sweep(run=run), Trial(name="trials/0000", parameters={})) == run

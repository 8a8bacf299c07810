"""A member of a population takes over the run of a better one."""

import dataclasses

import pytest
from tests.experiment.sweep.processes import metrics
from tests.experiment.sweep.sweeps import begin, small_run, small_sweep

from memorax.experiment import load_config, train
from memorax.experiment.loggers import read_rows
from memorax.experiment.run.display import Quiet
from memorax.experiment.run.train import prepare
from memorax.experiment.sweep.engines.lineage import Member, adopt, pack
from memorax.experiment.sweep.trials import read_trial, trial_config, write_trial


class StopAtStep:
    """Ends a run, and packs it there."""

    def __init__(self, step, place, name):
        self.step, self.place, self.name = step, place, name

    def on_interval(self, run):
        if run.step < self.step:
            return False
        run.save_checkpoint()
        pack(run.folder, self.place, self.name)
        return True


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """A sweep of two members, the first of which was trained for half of its run and packed."""
    folder = tmp_path_factory.mktemp("population")
    config = small_sweep(run=small_run(steps=1280, log_every=320, checkpoint_every=100_000, seeds=1), trials=2)
    begin(folder, config).add_random()
    packed = tmp_path_factory.mktemp("packed")
    run = trial_config(config, read_trial(folder, "trials/0000"))
    session = prepare(run, folder / "trials" / "0000", callbacks=[StopAtStep(640, packed, "trials/0000")])
    try:
        session.run(Quiet())
    finally:
        session.close()
    return folder, config, packed


@pytest.mark.slow
def test_it_goes_on_from_there_with_other_values(population):
    folder, config, packed = population
    member, values = Member(folder, "trials/0001"), {"learning_rate": 5e-3, "gamma": 0.95}
    member.folder.mkdir()
    (member.folder / "metrics.jsonl").write_text('{"step": 320, "seed": 0}\n')
    adopt(member, packed, values)
    assert [path.name for path in (folder / "trials").glob("0001-*")] == ["0001-before-0"]
    trial = read_trial(folder, "trials/0001")
    assert trial.parameters == values
    outcome = train(trial_config(config, trial), member.folder, resume=True)
    assert outcome.step == 1280
    assert metrics(member.folder)[:2] == metrics(folder / "trials" / "0000")
    assert [row["step"] for row in read_rows(member.folder / "metrics.jsonl")] == [320, 640, 960, 1280]
    (change,) = load_config(member.folder).history
    assert change["step"] == 640
    assert change["after"] == values
    assert load_config(member.folder).learning_rate == 5e-3


def test_what_is_its_own_or_was_taken_over_already_stays(tmp_path):
    config = small_sweep(trials=2)
    begin(tmp_path, config).add_random()
    packed = tmp_path / "packed"
    packed.mkdir()
    member = Member(tmp_path, "trials/0001")
    member.folder.mkdir()
    parameters = read_trial(tmp_path, "trials/0001").parameters
    for owner, values in (("trials/0001", dataclasses.asdict(config)["space"]), ("trials/0000", parameters)):
        (packed / "member.json").write_text(f'{{"name": "{owner}", "step": 640}}')
        adopt(member, packed, values)
        assert [path.name for path in (tmp_path / "trials").iterdir() if path.is_dir()] == ["0001"]


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_a_run_that_is_over_stays(tmp_path, state):
    begin(tmp_path, small_sweep(trials=2)).add_random()
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "member.json").write_text('{"name": "trials/0000", "step": 640}')
    member = Member(tmp_path, "trials/0001")
    member.folder.mkdir()
    trial = write_trial(tmp_path, dataclasses.replace(read_trial(tmp_path, member.name), state=state, step=1280))
    adopt(member, packed, {"learning_rate": 5e-3, "gamma": 0.95})
    assert read_trial(tmp_path, member.name) == trial
    assert [path.name for path in (tmp_path / "trials").iterdir() if path.is_dir()] == ["0001"]

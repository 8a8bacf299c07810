"""Runs side by side are the ordinary runs that they are alone."""

import dataclasses
import io
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from tests.experiment.fake_agent import UPDATE, FakeAgent, config
from tests.experiment.test_run import final_state, metrics, saved_steps

from memorax.experiment import DivergenceError, default_run, differences, group_runs, train, train_many
from memorax.experiment.run import batch, cores
from memorax.experiment.run import train as training
from memorax.experiment.run import train_many as many
from memorax.experiment.run.episodes import Evaluator
from memorax.experiment.run.train_many import finish_many, prepare_many

QUIET = {"console": Console(file=io.StringIO())}
SEEDS = (9, 30)


class Fragile(FakeAgent):
    """Seed 9 loses its mind."""

    def train(self, key, state, num_steps):
        state = super().train(key, state, num_steps)
        broken = (state.learner["seed"] == BROKEN) & (state.step.as_float() > 4 * UPDATE)
        position = jnp.where(broken, jnp.nan, state.learner["position"])
        return dataclasses.replace(state, learner=state.learner | {"position": position})


def seed_of(number):
    init_key = jax.random.split(jax.random.key(number), 3)[0]
    return jax.random.key_data(init_key)[-1]


BROKEN = np.asarray(seed_of(9))


@pytest.fixture(autouse=True)
def agent(monkeypatch):
    """The stand-in, in place of what the configuration asks for; no curves are drawn."""
    agent = FakeAgent()
    for module in (training, many):
        monkeypatch.setattr(module, "build_agent", lambda config: agent)
    monkeypatch.setattr(training, "write_summary", lambda *args: {"final": {}})
    return agent


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Each run by itself."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build_agent", lambda config: FakeAgent())
        patch.setattr(training, "write_summary", lambda *args: {"final": {}})
        for run in runs():
            train(run, folder / str(run.seed), **QUIET)
    return folder


def runs(**fields):
    return [config(seed=seed, seeds=1, **fields) for seed in SEEDS]


def assert_same(a, b, agent):
    assert metrics(a) == metrics(b)
    assert saved_steps(a) == saved_steps(b)
    jax.tree.map(np.testing.assert_array_equal, final_state(a, agent, 1), final_state(b, agent, 1))


def folders(tmp_path):
    return [tmp_path / str(run.seed) for run in runs()]


def test_runs_side_by_side_are_what_they_are_alone(alone, agent, tmp_path):
    outcomes = train_many(runs(), folders(tmp_path), **QUIET)
    assert [(outcome.folder, outcome.step, outcome.error) for outcome in outcomes] == [
        (folder, 120, None) for folder in folders(tmp_path)
    ]
    for run in runs():
        assert_same(alone / str(run.seed), tmp_path / str(run.seed), agent)


@pytest.fixture
def shares(monkeypatch):
    """Lets the devices of the tests stand for cores; what is divided over them, as (devices, rows)."""
    found, compile_interval = [], batch.compile_interval

    def counted(agent, keys, state, length, devices):
        found.append((devices.number, len(keys)))
        assert {len(x.sharding.device_set) for x in jax.tree.leaves((keys, state))} == {devices.number}
        return compile_interval(agent, keys, state, length, devices)

    monkeypatch.setattr(cores, "_chosen", lambda: False)
    monkeypatch.setattr(batch, "compile_interval", counted)
    return found


def test_cores_divide_the_seeds_of_all_runs(alone, agent, tmp_path, shares):
    fields = {"eval_every": 4 * UPDATE, "eval_episodes": 3}
    train_many(runs(**fields), folders(tmp_path), devices="cores", **QUIET)
    for run in runs(**fields):
        train(run, tmp_path / "alone" / str(run.seed), **QUIET)
        assert_same(tmp_path / "alone" / str(run.seed), tmp_path / str(run.seed), agent)
    assert set(shares) == {(2, 2)}


def test_a_run_that_ends_leaves_its_core(alone, agent, tmp_path, shares):
    class Prune:
        def on_interval(self, run):
            return run.config.seed == 9 and run.step == 48

    pruned, whole = train_many(runs(), folders(tmp_path), devices="cores", callbacks=[Prune()], **QUIET)
    assert (pruned.step, whole.step) == (48, 120)
    assert_same(alone / "30", whole.folder, agent)
    assert set(shares) == {(2, 2), (1, 1)}
    again = train_many(runs(), folders(tmp_path), resume=True, devices="cores", **QUIET)
    assert [outcome.step for outcome in again] == [120, 120]
    assert_same(alone / "9", pruned.folder, agent)


def test_runs_side_by_side_are_evaluated_in_one_program(agent, tmp_path, monkeypatch):
    evaluated, evaluate = [], Evaluator.evaluate

    def counted(self, state, step):
        evaluated.append((step, state.learner["seed"].shape[0]))
        return evaluate(self, state, step)

    monkeypatch.setattr(Evaluator, "evaluate", counted)
    fields = {"eval_every": 4 * UPDATE, "eval_episodes": 3}
    train_many(runs(**fields), folders(tmp_path), **QUIET)
    assert evaluated == [(48, 2), (96, 2)]
    for run in runs(**fields):
        train(run, tmp_path / "alone" / str(run.seed), **QUIET)
        assert metrics(tmp_path / str(run.seed)) == metrics(tmp_path / "alone" / str(run.seed))
    assert "eval/return" in metrics(tmp_path / "9")[1]


def test_runs_at_different_steps_are_resumed_side_by_side(alone, agent, tmp_path):
    """One was stopped alone, one had ended, one had not begun."""
    first, second = folders(tmp_path)
    session = training.prepare(runs()[0], first)
    intervals = session.intervals(many.Part(Silent(), first), NoSignal())
    for _ in range(3):
        next(intervals)
        session.engine.prepare(24)
    session._save()
    intervals.close()
    session.close()
    assert saved_steps(first) == [48]
    outcomes = train_many(runs(), [first, second], resume=True, **QUIET)
    assert [outcome.step for outcome in outcomes] == [120, 120]
    for run in runs():
        assert_same(alone / str(run.seed), tmp_path / str(run.seed), agent)
    again = train_many(runs(), [first, second], resume=True, **QUIET)
    assert [outcome.step for outcome in again] == [120, 120]


class NoSignal:
    signal = None


class Silent:
    def note(self, text):
        pass


def test_a_signal_stops_all_runs_and_each_goes_on_alone(alone, agent, tmp_path):
    class Stop:
        def on_interval(self, run):
            if run.step == 72 and run.config.seed == 9:
                signal.raise_signal(signal.SIGTERM)

    outcomes = train_many(runs(), folders(tmp_path), callbacks=[Stop()], return_on_signal=True, **QUIET)
    assert {outcome.signal for outcome in outcomes} == {signal.SIGTERM}
    assert {outcome.step for outcome in outcomes} <= {72, 96}
    for run in runs():
        train(run, tmp_path / str(run.seed), resume=True, **QUIET)
        assert metrics(tmp_path / str(run.seed)) == metrics(alone / str(run.seed))


def test_a_callback_ends_one_run_alone(alone, agent, tmp_path):
    class Prune:
        def on_interval(self, run):
            return run.config.seed == 9 and run.step == 48

    pruned, whole = train_many(runs(), folders(tmp_path), callbacks=[Prune()], **QUIET)
    assert (pruned.step, type(pruned.stopped_by), whole.step) == (48, Prune, 120)
    assert saved_steps(pruned.folder) == [48]
    assert_same(alone / "30", whole.folder, agent)


def test_a_run_that_diverges_does_not_end_the_others(alone, agent, tmp_path, monkeypatch):
    fragile = Fragile()
    for module in (training, many):
        monkeypatch.setattr(module, "build_agent", lambda config: fragile)
    broken, whole = train_many(runs(), folders(tmp_path), **QUIET)
    assert isinstance(broken.error, DivergenceError)
    assert (broken.step, whole.step, whole.error) == (48, 120, None)
    assert_same(alone / "30", whole.folder, agent)


def test_the_others_are_closed_where_a_folder_cannot_be_used(tmp_path):
    first, _ = folders(tmp_path)
    with pytest.raises(ValueError, match="`out` must be an empty or a new folder"):
        prepare_many(runs(), [first, first])
    sessions, batch = prepare_many(runs(), [first, tmp_path / "new"], resume=True)
    assert [outcome.step for outcome in finish_many(sessions, batch, QUIET["console"])] == [120, 120]


@pytest.mark.parametrize(
    ("configs", "error", "message"),
    [
        ([], ValueError, r"`configs` must be at least one run, got \[\]"),
        ([config(), None], TypeError, "`configs` must be runs, objects of RunConfig"),
        ([config(), config(steps=240)], ValueError, "run 0 and run 1 with different steps; `group_runs`"),
    ],
)
def test_what_cannot_be_trained_side_by_side_is_refused(configs, error, message):
    with pytest.raises(error, match=message):
        train_many(configs)
    with pytest.raises(ValueError, match="`folders` must be one for each of 2 runs, got 1"):
        train_many(runs(), ["one"])


def test_runs_are_grouped_by_what_decides_about_their_program():
    base = default_run("ppo")

    def hyper(**fields):
        return dataclasses.replace(base, hyperparameters=dataclasses.replace(base.hyperparameters, **fields))

    free = [hyper(gamma=0.5), dataclasses.replace(base, seed=3, learning_rate=1e-4, reward_scale=2.0, keep_best="x")]
    for run in (base, *free):
        assert differences(base, run) == []
    fixed = {
        "num_steps": hyper(num_steps=32),
        "target_kl": hyper(target_kl=0.1),
        "normalize_advantage": hyper(normalize_advantage=False),
        "seeds": dataclasses.replace(base, seeds=1),
        "critic_learning_rate": dataclasses.replace(base, critic_learning_rate=1e-3),
        "schedules": dataclasses.replace(base, schedules={"gamma": "linear:0.5"}),
        "algorithm": default_run("dqn"),
    }
    for name, run in fixed.items():
        assert name in differences(base, run)
    assert group_runs([base, fixed["seeds"], *free, hyper(target_kl=0.1), hyper(target_kl=0.2)]) == [
        [0, 2, 3],
        [1],
        [4, 5],
    ]

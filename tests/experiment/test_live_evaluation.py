"""Evaluation while training, the best checkpoint, and what ends a run early; exact after any crash."""

import dataclasses
import io
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console
from tests.experiment.fake_agent import UPDATE, FakeAgent, config

from memorax.algorithms import PPOConfig
from memorax.experiment import Patience, RunConfig, StopAt, evaluate, load, train
from memorax.experiment import evaluation as evaluating
from memorax.experiment.loading import find_checkpoint
from memorax.experiment.loggers import read_rows
from memorax.experiment.run import checkpoint
from memorax.experiment.run import train as training
from memorax.experiment.run.best import BestCheckpoint
from memorax.experiment.run.display import Quiet
from memorax.experiment.run.train import prepare

QUIET = {"console": Console(file=io.StringIO())}
LIVE = {"eval_every": UPDATE, "eval_episodes": 3, "log_every": UPDATE, "keep_best": "eval/return"}
STEPS = 30 * UPDATE


def live(**fields):
    return config(**({"steps": STEPS, "checkpoint_every": 7 * UPDATE} | LIVE | fields))


@pytest.fixture(autouse=True)
def agent(monkeypatch):
    agent = FakeAgent()
    monkeypatch.setattr(training, "build_agent", lambda config: agent)
    monkeypatch.setattr(training, "write_summary", lambda *args: {})
    return agent


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live") / "straight"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build_agent", lambda config: FakeAgent())
        patch.setattr(training, "write_summary", lambda *args: {})
        train(live(), folder, **QUIET)
    return folder


@pytest.fixture
def straight(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "straight"))


def metrics(folder, *, without=("time/",)):
    rows = read_rows(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith(without)} for row in rows]


def arrays(path, agent, seeds=2):
    abstract = jax.eval_shape(jax.vmap(agent.init), jax.vmap(jax.random.key)(np.arange(seeds, dtype=np.uint32)))
    return checkpoint.restore(path, abstract)


def scores(folder, metric="eval/return"):
    """Steps and means over seeds, written down a second time."""
    rows = read_rows(folder / "metrics.jsonl")
    steps = sorted({row["step"] for row in rows if metric in row})
    return [(step, np.mean([row[metric] for row in rows if row["step"] == step])) for step in steps]


def assert_same(a, b, agent):
    assert metrics(a) == metrics(b)
    for place in ("checkpoints", "best"):
        ours, theirs = checkpoint.complete(a / place), checkpoint.complete(b / place)
        assert [path.name for path in ours][-1:] == [path.name for path in theirs][-1:]
        jax.tree.map(np.testing.assert_array_equal, arrays(ours[-1], agent), arrays(theirs[-1], agent))


def test_training_is_the_same_without_evaluation(straight, agent, tmp_path):
    train(live(eval_every=None, keep_best=None), tmp_path / "plain", **QUIET)
    assert metrics(tmp_path / "plain") == metrics(straight, without=("time/", "eval/"))
    newest = [checkpoint.newest(folder / "checkpoints") for folder in (straight, tmp_path / "plain")]
    jax.tree.map(np.testing.assert_array_equal, *(arrays(path, agent) for path in newest))


def test_evaluations_are_rows_of_their_steps(agent, tmp_path):
    train(live(eval_every=3 * UPDATE, log_every=2 * UPDATE, keep_best=None), tmp_path / "run", **QUIET)
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    # Every 36 steps, rounded up to the end of an interval of 24.
    assert sorted({row["step"] for row in rows if "eval/return" in row}) == [
        48,
        72,
        120,
        144,
        192,
        216,
        264,
        288,
        336,
        360,
    ]
    row = next(row for row in rows if "eval/return" in row)
    assert {name for name in row if name.startswith("eval/")} == {
        *("eval/return", "eval/length", "eval/episodes"),
        *("eval/sampled_return", "eval/sampled_length", "eval/sampled_episodes"),
    }
    assert (row["eval/episodes"], row["eval/length"]) == (3, 5.0)
    assert row["eval/sampled_return"] - row["eval/return"] == pytest.approx(100.0, abs=2e-3)


def test_a_metric_without_value_is_named(tmp_path):
    out = io.StringIO()
    train(live(keep_best="losses/a_never"), tmp_path / "run", console=Console(file=out))
    assert "warning: `losses/a_never` had no value, so that no best checkpoint was kept" in out.getvalue()


def test_each_evaluation_has_randomness_of_its_own(straight):
    rows = read_rows(straight / "metrics.jsonl")
    positions = [row["eval/sampled_return"] - row["eval/return"] for row in rows]
    assert len(set(positions)) == len(positions)


def test_no_complete_episode_leaves_no_return(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "build_agent", lambda config: FakeAgent(endless=True))
    train(live(), tmp_path / "run", **QUIET)
    row = read_rows(tmp_path / "run" / "metrics.jsonl")[-1]
    assert row["eval/episodes"] == 0
    assert "eval/return" not in row
    with pytest.raises(ValueError, match="did not record which checkpoint was the best; train with `--eval-every`"):
        find_checkpoint(tmp_path / "run", "best")


def test_the_best_checkpoint_is_kept(straight, agent):
    best = max(scores(straight), key=lambda point: (point[1], -point[0]))
    assert [int(path.name) for path in checkpoint.complete(straight / "best")] == [best[0]]
    path = find_checkpoint(straight, "best")
    assert path == straight / "best" / f"{best[0]:012d}"
    state = arrays(path, agent)
    assert np.mean(state.learner["position"][:, 0]) == pytest.approx(best[1], abs=1e-3)
    assert best[0] not in (UPDATE, STEPS), "choose another seed: this proves nothing"


@pytest.mark.parametrize("metric", ["episode/return", "eval/sampled_return"])
def test_any_metric_may_choose_the_best(agent, tmp_path, metric):
    train(live(keep_best=metric), tmp_path / "run", **QUIET)
    best = max(scores(tmp_path / "run", metric), key=lambda point: (point[1], -point[0]))
    assert int(find_checkpoint(tmp_path / "run", "best").name) == best[0]


class CrashAt(Quiet):
    """Raises at the end of an interval, when it is logged and perhaps saved as the best."""

    def __init__(self, step):
        self.step = step

    def show(self, step, rows):
        if step == self.step:
            raise RuntimeError("crash")


@pytest.mark.parametrize("seed", range(3))
def test_crashes_change_nothing(straight, agent, tmp_path, seed):
    folder, resume = tmp_path / "crashed", False
    for step in np.sort(np.random.default_rng(seed).integers(2, 30, 6)) * UPDATE:
        session = prepare(live(), folder, resume=resume)
        resume = True
        with pytest.raises(RuntimeError, match="crash"):
            session.run(CrashAt(step) if session.step < step else CrashAt(session.step + UPDATE))
        session.close()
        kept = checkpoint.newest(folder / "checkpoints")
        if kept is not None:  # of what a resumed run has behind it, the best is still there
            behind = [point for point in scores(folder) if point[0] <= int(kept.name)]
            best = max(behind, key=lambda point: (point[1], -point[0]))
            assert f"{best[0]:012d}" in [path.name for path in checkpoint.complete(folder / "best")]
    train(live(), folder, resume=True, **QUIET)
    assert_same(straight, folder, agent)


def test_the_best_up_to_a_complete_checkpoint_outlives_better_ones(tmp_path):
    """A kill while the next checkpoint is written leads back to the one before it."""
    points, folder = [], tmp_path / "best"

    def kept():
        return [int(path.name) for path in checkpoint.complete(folder)]

    best = BestCheckpoint("metric", folder, 0, lambda metric: points)
    for step, value in ((4, 1.0), (8, 2.0), (9, 1.5), (12, 3.0), (15, 4.0)):
        points.append((step, value))
        if best.improved(step):
            best.save(step, {"x": np.full(3, value)}, {})
    best.settle(None)
    assert kept() == [4, 8, 12, 15]
    best.settle(tmp_path / f"{10:012d}")
    assert kept() == [8, 12, 15]
    best.close()
    del points[3:]
    again = BestCheckpoint("metric", folder, 10, lambda metric: points)
    assert kept() == [8]
    points.append((12, 1.9))
    assert not again.improved(12)
    points.append((15, 2.1))
    assert again.improved(15)
    again.save(15, {"x": np.zeros(3)}, {})
    again.settle(tmp_path / f"{20:012d}")
    assert kept() == [15]
    again.close()


def test_evaluation_may_begin_when_a_run_is_resumed(straight, agent, tmp_path):
    folder = tmp_path / "run"
    train(live(steps=15 * UPDATE, eval_every=None, keep_best=None), folder, **QUIET)
    train(live(), folder, resume=True, **QUIET)
    assert metrics(folder, without=("time/", "eval/")) == metrics(straight, without=("time/", "eval/"))
    assert [point for point in scores(straight) if point[0] > 15 * UPDATE] == scores(folder)


def first_in_a_row(values, threshold, count):
    for i in range(count, len(values) + 1):
        if min(values[i - count : i]) >= threshold:
            return i
    raise AssertionError("choose another threshold")


@pytest.mark.parametrize("count", [1, 3])
def test_a_run_stops_when_it_is_good_enough(straight, agent, tmp_path, count):
    values = [value for _, value in scores(straight)]
    threshold = sorted(values)[len(values) // 2]
    said = Console(file=io.StringIO())
    outcome = train(live(stop_at=threshold, stop_after=count), tmp_path / "run", console=said)
    times = {1: "", 3: ", 3 times in a row"}[count]
    assert f"of {STEPS}: eval/return is at least {threshold:g}{times}\n" in said.file.getvalue()
    assert outcome.step == first_in_a_row(values, threshold, count) * UPDATE < STEPS
    assert (outcome.signal, outcome.stopped_by) == (None, StopAt(threshold, count))
    assert metrics(tmp_path / "run") == metrics(straight)[: 2 * outcome.step // UPDATE]
    assert int(checkpoint.newest(tmp_path / "run" / "checkpoints").name) == outcome.step
    # It is over: resuming trains no further, until more is asked for.
    again = train(live(stop_at=threshold, stop_after=count), tmp_path / "run", resume=True, **QUIET)
    assert (again.step, again.stopped_by) == (outcome.step, outcome.stopped_by)
    train(live(), tmp_path / "run", resume=True, **QUIET)
    assert_same(straight, tmp_path / "run", agent)


def test_a_run_stops_when_it_improves_no_longer(straight, agent, tmp_path):
    values = [value for _, value in scores(straight)]
    since = [i - max(range(i + 1), key=lambda k, i=i: (values[k], -k)) for i in range(len(values))]
    patience = max(since[:-2])
    said = Console(file=io.StringIO())
    outcome = train(live(patience=patience), tmp_path / "run", console=said)
    assert f"of {STEPS}: eval/return has not improved {patience} times in a row\n" in said.file.getvalue()
    assert outcome.step == (since.index(patience) + 1) * UPDATE
    assert outcome.stopped_by == Patience(patience)
    session = prepare(live(patience=patience), tmp_path / "crashed")
    with pytest.raises(RuntimeError, match="crash"):
        session.run(CrashAt(outcome.step - UPDATE))
    session.close()
    assert train(live(patience=patience), tmp_path / "crashed", resume=True, **QUIET).step == outcome.step
    assert metrics(tmp_path / "crashed") == metrics(tmp_path / "run")


class Recorder:
    """A callback of one's own."""

    def __init__(self, stop_at=None):
        self.seen, self.stop_at = [], stop_at

    def on_interval(self, run):
        assert {row["seed"] for row in run.rows} == {7, 8}
        position = np.asarray(run.state.learner["position"][:, 0])
        self.seen.append((run.step, run.rows[0]["step"], float(position.mean()), run.series("eval/return")[-1]))
        if run.step == self.stop_at:
            self.path = run.save_checkpoint()
            return True
        return None


def test_a_callback_has_state_metrics_and_checkpoints_in_hand(straight, agent, tmp_path):
    callback = Recorder(stop_at=5 * UPDATE)
    outcome = train(live(), tmp_path / "run", callbacks=[callback], **QUIET)
    assert (outcome.step, outcome.stopped_by, outcome.signal) == (5 * UPDATE, callback, None)
    assert callback.path == tmp_path / "run" / "checkpoints" / f"{5 * UPDATE:012d}"
    for i, (step, of_row, position, (of_series, value)) in enumerate(callback.seen, start=1):
        assert step == of_row == of_series == i * UPDATE
        assert position == pytest.approx(value, abs=1e-3)
    train(live(), tmp_path / "run", resume=True, **QUIET)
    assert_same(straight, tmp_path / "run", agent)


def test_a_series_begins_before_the_run_was_resumed(straight, agent, tmp_path):
    train(live(), tmp_path / "run", callbacks=[Recorder(stop_at=5 * UPDATE)], **QUIET)
    lengths = []

    class Count:
        def on_interval(self, run):
            lengths.append(len(run.series("losses/move")))

    train(live(), tmp_path / "run", resume=True, callbacks=[Count()], **QUIET)
    assert lengths == list(range(6, 31))


@pytest.mark.parametrize("given", [3, Recorder, lambda run: True], ids=["number", "class", "function"])
def test_what_is_no_callback_is_refused(tmp_path, given):
    with pytest.raises(TypeError, match=r"`callbacks` must have a method `on_interval\(run\)`, got"):
        train(live(), tmp_path / "run", callbacks=[given], **QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eval_every": None}, r"`eval_every` must be given for `keep_best` \(eval/return\), got None"),
        ({"eval_every": None, "keep_best": None, "patience": 2}, "`eval_every` must be given for `stop_metric`"),
        ({"eval_every": STEPS + 1}, "`eval_every` must be at most `steps` .*, got 361"),
        ({"keep_best": "eval/retrun"}, "`keep_best` must be one of eval/return, eval/length, .*, got eval/retrun"),
        ({"stop_after": 0}, "`stop_after` must be at least 1, got 0"),
        ({"stop_at": float("nan")}, "`stop_at` must be"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        live(**fields)


TINY = RunConfig(
    algorithm="ppo",
    env="memory::RepeatFirstEasy",
    env_options={"decks": 1},
    steps=96,
    seeds=2,
    features=4,
    log_every=48,
    eval_every=48,
    eval_episodes=5,
    keep_best="eval/return",
    hyperparameters=PPOConfig(num_envs=2, num_steps=24, num_minibatches=1, update_epochs=1),
)


@pytest.mark.slow
def test_an_agent_is_the_same_with_and_without_evaluation(tmp_path, monkeypatch):
    monkeypatch.undo()
    train(TINY, tmp_path / "with", **QUIET)
    without = dataclasses.replace(TINY, eval_every=None, keep_best=None)
    train(without, tmp_path / "without", **QUIET)
    assert metrics(tmp_path / "without") == metrics(tmp_path / "with", without=("time/", "eval/"))
    rows = metrics(tmp_path / "with")
    assert all(row["eval/episodes"] == row["eval/sampled_episodes"] == 5 for row in rows)
    # What `evaluate` plays at this checkpoint are other episodes of the same policy.
    result = evaluate(tmp_path / "with", step="best", episodes=3)
    best = max(scores(tmp_path / "with"), key=lambda point: (point[1], -point[0]))[0]
    assert result["step"] == best
    assert json.loads((tmp_path / "with" / "evaluation.json").read_text())["step"] == best
    policy = load(tmp_path / "with", step="best", seed=1)
    assert int(policy.state.step) == best
    assert evaluating.MAX_STEPS == 100_000


@pytest.mark.slow
def test_an_agent_is_evaluated_in_another_environment(tmp_path, monkeypatch):
    monkeypatch.undo()
    lengths = {}
    for decks in (1, 2):
        train(dataclasses.replace(TINY, eval_env_options={"decks": decks}), tmp_path / str(decks), **QUIET)
        lengths[decks] = {row["eval/length"] for row in metrics(tmp_path / str(decks))}
    assert lengths == {1: {51.0}, 2: {103.0}}
    train_rows = [metrics(tmp_path / str(decks), without=("time/", "eval/")) for decks in (1, 2)]
    assert train_rows[0] == train_rows[1]
    other = dataclasses.replace(TINY, eval_env="memory::MemoryChain")
    with pytest.raises(ValueError, match="`eval_env` must have the observations and actions of the environment of"):
        train(other, tmp_path / "other", **QUIET)
    assert not (tmp_path / "other").exists()

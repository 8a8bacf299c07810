"""Resuming with other values, and beginning with what another run has learned."""

import dataclasses
import io
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from tests.experiment.fake_agent import UPDATE, FakeAgent, config
from tests.experiment.test_run import final_state

from memorax import lox
from memorax.algorithms import PPOConfig
from memorax.cli.train import train_options
from memorax.experiment import RunConfig, build_agent, default_run, evaluate, load_config, train
from memorax.experiment.changes import apply_changes, changeable_fields, config_at
from memorax.experiment.config_file import save_config
from memorax.experiment.loading import SavedRun, restore_run
from memorax.experiment.loggers import read_rows
from memorax.experiment.report.plot import draw, make_curve
from memorax.experiment.run import train as training
from memorax.experiment.run.fork import begin_with, check_fork
from memorax.experiment.run.programs import initialize, seed_keys
from memorax.experiment.run.train import prepare

QUIET = {"console": Console(file=io.StringIO())}


class Configured(FakeAgent):
    """Walks by steps of its learning rate."""

    def __init__(self, config):
        super().__init__()
        self.rate = config.learning_rate * config.hyperparameters.gamma

    def train(self, key, state, num_steps):
        def body(state, _):
            after = super(Configured, self).train(key, state, UPDATE)
            position = state.learner["position"]
            moved = position + self.rate * (after.learner["position"] - position)
            lox.log({"losses": {"rate": jnp.float32(self.rate)}})
            return after.replace(learner=after.learner | {"position": moved}), None

        return jax.lax.scan(body, state, None, length=num_steps // UPDATE)[0]


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(training, "build_agent", Configured)
    monkeypatch.setattr(training, "write_summary", lambda *args: {})


def metrics(folder):
    rows = read_rows(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


def rates(folder):
    return {row["step"]: row["losses/rate"] for row in read_rows(folder / "metrics.jsonl")}


def first(steps=6):
    return config(steps=steps * UPDATE, learning_rate=0.5, hyperparameters=PPOConfig(gamma=0.8))


@pytest.fixture
def begun(tmp_path):
    train(first(), tmp_path / "run", **QUIET)
    return tmp_path / "run"


def test_how_a_run_begins_cannot_change_later():
    assert "initial_temperature" not in changeable_fields(default_run("sac"))
    with pytest.raises(ValueError, match="`set` must be of a field that may change, got initial_temperature"):
        apply_changes(default_run("sac"), {"initial_temperature": 0.5}, 100)


def test_a_resumed_run_may_go_on_with_other_values(begun):
    longer = dataclasses.replace(first(), steps=10 * UPDATE)
    said = Console(file=io.StringIO())
    train(longer, begun, resume=True, changes={"learning_rate": 0.25, "gamma": 0.4}, console=said)
    assert "step 72 with learning_rate=0.25 instead of 0.5, gamma=0.4 instead of 0.8\n" in said.file.getvalue()
    assert rates(begun) == pytest.approx({24: 0.4, 48: 0.4, 72: 0.4, 96: 0.1, 120: 0.1})
    stored = load_config(begun)
    assert (stored.learning_rate, stored.hyperparameters.gamma) == (0.25, 0.4)
    assert stored.history == (
        {"step": 72, "before": {"learning_rate": 0.5, "gamma": 0.8}, "after": {"learning_rate": 0.25, "gamma": 0.4}},
    )
    assert json.loads((begun / "config.json").read_text())["history"][0]["step"] == 72
    # From now on it is a run with these values.
    with pytest.raises(ValueError, match=r"`gamma` must be 0.4 to resume .*, got 0.8"):
        train(longer, begun, resume=True, **QUIET)
    train(dataclasses.replace(stored, steps=12 * UPDATE), begun, resume=True, **QUIET)
    assert rates(begun)[144] == pytest.approx(0.1)


def test_a_change_is_resumed_exactly(begun, tmp_path):
    killed = Path(shutil.copytree(begun, tmp_path / "killed"))
    changes = {"learning_rate": 0.25}
    longer = dataclasses.replace(first(), steps=10 * UPDATE)
    train(longer, begun, resume=True, changes=changes, **QUIET)
    prepare(longer, killed, resume=True, changes=changes).close()  # killed before there is another checkpoint
    stored = load_config(killed)
    for _ in range(2):
        prepare(stored, killed, resume=True).close()
    train(stored, killed, resume=True, **QUIET)
    assert metrics(killed) == metrics(begun)
    jax.tree.map(np.testing.assert_array_equal, final_state(killed, FakeAgent()), final_state(begun, FakeAgent()))
    assert load_config(killed) == load_config(begun)


def test_what_is_as_it_was_is_no_change(begun):
    train(first(), begun, resume=True, changes={"gamma": 0.8}, **QUIET)
    assert load_config(begun).history == ()


def test_changes_add_up_and_can_be_undone():
    config = RunConfig(algorithm="ppo", env="x", hyperparameters=PPOConfig())
    once = apply_changes(config, {"gamma": 0.5}, 100)
    twice = apply_changes(once, {"gamma": 0.25, "target_kl": 0.1}, 200)
    assert [entry["step"] for entry in twice.history] == [100, 200]
    gammas = {step: config_at(twice, step).hyperparameters.gamma for step in (50, 100, 101, 200, 201)}
    assert gammas == {50: 0.99, 100: 0.99, 101: 0.5, 200: 0.5, 201: 0.25}
    assert config_at(twice, 200).hyperparameters.target_kl is None


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"num_envs": 3}, ValueError, "`set` must be of a field that may change, got num_envs; these: clip_coeff"),
        ({"learning_rat": 3}, ValueError, "got learning_rat; nearest: learning_rate[a-z_, ]*; these: "),
        ({"learning_rate": -1.0}, ValueError, "`learning_rate` must be above 0, got -1.0"),
        ({"gamma": "high"}, TypeError, "`gamma` must be a number"),
    ],
)
def test_what_cannot_change_is_refused(begun, changes, error, message):
    before = (begun / "config.json").read_bytes()
    with pytest.raises(error, match=message):
        train(first(), begun, resume=True, changes=changes, **QUIET)
    assert (begun / "config.json").read_bytes() == before


def test_a_new_run_has_nothing_to_change(tmp_path):
    with pytest.raises(ValueError, match=r"`set` needs `resume`, got {'gamma': 0.5} for a new run"):
        train(first(), tmp_path / "run", changes={"gamma": 0.5}, **QUIET)


@pytest.mark.parametrize("algorithm", ["ppo", "dqn", "sac"])
def test_real_numbers_may_change_and_nothing_else(algorithm):
    config = default_run(algorithm)
    names = changeable_fields(config)
    assert {"learning_rate", "critic_learning_rate", "gamma", "max_grad_norm", "reward_scale"} <= set(names)
    assert not {"steps", "num_envs", "seed", "stop_at", "model", "anneal_learning_rate"} & set(names)


def test_changes_are_read_from_the_command_line(begun, monkeypatch):
    monkeypatch.chdir(begun.parent)
    config, folder, how = train_options(["--resume", "--out", "run", "--set", "learning_rate=1e-4", "gamma=1"])
    assert (config.learning_rate, str(folder)) == (0.5, "run")
    assert (how["resume"], how["changes"]) == (True, {"learning_rate": 1e-4, "gamma": 1})
    assert (how["fork"], how["fork_step"], how["devices"], how["population"]) == (None, "last", None, {})


def test_a_change_is_drawn_in_the_curve(begun):
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    train(dataclasses.replace(first(), steps=120), begun, resume=True, changes={"learning_rate": 0.25}, **QUIET)
    axes = figure.add_subplot()
    stored = load_config(begun)
    draw(axes, [make_curve(read_rows(begun / "metrics.jsonl"), "run")], [stored], "mean")
    drawn = [line for line in axes.lines if list(line.get_xdata()) == [72, 72]]
    assert len(drawn) == 1
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "run from here on with learning_rate=0.25" in names


SOURCE = RunConfig(
    algorithm="ppo",
    env="memory::RepeatFirstEasy",
    env_options={"decks": 1},
    steps=96,
    seeds=2,
    features=4,
    log_every=48,
    checkpoint_every=48,
    hyperparameters=PPOConfig(
        num_envs=2,
        num_steps=24,
        num_minibatches=1,
        update_epochs=1,
        normalize_observations=False,
        normalize_rewards=True,
    ),
)


@pytest.mark.slow
def test_a_fork_begins_with_what_was_learned(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    train(SOURCE, "source", **QUIET)
    longer = dataclasses.replace(SOURCE, env_options={"decks": 2}, optimizer="sgd", steps=96, seed=5)
    train(longer, "fork", fork="source", fork_step=48, **QUIET)
    stored = load_config("fork")
    assert (stored.fork, stored.fork_step, stored.env_options) == ("source", 48, {"decks": 2})
    source = restore_run(Path("source"), 48)
    begin = restore_run(Path("fork"), 0)
    ours, theirs = begin.state.learner, source.state.learner
    jax.tree.map(np.testing.assert_array_equal, ours.actor.params, theirs.actor.params)
    jax.tree.map(np.testing.assert_array_equal, ours.critic.params, theirs.critic.params)
    jax.tree.map(np.testing.assert_array_equal, begin.state.scales.returns, source.state.scales.returns)
    assert not np.any(begin.state.scales.running_return)
    assert int(np.max(begin.state.step)) == 0
    # What it began with is its own: the source may go.
    shutil.copytree("fork", "again")
    shutil.rmtree("source")
    for path in Path("again/checkpoints").iterdir():
        if path.name != "000000000000":
            shutil.rmtree(path)
    Path("again/summary.json").unlink()
    train(stored, "again", resume=True, **QUIET)
    assert metrics(Path("again")) == metrics(Path("fork"))
    with pytest.raises(ValueError, match=r"`fork` must be left out to resume fork, got source; it begins a new run"):
        train(stored, "fork", resume=True, fork="source", **QUIET)
    assert evaluate("fork", episodes=2)["step"] == 96


@pytest.fixture(scope="module")
def initial():
    agent = build_agent(SOURCE)
    keys = seed_keys([0, 1])
    return initialize(agent, keys[0], keys[1], 0)[0]


def test_a_fork_of_other_networks_is_refused(initial):
    source = SavedRun(SOURCE, None, initial, 48)
    other = build_agent(dataclasses.replace(SOURCE, features=5))
    with pytest.raises(
        ValueError, match=r"must have the networks of the new one, but `actor/.*` has shape .* there and"
    ):
        check_fork(other, source, 2)
    same = build_agent(dataclasses.replace(SOURCE, env_options={"decks": 3}, optimizer="sgd"))
    with pytest.raises(ValueError, match=r"`seeds` must be at most those of the run to fork \(2\), got 3"):
        check_fork(same, source, 3)
    check_fork(same, source, 2)
    assert begin_with(jax.tree.map(lambda x: x[:1], initial), source).step.low.shape == (1,)


def test_a_fork_has_the_options_of_its_source(tmp_path):
    (tmp_path / "source").mkdir()
    save_config(tmp_path / "source", SOURCE)
    source = str(tmp_path / "source")
    config, folder, how = train_options(["--fork", source, "--fork-step", "best", "--env-options", "decks=2"])
    assert config == dataclasses.replace(SOURCE, env_options={"decks": 2})
    assert (folder, how["resume"], str(how["fork"]), how["fork_step"]) == (None, False, source, "best")
    with pytest.raises(ValueError, match=r"`algorithm` must be ppo to fork .*source, got dqn"):
        train_options(["dqn", "--fork", source])
    _, _, how = train_options(["--fork", source, "--fork-step", "5e2"])
    assert how["fork_step"] == 500

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console
from tests.experiment.fake_agent import UPDATE, FakeAgent, config

from memorax.experiment import DivergenceError, train
from memorax.experiment.loggers import read_rows
from memorax.experiment.run import checkpoint, engine
from memorax.experiment.run import train as training
from memorax.experiment.run.display import Quiet
from memorax.experiment.run.hosts import group
from memorax.experiment.run.train import prepare, with_log_interval

QUIET = {"console": Console(file=io.StringIO())}


@pytest.fixture
def agent(monkeypatch):
    """The stand-in, in place of what the configuration asks for."""
    agent = FakeAgent()
    monkeypatch.setattr(training, "build_agent", lambda config: agent)
    return agent


class StopAt(Quiet):
    """Sends a signal at the end of an interval, or raises there."""

    def __init__(self, step, stop):
        self.step, self.stop = step, stop

    def show(self, step, rows):
        if step == self.step and isinstance(self.stop, int):
            os.kill(os.getpid(), self.stop)
        elif step == self.step:
            raise self.stop


def metrics(folder):
    rows = read_rows(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


def saved_steps(folder):
    return [int(path.name) for path in checkpoint.complete(folder / "checkpoints")]


def final_state(folder, agent, seeds=2):
    abstract = jax.eval_shape(jax.vmap(agent.init), jax.vmap(jax.random.key)(np.arange(seeds, dtype=np.uint32)))
    return checkpoint.restore(checkpoint.newest(folder / "checkpoints"), abstract)


def assert_same(a, b, agent):
    assert metrics(a) == metrics(b)
    jax.tree.map(np.testing.assert_array_equal, final_state(a, agent), final_state(b, agent))


@pytest.fixture(autouse=True)
def no_drawings(monkeypatch, finished):
    """Draws nothing, which takes longer than these runs themselves; `straight` has its summary and curve."""
    monkeypatch.setattr(training, "write_summary", lambda *args: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build_agent", lambda config: FakeAgent())
        train(config(), folder, **QUIET)
    return folder


@pytest.fixture
def straight(finished, tmp_path):
    """A copy of it, to do anything with."""
    return Path(shutil.copytree(finished, tmp_path / "straight"))


def test_a_run_leaves_what_it_promises(straight):
    files = {path.name for path in straight.iterdir() if not path.name.startswith(".")}
    assert files == {"config.json", "metrics.jsonl", "checkpoints", "learning_curve.png", "summary.json"}
    rows = metrics(straight)
    assert [(row["step"], row["seed"]) for row in rows] == [(24 * i, seed) for i in range(1, 6) for seed in (7, 8)]
    expected = {"step", "seed", "episode/return", "episode/length", "episode/count", "losses/move"}
    assert all(set(row) == expected for row in rows)
    assert saved_steps(straight) == [48, 96, 120]


def test_the_same_seed_gives_the_same_run(straight, agent, tmp_path):
    train(config(), tmp_path / "again", **QUIET)
    assert_same(straight, tmp_path / "again", agent)


def test_each_seed_learns_as_if_it_were_alone(straight, agent, tmp_path):
    for i, seed in enumerate((7, 8)):
        folder = tmp_path / str(seed)
        train(config(seeds=1, seed=seed), folder, **QUIET)
        assert metrics(folder) == metrics(straight)[i::2]
        alone, beside = final_state(folder, agent, 1), final_state(straight, agent)
        jax.tree.map(lambda x, y, i=i: np.testing.assert_array_equal(x[0], y[i]), alone, beside)


@pytest.mark.parametrize("step", [24, 72, 120])
def test_a_crash_and_resume_changes_nothing(straight, agent, tmp_path, step):
    folder = tmp_path / "crashed"
    session = prepare(config(), folder)
    with pytest.raises(RuntimeError, match="crash"):
        session.run(StopAt(step, RuntimeError("crash")))
    session.close()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "se')
    train(config(), folder, resume=True, **QUIET)
    assert_same(straight, folder, agent)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_interval_and_saves(straight, agent, tmp_path, number):
    folder = tmp_path / "stopped"
    before = signal.getsignal(number)
    session = prepare(config(), folder)
    outcome = session.run(StopAt(72, number))
    session.close()
    assert (outcome.signal, outcome.step) == (number, 72)
    assert signal.getsignal(number) is before
    assert saved_steps(folder) == [48, 72]
    train(config(), folder, resume=True, **QUIET)
    assert_same(straight, folder, agent)


def test_a_signal_that_comes_while_other_processes_are_asked_is_not_forgotten(agent, tmp_path, monkeypatch):
    def asked():
        signal.raise_signal(signal.SIGTERM)

    session = prepare(config(), tmp_path / "stopped")
    monkeypatch.setattr(group(), "signal", asked)
    outcome = session.run(Quiet())
    session.close()
    assert (outcome.signal, outcome.step) == (signal.SIGTERM, config().log_every)


class Signal:
    """A logger that sends a signal to its own process when it is written to for the nth time."""

    def __init__(self, number, count):
        self.number, self.count = number, count

    def start(self, rows): ...

    def write(self, rows):
        self.count -= 1
        if self.count == 0:
            os.kill(os.getpid(), self.number)

    def sync(self): ...

    def close(self): ...


@pytest.mark.parametrize("count", [3, 5])
def test_an_interrupt_reaches_the_caller_when_the_run_is_saved(straight, agent, tmp_path, count):
    """In the last interval too: what the caller does next must not go on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process inherits another one
    try:
        with pytest.raises(KeyboardInterrupt):
            train(config(), tmp_path / "run", loggers=[Signal(signal.SIGINT, count)], **QUIET)
    finally:
        signal.signal(signal.SIGINT, before)
    assert saved_steps(tmp_path / "run")[-1] == count * 24
    train(config(), tmp_path / "run", resume=True, **QUIET)
    assert_same(straight, tmp_path / "run", agent)


def test_a_termination_reaches_the_handler_of_the_caller_once(agent, tmp_path, monkeypatch):
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        outcome = train(config(), tmp_path / "run", loggers=[Signal(signal.SIGTERM, 3)], **QUIET)
        assert received == [signal.SIGTERM]
        assert (outcome.signal, outcome.step) == (signal.SIGTERM, 72)
        quiet = {"return_on_signal": True} | QUIET
        outcome = train(config(), tmp_path / "other", loggers=[Signal(signal.SIGTERM, 3)], **quiet)
        assert (outcome.signal, received) == (signal.SIGTERM, [signal.SIGTERM])
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_termination_ends_the_program(tmp_path):
    code = (
        "import os, signal; from tests.experiment import fake_agent, test_run\n"
        "test_run.training.build_agent = lambda config: fake_agent.FakeAgent()\n"
        "stop = test_run.Signal(signal.SIGTERM, 3)\n"
        "test_run.train(fake_agent.config(), 'run', loggers=[stop], **test_run.QUIET)\n"
        "print('the next run')\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGTERM, "", "")
    assert saved_steps(tmp_path / "run") == [48, 72]


def test_a_finished_run_can_be_resumed_to_go_further(straight, agent, tmp_path):
    train(config(steps=15 * UPDATE), tmp_path / "longer", **QUIET)
    train(config(steps=15 * UPDATE), straight, resume=True, **QUIET)
    assert_same(straight, tmp_path / "longer", agent)
    assert json.loads((straight / "config.json").read_text())["steps"] == 15 * UPDATE


def test_a_run_goes_on_beyond_32_bits_of_steps(agent, tmp_path):
    border = 2**32 // UPDATE * UPDATE
    long = config(steps=border + 4 * UPDATE, log_every=UPDATE, checkpoint_every=border)
    session = prepare(long, tmp_path / "long")
    state = session.state.replace(step=session.state.step + (border - 2 * UPDATE))
    session.writer.save(border - 2 * UPDATE, state)
    session.close()
    assert train(long, tmp_path / "long", resume=True, **QUIET).step == border + 4 * UPDATE
    expected = [border + i * UPDATE for i in range(-1, 5) for _ in range(2)]
    assert [row["step"] for row in metrics(tmp_path / "long")] == expected
    assert np.asarray(final_state(tmp_path / "long", agent).step).tolist() == [border + 4 * UPDATE] * 2


def test_a_signal_in_the_last_interval_comes_too_late(agent, tmp_path):
    session = prepare(config(), tmp_path / "run")
    outcome = session.run(StopAt(120, signal.SIGTERM))
    session.close()
    assert (outcome.signal, outcome.step) == (None, 120)


def test_a_run_cannot_be_resumed_to_end_before_where_it_is(straight, agent):
    with pytest.raises(ValueError, match=r"`steps` must be at least 120 to resume .*straight, .*, got 119"):
        prepare(config(steps=119), straight, resume=True)
    assert json.loads((straight / "config.json").read_text())["steps"] == 120
    prepare(config(), straight, resume=True).close()


def test_one_program_serves_all_intervals(agent, tmp_path, monkeypatch):
    lengths = []
    compile_interval = engine.compile_interval

    def count(agent, keys, state, length, devices):
        lengths.append(length)
        return compile_interval(agent, keys, state, length, devices)

    monkeypatch.setattr(engine, "compile_interval", count)
    train(config(), tmp_path / "even", **QUIET)
    assert lengths == [24]
    lengths.clear()
    train(config(steps=11 * UPDATE), tmp_path / "odd", **QUIET)
    assert lengths == [24, 12]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_divergence_stops_and_saves_nothing_bad(monkeypatch, tmp_path, bad):
    monkeypatch.setattr(training, "build_agent", lambda config: FakeAgent(breaks_at=4 * UPDATE, breaks_with=bad))
    pattern = (
        r"`losses/move` of seed 7 became NaN or infinite in update 5 \(step 60\); the last good checkpoint is .*48;"
    )
    with pytest.raises(DivergenceError, match=pattern):
        train(config(), tmp_path / "run", **QUIET)
    assert saved_steps(tmp_path / "run") == [48]
    assert metrics(tmp_path / "run")[-1]["step"] == 48


def test_divergence_before_the_first_checkpoint_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "build_agent", lambda config: FakeAgent(breaks_at=0))
    with pytest.raises(DivergenceError, match=r"update 1 \(step 12\); there is no checkpoint before it; try a lower"):
        train(config(), tmp_path / "run", **QUIET)
    assert saved_steps(tmp_path / "run") == []


def test_a_folder_that_holds_something_is_not_touched(straight, agent):
    before = (straight / "metrics.jsonl").read_bytes()
    with pytest.raises(
        ValueError, match=r"`out` must be an empty or a new folder, got .*straight, which holds something"
    ):
        train(config(), straight, **QUIET)
    assert (straight / "metrics.jsonl").read_bytes() == before


def test_a_checkpoint_of_another_configuration_is_refused(straight, monkeypatch):
    class Wider(FakeAgent):
        def init(self, key):
            state = super().init(key)
            return state.replace(loop=np.zeros((4, 2), np.float32))

    monkeypatch.setattr(training, "build_agent", lambda config: Wider())
    with pytest.raises(ValueError, match=r"`loop` must be float32\[2, 4, 2\], got float32\[2, 3, 2\]"):
        train(config(), straight, resume=True, **QUIET)


def test_resuming_an_empty_folder_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=r"must be a run's folder, got one without config.json"):
            train(config(), folder, resume=True, **QUIET)


def test_a_run_killed_before_its_first_checkpoint_begins_again(straight, agent, tmp_path):
    session = prepare(config(), tmp_path / "young")
    session.close()
    train(config(), tmp_path / "young", resume=True, **QUIET)
    assert_same(straight, tmp_path / "young", agent)


def test_a_run_killed_while_it_is_made_ready_begins_again(straight, agent, tmp_path, monkeypatch):
    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "CheckpointWriter", die)
        with pytest.raises(KeyboardInterrupt):
            prepare(config(), tmp_path / "young")
    train(config(), tmp_path / "young", resume=True, **QUIET)
    assert_same(straight, tmp_path / "young", agent)


def test_a_folder_is_used_by_one_run_at_a_time(agent, tmp_path):
    session = prepare(config(), tmp_path / "run")
    for resume in (True, False):
        with pytest.raises(ValueError, match="`out` is in use by another process" if resume else "holds something"):
            prepare(config(), tmp_path / "run", resume=resume)
    session.close()
    prepare(config(), tmp_path / "run", resume=True).close()


def test_a_folder_that_cannot_be_written_is_refused_before_training(agent, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"`out` must be a folder that can be written to, got .*file/run"):
        train(config(), tmp_path / "file" / "run", **QUIET)


def test_a_run_shorter_than_an_update_is_refused(agent, tmp_path):
    with pytest.raises(ValueError, match=r"`steps` must be at least one update \(12\), got 11"):
        train(config(steps=11), tmp_path / "run", **QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("updates", [1, 7, 99, 100, 976, 977, 3125, 48_828])
def test_the_log_interval_divides_the_run_into_about_a_hundred(updates):
    resolved = with_log_interval(config(steps=updates * UPDATE + 5, log_every=None), UPDATE)
    intervals = -(-updates * UPDATE // resolved.log_every)
    assert resolved.log_every % UPDATE == 0
    assert min(updates, 50) <= intervals <= 399
    assert updates * UPDATE % resolved.log_every == 0 or updates == 977  # a prime


@pytest.mark.parametrize("steps", [2**32 - 1, 4_294_967_291, 2**31])
def test_the_log_interval_of_the_longest_runs_is_found_at_once(steps):
    resolved = with_log_interval(config(steps=steps, log_every=None), 1)
    assert 99 <= steps / resolved.log_every <= 101


def test_a_given_log_interval_is_rounded_to_whole_updates():
    assert with_log_interval(config(log_every=30), UPDATE).log_every == 24
    assert with_log_interval(config(log_every=1), UPDATE).log_every == 12


def test_summary_holds_numbers_and_their_circumstances(straight):
    summary = json.loads((straight / "summary.json").read_text())
    rows = metrics(straight)
    final = {str(row["seed"]): row["episode/return"] for row in rows if row["step"] == 120}
    assert summary["final"]["episode/return"]["per_seed"] == pytest.approx(final)
    low, high = summary["final"]["episode/return"]["mean_interval_95"]
    assert low <= summary["final"]["episode/return"]["mean"] <= high
    assert summary["step"] == 120
    assert summary["steps_per_second"] > 0
    assert {"python", "memorax", "jax"} <= set(summary["versions"])
    assert {"platform", "cpus", "devices"} <= set(summary["machine"])


def test_resuming_as_another_run_is_refused(straight, agent):
    with pytest.raises(ValueError, match=r"`features` must be 64 to resume .*straight, got 7"):
        train(dataclasses.replace(config(), features=7), straight, resume=True, **QUIET)

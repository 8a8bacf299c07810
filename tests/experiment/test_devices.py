import io
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console
from tests.experiment.fake_agent import ENVS, UPDATE, FakeAgent, config

from memorax.algorithms import PPOConfig
from memorax.cli.train import train_options
from memorax.experiment import train
from memorax.experiment.devices import Devices
from memorax.experiment.loggers import read_rows
from memorax.experiment.run import checkpoint
from memorax.experiment.run import train as training
from memorax.experiment.run.train import prepare

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("eight_devices.py")


@pytest.fixture
def agent(monkeypatch):
    """The stand-in, in place of what the configuration asks for; nothing is drawn."""
    agent = FakeAgent()
    monkeypatch.setattr(training, "build_agent", lambda config: agent)
    monkeypatch.setattr(training, "write_summary", lambda *args: None)
    return agent


def quiet(console=None):
    return {"console": console or Console(file=io.StringIO())}


def metrics(folder):
    rows = read_rows(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


def final(folder, agent):
    abstract = jax.eval_shape(jax.vmap(agent.init), jax.vmap(jax.random.key)(np.arange(2, dtype=np.uint32)))
    return checkpoint.restore(checkpoint.newest(folder / "checkpoints"), abstract)


def assert_close(found, wanted):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), found, wanted)


@pytest.mark.parametrize(
    ("number", "seeds", "envs", "shape"),
    [(2, 4, 6, (2, 1)), (2, 1, 6, (1, 2)), (2, 3, 6, (1, 2)), ("all", 2, None, (2, 1)), (2, 2, 3, (2, 1))],
)
def test_seeds_are_split_first_then_environments(number, seeds, envs, shape):
    devices = Devices(number, seeds, envs)
    assert devices.number == 2
    assert dict(devices.mesh.shape) == dict(zip(("seed", "env"), shape, strict=True))


def test_one_device_needs_no_mesh():
    assert Devices(1, 3, 5).mesh is None
    assert Devices(1, 3, 5).everywhere() is None


@pytest.mark.parametrize(
    ("number", "kind", "error"),
    [
        (2.0, TypeError, "`devices` must be an integer, got 2.0; write 2"),
        (0, ValueError, "`devices` must be at least 1, got 0"),
        (3, ValueError, r"`devices` must be at most the 2 that JAX has here \(cpu\), got 3"),
        (
            2,
            ValueError,
            r"`devices` must divide the seeds \(3\), or .* must divide `num_envs` \(5\), got 2; lower it to 1, or",
        ),
    ],
)
def test_devices_that_do_not_fit_are_refused(number, kind, error):
    with pytest.raises(kind, match=error):
        Devices(number, 3, 5)


def test_sizes_are_checked_before_there_is_a_folder(tmp_path):
    sizes = PPOConfig(num_minibatches=8)
    with pytest.raises(ValueError, match=r"`devices` must divide what is learned from at once, 1 sequences, got 2 for"):
        prepare(config(seeds=1, steps=8 * 128, hyperparameters=sizes), tmp_path / "run", devices=2)
    assert not (tmp_path / "run").exists()


def test_environments_in_python_stay_on_one_device(tmp_path):
    with pytest.raises(TypeError, match=r"`devices` must be 1 for an environment that runs in Python, got 2"):
        prepare(config(env="gymnasium::CartPole-v1", seeds=2, steps=8 * 128), tmp_path / "run", devices=2)


def test_seeds_on_two_devices_are_those_of_one_and_go_on_there(agent, tmp_path):
    wanted = config(seeds=2, eval_every=4 * UPDATE, eval_episodes=4)
    train(wanted, tmp_path / "one", **quiet())
    halfway = config(seeds=2, eval_every=4 * UPDATE, eval_episodes=4, steps=4 * UPDATE)
    for first, then, warned in ((2, 2, False), (2, 1, True), (1, "all", True)):
        folder, said = tmp_path / f"{first}-{then}", io.StringIO()
        session = prepare(wanted, folder, devices=first)
        assert all(len(x.sharding.device_set) == first for x in jax.tree.leaves(session.state))
        session.close()
        assert not metrics(folder)
        train(halfway, tmp_path / f"half-{folder.name}", devices=first, **quiet())
        train(wanted, tmp_path / f"half-{folder.name}", resume=True, devices=then, **quiet(Console(file=said)))
        assert_close(metrics(tmp_path / f"half-{folder.name}"), metrics(tmp_path / "one"))
        assert_close(final(tmp_path / f"half-{folder.name}", agent), final(tmp_path / "one", agent))
        assert ("the same bits are no longer promised" in said.getvalue()) == warned


def test_each_part_of_the_state_is_where_it_is_used():
    devices = Devices(2, 1, ENVS + 1)
    state = jax.eval_shape(jax.vmap(FakeAgent().init), jax.vmap(jax.random.key)(np.arange(1, dtype=np.uint32)))
    rows = np.zeros((1, ENVS + 1, 2))
    state = state.replace(loop=rows, buffer={"rows": rows, "count": np.zeros(1)})
    where = devices.shardings(state)
    split = {name for name, x in checkpoint.flatten(where).items() if "env" in str(x.spec)}
    assert split == {"loop", "buffer/rows"}


def test_the_command_line_takes_a_number_or_all():
    assert train_options(["ppo"])[2]["devices"] is None
    assert train_options(["ppo", "--devices", "2"])[2]["devices"] == 2
    assert train_options(["ppo", "--devices", "all"])[2]["devices"] == "all"


LEARNERS = ["ppo", "mappo", "gradient_ppo", "pqn", "dqn", "r2d2", "sac", "stream_ac"]


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "seeds"), [*((name, 1) for name in LEARNERS), ("ppo", 4), ("r2d2", 8)])
def test_eight_devices_share_the_work_and_change_nothing(algorithm, seeds):
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    command = [sys.executable, str(SCRIPT), algorithm, str(seeds)]
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["moved"] > 1e-3
    assert max(found["apart"].values()) < 1e-4, found
    assert 8 * found["shares"]["products"] < 1.15, found
    assert found["shares"]["memory"] < 0.3, found

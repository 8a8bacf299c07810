"""Every algorithm trains from the command line with every memory model, and goes on after a kill as if none had been.

PPO with every model, and kills of PPO and of the algorithms with a replay, have files of their own.
"""

import math
import random
import time

import jax
import pytest
from tests.cli.test_kill_and_resume import assert_same, finish, kill, start, wait_for_step

from memorax.algorithms import ALGORITHMS
from memorax.cli import main
from memorax.cli.train import train_options
from memorax.experiment import build_agent
from memorax.experiment.loggers import read_rows
from memorax.networks.sequence_models import MODELS

ROLLOUT = ["--num-envs=4", "--num-steps=8", "--num-minibatches=2", "--update-epochs=1"]
REPLAY = ["--num-envs=4", "--train-frequency=16", "--batch-size=4", "--buffer-size=400", "--learning-starts=64"]
SIZES = {
    "dqn": REPLAY,
    "gradient_ppo": [*ROLLOUT, "--truncation-length=4"],
    "mappo": ROLLOUT,
    "ppo": ROLLOUT,
    "pqn": ROLLOUT,
    "r2d2": [*REPLAY, "--sequence-length=6", "--burn-in-length=1"],
    "sac": REPLAY,
    "stream_ac": ["--num-envs=4"],
}
SHORT = ["--features=8", "--seeds=2", "--steps=640", "--log-every=320"]
KINDS = ["mlp", "gru", "rtu", "attention", "mamba2"]
"""No memory, any cell, one that learns in real time, a window, a state of matrices."""


def test_every_algorithm_is_run():
    assert set(SIZES) == set(ALGORITHMS)


@pytest.mark.slow
@pytest.mark.parametrize("model", KINDS)
@pytest.mark.parametrize("algorithm", [name for name in SIZES if name != "ppo"])
def test_it_trains(algorithm, model, tmp_path):
    folder = tmp_path / "run"
    assert main(["train", algorithm, f"--model={model}", f"--out={folder}", *SIZES[algorithm], *SHORT]) == 0
    rows = read_rows(folder / "metrics.jsonl")
    assert rows[-1]["step"] == 640
    assert {row["seed"] for row in rows} == {0, 1}
    assert any(name.startswith("losses/") for name in rows[-1])
    assert all(math.isfinite(value) for row in rows for value in row.values())


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", SIZES)
def test_every_model_can_be_trained(algorithm):
    """Traced only, which finds what does not fit together."""
    for model in MODELS:
        config, _, _ = train_options([algorithm, f"--model={model}", *SIZES[algorithm], *SHORT])
        agent = build_agent(config)
        state = jax.eval_shape(agent.init, jax.random.key(0))
        after = jax.eval_shape(lambda state, agent=agent: agent.train(jax.random.key(1), state, 640), state)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)


LONG = {"gradient_ppo": 128_000, "mappo": 128_000, "pqn": 128_000, "stream_ac": 64_000}
"""Steps of a run that takes some seconds once it is compiled."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
@pytest.mark.parametrize("algorithm", LONG)
def test_it_survives_a_kill(algorithm, tmp_path):
    steps = LONG[algorithm]
    lengths = [f"--steps={steps}", f"--log-every={steps // 40}", f"--checkpoint-every={steps // 20}"]
    options = [algorithm, *SIZES[algorithm], "--features=8", "--seeds=2", *lengths, "--normalize-rewards"]
    cache, straight, folder = (tmp_path / name for name in ("cache", "straight", "run"))
    assert finish(start(straight, cache, options=options))[0] == 0
    process = start(folder, cache, options=options)
    wait_for_step(folder, steps // 4, process)
    time.sleep(random.uniform(0.0, 0.1))
    kill(process)
    code, out, err = finish(start(folder, cache, resume=True))
    assert (code, err) == (0, "")
    assert "resuming from step" in out
    assert_same(straight, folder)

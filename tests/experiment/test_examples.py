"""The examples run, at small sizes, and are as short as they promise."""

import runpy
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import numpy as np
import optax
import pytest

from memorax.networks import MLP, RNN, FeatureExtractor, Network, heads
from memorax.testing import check_algorithm

ROOT = Path(__file__).parents[2]
A2C = ROOT / "examples" / "recurrent_a2c.py"
SMALL = {
    "continuous_control": {"num_steps": 64, "warmup": 800, "num_envs": 2, "batch_size": 4, "buffer_size": 2000},
    "export_to_onnx": {"steps": 4096},
    "hyperparameter_population": {"steps": 8192, "members": 2},
    "images": {"num_steps": 1024},
    "meta_rl": {"num_steps": 640},
    "meta_rl_grids": {"num_steps": 8192, "parts": 1},
    "multi_agent": {"num_steps": 1024},
    "own_cell": {"num_steps": 512},
    "own_environment": {"steps": 4096},
    "ppo_by_hand": {"updates": 2},
    "seeds_by_vmap": {"num_steps": 1024, "seeds": 2},
}
"""Arguments with which the examples take seconds."""


def test_every_example_is_tested_and_short():
    scripts = {path.stem: len(path.read_text().splitlines()) for path in (ROOT / "examples").glob("*.py")}
    assert set(scripts) == {*SMALL, "recurrent_a2c"}
    assert {name: lines for name, lines in scripts.items() if name in SMALL and lines >= 80} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_an_example_runs(name, tmp_path, monkeypatch):
    if name == "meta_rl_grids":
        pytest.importorskip("xminigrid", reason="the grids need memorax[xminigrid]")
    if name == "export_to_onnx":
        pytest.importorskip("onnxruntime", reason="the export needs memorax[onnx]")
    monkeypatch.chdir(tmp_path)
    example = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))
    results = np.ravel(np.asarray(example["main"](**SMALL[name]), np.float64))
    assert np.all(np.isfinite(results))


def test_a_recurrent_algorithm_of_ones_own_takes_less_than_120_lines():
    assert len(A2C.read_text().splitlines()) < 120


@pytest.mark.slow
def test_an_algorithm_of_ones_own_trains_and_evaluates_in_other_processes(tmp_path):
    sizes = ["--steps", "256", "--num-envs", "4", "--num-steps", "8", "--seeds", "1", "--features", "4"]
    train = ["train", "a2c", "--import", "examples.recurrent_a2c", *sizes, "--out", str(tmp_path / "run")]
    for arguments in (train, ["evaluate", str(tmp_path / "run"), "--episodes", "2"]):
        done = subprocess.run(
            [sys.executable, "-m", "memorax", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "evaluation.json").is_file()


@pytest.mark.slow
def test_an_algorithm_of_ones_own_has_the_properties_of_ours(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from examples.recurrent_a2c import A2C, A2CConfig

    def agent(env, **config):
        trunk = FeatureExtractor(observation_extractor=MLP(features=(4,))), RNN(cell=nn.GRUCell(features=5))
        actor = Network(*trunk, heads.Categorical(action_dim=3))
        critic = Network(*trunk, heads.VNetwork())
        config = A2CConfig(num_envs=3, num_steps=4, **config)
        return A2C(config, env, None, actor, critic, optax.adam(1e-3), optax.adam(1e-3))

    check_algorithm(agent)

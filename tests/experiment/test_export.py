"""Exported policies act without memorax as they do with it, for every memory model and every algorithm."""

import json
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.experiment.policies import make_policy

from memorax.algorithms import ALGORITHMS
from memorax.experiment.export import FORMATS
from memorax.experiment.run.checkpoint import flatten
from memorax.networks.sequence_models import MODELS

STEPS, BATCH = 64, 3
TOLERANCE = {"stablehlo": 1e-6, "onnx": 1e-4}
LIBRARY = {"stablehlo": "flatbuffers", "onnx": "onnxruntime", "safetensors": "safetensors"}
FAST = {"gru", "attention"}
ALONE = """
import importlib.util, json, sys
from pathlib import Path
import numpy as np
sys.modules["memorax"] = sys.modules["flax"] = None  # importing them fails
record = dict(np.load(sys.argv[1]))
for folder in map(Path, sys.argv[2:]):
    spec = importlib.util.spec_from_file_location("load", folder / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    policy, carry, played = module.Policy(), None, []
    parts = policy.card["observation"]
    for t in range(len(record["reward"])):
        seen = {name: record[name][t] for name in parts}
        seen = seen["observation"] if list(seen) == ["observation"] else seen
        action, carry = policy.predict(seen, carry, record["episode_start"][t], record["reward"][t])
        played.append({"action": action} | {name: np.asarray(x, np.float64) for name, x in carry.items()})
        if t == 0:  # any batch size will do
            alone = {name: x[:1] for name, x in seen.items()} if isinstance(seen, dict) else seen[:1]
            assert np.allclose(policy.predict(alone)[0], action[:1], atol=1e-4)
    arrays = {name: np.stack([step[name] for step in played]) for name in played[0]}
    np.savez(folder / "played.npz", **arrays)
"""


def draw(space, key, shape):
    keys = jax.random.split(key, np.prod(shape))
    return jax.tree.map(lambda x: np.asarray(x).reshape(*shape, *x.shape[1:]), jax.vmap(space.sample)(keys))


def play(policy):
    """Act for `STEPS` steps on random observations; what was seen, and what was chosen and remembered."""
    key, rng = jax.random.key(0), np.random.default_rng(0)
    observations = draw(policy.observation_space, key, (STEPS, BATCH))
    _, memory = policy.predict(jax.tree.map(lambda x: x[0], observations))
    rows = memory.is_first.shape
    starts = np.broadcast_to(
        (rng.random((STEPS, BATCH)) < 0.1).reshape(STEPS, BATCH, *[1] * (len(rows) - 1)), (STEPS, *rows)
    ).copy()
    starts[0] = True
    rewards, memory, played = rng.normal(size=(STEPS, *rows)).astype(np.float32), None, []
    for t in range(STEPS):
        seen = jax.tree.map(lambda x: x[t], observations)  # noqa: B023
        action, memory = policy.predict(seen, memory, starts[t], rewards[t])
        kept = {name: np.asarray(x, np.float64) for name, x in flatten({"memory": memory.carry}).items()}
        played.append({"action": action, "previous_action": np.asarray(memory.action)} | kept)
    seen = flatten({"observation": observations}) | {"reward": rewards, "episode_start": starts}
    return seen, {name: np.stack([step[name] for step in played]) for name in played[0]}


def check(policy, formats, folder):
    """Export, act in a process without memorax, and compare actions and carries."""
    seen, wanted = play(policy)
    assert any(len(np.unique(x)) > STEPS for x in wanted.values()) or len(np.unique(wanted["action"])) > 1
    np.savez(folder / "seen.npz", **seen)
    for form in formats:
        pytest.importorskip(LIBRARY[form], reason=f"the format {form} needs {LIBRARY[form]}")
        policy.export(folder / form, form)
    script = [sys.executable, "-W", "error", "-c", ALONE, str(folder / "seen.npz"), *(str(folder / x) for x in formats)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for form in formats:
        played = dict(np.load(folder / form / "played.npz"))
        assert set(played) == set(wanted)
        for name, array in wanted.items():
            near = TOLERANCE[form] * max(1.0, np.max(np.abs(array), where=np.isfinite(array), initial=0))
            np.testing.assert_allclose(played[name], array, rtol=0, atol=near, err_msg=f"{form}: {name}")


@pytest.mark.parametrize("model", [pytest.param(x, marks=[] if x in FAST else [pytest.mark.slow]) for x in MODELS])
def test_every_memory_model_acts_the_same_without_memorax(model, tmp_path):
    check(make_policy(model=model), ["stablehlo", "onnx"], tmp_path)


OTHERS = {
    **{name: {"algorithm": name} for name in ALGORITHMS if name not in {"ppo", "mappo", "stream_ac"}},
    "stream_ac": {"algorithm": "stream_ac", "model": "rtu", "normalize": True},
    "mappo": {"algorithm": "mappo", "env": "multi_agent::RollCall"},
    "continuous": {"algorithm": "sac", "env": "memory::PositionOnlyPendulumEasy", "normalize": True},
    "images": {"env": "memory::KeyToDoor"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_algorithm_acts_the_same_without_memorax(name, tmp_path):
    check(make_policy(**OTHERS[name]), ["stablehlo", "onnx"], tmp_path)


@pytest.fixture(scope="module")
def policy():
    return make_policy()


@pytest.mark.parametrize("form", FORMATS)
def test_the_card_says_what_is_in_the_folder(form, policy, tmp_path):
    pytest.importorskip(LIBRARY[form], reason=f"the format {form} needs {LIBRARY[form]}")
    folder, card = policy.export(tmp_path / "new" / "export", form)
    assert sorted(path.name for path in folder.iterdir()) == sorted(["card.json", "load.py", card["file"]])
    assert json.loads((folder / "card.json").read_text()) == card
    assert card["format"] == form
    assert card["action_space"] == {"type": "Discrete", "shape": [], "dtype": "int32", "n": 4}
    assert card["observation"] == {"observation": {"shape": [4], "dtype": "float32"}}
    assert card["carry"]["memory/actor"] == {"shape": [8], "dtype": "float32", "initial": 0.0}
    assert card["origin"]["env"] == "memory::RepeatPreviousEasy"
    assert card.get("platforms") == (["cpu", "cuda"] if form == "stablehlo" else None)
    assert "memorax" in card["versions"]
    source = (folder / "load.py").read_text()
    assert len(source.splitlines()) < 40
    assert "memorax" not in source
    assert "flax" not in source


def test_a_damaged_program_is_refused(policy, tmp_path):
    pytest.importorskip("flatbuffers", reason="the format stablehlo needs flatbuffers")
    folder, card = policy.export(tmp_path / "export")
    (folder / card["file"]).write_bytes((folder / card["file"]).read_bytes()[:-1] + b"x")
    script = [sys.executable, "-c", "import load; load.Policy()"]
    done = subprocess.run(script, cwd=folder, capture_output=True, text=True, check=False)
    assert "policy.stablehlo is damaged: its hash is not that of the card" in done.stderr


def test_parameters_are_saved_by_name(policy, tmp_path):
    pytest.importorskip("safetensors", reason="the format safetensors needs safetensors")
    folder, card = policy.export(tmp_path / "export", "safetensors")
    script = [sys.executable, "-c", "import load, numpy; numpy.savez('all.npz', **load.parameters())"]
    subprocess.run(script, cwd=folder, check=True)
    saved = dict(np.load(folder / "all.npz"))
    params = policy.state.learner.params["actor"]["params"]
    np.testing.assert_array_equal(saved["actor/torso/cell/hn/kernel"], params["torso"]["cell"]["hn"]["kernel"])
    shapes = {name: {"shape": list(x.shape), "dtype": x.dtype.name} for name, x in saved.items()}
    assert shapes == card["parameters"]
    wanted = {str(np.shape(x)) for x in jax.tree.leaves(policy.state.learner.params)}
    assert {str(x.shape) for x in saved.values()} == wanted
    assert len(saved) == len(jax.tree.leaves(policy.state.learner.params))


def test_an_export_is_complete_or_not_there(policy, tmp_path, monkeypatch):
    pytest.importorskip("flatbuffers", reason="the format stablehlo needs flatbuffers")

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("memorax.experiment.export.folder.write_json", fail)
    with pytest.raises(OSError, match="the disk is full"):
        policy.export(tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(policy, tmp_path):
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(ValueError, match=r"`out` must be a new or an empty folder, got .* which holds something"):
        policy.export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_unknown_format_is_refused(policy, tmp_path):
    with pytest.raises(ValueError, match=r"`format` must be .*stablehlo.*onnx.*safetensors.*got 'torch'"):
        policy.export(tmp_path / "export", "torch")


def test_a_missing_library_is_named(policy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(
        ImportError, match=r'needs flatbuffers, which is not installed; run `pip install "memorax\[export\]"`'
    ):
        policy.export(tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


class Sorted(nn.Module):
    """Features that ONNX has no operator for here."""

    @nn.compact
    def __call__(self, x):
        return jnp.sort(nn.Dense(6)(x), axis=-1)


def test_what_onnx_cannot_compute_is_named(tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="the format onnx needs onnx")
    monkeypatch.setattr("memorax.experiment.build.observation_extractor", lambda *_: Sorted())
    policy = make_policy(model="mlp")
    message = r"ONNX cannot compute the primitive `sort` of float32\[batch, 1, 6\] .*; export to `stablehlo`, which can"
    with pytest.raises(ValueError, match=message):
        policy.export(tmp_path / "export", "onnx")
    assert list(tmp_path.iterdir()) == []

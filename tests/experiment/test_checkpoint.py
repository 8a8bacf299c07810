import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from memorax.core.step_count import StepCount
from memorax.experiment.run.checkpoint import CheckpointWriter, complete, newest, restore


@struct.dataclass
class Tree:
    params: dict
    step: jax.Array
    carry: tuple


# A failed read leaves callbacks behind that find orbax's event loop closed.
noisy = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def make_tree(value=0.5, width=5):
    params = {
        "layer.0": {"kernel": jnp.full((3, width), value), "half": jnp.full((7,), value, jnp.bfloat16)},
        "empty": jnp.zeros((0, 2)),
    }
    return Tree(params, jnp.uint32(4_000_000_000), ((), (jnp.array([True, False]), jnp.int32(-3))))


def abstract(tree):
    return jax.eval_shape(lambda: tree)


@pytest.fixture
def saved(tmp_path):
    """A folder with checkpoints of two steps."""
    writer = CheckpointWriter(tmp_path / "checkpoints")
    for step in (10, 20):
        writer.save(step, make_tree(value=float(step)))
    writer.close()
    return tmp_path / "checkpoints"


def test_what_was_saved_comes_back_bit_for_bit(saved):
    found = restore(newest(saved), abstract(make_tree()))
    jax.tree.map(
        lambda x, y: np.testing.assert_array_equal(x, np.asarray(y), strict=True), found, make_tree(value=20.0)
    )
    assert jax.tree.structure(found) == jax.tree.structure(make_tree())


def test_buffers_may_be_donated_while_they_are_saved(tmp_path):
    advance = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    tree = advance({"x": jnp.zeros((300, 300))})
    writer = CheckpointWriter(tmp_path)
    writer.save(1, tree)
    for _ in range(5):
        tree = advance(tree)
    writer.close()
    assert np.all(restore(newest(tmp_path), abstract(tree))["x"] == 1.0)


def test_a_count_of_steps_in_one_word_becomes_the_lower_of_two(saved):
    tree = make_tree().replace(step=StepCount.of(0))
    found = restore(newest(saved), abstract(tree))
    assert jax.tree.structure(found) == jax.tree.structure(tree)
    assert int(found.step) == 4_000_000_000
    np.testing.assert_array_equal(found.params["layer.0"]["kernel"], 20.0)


def test_a_count_beyond_32_bits_comes_back(tmp_path):
    writer = CheckpointWriter(tmp_path)
    writer.save(2**32 + 7, {"step": StepCount.of(2**32 + 7)})
    writer.close()
    assert (
        int(restore(newest(tmp_path), abstract({"step": StepCount.of(0)}))["step"])
        == 2**32 + 7
        == int(newest(tmp_path).name)
    )


def test_only_the_newest_few_stay(tmp_path):
    writer = CheckpointWriter(tmp_path, keep=2)
    for step in (1, 20, 3, 100):
        writer.save(step, make_tree())
    writer.close()
    assert [int(path.name) for path in complete(tmp_path)] == [20, 100]


def test_half_written_checkpoints_are_ignored_and_removed(saved):
    half = saved / "000000000030.orbax-checkpoint-tmp"
    shutil.copytree(newest(saved), half)
    assert newest(saved).name == "000000000020"
    CheckpointWriter(saved).close()
    assert not half.exists()
    assert len(complete(saved)) == 2


def test_what_somebody_else_left_stays(saved):
    names = ["best", "000000000020.mine", "7", "notes.trash"]
    for name in names:
        (saved / name).mkdir()
    (saved / "000000000010.trash").mkdir()
    writer = CheckpointWriter(saved, keep=1)
    writer.save(30, make_tree())
    writer.close()
    assert {path.name for path in saved.iterdir()} == {"000000000030", *names}


def test_no_checkpoint_is_none(tmp_path):
    assert newest(tmp_path) is None
    assert newest(tmp_path / "missing") is None


def test_saving_a_step_again_leaves_it(saved):
    writer = CheckpointWriter(saved)
    writer.save(20, make_tree(value=-1.0))
    writer.close()
    assert restore(newest(saved), abstract(make_tree())).params["layer.0"]["kernel"][0, 0] == 20


def test_another_shape_is_refused(saved):
    # Left to itself orbax would cut or pad the array.
    with pytest.raises(
        ValueError, match=r"another configuration: `params/layer.0/kernel` must be float32\[3, 6\], got "
    ):
        restore(newest(saved), abstract(make_tree(width=6)))


def test_another_dtype_is_refused(saved):
    tree = make_tree()
    with pytest.raises(ValueError, match=r"`step` must be int32\[\], got uint32\[\]; resume with the options"):
        restore(newest(saved), abstract(tree.replace(step=jnp.int32(1))))


def test_another_tree_is_refused(saved):
    with pytest.raises(
        ValueError, match=r"000000000020 is of another configuration: `carry/1/0` must be nothing, got bool"
    ):
        restore(newest(saved), abstract(make_tree().replace(carry=())))


@noisy
@pytest.mark.parametrize("name", ["_METADATA", "manifest.ocdbt", "d"])
def test_a_missing_part_is_reported(saved, name):
    part = newest(saved) / name
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    with pytest.raises(ValueError, match=r"000000000020 is damaged \(.*\); delete this folder and resume again"):
        restore(newest(saved), abstract(make_tree()))


@noisy
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
@pytest.mark.parametrize("method", ["metadata", "restore"])
def test_what_cannot_be_read_is_not_called_damaged(saved, monkeypatch, error, method):
    def fail(*args):
        raise error

    monkeypatch.setattr(f"orbax.checkpoint.StandardCheckpointer.{method}", fail)
    with pytest.raises(type(error), match=error.strerror):
        restore(newest(saved), abstract(make_tree()))


@noisy
@pytest.mark.parametrize("name", ["_METADATA", "manifest.ocdbt", "d/part"])
def test_a_part_that_cannot_be_opened_is_not_called_damaged(saved, name):
    part = newest(saved) / name
    part.unlink(missing_ok=True)
    part.symlink_to(part)  # which not even root can open
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        restore(newest(saved), abstract(make_tree()))


@noisy
def test_a_truncated_part_is_reported(saved):
    largest = max(newest(saved).rglob("d/*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:50])
    with pytest.raises(ValueError, match="is damaged"):
        restore(newest(saved), abstract(make_tree()))


@noisy
def test_a_flipped_bit_is_reported(tmp_path):
    state = {"x": jax.random.normal(jax.random.key(0), (200, 100))}
    writer = CheckpointWriter(tmp_path)
    writer.save(1, state)
    writer.close()
    largest = max(newest(tmp_path).rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="is damaged"):
        restore(newest(tmp_path), abstract(state))


def test_nothing_is_pickled(saved):
    assert not [path for path in saved.rglob("*") if path.suffix in {".pkl", ".pickle", ".npy"}]
    assert not [
        path for path in saved.rglob("*") if path.is_file() and path.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05")
    ]

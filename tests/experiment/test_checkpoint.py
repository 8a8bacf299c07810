import os
import shutil
from pathlib import Path

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
    for step in (1, 20, 3, 100, 10**12):
        writer.save(step, make_tree())
    writer.close()
    assert [int(path.name) for path in complete(tmp_path)] == [100, 10**12]


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


@pytest.mark.parametrize("name", ["_METADATA", "manifest.ocdbt", "d"])
def test_a_missing_part_is_reported(saved, name):
    part = newest(saved) / name
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    with pytest.raises(ValueError, match=r"000000000020 is damaged \(.*\); delete this folder and resume again"):
        restore(newest(saved), abstract(make_tree()))


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
@pytest.mark.parametrize("method", ["metadata", "restore"])
def test_what_cannot_be_read_is_not_called_damaged(saved, monkeypatch, error, method):
    def fail(*args):
        raise error

    monkeypatch.setattr(f"orbax.checkpoint.StandardCheckpointer.{method}", fail)
    with pytest.raises(type(error), match=error.strerror):
        restore(newest(saved), abstract(make_tree()))


@pytest.mark.parametrize("name", ["_METADATA", "manifest.ocdbt", "d/part"])
def test_a_part_that_cannot_be_opened_is_not_called_damaged(saved, name):
    part = newest(saved) / name
    part.unlink(missing_ok=True)
    part.symlink_to(part)  # which not even root can open
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        restore(newest(saved), abstract(make_tree()))


def test_a_truncated_part_is_reported(saved):
    largest = max(newest(saved).rglob("d/*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:50])
    with pytest.raises(ValueError, match="is damaged"):
        restore(newest(saved), abstract(make_tree()))


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


def test_damage_to_any_file_is_named(saved):
    """Before orbax sees it, which leaves tasks behind that complain later, on closed event loops."""
    files = [path for path in newest(saved).rglob("*") if path.is_file() and path.name != "digests.json"]
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        for other in (b"", content[: len(content) // 2], content + b"x"):
            path.write_bytes(other)
            with pytest.raises(ValueError, match=rf"damaged \(file .*{path.name} is not what was written\)"):
                restore(newest(saved), abstract(make_tree()))
        path.unlink()
        with pytest.raises(ValueError, match=rf"damaged \(file .*{path.name} is missing\)"):
            restore(newest(saved), abstract(make_tree()))
        path.write_bytes(content)
    restore(newest(saved), abstract(make_tree()))


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg"])
def test_typed_random_keys_are_saved(tmp_path, kind):
    keys = jax.random.split(jax.random.key(3, impl=kind), 5)
    tree = {"keys": keys, "one": keys[2], "none": keys[:0], "x": jnp.arange(4)}
    writer = CheckpointWriter(tmp_path)
    writer.save(1, tree)
    writer.close()
    found = restore(newest(tmp_path), abstract(tree))
    for name in ("keys", "one", "none"):
        assert found[name].dtype == tree[name].dtype
        np.testing.assert_array_equal(jax.random.key_data(found[name]), jax.random.key_data(tree[name]), strict=True)


def test_the_disk_has_a_checkpoint_before_it_gets_its_name(tmp_path, monkeypatch):
    """What a kill cannot show, and a power failure would: every file and folder is synced, then the rename is."""
    events = []
    fsync, rename = os.fsync, Path.rename

    def record_sync(descriptor):
        fsync(descriptor)
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    def record_rename(path, target):
        made = rename(path, target)
        events.append((path, Path(target)))
        return made

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "rename", record_rename)
    writer = CheckpointWriter(tmp_path / "run" / "checkpoints")
    writer.save(7, make_tree())
    writer.close()
    (final,) = complete(tmp_path / "run" / "checkpoints")
    at = next(i for i, event in enumerate(events) if isinstance(event, tuple) and event[1] == final)
    half = events[at][0]
    inside = {half / path.relative_to(final) for path in (final, *final.rglob("*"))}
    assert inside <= set(events[:at])
    assert final.parent in events[at:]
    assert final.parent.parent in events


def test_a_write_that_orbax_does_not_miss_is_missed(saved, monkeypatch):
    """An input/output error while it writes its metadata, for instance."""
    writer = CheckpointWriter(saved)
    wait = writer._orbax.wait_until_finished

    def lose():
        wait()
        (saved / "000000000030.half" / "_METADATA").unlink(missing_ok=True)

    monkeypatch.setattr(writer._orbax, "wait_until_finished", lose)
    writer.save(30, make_tree())
    with pytest.raises(OSError, match=r"checkpoint of step 30 in .* could not be written \(Input/output error\)"):
        writer.close()
    assert newest(saved).name == "000000000020"


def test_nothing_is_pickled(saved):
    assert not [path for path in saved.rglob("*") if path.suffix in {".pkl", ".pickle", ".npy"}]
    assert not [
        path for path in saved.rglob("*") if path.is_file() and path.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05")
    ]

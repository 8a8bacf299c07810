"""What `log`, `spool` and `tap` promise beside the values: free when unused, compiled once, clear errors, streams."""

import doctest
import gc
import re
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lox.programs import PAIRS, ROWS, XS, scan

from memorax import lox


def compiled(program, *args):
    """The optimized program as text, without names of source files, functions and modules."""
    text = jax.jit(program).lower(*args).compile().as_text()
    body = text[text.index("\n\n%") if "\n\n%" in text else text.index("ENTRY") :]
    return re.sub(r", metadata=\{[^}]*\}", "", body)


HLO = ["plain_scan", "scan_of_scan", "scan_of_cond", "vmap_of_scan", "remat", "grad_of_scan_that_logs", "top_level"]


class TestUnspooled:
    def test_compiles_to_the_same_program(self, monkeypatch):
        with_logs = {name: compiled(PAIRS[name].program, *PAIRS[name].args) for name in HLO}
        monkeypatch.setattr(lox, "log", lambda values: None)
        jax.clear_caches()  # or the traces with logs would be found again
        without_logs = {name: compiled(PAIRS[name].program, *PAIRS[name].args) for name in HLO}
        jax.clear_caches()
        for name in HLO:
            assert with_logs[name] == without_logs[name], name

    def test_the_comparison_can_fail(self):
        assert compiled(jnp.sin, XS) != compiled(lambda x: (jnp.sin(x), x + 1), XS)

    def test_log_does_nothing_outside_a_program(self):
        assert lox.log({"a": 1, "b": {"c": np.ones(3), "d": True}}) is None
        assert lox.log({}) is None


@pytest.mark.parametrize("name", ["log", "spool", "tap"])
def test_examples(name):
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(lox, name), name, globs={})
    assert len(example.examples) >= 4
    assert doctest.DocTestRunner().run(example).failed == 0


class Counter:
    """An object whose method counts how often it is traced."""

    def __init__(self):
        self.traces = 0

    def run(self, x, power=2):
        self.traces += 1
        lox.log({"x": x})
        return x**power


class TestTracing:
    def test_once_per_shape_and_static_argument(self):
        counter = Counter()
        spooled = lox.spool(counter.run)
        for x in (XS, XS + 1, np.asarray(XS)):
            spooled(x)
        assert counter.traces == 1
        spooled(XS[:2])
        assert counter.traces == 2
        spooled(XS, power=3)
        spooled(XS, power=3)
        assert counter.traces == 3

    def test_equal_statics_of_different_types_are_told_apart(self):
        counter = Counter()
        spooled = lox.spool(counter.run)
        whole, _ = spooled(jnp.arange(3), power=1)
        real, _ = spooled(jnp.arange(3), power=1.0)
        assert (whole.dtype, real.dtype) == (jnp.int32, jnp.float32)

    def test_spool_again_reuses(self):
        counter = Counter()
        for _ in range(3):
            lox.spool(counter.run)(XS)  # a fresh bound method each time
        assert counter.traces == 1
        other = Counter()
        lox.spool(other.run)(XS)
        assert (counter.traces, other.traces) == (1, 1)

    def test_inside_jit_and_vmap(self):
        counter = Counter()
        outer = jax.jit(lambda x: [lox.spool(counter.run)(x * i)[0] for i in range(3)])
        outer(XS)
        outer(XS + 1)
        assert counter.traces == 1
        mapped = jax.vmap(lox.spool(counter.run), in_axes=(0, None))
        out, logs = mapped(ROWS, 3)
        np.testing.assert_allclose(out, ROWS**3, rtol=1e-6)
        assert logs["x"].shape == (3, 1, 4)
        mapped(ROWS, 3)
        assert counter.traces == 2

    def test_tap_compiles_once(self):
        counter = Counter()
        tapped = lox.tap(counter.run, lambda logs: None)
        tapped(XS)
        tapped(XS)
        jax.effects_barrier()
        assert counter.traces == 1

    def test_keeps_nothing_alive(self):
        counter = Counter()
        alive = weakref.ref(counter)
        lox.spool(counter.run)(XS)
        del counter
        gc.collect()
        assert alive() is None

    def test_objects_without_weak_references(self):
        class Slotted:
            __slots__ = ()

            def __call__(self, x):
                lox.log({"x": x})
                return x

        _, logs = lox.spool(Slotted())(XS)
        np.testing.assert_array_equal(logs["x"], XS[None])

    def test_name_and_signature_are_kept(self):
        assert lox.spool(scan).__name__ == lox.tap(scan, print).__name__ == "scan"


def logs_of_shape(*shapes):
    def program(x):
        for shape in shapes:
            lox.log({"k": jnp.ones(shape)})
        return x

    return program


def in_while(x):
    return jax.lax.while_loop(lambda x: x < 3, lambda x: (lox.log({"deep/key": x}), x + 1)[1], x)


class TestErrors:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([1], r"`values` must be a dictionary, got list"),
            ({1: 2}, r"`values` must have strings as keys, got 1"),
            ({"a": {2: 2}}, r"strings as keys, got 2 in 'a/'"),
            ({"a": {"b": "text"}}, r"`a/b` must be a number or an array of numbers, got str"),
            ({"a": None}, r"`a` must be a number or an array of numbers, got NoneType"),
            ({"a": [1, 2]}, r"`a` must be a number or an array of numbers, got list"),
            ({"a": np.array(["x"])}, r"`a` must be a number or an array of numbers, got ndarray of <U1"),
        ],
    )
    def test_wrong_kinds(self, values, message):
        with pytest.raises(TypeError, match=message):
            lox.log(values)

    def test_random_keys(self):
        with pytest.raises(TypeError, match=r"`a` must be a number or an array of numbers, got .* of key<fry>"):
            lox.log({"a": jax.random.key(0)})

    def test_names_that_meet(self):
        with pytest.raises(ValueError, match="`a/b` must be logged once per call, got it twice"):
            lox.log({"a/b": 1, "a": {"b": 2}})

    @pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.vmap])
    def test_while_loop(self, wrap):
        with pytest.raises(ValueError, match=r"`deep/key` must not be logged inside a `while_loop`.*scan.*lox.tap"):
            lox.spool(wrap(in_while))(jnp.zeros(1) if wrap is jax.vmap else jnp.float32(0))

    def test_shapes_that_disagree(self):
        with pytest.raises(ValueError, match=r"`k` must have one shape wherever it is logged, got \(2,\) and \(3,\)"):
            lox.spool(logs_of_shape(2, 3))(XS)

        def branches(x):
            return jax.lax.cond(x.sum() > 0, logs_of_shape(2), logs_of_shape(4), x)

        with pytest.raises(ValueError, match=r"`k` must have one shape .* \(4,\) and \(2,\)"):
            lox.spool(branches)(XS)

    def test_vmaps_that_disagree(self):
        def program(x):
            jax.vmap(lambda x: lox.log({"k": x}))(x)
            jax.vmap(lambda x: lox.log({"k": x}))(x[:2])

        with pytest.raises(ValueError, match=r"`k` must be under the same vmaps wherever it is logged, got .*5.*2"):
            lox.spool(program)(XS)

    def test_primitives_that_cannot_be_seen_through(self):
        mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
        spec = jax.sharding.PartitionSpec("d")
        sharded = jax.shard_map(lambda x: (lox.log({"x": x}), x)[1], mesh=mesh, in_specs=spec, out_specs=spec)
        with pytest.raises(ValueError, match=r"`x` must not be logged inside `shard_map`, which `spool` cannot see"):
            lox.spool(sharded)(jnp.arange(4.0))

    def test_not_callable(self):
        with pytest.raises(TypeError, match="`f` must be callable, got int"):
            lox.spool(3)
        with pytest.raises(TypeError, match="`f` must be callable, got int"):
            lox.tap(3, print)
        with pytest.raises(TypeError, match="`callback` must be callable, got NoneType"):
            lox.tap(scan, None)

    def test_statics_that_cannot_be_hashed(self):
        with pytest.raises(TypeError, match=r"arguments must be arrays or hashable, got \{1\} of type set"):
            lox.spool(lambda x, y: x)(XS, {1})


def stream(program, *args, tap=lox.tap):
    """The program's output and what its tap received."""
    seen = []
    out = tap(program, seen.append)(*args)
    jax.effects_barrier()
    return out, seen


class TestTap:
    @pytest.mark.parametrize("name", [n for n in PAIRS if n not in ("scan_of_cond", "switch", "scan_of_vmap")])
    def test_receives_what_spool_gives(self, name):
        program, _, args = PAIRS[name]
        out, seen = stream(program, *args)
        expected_out, expected = lox.spool(program)(*args)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), out, expected_out)
        assert {key for logs in seen for key in logs} == set(expected)
        for key, value in expected.items():
            received = np.concatenate([logs[key].ravel() for logs in seen if key in logs])
            np.testing.assert_allclose(np.sort(received), np.sort(np.ravel(value)), rtol=1e-6)

    def test_cond_reports_only_the_branch_taken(self):
        program, _, args = PAIRS["scan_of_cond"]
        _, seen = stream(program, *args)
        assert sorted(logs["both"].item() for logs in seen) == [-2, -1, 3, 4, 5]
        assert [logs["count"].item() for logs in seen if "count" in logs] == [7, 7, 7]

    def test_while_loop(self):
        out, seen = stream(in_while, jnp.float32(0))
        assert out == 3
        assert sorted(logs["deep/key"].item() for logs in seen) == [0, 1, 2]

    def test_jit_and_vmap(self):
        _, seen = stream(scan, ROWS, tap=lambda f, callback: jax.jit(jax.vmap(lox.tap(f, callback))))
        assert all(logs["carry"].shape == () for logs in seen)
        expected = lox.spool(jax.vmap(scan))(ROWS)[1]["carry"]
        np.testing.assert_allclose(
            sorted(logs["carry"].item() for logs in seen), np.sort(np.ravel(expected)), rtol=1e-6
        )

    def test_vmapped_axes_stand_in_front(self):
        _, seen = stream(jax.vmap(scan), ROWS)
        assert [logs["carry"].shape for logs in seen] == [(3,)] * 4

    def test_passes_numpy_and_keeps_dtypes(self):
        def program(x):
            lox.log({"half": x.astype(jnp.float16), "flag": x > 2})

        _, (logs,) = stream(program, XS)
        assert {key: (type(value), value.dtype.name) for key, value in logs.items()} == {
            "half": (np.ndarray, "float16"),
            "flag": (np.ndarray, "bool"),
        }

    def test_errors_of_the_callback_surface(self):
        def broken(logs):
            raise RuntimeError("the disk is full")

        def run():
            jax.block_until_ready(lox.tap(scan, broken)(XS))
            jax.effects_barrier()

        with pytest.raises(jax.errors.JaxRuntimeError, match="the disk is full"):
            run()

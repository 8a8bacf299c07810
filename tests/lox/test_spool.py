"""`spool` gives what the hand-written twin gives, whatever stands between the log and the caller."""

import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lox.programs import PAIRS, ROWS, XS, plain, scan, step

from memorax import lox


@pytest.mark.parametrize("name", PAIRS)
def test_spool_equals_twin(name):
    program, twin, args = PAIRS[name]
    out, logs = lox.spool(program)(*args)
    expected_out, expected = twin(*args)
    assert logs.keys() == expected.keys()
    for key, value in expected.items():
        assert logs[key].shape == value.shape, key
        assert logs[key].dtype == value.dtype, key
        np.testing.assert_allclose(logs[key], value, rtol=1e-6, err_msg=key)
    present = getattr(expected, "present", {})
    assert logs.present.keys() == present.keys()
    for key, times in present.items():
        np.testing.assert_array_equal(logs.present[key], times, err_msg=key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), out, expected_out)


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "static_arguments"])
def test_output_is_bit_identical(name):
    program, _, args = PAIRS[name]
    out, _ = lox.spool(program)(*args)
    expected = jax.jit(program)(*args)
    jax.tree.map(np.testing.assert_array_equal, out, expected)
    avals = [jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree) for tree in (out, expected)]
    assert avals[0] == avals[1]


@pytest.mark.parametrize("name", ["plain_scan", "scan_of_cond", "remat", "grad_of_scan_that_logs", "top_level"])
def test_vmap_of_spool_equals_spool_of_vmap(name):
    program, _, (xs,) = PAIRS[name]
    batch = jnp.stack([xs, xs, xs])  # equal rows: one predicate per step, so that no `cond` becomes a `select`
    if name != "scan_of_cond":
        batch = batch * jnp.arange(1.0, 4.0)[:, None]
        outside, inside = jax.vmap(lox.spool(program))(batch), lox.spool(jax.vmap(program))(batch)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), outside, inside)
    _, logs = jax.vmap(lox.spool(program))(batch)
    for row in range(3):
        _, alone = lox.spool(program)(batch[row])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[row], b, rtol=1e-6), logs, alone)  # noqa: B023


def test_cond_under_vmap():
    def program(x):
        return jax.lax.cond(x > 0, lambda x: (lox.log({"x": x}), x)[1], lambda x: -x, x)

    x = jnp.array([-1.0, 2.0])
    # The sharp bit: a predicate that `vmap` batches runs both branches, and only the outer order knows which counted.
    _, logs = jax.vmap(lox.spool(program))(x)
    np.testing.assert_array_equal(logs["x"], [[0.0], [2.0]])
    np.testing.assert_array_equal(logs.present["x"], [[False], [True]])
    np.testing.assert_array_equal(lox.spool(jax.vmap(program))(x)[1]["x"], [[-1.0], [2.0]])


def test_unbatched_values():
    def program(x):
        lox.log({"x": x, "constant": 1.5})
        lox.log({"x": 0.0})
        return x

    x = jnp.arange(3.0)
    inside, outside = lox.spool(jax.vmap(program))(x)[1], jax.vmap(lox.spool(program))(x)[1]
    jax.tree.map(np.testing.assert_array_equal, inside, outside)
    np.testing.assert_array_equal(inside["x"], [[0, 0], [1, 0], [2, 0]])
    np.testing.assert_array_equal(inside["constant"], [[1.5], [1.5], [1.5]])


def test_under_jit_and_grad():
    out, logs = jax.jit(lox.spool(scan))(XS)
    expected, expected_logs = lox.spool(scan)(XS)
    jax.tree.map(np.testing.assert_array_equal, (out, logs), (expected, expected_logs))
    loss = lox.spool(lambda xs: scan(xs)[0])
    gradient, aux = jax.grad(loss, has_aux=True)(XS)
    np.testing.assert_allclose(gradient, jax.grad(lambda xs: scan(xs)[0])(XS), rtol=1e-6)
    np.testing.assert_allclose(aux["carry"], expected_logs["carry"], rtol=1e-6)


def test_derivative_rules_survive():
    program, _, args = PAIRS["custom_vjp_that_logs"]
    with_rule, _ = jax.grad(lox.spool(program), has_aux=True)(*args)
    np.testing.assert_array_equal(with_rule, np.ones(5))  # the true derivative is 3

    @jax.custom_jvp
    def f(x):
        lox.log({"x": x})
        return x * 3

    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
    (gradient, logs) = jax.grad(lox.spool(f), has_aux=True)(jnp.float32(2))
    assert (gradient, logs["x"].tolist()) == (1.0, [2.0])


def test_spool_of_spool_has_nothing_left():
    (_, inner), outer = lox.spool(lox.spool(scan))(XS)
    assert inner.keys() == {"carry", "inner/x"}
    assert outer == {}


def test_structure_is_kept():
    policy = jax.checkpoint_policies.everything_saveable

    @functools.partial(jax.checkpoint, policy=policy)
    def inner(xs):
        return jax.lax.scan(step, 0.5, xs, reverse=True, unroll=2)

    eqns = jax.make_jaxpr(lox.spool(jax.jit(inner)))(XS).eqns
    found = {}
    while eqns:
        found |= {eqn.primitive.name: eqn.params for eqn in eqns}
        eqns = [e for eqn in eqns for jaxpr in jax.extend.core.jaxprs_in_params(eqn.params) for e in jaxpr.eqns]
    assert (found["scan"]["reverse"], found["scan"]["unroll"], found["scan"]["length"]) == (True, 2, 5)
    assert found["remat2"]["policy"] is policy


def test_a_function_called_twice_is_compiled_once():
    def twice(xs):
        return inner(inner(xs))

    inner = jax.jit(plain)
    assert jax.jit(lox.spool(twice)).lower(XS).as_text().count("func.func private @plain") == 1


def test_empty_scan():
    _, logs = lox.spool(scan)(XS[:0])
    assert logs["carry"].shape == (0,)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float16", "bfloat16", "float32", "complex64"])
def test_dtypes_are_kept(dtype):
    value = jnp.ones((2, 3), dtype)

    def program(x):
        return jax.lax.scan(lambda carry, x: (lox.log({"x": x}), (carry, None))[1], 0.0, x)[0]

    _, logs = lox.spool(program)(value)
    assert (logs["x"].dtype, logs["x"].shape) == (value.dtype, (2, 3))


@pytest.mark.parametrize("dtype", ["bool", "int32", "float16"])
def test_branches_keep_dtypes(dtype):
    value = jnp.ones((), dtype)

    def program(x, both):
        other = {"x": value} if both else {"y": value}
        return jax.lax.cond(x, lambda: lox.log({"x": value}), lambda: lox.log(other))

    for both in (False, True):
        _, logs = lox.spool(program)(jnp.bool_(True), both=both)
        assert logs["x"].dtype == dtype
        assert ("x" in logs.present) == (not both)


def test_means_leave_out_what_was_not_logged():
    def program(x):
        lox.log({"always": x})
        jax.lax.cond(x[0] > 0, lambda: lox.log({"some": x}), lambda: None)

    _, logs = jax.vmap(lox.spool(program))(jnp.array([[-1.0, 2.0], [3.0, 5.0], [1.0, 1.0]]))
    assert logs.present["some"].tolist() == [[False], [True], [True]]
    assert (logs.mean("some"), logs.mean("always")) == (2.5, jnp.mean(logs["always"]))
    assert jax.tree.map(lambda x: x[0], logs).mean("some") == 0.0


def test_logs_are_a_pytree_by_name():
    _, logs = lox.spool(lambda x: jax.lax.cond(x > 0, lambda: lox.log({"b": x, "a": x}), lambda: None))(jnp.ones(()))
    paths = [
        jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in jax.tree_util.tree_leaves_with_path(logs)
    ]
    assert paths == ["a", "b", "present/a", "present/b"]
    assert isinstance(jax.device_get(logs), lox.Logs)


def test_shardings_of_jit_are_kept():
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    out, logs = lox.spool(jax.jit(plain, out_shardings=split))(jnp.arange(4.0))
    assert out.sharding.is_equivalent_to(split, 1)
    np.testing.assert_array_equal(logs["x"], [[0, 1, 2, 3]])


def test_batched_while_loop_that_is_not_spooled():
    def program(x):
        return jax.lax.while_loop(lambda x: x < 3, lambda x: (lox.log({"x": x}), x + 1)[1], x)

    np.testing.assert_array_equal(jax.jit(jax.vmap(program))(jnp.array([0.0, 2.5])), [3.0, 3.5])


def test_rows_differ():
    """The inputs of the twins are not so even that a transposed log would pass."""
    assert len(set(np.asarray(ROWS).ravel().tolist())) == ROWS.size

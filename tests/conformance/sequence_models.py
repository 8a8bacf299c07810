"""What every memory model keeps to. Each property takes a `Case`, and raises where the model breaks it."""

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

BATCH, TIME, FEATURES, HIDDEN = 3, 8, 5, 11
compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": "0"})
"""Properties compile far more than they compute."""
DONE = np.zeros((BATCH, TIME), bool)
DONE[0, [0, 3]] = True  # at the first step, and inside the row
DONE[1, [5, 6]] = True  # adjacent
DONE[2, [2, TIME - 1]] = True  # at the last step


@dataclasses.dataclass(frozen=True)
class Case:
    """A model with parameters that leave nothing at zero, its inputs, and its compiled function."""

    model: nn.Module
    receptive_field: int | None
    tolerance: float
    params: Any
    inputs: jax.Array
    apply: Callable[..., Any]
    fresh: Any
    carry: Any
    """A memory that has seen something, so that tests of continuing are not vacuous."""


def make_case(model: nn.Module, *, receptive_field: int | None = None, tolerance: float = 1e-5) -> Case:
    key, noise_key, input_key, past_key = jax.random.split(jax.random.key(7), 4)
    inputs = jax.random.normal(input_key, (BATCH, TIME, FEATURES))
    params = model.init(key, inputs, jnp.asarray(DONE))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(noise_key, len(leaves))
    noisy = [x + 0.1 * jax.random.normal(k, x.shape, x.dtype) for x, k in zip(leaves, keys, strict=True)]
    params = jax.tree.unflatten(tree, noisy)
    fresh = model.initialize_carry(key, (BATCH, FEATURES))
    apply = compiled(model.apply)
    past = jax.random.normal(past_key, (BATCH, TIME, FEATURES))
    carry, _ = apply(params, past, jnp.zeros((BATCH, TIME), bool), fresh)
    return Case(model, receptive_field, tolerance, params, inputs, apply, fresh, carry)


def close(got: Any, want: Any, tolerance: float, what: str) -> None:
    """Compare two pytrees: the largest difference relative to the largest magnitude."""
    assert jax.tree.structure(got) == jax.tree.structure(want), what
    for pair in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = (np.asarray(x, np.float64) for x in pair)
        assert a.shape == b.shape, f"{what}: shape {a.shape}, wanted {b.shape}"
        error = np.max(np.abs(a - b), initial=0) / max(1e-3, np.max(np.abs(b), initial=0))
        assert error <= tolerance, f"{what}: differs by {error}"


def real(tree: Any) -> list[Any]:
    """The leaves that can be differentiated: counters and the like are left out."""
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]


def poisoned(carry: Any) -> Any:
    """A carry of which nothing may be used."""
    return jax.tree.map(lambda x: jnp.full_like(x, jnp.nan if jnp.issubdtype(x.dtype, jnp.inexact) else 1), carry)


def run(case: Case, start: int, stop: int, carry: Any, done: np.ndarray = DONE) -> tuple[Any, jax.Array]:
    return case.apply(case.params, case.inputs[:, start:stop], jnp.asarray(done[:, start:stop]), carry)


def stepwise(case: Case) -> None:
    """P1: calls of length 1 equal one call."""
    whole_carry, whole = run(case, 0, TIME, case.carry)
    carry, outputs = case.carry, []
    for t in range(TIME):
        carry, output = run(case, t, t + 1, carry)
        outputs.append(output)
    close(jnp.concatenate(outputs, 1), whole, case.tolerance, "outputs step by step")
    close(carry, whole_carry, case.tolerance, "carry step by step")


def chunked(case: Case) -> None:
    """P2: any split equals the whole."""
    whole_carry, whole = run(case, 0, TIME, case.carry)
    carry, outputs = case.carry, []
    for start, stop in ((0, 3), (3, 5), (5, TIME)):
        carry, output = run(case, start, stop, carry)
        outputs.append(output)
    close(jnp.concatenate(outputs, 1), whole, case.tolerance, "outputs in chunks")
    close(carry, whole_carry, case.tolerance, "carry in chunks")


def forgets(case: Case) -> None:
    """P3: a sequence with resets equals separate sequences, row by row; the prefix keeps its bits."""
    carry, outputs = run(case, 0, TIME, case.carry)
    never = np.zeros_like(DONE)
    for row in range(BATCH):
        edges = [0, *np.flatnonzero(DONE[row]).tolist(), TIME]
        for index, (start, stop) in enumerate(itertools.pairwise(edges)):
            if start == stop:
                continue
            alone, apart = run(case, start, stop, case.carry if index == 0 else case.fresh, never)
            close(outputs[row, start:stop], apart[row], case.tolerance, f"row {row}, episode from {start}")
        close(*(jax.tree.map(lambda x, row=row: x[row], c) for c in (carry, alone)), case.tolerance, "last carry")
    _, unbroken = run(case, 0, TIME, case.carry, never)
    np.testing.assert_array_equal(outputs[1, :5], unbroken[1, :5])


def ignores_old_carry(case: Case) -> None:
    """P4 and P13: after a reset at once, the carry handed in does not matter, be it NaN; nor a missing one."""
    done = DONE.copy()
    done[:, 0] = True
    never = DONE.copy()
    never[:, 0] = False
    poison = poisoned(case.carry)
    want_carry, want = run(case, 0, TIME, case.fresh, never)
    for carry in (poison, case.carry):
        got_carry, got = run(case, 0, TIME, carry, done)
        np.testing.assert_array_equal(got, want)
        jax.tree.map(np.testing.assert_array_equal, got_carry, want_carry)
    close(run(case, 0, TIME, None, never)[1], want, 1e-6, "without a carry")
    first = run(case, 0, 1, poison, done)[1]
    close(first, want[:, :1], case.tolerance, "first step after a reset, alone")


def gradients_agree(case: Case) -> None:
    """P6: the gradient of one call equals that of single steps, for parameters, inputs and carry."""

    def loss(outputs: jax.Array, carry: Any) -> jax.Array:
        return jnp.sum(jnp.sin(3 * outputs)) + sum(jnp.sum(jnp.cos(x)) for x in real(carry))

    def whole(params: Any, inputs: jax.Array, carry: Any) -> jax.Array:
        carry, outputs = case.model.apply(params, inputs, jnp.asarray(DONE), carry)
        return loss(outputs, carry)

    def stepped(params: Any, inputs: jax.Array, carry: Any) -> jax.Array:
        def step(carry: Any, now: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            return case.model.apply(params, now[0][:, None], now[1][:, None], carry)

        carry, outputs = jax.lax.scan(step, carry, (inputs.swapaxes(0, 1), jnp.asarray(DONE.T)))
        return loss(outputs, carry)

    arguments = (case.params, case.inputs, case.carry)
    got = compiled(jax.grad(whole, (0, 1, 2), allow_int=True))(*arguments)
    want = compiled(jax.grad(stepped, (0, 1, 2), allow_int=True))(*arguments)
    close(real(got), real(want), max(1e-4, case.tolerance), "gradients")
    for leaf in jax.tree.leaves(got[0]):
        assert np.all(np.isfinite(leaf)), "a parameter's gradient is not finite"
        assert np.any(leaf != 0), "a parameter has no effect"


def causal(case: Case) -> None:
    """P8: outputs know neither the future, nor what lies before a reset, nor other rows."""
    t = 5

    def output(inputs: jax.Array, carry: Any) -> jax.Array:
        return jnp.sum(jnp.sin(case.model.apply(case.params, inputs, jnp.asarray(DONE), carry)[1][:, t]), axis=-1)

    by_inputs, by_carry = compiled(jax.jacrev(output, (0, 1), allow_int=True))(case.inputs, case.carry)
    influence = np.any(np.asarray(by_inputs) != 0, axis=-1)  # [row of output, row of input, time of input]
    begin = [max(np.flatnonzero(DONE[row, : t + 1]), default=0) for row in range(BATCH)]
    for row in range(BATCH):
        for other in range(BATCH):
            seen = set(np.flatnonzero(influence[row, other]).tolist())
            first = max(begin[row], t + 1 - (case.receptive_field or TIME))
            allowed = set(range(first, t + 1)) if row == other else set()
            assert seen <= allowed, f"row {row} at step {t} depends on row {other} at steps {sorted(seen - allowed)}"
            assert seen == allowed, f"row {row} at step {t} forgets row {other} at steps {sorted(allowed - seen)}"
    for leaf in real(by_carry):
        assert not np.any(leaf), "the first carry reaches past a reset"


def quarantines_nan(case: Case) -> None:
    """P10: NaN in one episode leaves the next one and the other rows as they are."""
    _, want = run(case, 0, TIME, case.carry)
    inputs = case.inputs.at[0, 1].set(jnp.nan).at[1, 4].set(jnp.inf)
    _, got = case.apply(case.params, inputs, jnp.asarray(DONE), case.carry)
    np.testing.assert_array_equal(got[0, 3:], want[0, 3:])
    np.testing.assert_array_equal(got[1, 5:], want[1, 5:])
    np.testing.assert_array_equal(got[2], want[2])


def stable_types(case: Case) -> None:
    """P11: a carry keeps tree, shapes, dtypes and strong types; the first one does not depend on the input width."""

    def kinds(tree: Any) -> list[Any]:
        return [(x.shape, x.dtype, x.aval.weak_type) for x in jax.tree.leaves(tree)]

    for length in (1, TIME):
        carry, outputs = run(case, 0, length, case.fresh)
        assert jax.tree.structure(carry) == jax.tree.structure(case.fresh), "the carry changes its tree"
        assert kinds(carry) == kinds(case.fresh), "the carry changes its arrays"
        assert outputs.shape == (BATCH, length, HIDDEN)
        assert outputs.dtype == jnp.float32
    assert not any(weak for _, _, weak in kinds(case.fresh)), "the first carry is weakly typed"
    for width in (None, 1, 99):
        other = case.model.initialize_carry(jax.random.key(1), (BATCH, width))
        jax.tree.map(np.testing.assert_array_equal, other, case.fresh)

    def step(carry: Any, now: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        carry, output = case.model.apply(case.params, now[0][:, None], now[1][:, None], carry)
        return carry, output[:, 0]

    _, scanned = compiled(lambda c, xs: jax.lax.scan(step, c, xs))(
        case.fresh, (case.inputs.swapaxes(0, 1), jnp.asarray(DONE.T))
    )
    close(scanned.swapaxes(0, 1), run(case, 0, TIME, case.fresh)[1], case.tolerance, "steps inside a scan")


def transforms(case: Case) -> None:
    """P12: jit, vmap over seeds, checkpoint, remat, eval_shape and donation change nothing."""
    done = jnp.asarray(DONE)
    want_carry, want = run(case, 0, TIME, case.carry)
    close(case.model.apply(case.params, case.inputs, done, case.carry)[1], want, 1e-6, "without jit")

    stacked = jax.tree.map(lambda x: jnp.stack([x, 0.5 * x]), case.params)
    each = compiled(jax.vmap(case.model.apply, (0, None, None, None)))(stacked, case.inputs, done, case.carry)[1]
    halved = jax.tree.map(lambda x: 0.5 * x, case.params)
    close(each[0], want, 1e-6, "vmap over seeds")
    close(each[1], case.apply(halved, case.inputs, done, case.carry)[1], 1e-6, "vmap over seeds, second")

    def loss(params: Any, apply: Callable[..., Any]) -> jax.Array:
        return jnp.sum(jnp.square(apply(params, case.inputs, done, case.carry)[1]))

    gradient = compiled(jax.grad(lambda p: loss(p, case.model.apply)))(case.params)
    again = compiled(jax.grad(lambda p: loss(p, jax.checkpoint(case.model.apply))))(case.params)
    rounding = max(3e-6, 0.01 * case.tolerance)  # what is computed again is fused otherwise
    close(again, gradient, rounding, "gradient under checkpoint")
    lifted = nn.remat(type(case.model))(**_fields(case.model))
    rematted = compiled(jax.grad(lambda p: loss(p, lifted.apply)))(case.params)
    close(rematted, gradient, rounding, "gradient under remat")

    shapes = jax.eval_shape(case.model.init, jax.random.key(0), case.inputs, done)
    assert jax.tree.map(lambda x: x.shape, shapes) == jax.tree.map(lambda x: x.shape, case.params)
    donated = jax.tree.map(jnp.array, case.carry)
    got_carry, _ = compiled(case.model.apply, donate_argnums=3)(case.params, case.inputs, done, donated)
    close(got_carry, want_carry, 1e-6, "donated carry")


def _fields(model: nn.Module) -> dict[str, Any]:
    names = (field.name for field in dataclasses.fields(model) if field.init)
    return {name: getattr(model, name) for name in names if name not in ("parent", "name")}


PROPERTIES = {
    function.__name__: function
    for function in (
        stepwise,
        chunked,
        forgets,
        ignores_old_carry,
        gradients_agree,
        causal,
        quarantines_nan,
        stable_types,
        transforms,
    )
}

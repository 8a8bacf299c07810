"""The properties that every memory model has: functions of a `Case` that raise where the model lacks them."""

import copy
import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from memorax.testing.comparison import close, compiled, require, same

BATCH, TIME, FEATURES = 3, 8, 5
DONE = np.zeros((BATCH, TIME), bool)
DONE[0, [0, 3]] = True  # at the first step, and inside the row
DONE[1, [5, 6]] = True  # adjacent
DONE[2, [2, TIME - 1]] = True  # at the last step


@dataclasses.dataclass(frozen=True)
class Case:
    """A model with what its properties are checked on.

    Attributes:
        model: The sequence model.
        receptive_field: How many steps an output depends on; None: all since the episode's start.
        tolerance: How far two ways to compute the same may differ, relative.
        params: Its parameters, with noise on all of them, so that none is zero.
        inputs: `[BATCH, TIME, features]`.
        apply: Its compiled `apply`.
        fresh: The carry before an episode's first step.
        carry: The carry after some steps.
        output_features: Width of its outputs.
    """

    model: Any
    receptive_field: int | None
    tolerance: float
    params: Any
    inputs: jax.Array
    apply: Callable[..., Any]
    fresh: Any
    carry: Any
    output_features: int


def make_case(
    model: nn.Module,
    *,
    input_features: int = FEATURES,
    receptive_field: int | None = None,
    tolerance: float = 1e-5,
) -> Case:
    """Initialize a model, and run it over a few steps.

    Args:
        model: A sequence model.
        input_features: Width of its inputs.
        receptive_field: See `Case`.
        tolerance: See `Case`.
    """
    key, noise_key, input_key, past_key = jax.random.split(jax.random.key(7), 4)
    inputs = jax.random.normal(input_key, (BATCH, TIME, input_features))
    params = compiled(model.init)(key, inputs, jnp.asarray(DONE))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(noise_key, len(leaves))
    noisy = [x + 0.1 * jax.random.normal(k, x.shape, x.dtype) for x, k in zip(leaves, keys, strict=True)]
    params = jax.tree.unflatten(tree, noisy)
    fresh: Any = cast(Any, model).initialize_carry(key, (BATCH, input_features))
    apply = compiled(model.apply)
    past = jax.random.normal(past_key, (BATCH, TIME, input_features))
    carry, outputs = apply(params, past, jnp.zeros((BATCH, TIME), bool), fresh)
    return Case(model, receptive_field, tolerance, params, inputs, apply, fresh, carry, outputs.shape[-1])


def real(tree: Any) -> list[Any]:
    """The leaves that can be differentiated: counters and the like are left out."""
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]


def poisoned(carry: Any) -> Any:
    """A carry of which nothing may be used."""
    return jax.tree.map(lambda x: jnp.full_like(x, jnp.nan if jnp.issubdtype(x.dtype, jnp.inexact) else 1), carry)


def run(case: Case, start: int, stop: int, carry: Any, done: np.ndarray = DONE) -> tuple[Any, jax.Array]:
    """Apply the model to a part of the inputs."""
    return case.apply(case.params, case.inputs[:, start:stop], jnp.asarray(done[:, start:stop]), carry)


def stepwise(case: Case) -> None:
    """Calls of length 1 equal one call."""
    whole_carry, whole = run(case, 0, TIME, case.carry)
    carry, outputs = case.carry, []
    for t in range(TIME):
        carry, output = run(case, t, t + 1, carry)
        outputs.append(output)
    close(jnp.concatenate(outputs, 1), whole, case.tolerance, "outputs step by step")
    close(carry, whole_carry, case.tolerance, "carry step by step")


def chunked(case: Case) -> None:
    """A sequence in chunks equals the sequence in one call."""
    whole_carry, whole = run(case, 0, TIME, case.carry)
    carry, outputs = case.carry, []
    for start, stop in ((0, 3), (3, 5), (5, TIME)):
        carry, output = run(case, start, stop, carry)
        outputs.append(output)
    close(jnp.concatenate(outputs, 1), whole, case.tolerance, "outputs in chunks")
    close(carry, whole_carry, case.tolerance, "carry in chunks")


def forgets(case: Case) -> None:
    """A sequence with resets equals separate episodes; what precedes a reset keeps its bits."""
    carry, outputs = run(case, 0, TIME, case.carry)
    never = np.zeros_like(DONE)
    for row in range(BATCH):
        alone: Any = None
        edges = [0, *np.flatnonzero(DONE[row]).tolist(), TIME]
        for index, (start, stop) in enumerate(itertools.pairwise(edges)):
            if start == stop:
                continue
            alone, apart = run(case, start, stop, case.carry if index == 0 else case.fresh, never)
            where = f"row {row}, outputs of the episode from step {start}"
            close(outputs[row, start:stop], apart[row], case.tolerance, where)
        got, want = (jax.tree.map(lambda x, row=row: x[row], c) for c in (carry, alone))
        close(got, want, case.tolerance, f"row {row}, carry after the last step")
    _, unbroken = run(case, 0, TIME, case.carry, never)
    same(outputs[1, :5], unbroken[1, :5], "outputs before a reset")


def ignores_old_carry(case: Case) -> None:
    """After a reset at the first step the carry that is given does not matter, NaN included; None is a fresh one."""
    done = DONE.copy()
    done[:, 0] = True
    never = DONE.copy()
    never[:, 0] = False
    poison = poisoned(case.carry)
    want_carry, want = run(case, 0, TIME, case.fresh, never)
    for kind, carry in (("of NaN", poison), ("of another episode", case.carry)):
        got_carry, got = run(case, 0, TIME, carry, done)
        same(got, want, f"outputs after a reset of a carry {kind}")
        same(got_carry, want_carry, f"carry after a reset of a carry {kind}")
    close(run(case, 0, TIME, None, never)[1], want, 1e-6, "outputs without a carry")
    first = run(case, 0, 1, poison, done)[1]
    close(first, want[:, :1], case.tolerance, "output of the first step after a reset, alone")


def gradients_agree(case: Case) -> None:
    """Gradients of one call equal those of single steps, for parameters, inputs and carry; no parameter is unused."""

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
    for path, leaf in jax.tree_util.tree_leaves_with_path(got[0]):
        name = jax.tree_util.keystr(path)
        require(np.all(np.isfinite(leaf)), f"the gradient of the parameter {name} is not finite")
        require(np.any(leaf != 0), f"the parameter {name} has no effect on outputs and carry")


def causal(case: Case) -> None:
    """Outputs depend on all steps of their episode so far, not on later ones, earlier episodes or other rows."""
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
            at = f"the output of row {row} at step {t}"
            require(seen <= allowed, f"{at} depends on the inputs of row {other} at steps {sorted(seen - allowed)}")
            require(seen == allowed, f"{at} does not depend on its inputs at steps {sorted(allowed - seen)}")
    for leaf in real(by_carry):
        require(not np.any(leaf), "the first carry has an effect on outputs after a reset")


def quarantines_nan(case: Case) -> None:
    """NaN in one episode leaves the next one and the other rows as they are, bit for bit."""
    _, want = run(case, 0, TIME, case.carry)
    inputs = case.inputs.at[0, 1].set(jnp.nan).at[1, 4].set(jnp.inf)
    _, got = case.apply(case.params, inputs, jnp.asarray(DONE), case.carry)
    same(got[0, 3:], want[0, 3:], "outputs of the episode after one with NaN")
    same(got[1, 5:], want[1, 5:], "outputs of the episode after one with infinity")
    same(got[2], want[2], "outputs of a row beside one with NaN")


def stable_types(case: Case) -> None:
    """A carry keeps structure, shapes and dtypes, not weak ones; the fresh one does not depend on the inputs' width."""

    def kinds(tree: Any) -> list[Any]:
        return [(x.shape, x.dtype, x.aval.weak_type) for x in jax.tree.leaves(tree)]

    for length in (1, TIME):
        carry, outputs = run(case, 0, length, case.fresh)
        expected = (BATCH, length, case.output_features)
        before, after = kinds(case.fresh), kinds(carry)
        unchanged = jax.tree.structure(carry) == jax.tree.structure(case.fresh)
        require(unchanged, f"the structure of the carry changes from {case.fresh!r} to {carry!r}")
        require(after == before, f"(shape, dtype, weak type) of the carry change from {before} to {after}")
        require(outputs.shape == expected, f"the outputs have shape {outputs.shape}, expected {expected}")
        require(outputs.dtype == jnp.float32, f"the outputs of float32 inputs are of {outputs.dtype}")
    require(not any(weak for _, _, weak in kinds(case.fresh)), "the fresh carry is weakly typed; give it a dtype")
    for width in (None, 1, 99):
        other = case.model.initialize_carry(jax.random.key(1), (BATCH, width))
        same(other, case.fresh, f"the fresh carry for another key and inputs of width {width}")

    def step(carry: Any, now: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        carry, output = case.model.apply(case.params, now[0][:, None], now[1][:, None], carry)
        return carry, output[:, 0]

    _, scanned = compiled(lambda c, xs: jax.lax.scan(step, c, xs))(
        case.fresh, (case.inputs.swapaxes(0, 1), jnp.asarray(DONE.T))
    )
    close(scanned.swapaxes(0, 1), run(case, 0, TIME, case.fresh)[1], case.tolerance, "outputs of steps inside a scan")


def transforms(case: Case) -> None:
    """`jit`, `vmap` over parameters, `checkpoint`, `remat`, `eval_shape` and donation change nothing."""
    done = jnp.asarray(DONE)
    want_carry, want = run(case, 0, TIME, case.carry)
    close(case.model.apply(case.params, case.inputs, done, case.carry)[1], want, 1e-6, "outputs without jit")

    stacked = jax.tree.map(lambda x: jnp.stack([x, 0.5 * x]), case.params)
    each = compiled(jax.vmap(case.model.apply, (0, None, None, None)))(stacked, case.inputs, done, case.carry)[1]
    halved = jax.tree.map(lambda x: 0.5 * x, case.params)
    close(each[0], want, 1e-6, "outputs under vmap over parameters")
    close(
        each[1],
        case.apply(halved, case.inputs, done, case.carry)[1],
        1e-6,
        "outputs under vmap over parameters, second row",
    )

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
    wanted = jax.tree.map(lambda x: x.shape, case.params)
    require(jax.tree.map(lambda x: x.shape, shapes) == wanted, "the parameters have other shapes under eval_shape")
    donated = jax.tree.map(jnp.array, case.carry)
    got_carry, _ = compiled(case.model.apply, donate_argnums=3)(case.params, case.inputs, done, donated)
    close(got_carry, want_carry, 1e-6, "carry of a call with a donated carry")


def copies(case: Case) -> None:
    """A deep copy computes the very same program."""

    def program(model: Any) -> str:
        traced = jax.make_jaxpr(model.apply)(case.params, case.inputs, jnp.asarray(DONE), case.carry)
        return re.sub(r"0x[0-9a-f]+", "", str(traced))

    same_program = program(copy.deepcopy(case.model)) == program(case.model)
    require(same_program, "the program of a deep copy differs; compare functions by their names, not their identity")


def _fields(model: nn.Module) -> dict[str, Any]:
    names = (field.name for field in dataclasses.fields(model) if field.init)
    return {name: getattr(model, name) for name in names if name not in ("parent", "name")}


_ALL = (
    *(stepwise, chunked, forgets, ignores_old_carry, gradients_agree),
    *(causal, quarantines_nan, stable_types, transforms, copies),
)
PROPERTIES: dict[str, Callable[[Case], None]] = {function.__name__: function for function in _ALL}

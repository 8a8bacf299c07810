"""What `benchmarks.gpu` checks: kernels and memory models on the accelerator, beside the CPU's results.

Outputs and gradients of one program are compared between the two platforms, in float32, with matrix products at the
highest precision, relative to the largest magnitude of each array. Limits: 1e-4 for outputs and 1e-3 for gradients, or
once and ten times what the model itself allows between two ways to compute it, where that is more. What JAX's default
precision (TF32 on NVIDIA cards) makes of the kernels' outputs is reported and not limited.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from benchmarks._gpu import UNTUNED, Bench, Row, difference, say

from memorax.kernels import cells
from memorax.kernels.attention import Positions, empty_cache, window_attention
from memorax.kernels.convolution import causal_convolution
from memorax.kernels.delta_rule import DeltaSteps, delta_rule
from memorax.kernels.linear_attention import LinearSteps, linear_attention
from memorax.kernels.linear_scan import linear_scan
from memorax.kernels.mlstm import EMPTY, MLSTMSteps, mlstm
from memorax.kernels.recurrence import Cell, Weights, recur
from memorax.kernels.selective_scan import selective_scan
from memorax.kernels.slstm import initial_state, slstm
from memorax.networks.sequence_models import MODELS

Arrays = Any
"""A pytree of arrays."""


@dataclasses.dataclass(frozen=True)
class Check:
    """A function whose outputs and gradients must not depend on the platform.

    Attributes:
        name: What is checked.
        function: Of one pytree of floating arrays and of the resets `[batch, time]`.
        arrays: The pytree.
        reset: The resets.
        stepwise: The same, one step at a time; None: not checked.
        reference: What the CPU computes instead; None: the same.
        tolerance: How far outputs may differ.
    """

    name: str
    function: Callable[[Arrays, jax.Array], Any]
    arrays: Arrays
    reset: jax.Array
    stepwise: Callable[[Arrays, jax.Array], Any] | None = None
    reference: Callable[[Arrays, jax.Array], Any] | None = None
    tolerance: float = 1e-4


def run_checks(bench: Bench, section: str, checks: Iterator[Check]) -> None:
    """Compile all checks on both platforms, then compare."""
    accelerator, cpu = jax.devices()[0], jax.devices("cpu")[0]
    started: list[tuple[Check, dict[str, tuple[Future[Any], Any]] | Row]] = []
    trace_until = time.perf_counter() + 0.6 * bench.left
    for check in checks:
        if time.perf_counter() > trace_until:
            started.append((check, {"skipped": "no time left"}))
            continue
        try:
            started.append((check, _start(bench, check, accelerator, cpu)))
        except Exception as error:  # one that cannot be traced must not end the others
            started.append((check, {"passed": False, "error": say(error)}))
    for check, programs in started:
        row = _compare(bench, check, programs) if "cpu" in programs else programs
        bench.report.add(section, {"check": check.name} | row)


def _start(bench: Bench, check: Check, accelerator: Any, cpu: Any) -> dict[str, tuple[Future[Any], Any]]:
    def learn(function: Callable[..., Any], arrays: Arrays, reset: jax.Array) -> Any:
        def loss(arrays: Arrays) -> tuple[jax.Array, Any]:
            results = function(arrays, reset)
            real = [x for x in jax.tree.leaves(results) if jnp.issubdtype(x.dtype, jnp.floating)]
            return sum(jnp.sum(jnp.sin(3 * x)) for x in real), results

        gradients, results = jax.grad(loss, has_aux=True)(arrays)
        return results, gradients

    def start(function: Callable[..., Any], device: Any, precision: str | None) -> tuple[Future[Any], Any]:
        arguments = jax.device_put((check.arrays, check.reset), device)
        # Kernels choose their form by the device that they are traced for.
        with jax.default_matmul_precision(precision), jax.default_device(device):
            return bench.compile(function, arguments, None if device is cpu else UNTUNED), arguments

    ours = partial(learn, check.function)
    reference = ours if check.reference is None else partial(learn, check.reference)  # one object is traced once
    programs = {"cpu": start(reference, cpu, "highest"), "here": start(ours, accelerator, "highest")}
    if check.stepwise is None:
        programs["default"] = start(check.function, accelerator, None)
    else:
        programs["stepwise"] = start(check.stepwise, accelerator, "highest")
    return programs


def _compare(bench: Bench, check: Check, programs: dict[str, tuple[Future[Any], Any]]) -> Row:
    results = {}
    try:
        for name, (future, arguments) in programs.items():
            program, _ = future.result(timeout=max(0.1, bench.left))
            results[name] = jax.device_get(program(*arguments))
    except TimeoutError:
        return {"skipped": "no time left"}
    except Exception as error:
        return {"passed": False, "program": name, "error": say(error)}
    (want, want_gradients), (got, gradients) = results["cpu"], results["here"]
    finite = all(np.all(np.isfinite(x)) for x in jax.tree.leaves(gradients))
    row = {
        "outputs": difference(got, want),
        "gradients": difference(gradients, want_gradients),
        "limit": check.tolerance,
    }
    if "default" in results:
        row["default_precision_outputs"] = difference(results["default"], want)
    passed = finite and row["outputs"] <= check.tolerance and row["gradients"] <= 10 * check.tolerance
    if "stepwise" in results:
        row["stepwise"] = difference(results["stepwise"], got)
        passed = passed and row["stepwise"] <= check.tolerance
    return {"passed": bool(passed)} | row


def resets(batch: int, length: int) -> jax.Array:
    """Draw resets, some of them adjacent, and at both ends."""
    reset = np.random.default_rng(0).uniform(size=(batch, length)) < 0.03
    reset[0, [0, length // 2, length // 2 + 1, length - 1]] = True
    return jnp.asarray(reset)


def draw(seed: int, **shapes: tuple[int, ...]) -> dict[str, jax.Array]:
    """Draw arrays from a standard normal distribution."""
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}


def kernel_checks(batch: int, length: int, size: int) -> Iterator[Check]:
    """Check every kernel: `size` is the width of vectors, and that of a head where there are heads."""
    reset, wide = resets(batch, length), (batch, length, size)
    for method in ("sequential", "blocked", "associative"):
        yield from scan_checks(batch, length, size, method)
    for name, cell, gates, parts in (
        ("GRU", cells.GRU, 3, 1),
        ("LSTM", cells.LSTM, 4, 2),
        ("SIMPLE", cells.SIMPLE, 1, 1),
    ):
        yield _recurrence(name, cell, gates, parts, draw(2, x=wide, state=(parts, batch, size)), reset)
    yield from _matrix_memories(batch, length, size, reset)
    yield from _attentions(batch, length, size, reset)
    x = draw(5, x=wide, step=wide, write=(batch, length, 16), read=(batch, length, 16), h=(batch, 16, size))
    yield Check("selective_scan", _selective, x | draw(6, rates=(16, size)), reset)
    x = draw(7, gates=(batch, length, 2, 4 * size), recurrent=(2, size, 4 * size))
    x["recurrent"] /= size**0.5
    yield Check("slstm", lambda x, r: slstm(x["gates"], x["recurrent"], r, initial_state(batch, 2 * size)), x, reset)
    x = draw(8, x=wide, kernel=(4, size), tail=(batch, 3, size))
    yield Check("causal_convolution", lambda x, r: causal_convolution(x["x"], x["kernel"], r, x["tail"]), x, reset)


def scan_checks(batch: int, length: int, size: int, method: str) -> Iterator[Check]:
    """Check a form of the linear scan beside the sequential one of the CPU."""
    reset, wide = resets(batch, length), (batch, length, size)
    x = draw(1, a=wide, b=wide, c=wide, d=wide, h=(batch, size), g=(batch, size))
    scans = _real_scan(method), _real_scan("sequential")
    yield Check(f"linear_scan, real, {method}", scans[0], x, reset, reference=scans[1])
    scans = _complex_scan(method), _complex_scan("sequential")
    yield Check(f"linear_scan, complex, {method}", scans[0], x, reset, reference=scans[1])


def _real_scan(method: Any) -> Callable[[Arrays, jax.Array], Any]:
    return lambda x, reset: linear_scan(jax.nn.sigmoid(x["a"] + 2), x["b"], reset, x["h"], method=method)


def _complex_scan(method: Any) -> Callable[[Arrays, jax.Array], Any]:
    """The decays of the first row's first step hold at all times."""

    def run(x: Arrays, reset: jax.Array) -> Any:
        radius, angle = jax.nn.sigmoid(x["a"][0, 0] + 2), x["b"][0, 0]
        decay = radius * jnp.cos(angle), radius * jnp.sin(angle)
        return linear_scan(decay, (x["c"], x["d"]), reset, (x["h"], x["g"]), method=method)

    return run


def _selective(x: Arrays, reset: jax.Array) -> Any:
    sequence = x["x"], jax.nn.softplus(x["step"]), x["write"], x["read"]
    return selective_scan(sequence, -jnp.exp(x["rates"]), reset, x["h"])


def _recurrence(name: str, cell: Cell, gates: int, parts: int, x: Arrays, reset: jax.Array) -> Check:
    size = x["x"].shape[-1]
    shapes = {"k": (gates, size, size), "r": (gates, size, size), "b": (gates, size), "c": (size,)}
    weights = {key: value / size**0.5 for key, value in draw(3, **shapes).items()}

    def run(x: Arrays, reset: jax.Array) -> Any:
        biases = (*[None] * (gates - 1), x["c"]) if name == "GRU" else (None,) * gates
        given = Weights(tuple(x["k"]), tuple(x["b"]), tuple(x["r"]), biases)
        fresh = tuple(jnp.zeros((1, size)) for _ in range(parts))
        return recur(cell, given, x["x"], reset, tuple(x["state"]), fresh=fresh)

    return Check(f"recurrence, {name}", run, x | weights, reset)


def _matrix_memories(batch: int, length: int, size: int, reset: jax.Array) -> Iterator[Check]:
    shape, count = (batch, length, 4, size), (batch, length, 4)
    x = draw(4, q=shape, k=shape, v=shape, write=count, forget=count, state=(batch, 4, size, size))
    x |= {name: x[name] / size**0.5 for name in ("q", "k")}

    def unit(k: jax.Array) -> jax.Array:
        return k / jnp.linalg.norm(k, axis=-1, keepdims=True)

    def linear(x: Arrays, reset: jax.Array) -> Any:
        return linear_attention(LinearSteps(x["q"], x["k"], x["v"], jax.nn.log_sigmoid(x["forget"])), reset, x["state"])

    def delta(x: Arrays, reset: jax.Array) -> Any:
        fade, beta = jax.nn.log_sigmoid(x["forget"]), jax.nn.sigmoid(x["write"])
        return delta_rule(DeltaSteps(x["q"], unit(x["k"]), x["v"], beta, fade), reset, x["state"])

    def exponential(x: Arrays, reset: jax.Array) -> Any:
        state = jnp.zeros_like(x["state"]), jnp.zeros((batch, 4, size)), jnp.full((batch, 4), EMPTY)
        return mlstm(MLSTMSteps(x["q"], x["k"], x["v"], x["write"], x["forget"] + 3), reset, state)[1]

    yield Check("linear_attention", linear, x, reset)
    yield Check("delta_rule", delta, x, reset)
    yield Check("mlstm", exponential, x, reset, tolerance=1e-3)


def _attentions(batch: int, length: int, size: int, reset: jax.Array) -> Iterator[Check]:
    window, shape = max(2, length // 4), (batch, length, 2, size)
    x = draw(9, q=shape, k=shape, v=shape, relative=shape, embedded=(window, 2, size))
    kinds: dict[str, Callable[[Arrays], Positions]] = {
        "none": lambda x: Positions(),
        "rotary": lambda x: Positions(frequencies=1e4 ** -np.linspace(0, 1, size // 2)),
        "linear bias": lambda x: Positions(slopes=np.asarray([0.5, 0.25])),
        "relative": lambda x: Positions(relative=(x["relative"], x["embedded"])),
    }
    for name, positions in kinds.items():

        def run(x: Arrays, reset: jax.Array, positions: Any = positions) -> Any:
            return window_attention(x["q"], x["k"], x["v"], reset, empty_cache(batch, 2, window, size), positions(x))

        yield Check(f"window_attention, positions: {name}", run, x, reset)


def model_checks(names: tuple[str, ...], batch: int, length: int, features: int) -> Iterator[Check]:
    """Check memory models with their default sizes, parameters moved away from where they start."""
    reset = resets(batch, length)
    for name in names:
        entry = MODELS.get(name)
        model = entry(features)
        x = draw(10, inputs=(batch, length, features))
        params = jax.jit(model.init, compiler_options=UNTUNED)(jax.random.key(0), x["inputs"][:, :2], reset[:, :2])
        leaves, tree = jax.tree.flatten(params)
        rng = np.random.default_rng(11)
        leaves = [leaf + 0.1 * rng.normal(size=leaf.shape).astype(leaf.dtype) for leaf in leaves]
        x["params"] = jax.tree.unflatten(tree, leaves)

        def whole(x: Arrays, reset: jax.Array, model: nn.Module = model) -> jax.Array:
            return model.apply(x["params"], x["inputs"], reset)[1]

        def stepwise(x: Arrays, reset: jax.Array, model: nn.Module = model) -> jax.Array:
            def step(carry: Any, now: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
                carry, output = model.apply(x["params"], now[0][:, None], now[1][:, None], carry)
                return carry, output[:, 0]

            first = model.initialize_carry(jax.random.key(0), (batch, features))
            return jax.lax.scan(step, first, (x["inputs"].swapaxes(0, 1), reset.T))[1].swapaxes(0, 1)

        yield Check(name, whole, x, reset, stepwise, tolerance=max(1e-4, entry.tolerance))

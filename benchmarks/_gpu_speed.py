"""What `benchmarks.gpu` times: the device's own limits, kernels and memory models."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from benchmarks._gpu import UNTUNED, Case, Row, difference, sample

from memorax.kernels import platform
from memorax.kernels.delta_rule import DeltaSteps, delta_rule
from memorax.kernels.linear_attention import LinearSteps, linear_attention
from memorax.kernels.linear_scan import linear_scan
from memorax.kernels.mlstm import EMPTY, MLSTMSteps, mlstm
from memorax.networks.sequence_models import MODELS

PRECISIONS = {
    "float32": jax.lax.Precision.HIGHEST,
    "tf32 x3": jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3,
    "bf16 x6": jax.lax.DotAlgorithmPreset.BF16_BF16_F32_X6,
    "tf32": jax.lax.DotAlgorithmPreset.TF32_TF32_F32,
}
"""How a product of matrices can be computed."""
Built = tuple[Callable[..., Any], tuple[Any, ...]]


def normal(seed: int, *shape: int, dtype: Any = jnp.float32) -> jax.Array:
    """Draw an array on the device from a standard normal distribution."""
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def random_resets(batch: int, length: int) -> jax.Array:
    """Draw resets, one in a hundred."""
    return jax.random.bernoulli(jax.random.key(99), 0.01, (batch, length))


@contextmanager
def setting(name: str, value: Any) -> Iterator[None]:
    """Change how kernels are traced for a GPU."""
    before = getattr(platform, name)
    setattr(platform, name, value)
    try:
        yield
    finally:
        setattr(platform, name, before)


def ceilings(elements: int, matrix: int, seconds: float) -> Row:
    """Measure what the device can do: copying memory, and multiplying square matrices.

    Args:
        elements: Floats to copy.
        matrix: Rows and columns.
        seconds: Time for each measurement.

    Returns:
        GB/s of bytes read and written, and TFLOP/s by precision.
    """
    row: Row = {"copy_gbs": copy_rate(elements, seconds)}
    for name, precision in {**PRECISIONS, "bfloat16": None}.items():
        kind = jnp.bfloat16 if name == "bfloat16" else jnp.float32
        a, b = normal(1, matrix, matrix, dtype=kind), normal(2, matrix, matrix, dtype=kind)
        try:
            product = jax.jit(partial(jnp.matmul, precision=precision)).lower(a, b).compile()
            row[f"{name}_tflops"] = 2e-12 * matrix**3 / float(np.median(sample(product, (a, b), seconds)))
        except Exception as error:  # not every platform knows every precision
            row[f"{name}_tflops"] = None
            row[f"{name}_error"] = str(error)[:200]
    return row


def copy_rate(elements: int, seconds: float) -> float:
    """Measure how many GB/s a pass over memory reads and writes."""
    x = normal(0, elements)
    negate = jax.jit(jnp.negative).lower(x).compile()
    return 8e-9 * elements / float(np.median(sample(negate, (x,), seconds)))


def gradient_of(function: Callable[..., Any], weights: Any) -> Callable[..., Any]:
    """The gradient of a weighted sum of the outputs, with respect to the first argument."""

    def loss(x: Any, *rest: Any) -> jax.Array:
        outputs = jax.tree.leaves(function(x, *rest))
        return sum(jnp.sum(w * y) for w, y in zip(jax.tree.leaves(weights), outputs, strict=True))

    return jax.grad(loss)


def linear_scan_cases(
    shapes: tuple[tuple[int, int, int], ...], methods: tuple[str, ...], copy_gbs: float
) -> Iterator[Case]:
    """Time the linear scan: each array is counted once for each time it must be read or written.

    The forward pass reads decays and inputs and writes states; the gradient does that, and reads decays, states and
    their cotangents and writes two gradients: 3 and 8 arrays of the states' size.
    """
    for shape in shapes:
        for kind, method, backward in (
            *(("real", m, b) for m in methods for b in (False, True)),
            *(("complex", m, True) for m in methods),
        ):
            row = {"shape": shape, "numbers": kind, "method": method, "pass": "gradient" if backward else "forward"}
            moved = 4e-9 * np.prod(shape) * (8 if backward else 3) * (2 if kind == "complex" else 1)

            def rates(seconds: float, moved: float = moved) -> Row:
                return {"gbs": moved / seconds, "share_of_copy": moved / seconds / copy_gbs}

            yield Case(row, partial(_linear_scan, shape, kind, method, backward), rates)


def _linear_scan(shape: tuple[int, int, int], kind: str, method: Any, backward: bool) -> Built:
    batch, length, width = shape
    count = 2 if kind == "complex" else 1
    a = tuple(jax.nn.sigmoid(normal(i, *shape) + 2) / count for i in range(count))
    b = tuple(normal(5 + i, *shape) for i in range(count))
    first = tuple(jnp.zeros((batch, width)) for _ in range(count))
    reset = random_resets(batch, length)

    def run(x: Any, reset: jax.Array) -> Any:
        a, b = x if kind == "complex" else (x[0][0], x[1][0])
        return linear_scan(a, b, reset, first if kind == "complex" else first[0], method=method)[1]

    if not backward:
        return run, ((a, b), reset)
    weights = tuple(normal(9 + i, *shape) for i in range(count))
    return lambda x, reset, weights: gradient_of(run, weights)(x, reset), ((a, b), reset, weights)


def matrix_cases(
    shapes: tuple[tuple[int, int, int, int], ...], variants: tuple[tuple[str, int | None], ...], limits: Row
) -> Iterator[Case]:
    """Time one gradient of each matrix memory, by precision and chunk length.

    Operations are those of the chunked form, `2 Q (N + P) + 4 N P` a step and head forward, and four times as many for
    a gradient that computes every chunk again; shares are of the square product of the same precision.
    """
    for kernel in ("linear_attention", "mlstm", "delta_rule"):
        for shape in shapes:
            batch, length, heads, size = shape
            for precision, chunk in variants:
                row = {"kernel": kernel, "shape": shape, "precision": precision, "chunk": chunk or 64}
                work = 4e-12 * batch * length * heads * (4 * (chunk or 64) * size + 4 * size**2)
                peak = limits.get(f"{precision}_tflops") or float("nan")

                def rates(seconds: float, work: float = work, peak: float = peak, tokens: int = batch * length) -> Row:
                    rate = {"tflops": work / seconds, "share_of_product": work / seconds / peak}
                    return {"tokens_per_second": tokens / seconds} | rate

                yield Case(row, partial(_matrix_memory, kernel, shape, precision, chunk), rates)


def _matrix_memory(kernel: str, shape: tuple[int, int, int, int], precision: str, chunk: int | None) -> Built:
    batch, length, heads, size = shape
    arguments = matrix_arguments(shape)

    def run(x: dict[str, jax.Array], reset: jax.Array) -> jax.Array:
        q, k, v, fade = x["q"], x["k"], x["v"], jax.nn.log_sigmoid(x["forget"] + 3)
        empty = jnp.zeros((batch, heads, size, size))
        if kernel == "linear_attention":
            return linear_attention(LinearSteps(q, k, v, fade), reset, empty, chunk=chunk)[1]
        if kernel == "delta_rule":
            k = k / jnp.linalg.norm(k, axis=-1, keepdims=True)
            steps = DeltaSteps(q, k, v, jax.nn.sigmoid(x["write"]), fade)
            return delta_rule(steps, reset, empty, chunk=chunk)[1]
        state = empty, jnp.zeros(empty.shape[:-1]), jnp.full(empty.shape[:2], EMPTY)
        return mlstm(MLSTMSteps(q, k, v, x["write"], x["forget"] + 3), reset, state, chunk=chunk)[1]

    def gradient(x: dict[str, jax.Array], reset: jax.Array, weights: jax.Array) -> Any:
        with setting("GPU_PRECISION", PRECISIONS[precision]):
            return gradient_of(run, weights)(x, reset)

    return gradient, (*arguments, normal(8, batch, length, heads, size))


def matrix_arguments(shape: tuple[int, int, int, int]) -> tuple[dict[str, jax.Array], jax.Array]:
    """Draw what the matrix memories need."""
    batch, length, _, size = shape
    x = {name: normal(i, *shape) for i, name in enumerate(("q", "k", "v"))}
    x |= {name: x[name] / size**0.5 for name in ("q", "k")}
    x |= {name: normal(5 + i, *shape[:3]) for i, name in enumerate(("write", "forget"))}
    return x, random_resets(batch, length)


def precision_errors(shape: tuple[int, int, int, int]) -> Iterator[Row]:
    """Compare the gradients of every precision with those of float32."""
    for kernel in ("linear_attention", "mlstm", "delta_rule"):
        want = None
        for precision in PRECISIONS:
            row: Row = {"kernel": kernel, "shape": shape, "precision": precision}
            try:
                function, arguments = _matrix_memory(kernel, shape, precision, None)
                got = jax.device_get(jax.jit(function, compiler_options=UNTUNED)(*arguments))
                want = got if want is None else want
                yield row | {"gradients": difference(got, want)}
            except Exception as error:  # not every platform knows every precision
                yield row | {"error": str(error)[:200]}


def model_cases(
    names: tuple[str, ...], shapes: tuple[tuple[int, int, int], ...], ways: tuple[str, ...] = ("memorax",)
) -> Iterator[Case]:
    """Time one gradient of memory models, with respect to parameters and inputs.

    Args:
        names: Of the models.
        shapes: Batch, time and features.
        ways: "memorax": a call; "unroll 4": the same with four steps in an iteration of sequential loops; "scan":
            `jax.lax.scan` over calls of one step; "flax": `flax.linen.RNN` of the cell of the same name, which has no
            resets.
    """
    for shape in shapes:
        for name in names:
            for way in ways:
                if way == "flax" and name not in FLAX_CELLS:
                    continue
                row = {"model": name, "shape": shape, "way": way}
                tokens = shape[0] * shape[1]
                rates = partial(lambda tokens, seconds: {"tokens_per_second": tokens / seconds}, tokens)
                yield Case(row, partial(_model, name, shape, way), rates)


FLAX_CELLS: dict[str, type[nn.RNNCellBase]] = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}


def _model(name: str, shape: tuple[int, int, int], way: str) -> Built:
    batch, length, features = shape
    inputs, reset = normal(0, *shape), random_resets(batch, length)
    model = nn.RNN(FLAX_CELLS[name](features)) if way == "flax" else MODELS.get(name)(features)
    key = jax.random.key(0)
    if way == "flax":
        params = jax.jit(model.init, compiler_options=UNTUNED)(key, inputs[:1, :2])
    else:
        params = jax.jit(model.init, compiler_options=UNTUNED)(key, inputs[:1, :2], reset[:1, :2])

    def whole(x: Any, reset: jax.Array) -> jax.Array:
        return model.apply(*x) if way == "flax" else model.apply(*x, reset)[1]

    def stepwise(x: Any, reset: jax.Array) -> jax.Array:
        params, inputs = x

        def step(carry: Any, now: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            carry, output = model.apply(params, now[0][:, None], now[1][:, None], carry)
            return carry, output[:, 0]

        first = model.initialize_carry(key, (batch, features))
        return jax.lax.scan(step, first, (inputs.swapaxes(0, 1), reset.T))[1].swapaxes(0, 1)

    run = stepwise if way == "scan" else whole
    outputs = jax.eval_shape(run, (params, inputs), reset)

    def gradient(x: Any, reset: jax.Array, weights: jax.Array) -> Any:
        with setting("GPU_UNROLL", 4 if way == "unroll 4" else platform.GPU_UNROLL):
            return gradient_of(run, weights)(x, reset)

    return gradient, ((params, inputs), reset, normal(7, *outputs.shape))

"""Programs that log, each beside its twin: the same program with what `lox.spool` should give written out by hand."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from memorax import lox

XS = jnp.arange(1.0, 6.0)  # five steps
ROWS = jnp.arange(1.0, 13.0).reshape(3, 4) / 7  # three sequences of four steps


class Pair(NamedTuple):
    """A program, the twin that returns its output and its logs, and what to call both with."""

    program: Callable[..., Any]
    twin: Callable[..., Any]
    args: tuple[Any, ...]


PAIRS: dict[str, Pair] = {}


def pair(*args: Any) -> Callable[[Callable[[], tuple[Any, Any]]], None]:
    """Register what the function below returns, a program and its twin, under that function's name."""

    def register(make: Callable[[], tuple[Any, Any]]) -> None:
        PAIRS[make.__name__] = Pair(*make(), args)

    return register


def step(carry, x):
    carry = jnp.sin(carry) + x
    lox.log({"carry": carry, "inner": {"x": 2 * x}})
    return carry, carry * x


def twin_step(carry, x):
    carry = jnp.sin(carry) + x
    return carry, (carry * x, {"carry": carry, "inner/x": 2 * x})


def scan(xs):
    return jax.lax.scan(step, 0.5, xs)


def twin_scan(xs):
    carry, (ys, logs) = jax.lax.scan(twin_step, 0.5, xs)
    return (carry, ys), logs


def plain(x):
    lox.log({"x": x})
    return jnp.tanh(x)


def twin_plain(x):
    return jnp.tanh(x), {"x": x[None]}


@pair(XS)
def no_logs():
    return lambda x: jnp.cos(x).sum(), lambda x: (jnp.cos(x).sum(), {})


@pair(XS)
def top_level():
    return plain, twin_plain


@pair(XS)
def same_key_twice():
    def program(x):
        lox.log({"x": x})
        lox.log({"x": x * x, "y": 1.0})
        return x

    return program, lambda x: (x, {"x": jnp.stack([x, x * x]), "y": jnp.ones(1)})


@pair(XS)
def jit():
    return jax.jit(plain), twin_plain


@pair(XS)
def jit_called_twice():
    inner = jax.jit(plain)
    return lambda x: inner(inner(x)), lambda x: (jnp.tanh(jnp.tanh(x)), {"x": jnp.stack([x, jnp.tanh(x)])})


@pair(XS)
def jit_cached_before():
    program = jax.jit(scan)
    program(XS)
    return program, twin_scan


@pair(XS)
def plain_scan():
    return scan, twin_scan


@pair(XS)
def reverse_scan():
    def twin(xs):
        carry, (ys, logs) = jax.lax.scan(twin_step, 0.5, xs, reverse=True, unroll=2)
        return (carry, ys), logs

    return lambda xs: jax.lax.scan(step, 0.5, xs, reverse=True, unroll=2), twin


@pair(XS)
def scan_that_logs_twice_per_step():
    def body(carry, x):
        lox.log({"x": x})
        lox.log({"x": -x})
        return carry + x, None

    return (
        lambda xs: jax.lax.scan(body, 0.0, xs)[0],
        lambda xs: (xs.sum(), {"x": jnp.stack([xs, -xs], axis=1).reshape(-1)}),
    )


@pair(ROWS)
def scan_of_scan():
    def twin(rows):
        out, logs = jax.lax.map(twin_scan, rows)
        return out, jax.tree.map(lambda x: x.reshape(12), logs)

    return lambda rows: jax.lax.map(scan, rows), twin


@pair(XS)
def scan_of_cond():
    def body(carry, x):
        def yes(x):
            lox.log({"both": x, "one": x, "count": jnp.int32(7)})
            return x

        def no(x):
            lox.log({"both": -x})
            return x + 1

        return jax.lax.cond(x > 2, yes, no, x) + carry, None

    def twin(xs):
        yes = xs > 2
        values = {"both": jnp.where(yes, xs, -xs), "one": jnp.where(yes, xs, 0), "count": jnp.where(yes, 7, 0)}
        logs = lox.Logs(values, {"one": yes, "count": yes})
        carry = jax.lax.scan(lambda carry, x: (jnp.where(x > 2, x, x + 1) + carry, None), 0.0, xs)[0]
        return carry, logs

    return lambda xs: jax.lax.scan(body, 0.0, xs)[0], twin


@pair(jnp.arange(3), XS)
def switch():
    def once(x):
        lox.log({"k": x, "i": 3})
        return x

    def twice(x):
        lox.log({"k": 2 * x, "i": 4})
        lox.log({"k": 3 * x})
        return 2 * x

    none = jnp.zeros(5)
    outs = [lambda x: x, lambda x: 2 * x, lambda x: 3 * x]
    k = [lambda x: [x, none], lambda x: [2 * x, 3 * x], lambda x: [none, none]]
    i, times = [3, 4, 0], jnp.array([[True, False], [True, True], [False, False]])

    def twin(indices, x):
        choose = [lambda x, j=j: (outs[j](x), {"k": jnp.stack(k[j](x)), "i": jnp.full(1, i[j])}) for j in range(3)]
        out, logs = jax.lax.map(lambda index: jax.lax.switch(index, choose, x), indices)
        present = {"k": times[indices].reshape(6), "i": indices < 2}
        return out, lox.Logs({"k": logs["k"].reshape(6, 5), "i": logs["i"].reshape(3)}, present)

    branches = [once, twice, lambda x: 3 * x]
    return lambda indices, x: jax.lax.map(lambda index: jax.lax.switch(index, branches, x), indices), twin


@pair(ROWS)
def vmap_of_scan():
    return jax.vmap(scan), jax.vmap(twin_scan)


@pair(ROWS)
def scan_of_vmap():
    def body(carry, xs):
        carry, ys = jax.vmap(step)(carry, xs)
        return carry, ys

    def twin(rows):
        carry, (ys, logs) = jax.lax.scan(jax.vmap(twin_step), jnp.zeros(4), rows)
        return (carry, ys), jax.tree.map(lambda x: x.T, logs)

    return lambda rows: jax.lax.scan(body, jnp.zeros(4), rows), twin


@pair(ROWS, jnp.arange(5.0))
def vmap_of_vmap():
    def program(rows, x):  # the vmapped axes are 3, 5; the value's own axis is 4
        return jax.vmap(lambda row: jax.vmap(lambda x: plain(row * x))(x))(rows)

    def twin(rows, x):
        products = rows[:, None, :] * x[None, :, None]
        return jnp.tanh(products), {"x": products[:, :, None]}

    return program, twin


@pair(ROWS)
def vmap_along_another_axis():
    return jax.vmap(plain, in_axes=1), lambda rows: (jnp.tanh(rows.T), {"x": rows.T[:, None]})


@pair(XS)
def remat():
    return jax.checkpoint(scan), twin_scan


@pair(XS)
def grad_outside():
    def program(xs):
        value, gradient = jax.value_and_grad(lambda xs: (xs**2).sum())(xs)
        lox.log({"value": value, "norm": gradient @ gradient})
        return gradient

    return program, lambda xs: (2 * xs, {"value": (xs**2).sum()[None], "norm": (2 * xs @ (2 * xs))[None]})


@pair(XS)
def grad_of_scan_that_logs():
    def twin(xs):
        return jax.grad(lambda xs: jax.lax.scan(twin_step, 0.5, xs)[0])(xs), twin_scan(xs)[1]

    return jax.grad(lambda xs: jax.jit(scan)(xs)[0]), twin


@pair(XS)
def grad_of_remat_in_scan_that_logs():
    def twin(xs):
        return jax.grad(lambda xs: jax.lax.scan(twin_step, 0.5, xs)[0])(xs), twin_scan(xs)[1]

    return jax.grad(lambda xs: jax.lax.scan(jax.checkpoint(step), 0.5, xs)[0]), twin


@pair(XS)
def steps_of_gradient_descent():
    def loss(w, x):
        value = (w - x) ** 2
        lox.log({"loss": value})
        return value

    def twin(xs):
        def update(w, x):
            return w - 0.1 * jax.grad(lambda w: (w - x) ** 2)(w), (w - x) ** 2

        w, losses = jax.lax.scan(update, 0.3, xs)
        return w, {"loss": losses}

    return lambda xs: jax.lax.scan(lambda w, x: (w - 0.1 * jax.grad(loss)(w, x), None), 0.3, xs)[0], twin


@jax.custom_vjp
def clipped(x):
    return x * 3


clipped.defvjp(lambda x: (x * 3, None), lambda _, g: (jnp.clip(g, -0.1, 0.1),))


@pair(XS)
def custom_vjp_beside_logs():
    def program(x):
        lox.log({"x": x})
        return jax.grad(lambda x: clipped(x).sum())(x) + clipped(x)

    return program, lambda x: (0.1 + 3 * x, {"x": x[None]})


@pair(XS)
def custom_vjp_that_logs():
    @jax.custom_vjp
    def f(x):
        lox.log({"x": x})
        return x * 3

    f.defvjp(lambda x: (x * 3, None), lambda _, g: (g,))
    return lambda x: f(x).sum(), lambda x: ((x * 3).sum(), {"x": x[None]})


@pair(XS, 2, "x", None)
def static_arguments():
    @functools.partial(jax.jit, static_argnames=("power", "name"))
    def program(x, power, name, nothing):
        lox.log({name: x**power, "python": power + 0.5})
        return x if nothing is None else -x

    return program, lambda x, power, name, nothing: (x, {name: x[None] ** power, "python": jnp.full(1, power + 0.5)})

"""`spool` and `tap`: logs of a program as an output, or as callbacks on the host."""

import dataclasses
import functools
import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from memorax.lox.interpreter import Interpreter
from memorax.lox.logs import Logs
from memorax.lox.shapes import Log, LogsByKey

P = ParamSpec("P")
R = TypeVar("R")

_DYNAMIC = object()
_RUNNERS: dict[tuple[int, int], tuple[weakref.ref, Callable[..., Any]]] = {}


def spool(f: Callable[P, R]) -> Callable[P, tuple[R, Logs]]:
    """Return the logs of a function with its output, `(output, logs)`; logs are `[*vmapped, time, ...]` by key.

    They are `Logs`: a dictionary that also says at which times a value was logged that a branch may leave out.

    The result is compiled, and compiled again only for new shapes, dtypes or static arguments, however often
    `spool` is called on `f`. It can be put under `jit`, `vmap`, `grad(has_aux=True)` and so on; the module's
    documentation has the shapes and the sharp bits.

    Args:
        f: Any function of pytrees that JAX can trace. Arrays are traced, other leaves are static. A function that
            runs in Python instead brings its result as its attribute `spooled`.

    Returns:
        A function of the same arguments.

    Raises:
        TypeError: `f` is not callable, or (when called) a static argument is not hashable.
        ValueError: When called: a key is logged inside a `while_loop`, or with shapes that do not agree.

    Example:
        >>> import jax.numpy as jnp
        >>> from memorax import lox
        >>> def double(x):
        ...     lox.log({"input": x})
        ...     return 2 * x
        >>> out, logs = lox.spool(double)(jnp.arange(3))
        >>> out.tolist(), logs["input"].tolist()
        ([0, 2, 4], [[0, 1, 2]])
    """
    _check_callable("f", f)
    in_python = getattr(f, "spooled", None)
    if in_python is not None:
        return in_python

    runner = _spool_runner(f)

    @functools.wraps(f)  # Holds `f`, to which the runner may refer only weakly.
    def spooled(*args: P.args, **kwargs: P.kwargs) -> tuple[R, Logs]:
        return _call(runner, args, kwargs)

    return spooled


def tap(f: Callable[P, R], callback: Callable[[dict[str, np.ndarray]], Any]) -> Callable[P, R]:
    """Stream the logs of a function to the host while it runs: each `log` calls `callback` with a dictionary of arrays.

    The result returns what `f` returns. Logs arrive unordered (log a step counter to sort them) and asynchronously:
    `jax.effects_barrier()` waits for them all, and raises what `callback` raised. A value is passed as it was logged,
    without a time axis. Under `vmap(tap(f), ...)` there is a call per element; in `tap(vmap(f), ...)` the values have
    the vmapped axes in front. Keep the result to compile only once: each `tap` compiles for its own `callback`.

    Args:
        f: Any function of pytrees that JAX can trace. Arrays are traced, other leaves are static.
        callback: Called on the host. It must not call JAX.

    Returns:
        A function of the same arguments and output as `f`.

    Raises:
        TypeError: `f` or `callback` is not callable, or (when called) a static argument is not hashable.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from memorax import lox
        >>> def count(limit):
        ...     def body(i):
        ...         lox.log({"i": i})
        ...         return i + 1
        ...     return jax.lax.while_loop(lambda i: i < limit, body, 0)
        >>> seen = []
        >>> out = lox.tap(count, lambda logs: seen.append(int(logs["i"])))(jnp.int32(3))
        >>> jax.effects_barrier()
        >>> sorted(seen)
        [0, 1, 2]
    """
    _check_callable("f", f)
    _check_callable("callback", callback)

    def emit(keys: tuple[str, ...], depth: int, values: Sequence[Any]) -> LogsByKey:
        del depth

        def report(*values: Any) -> None:
            callback({key: np.asarray(value) for key, value in zip(keys, values, strict=True)})

        jax.debug.callback(report, *values)
        return {}

    runner = _runner(lambda: f, lambda: Interpreter(emit, name="tap", while_loops=True))

    @functools.wraps(f)
    def tapped(*args: P.args, **kwargs: P.kwargs) -> R:
        return _call(runner, args, kwargs)[0]

    return tapped


def _emit_spool(keys: tuple[str, ...], depth: int, values: Sequence[Any]) -> LogsByKey:
    return {key: Log(jnp.expand_dims(value, depth), depth) for key, value in zip(keys, values, strict=True)}


def _spool_interpreter() -> Interpreter:
    return Interpreter(_emit_spool, name="spool", while_loops=False)


@dataclasses.dataclass(frozen=True)
class _Static:
    """What of a call's arguments is not an array: their structure and their static leaves, with their types.

    The types belong to it because `1 == 1.0 == True`, which trace differently.
    """

    structure: Any
    leaves: tuple[Any, ...]
    types: tuple[type, ...]

    def merge(self, dynamic: Sequence[Any]) -> tuple[tuple, dict]:
        """The arguments again, with `dynamic` in the arrays' places."""
        arrays = iter(dynamic)
        return jax.tree.unflatten(self.structure, [next(arrays) if leaf is _DYNAMIC else leaf for leaf in self.leaves])


def _call(runner: Callable[..., Any], args: tuple, kwargs: dict) -> tuple[Any, Logs]:
    leaves, structure = jax.tree.flatten((args, kwargs))
    dynamic = [leaf for leaf in leaves if isinstance(leaf, jax.Array | np.ndarray)]
    static = [_DYNAMIC if isinstance(leaf, jax.Array | np.ndarray) else leaf for leaf in leaves]
    for leaf in static:
        try:
            hash(leaf)
        except TypeError as error:
            raise TypeError(
                f"arguments must be arrays or hashable, got {leaf!r} of type {type(leaf).__name__}; "
                "pass an array, or close over it"
            ) from error
    return runner(_Static(structure, tuple(static), tuple(map(type, static))), *dynamic)


def _runner(get: Callable[[], Any], interpreter: Callable[[], Interpreter]) -> Callable[..., Any]:
    """The compiled function of `(static, *dynamic)` that traces what `get` gives and interprets it."""

    def run(static: _Static, *dynamic: Any) -> tuple[Any, Logs]:
        function = get()

        def flat(*dynamic: Any) -> Any:
            args, kwargs = static.merge(dynamic)
            return function(*args, **kwargs)

        closed, shape = jax.make_jaxpr(flat, return_shape=True)(*dynamic)
        outputs, logs = interpreter().run(closed, dynamic)
        values = {key: log.value for key, log in logs.items()}
        present = {key: log.present for key, log in logs.items() if log.present is not None}
        return jax.tree.unflatten(jax.tree.structure(shape), outputs), Logs(values, present)

    return jax.jit(run, static_argnums=0)


def _spool_runner(f: Callable[..., Any]) -> Callable[..., Any]:
    """The runner of `f`: one for all calls of `spool` on it, for as long as `f`, or the object it is of, lives."""
    method = inspect.ismethod(f)
    owner, function = (f.__self__, f.__func__) if method else (f, f)
    key = (id(owner), id(function))
    reference, runner = _RUNNERS.get(key, (None, None))
    known = reference() if reference is not None else None
    # A bound method is a fresh object each time it is read, equal to the others.
    if runner is not None and (known is f or (method and known == f)):
        return runner
    try:
        reference = weakref.WeakMethod(f) if method else weakref.ref(f)
    except TypeError:  # An object without weak references: compiled once per call of `spool`.
        return _runner(lambda: f, _spool_interpreter)
    runner = _runner(reference, _spool_interpreter)
    _RUNNERS[key] = (reference, runner)
    weakref.finalize(owner, _RUNNERS.pop, key, None).atexit = False
    return runner


def _check_callable(name: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(
            f"`{name}` must be callable, got {type(value).__name__}; pass the function itself, not a result"
        )

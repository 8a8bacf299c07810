"""`log` and its JAX primitive, which has no outputs, compiles to nothing, and is kept in traced programs."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Which effects may pass through control flow, checkpoints, custom derivatives, partial evaluation and lowering is
# decided by these lists, for which JAX has no public interface; everything else in this package is public.
from jax._src import effects as _effects
from jax.extend import core
from jax.interpreters import ad, batching, mlir


class _LogEffect(core.Effect):
    """The effect that keeps JAX from dropping a log, which has no outputs."""

    def __eq__(self, other: object) -> bool:
        return type(other) is _LogEffect

    def __hash__(self) -> int:
        return hash(_LogEffect)


for _allowed in (
    _effects.lowerable_effects,
    _effects.control_flow_allowed_effects,
    _effects.custom_derivatives_allowed_effects,
    _effects.remat_allowed_effects,
    _effects.partial_eval_kept_effects,
):
    _allowed.add_type(_LogEffect)


def _batch_log(args: Sequence[Any], axes: Sequence[Any], *, keys: tuple[str, ...], depth: int) -> tuple[list, list]:
    size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
    front = [
        jnp.broadcast_to(arg, (size, *jnp.shape(arg))) if axis is None else jnp.moveaxis(arg, axis, 0)
        for arg, axis in zip(args, axes, strict=True)
    ]
    log_p.bind(*front, keys=keys, depth=depth + 1)
    return [], []


def _jvp_log(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[list, list]:
    del tangents
    log_p.bind(*primals, **params)
    return [], []


log_p = core.Primitive("log")
log_p.multiple_results = True
log_p.def_impl(lambda *args, **params: [])
log_p.def_effectful_abstract_eval(lambda *args, **params: ([], {_LogEffect()}))
mlir.register_lowering(log_p, lambda ctx, *args, **params: [])
batching.primitive_batchers[log_p] = _batch_log
ad.primitive_jvps[log_p] = _jvp_log


def log(values: Mapping[str, Any]) -> None:
    """Log values by name, to be collected by `spool` or `tap`; without them nothing happens.

    Args:
        values: Name to scalar or array of numbers; a nested dictionary's names are joined by "/".

    Raises:
        TypeError: `values` is not a dictionary, a name is not a string, or a value is not numeric.
        ValueError: Two names are equal once joined.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from memorax import lox
        >>> def step(total, x):
        ...     lox.log({"total": total + x})
        ...     return total + x, None
        >>> (total, _), logs = lox.spool(jax.lax.scan)(step, jnp.float32(0), jnp.arange(3.0))
        >>> logs["total"].tolist()
        [0.0, 1.0, 3.0]
    """
    flat: dict[str, Any] = {}
    _flatten(values, "", flat)
    if flat:
        log_p.bind(*flat.values(), keys=tuple(flat), depth=0)


def _flatten(values: Any, prefix: str, flat: dict[str, Any]) -> None:
    if not isinstance(values, Mapping):
        raise TypeError(f"`values` must be a dictionary, got {type(values).__name__}; write log({{'name': value}})")
    for name, value in values.items():
        if not isinstance(name, str):
            raise TypeError(f"`values` must have strings as keys, got {name!r} in {prefix or 'the top level'!r}")
        key = prefix + name
        if isinstance(value, Mapping):
            _flatten(value, key + "/", flat)
            continue
        numeric = isinstance(value, bool | int | float | complex)
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            numeric = jnp.issubdtype(value.dtype, np.number) or value.dtype == np.bool_
        if not numeric:
            kind = f"{type(value).__name__} of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
            raise TypeError(f"`{key}` must be a number or an array of numbers, got {kind}; convert it before logging")
        if key in flat:
            raise ValueError(f"`{key}` must be logged once per call, got it twice; rename one of them")
        flat[key] = value


def has_logs(eqn: core.JaxprEqn) -> bool:
    """Whether an equation logs, or holds a program that does."""
    return any(isinstance(effect, _LogEffect) for effect in eqn.effects)


def first_key(eqn: core.JaxprEqn) -> str:
    """The first key that an equation, or a program inside it, logs."""
    if eqn.primitive is log_p:
        return eqn.params["keys"][0]
    inner = (part for jaxpr in core.jaxprs_in_params(eqn.params) for part in jaxpr.eqns)
    return first_key(next(part for part in inner if has_logs(part)))

"""Evaluates a traced program (a jaxpr) with its logs as outputs, or as host callbacks."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.extend import core, source_info_util
from jax.extend.core import primitives

from memorax.lox.primitive import first_key, has_logs, log_p
from memorax.lox.shapes import LogsByKey, flatten_time, join, pad

Values: TypeAlias = list[Any]
Emit: TypeAlias = Callable[[tuple[str, ...], int, Values], LogsByKey]


class Interpreter:
    """Evaluates jaxprs; a higher-order primitive (scan, cond, ...) with logs inside is rebuilt with them as outputs.

    Equations without logs are bound unchanged.

    Attributes:
        emit: Called with the keys, the number of vmapped axes and the values of each log; what it returns becomes
            an output of the program.
        name: The transformation this serves, for error messages.
        while_loops: Whether logs inside a `while_loop` are allowed, which they are not if `emit` returns something.
    """

    def __init__(self, emit: Emit, *, name: str, while_loops: bool) -> None:
        self.emit = emit
        self.name = name
        self.while_loops = while_loops
        self._jitted: dict[Any, Callable[..., Any]] = {}
        self._rules: dict[core.Primitive, Callable[[Any, Values], tuple[Values, LogsByKey]]] = {
            log_p: self._log,
            primitives.jit_p: self._jit,
            primitives.scan_p: self._scan,
            primitives.cond_p: self._cond,
            primitives.while_p: self._while,
            primitives.remat_p: self._remat,
            primitives.custom_jvp_call_p: self._custom_derivative,
            primitives.custom_vjp_call_p: self._custom_derivative,
            primitives.closed_call_p: self._call,
            primitives.call_p: self._call,
        }

    def run(self, jaxpr: Any, args: Sequence[Any]) -> tuple[Values, LogsByKey]:
        """Evaluate `jaxpr` (open or closed) on flat arguments; returns its flat outputs and its logs."""
        consts = getattr(jaxpr, "consts", ())
        jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

        def read(atom: Any) -> Any:
            return atom.val if isinstance(atom, core.Literal) else values[atom]

        parts: list[LogsByKey] = []
        for eqn in jaxpr.eqns:
            outputs, logs = self._equation(eqn, [read(atom) for atom in eqn.invars])
            values.update(zip(eqn.outvars, outputs, strict=True))
            parts.append(logs)
        return [read(atom) for atom in jaxpr.outvars], join(parts)

    def _equation(self, eqn: core.JaxprEqn, args: Values) -> tuple[Values, LogsByKey]:
        names = source_info_util.current_name_stack() + eqn.source_info.name_stack
        with source_info_util.user_context(eqn.source_info.traceback, name_stack=names), eqn.ctx.manager:
            if not has_logs(eqn):
                return _bind(eqn, args), {}
            if eqn.primitive not in self._rules:
                raise ValueError(
                    f"`{first_key(eqn)}` must not be logged inside `{eqn.primitive.name}`, which `{self.name}` cannot "
                    f"see through; apply `{self.name}` to the function inside it"
                )
            return self._rules[eqn.primitive](eqn, args)

    def _log(self, eqn: Any, args: Values) -> tuple[Values, LogsByKey]:
        values = [jnp.asarray(value, atom.aval.dtype) for value, atom in zip(args, eqn.invars, strict=True)]
        return [], self.emit(eqn.params["keys"], eqn.params["depth"], values)

    def _call(self, eqn: core.JaxprEqn, args: Values) -> tuple[Values, LogsByKey]:
        return self.run(eqn.params["call_jaxpr"], args)

    def _jit(self, eqn: core.JaxprEqn, args: Values) -> tuple[Values, LogsByKey]:
        params = eqn.params
        # A function called twice is one jaxpr: give JAX one function for it, so that it is compiled once.
        identity = (params["jaxpr"], params["name"], params["in_shardings"], params["out_shardings"])
        if identity not in self._jitted:

            def call(*args: Any) -> tuple[Values, LogsByKey]:
                return self.run(params["jaxpr"], args)

            call.__name__ = params["name"]
            inputs, outputs = (
                [item if isinstance(item, jax.sharding.Sharding) else None for item in params[side]]
                for side in ("in_shardings", "out_shardings")
            )
            given = any(item is not None for item in inputs + outputs)
            shardings = {"in_shardings": tuple(inputs), "out_shardings": (outputs, None)} if given else {}
            self._jitted[identity] = jax.jit(call, **shardings)
        return self._jitted[identity](*args)

    def _remat(self, eqn: core.JaxprEqn, args: Values) -> tuple[Values, LogsByKey]:
        params = eqn.params
        call = jax.checkpoint(
            lambda *args: self.run(params["jaxpr"], args), prevent_cse=params["prevent_cse"], policy=params["policy"]
        )
        return call(*args)

    def _custom_derivative(self, eqn: core.JaxprEqn, args: Values) -> tuple[Values, LogsByKey]:
        # The call is kept as it is, with its derivative rule; logs come from a copy without gradients.
        _, logs = self.run(eqn.params["call_jaxpr"], [jax.lax.stop_gradient(arg) for arg in args])
        return _bind(eqn, args), logs

    def _scan(self, eqn: core.JaxprEqn, args: Values) -> tuple[Values, LogsByKey]:
        params = eqn.params
        if "num_carry" in params:
            num_consts, num_carry = params["num_consts"], params["num_carry"]
        else:  # From JAX 0.11 on.
            num_consts, num_carry, _ = (len(group) for group in params["ft_in"].unpack())
        consts, carry, xs = args[:num_consts], args[num_consts:][:num_carry], args[num_consts + num_carry :]

        def body(carry: Values, xs: Values) -> tuple[Values, tuple[Values, LogsByKey]]:
            outputs, logs = self.run(params["jaxpr"], [*consts, *carry, *xs])
            return outputs[:num_carry], (outputs[num_carry:], logs)

        options = {name: params[name] for name in ("length", "reverse", "unroll")}
        carry, (ys, logs) = jax.lax.scan(body, carry, xs, **options)
        return [*carry, *ys], {key: flatten_time(item) for key, item in logs.items()}

    def _cond(self, eqn: core.JaxprEqn, args: Values) -> tuple[Values, LogsByKey]:
        index, *operands = args
        # Each branch is traced once, to see what it logs; the branches of the new `cond` only replay the traces.
        traced = [
            jax.make_jaxpr(lambda *args, branch=branch: self.run(branch, args), return_shape=True)(*operands)
            for branch in eqn.params["branches"]
        ]
        shapes = [logs for _, (_, logs) in traced]
        keys = list(dict.fromkeys(key for logs in shapes for key in logs))

        def padded(closed: Any, shape: Any) -> Callable[..., tuple[Values, LogsByKey]]:
            def call(*args: Any) -> tuple[Values, LogsByKey]:
                flat = core.jaxpr_as_fun(closed)(*args)
                outputs, logs = jax.tree.unflatten(jax.tree.structure(shape), flat)
                return outputs, {key: pad(logs, key, shapes) for key in keys}

            return call

        return jax.lax.switch(index, [padded(closed, shape) for closed, shape in traced], *operands)

    def _while(self, eqn: core.JaxprEqn, args: Values) -> tuple[Values, LogsByKey]:
        if not self.while_loops:
            raise ValueError(
                f"`{first_key(eqn)}` must not be logged inside a `while_loop`, whose logs have no fixed length; "
                "use `jax.lax.scan` (with `jax.lax.cond` to stop early), or `lox.tap` instead of `lox.spool`"
            )
        params = eqn.params
        in_test, in_body = params["cond_nconsts"], params["body_nconsts"]
        test_consts, body_consts, carry = args[:in_test], args[in_test:][:in_body], args[in_test + in_body :]

        def test(carry: Values) -> Any:
            return self.run(params["cond_jaxpr"], [*test_consts, *carry])[0][0]

        def body(carry: Values) -> Values:
            return self.run(params["body_jaxpr"], [*body_consts, *carry])[0]

        return jax.lax.while_loop(test, body, carry), {}


def _bind(eqn: core.JaxprEqn, args: Values) -> Values:
    """Evaluate an equation unchanged."""
    outputs = eqn.primitive.bind(*args, **eqn.primitive.get_bind_params(eqn.params))
    return outputs if eqn.primitive.multiple_results else [outputs]

"""The one way to run a network over a sequence, for acting and for learning."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.devices import by_rows, row_devices
from memorax.core.spaces import Space, encode
from memorax.core.types import Array, Carry, PyTree, Timestep
from memorax.learning.dropout import dropout_stream


def encode_actions(action_space: Space, inputs: Timestep) -> Timestep:
    """Encode the previous actions of inputs as networks see them: discrete ones one-hot."""
    return dataclasses.replace(inputs, action=encode(action_space, inputs.action))


def unroll(
    network: Any,
    params: PyTree,
    inputs: Timestep,
    carry: Carry,
    *,
    action_space: Space,
    burn_in: int = 0,
    **kwargs: Any,
) -> tuple[Carry, Any]:
    """Run a network over `x_0 .. x_{T-1}`, starting from the memory before `x_0`.

    Args:
        network: Anything with `apply(params, inputs, carry, **kwargs) -> (carry, output)`.
        params: Its parameters.
        inputs: What it sees, `[batch, time, ...]`, with actions as policies give them.
        carry: Its memory before the first input.
        action_space: The space of policies' actions: discrete actions are fed to the network one-hot.
        burn_in: So many first inputs only refresh the memory, without gradient; they have no output. A network
            without memory skips them.
        **kwargs: Further arguments of the network.

    Returns:
        The memory after the last input, and the outputs of all inputs after the burn-in.
    """
    inputs, carry = _burn_in(network, params, inputs, carry, action_space=action_space, burn_in=burn_in, **kwargs)
    return _apply(network, params, inputs, carry, **kwargs)


def _apply(network: Any, params: PyTree, inputs: Timestep, carry: Carry, **kwargs: Any) -> tuple[Carry, Any]:
    static, arguments = _by_kind(kwargs)

    def run(params: PyTree, inputs: Timestep, carry: Carry, arguments: dict[str, PyTree]) -> tuple[Carry, Any]:
        return network.apply(params, inputs, carry, **static, **arguments)

    return by_rows(run, params, inputs, carry, arguments)


def unroll_with_losses(
    network: Any,
    params: PyTree,
    inputs: Timestep,
    carry: Carry,
    *,
    action_space: Space,
    burn_in: int = 0,
    **kwargs: Any,
) -> tuple[Carry, Any, dict[str, Array]]:
    """Run a network as `unroll` does, and collect the auxiliary losses that its modules sowed.

    Modules such as `MoE` sow them, already weighted, into the collection `losses`; algorithms add them to their own
    loss. Inside `dropout(key)` modules drop out, but not in the burn-in.

    Args:
        network: As for `unroll`; its `apply` takes `mutable` as Flax modules do.
        params: Its parameters.
        inputs: What it sees, `[batch, time, ...]`, with actions as policies give them.
        carry: Its memory before the first input.
        action_space: The space of policies' actions.
        burn_in: So many first inputs only refresh the memory; no losses are collected from them.
        **kwargs: Further arguments of the network.

    Returns:
        The memory after the last input, the outputs of all inputs after the burn-in, and the sown losses, each `[]`,
        by their path in the network, such as `torso/blocks_1/balance`; empty where nothing was sown.
    """
    inputs, carry = _burn_in(network, params, inputs, carry, action_space=action_space, burn_in=burn_in, **kwargs)
    (carry, outputs), sown = apply_with_losses(network, params, inputs, carry, **kwargs)
    return carry, outputs, sown


def apply_with_losses(network: Any, params: PyTree, *rows: PyTree, **kwargs: Any) -> tuple[Any, dict[str, Array]]:
    """Apply a network, with dropout where it is on, and collect the auxiliary losses that its modules sowed.

    Args:
        network: As for `unroll_with_losses`.
        params: Its parameters.
        *rows: Its arguments, `[batch, ...]`.
        **kwargs: Further arguments.

    Returns:
        What it returns, and the sown losses as `unroll_with_losses` gives them.
    """
    static, arguments = _by_kind(kwargs)

    def run(shared: PyTree, arguments: dict[str, PyTree], *rows: PyTree) -> tuple[Any, PyTree]:
        params, stream = shared
        return network.apply(params, *rows, mutable="losses", **static, **arguments, **stream)

    args = ((params, dropout_stream()), arguments, *rows)
    outputs, sown = run(*args) if row_devices() == 1 or _mixes_rows(run, *args) else by_rows(run, *args)
    return outputs, sown_losses(sown)


def _by_kind(kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, PyTree]]:
    """Separate arguments of a network that say how it is applied, such as `method`, from arrays, `[batch, ...]`."""
    arrays = {name: x for name, x in kwargs.items() if all(hasattr(leaf, "shape") for leaf in jax.tree.leaves(x))}
    return {name: x for name, x in kwargs.items() if name not in arrays}, arrays


def _mixes_rows(run: Callable[..., Any], shared: PyTree, *rows: PyTree) -> bool:
    """Whether what a network computes depends on all rows together: sown losses do, and random bits for dropout."""
    jaxpr, (_, sown) = jax.make_jaxpr(run, return_shape=True)(shared, *rows)
    before, stream = (len(jax.tree.leaves(part)) for part in shared)
    streams = jaxpr.jaxpr.invars[before : before + stream]
    used = [x for equation in jaxpr.jaxpr.eqns for x in equation.invars]
    return bool(jax.tree.leaves(sown)) or any(x is y for x in streams for y in used)


def sown_losses(variables: PyTree) -> dict[str, Array]:
    """Collect what modules sowed into the collection `losses`, each summed up to `[]`, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {jax.tree_util.keystr(path[1:], simple=True, separator="/"): jnp.sum(loss) for path, loss in leaves}


def _burn_in(
    network: Any, params: PyTree, inputs: Timestep, carry: Carry, *, action_space: Space, burn_in: int, **kwargs: Any
) -> tuple[Timestep, Carry]:
    """Encode the actions, and refresh the memory with the first inputs; return the remaining inputs and the memory."""
    inputs = encode_actions(action_space, inputs)
    if burn_in:
        past = jax.tree.map(lambda x: x[:, :burn_in], inputs)
        inputs = jax.tree.map(lambda x: x[:, burn_in:], inputs)
        if jax.tree.leaves(carry):
            carry, _ = _apply(network, jax.lax.stop_gradient(params), past, carry, **kwargs)
            carry = jax.lax.stop_gradient(carry)
    return inputs, carry


def add_time(tree: PyTree) -> PyTree:
    """Make a sequence of one step: `[batch, ...]` to `[batch, 1, ...]`."""
    return jax.tree.map(lambda x: x[:, None], tree)


def remove_time(tree: PyTree) -> PyTree:
    """Take the only step of a sequence: `[batch, 1, ...]` to `[batch, ...]`."""
    return jax.tree.map(lambda x: x[:, 0], tree)

"""One way for every algorithm to run a network over a sequence."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.spaces import Space, encode
from memorax.core.types import Array, Carry, PyTree, Timestep


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
        inputs: What it sees, `[batch, time, ...]`, actions as the environment has them.
        carry: Its memory before the first input.
        action_space: The actions' space: discrete ones reach the network one-hot.
        burn_in: So many first inputs only refresh the memory, without gradient; they have no output. A network
            without memory ignores them.
        **kwargs: For the network.

    Returns:
        The memory after the last input, and the outputs of all inputs after the burn-in.
    """
    inputs, carry = _burn_in(network, params, inputs, carry, action_space=action_space, burn_in=burn_in, **kwargs)
    return network.apply(params, inputs, carry, **kwargs)


def unroll_with_losses(
    network: Any,
    params: PyTree,
    inputs: Timestep,
    carry: Carry,
    *,
    action_space: Space,
    burn_in: int = 0,
    **kwargs: Any,
) -> tuple[Carry, Any, list[Array]]:
    """Run a network as `unroll` does, and collect the losses that its modules sowed for themselves.

    Modules such as `MoE` sow them, weighted, into the collection `losses`; whoever learns adds them to its own loss.

    Args:
        network: As for `unroll`; its `apply` takes `mutable` as Flax modules do.
        params: Its parameters.
        inputs: What it sees, `[batch, time, ...]`, actions as the environment has them.
        carry: Its memory before the first input.
        action_space: The actions' space.
        burn_in: So many first inputs only refresh the memory; losses are not collected from them.
        **kwargs: For the network.

    Returns:
        The memory after the last input, the outputs of all inputs after the burn-in, and the losses, each `[]`; none
        where nothing was sown.
    """
    inputs, carry = _burn_in(network, params, inputs, carry, action_space=action_space, burn_in=burn_in, **kwargs)
    (carry, outputs), sown = network.apply(params, inputs, carry, mutable="losses", **kwargs)
    return carry, outputs, [jnp.sum(loss) for loss in jax.tree.leaves(sown)]


def _burn_in(
    network: Any, params: PyTree, inputs: Timestep, carry: Carry, *, action_space: Space, burn_in: int, **kwargs: Any
) -> tuple[Timestep, Carry]:
    """Encode the actions, and let the first inputs refresh the memory; return the inputs that are left."""
    inputs = dataclasses.replace(inputs, action=encode(action_space, inputs.action))
    if burn_in:
        past = jax.tree.map(lambda x: x[:, :burn_in], inputs)
        inputs = jax.tree.map(lambda x: x[:, burn_in:], inputs)
        if jax.tree.leaves(carry):
            carry, _ = network.apply(jax.lax.stop_gradient(params), past, carry, **kwargs)
            carry = jax.lax.stop_gradient(carry)
    return inputs, carry


def add_time(tree: PyTree) -> PyTree:
    """Make a sequence of one step of it: `[batch, ...]` to `[batch, 1, ...]`."""
    return jax.tree.map(lambda x: x[:, None], tree)


def remove_time(tree: PyTree) -> PyTree:
    """Take the only step of a sequence: `[batch, 1, ...]` to `[batch, ...]`."""
    return jax.tree.map(lambda x: x[:, 0], tree)

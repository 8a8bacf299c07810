"""Other implementations of memory models, in one form."""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class Peer(NamedTuple):
    """A model to be timed.

    Attributes:
        name: `library:model`.
        initialize: `(key, inputs, done) -> parameters`.
        carry: `batch -> carry`.
        apply: `(parameters, inputs [batch, time, features], done [batch, time], carry) -> (carry, outputs)`.
        longest: The longest sequence at batch 32 that leaves room on a machine with 24 GiB.
    """

    name: str
    initialize: Callable[..., Any]
    carry: Callable[[int], Any]
    apply: Callable[..., tuple[Any, jax.Array]]
    longest: int = 4096


def installed(width: int) -> list[Peer]:
    """Make the peers whose libraries are there."""
    peers = [_flax(name, cell, width) for name, cell in (("gru", nn.GRUCell), ("lstm", nn.LSTMCell))]
    if importlib.util.find_spec("memax") is not None:
        peers += [_memax_linen(name, width) for name in ("GRU", "LRU", "S6", "FART")]
        if importlib.util.find_spec("equinox") is not None:
            peers += [_memax_equinox(name, width) for name in ("FFM", "DeltaNet", "GDN")]
    return peers


def _flax(name: str, cell: type[nn.RNNCellBase], width: int) -> Peer:
    """Make Flax's own scan; it has no resets."""
    rnn = nn.RNN(cell(features=width), return_carry=True)

    def initialize(key: jax.Array, inputs: jax.Array, done: jax.Array) -> Any:
        del done
        return rnn.init(key, inputs)

    def carry(batch: int) -> Any:
        return rnn.cell.initialize_carry(jax.random.key(0), (batch, width))

    def apply(params: Any, inputs: jax.Array, done: jax.Array, carry: Any) -> tuple[Any, jax.Array]:
        del done
        return rnn.apply(params, inputs, initial_carry=carry)

    return Peer(f"flax:{name}", initialize, carry, apply)


def _memax_linen(name: str, width: int) -> Peer:
    """Make one layer of memax, Linen half; the width of a matrix state is the root of the features."""
    from memax.linen.semigroups.fart import FART  # noqa: PLC0415
    from memax.linen.semigroups.lru import LRU  # noqa: PLC0415
    from memax.linen.semigroups.s6 import S6  # noqa: PLC0415
    from memax.linen.set_actions.gru import GRU  # noqa: PLC0415

    kind = {"GRU": GRU, "LRU": LRU, "S6": S6, "FART": FART}[name]
    size = 32 if name == "FART" else width
    sizes = {"recurrent_size": size} if name == "GRU" else {"hidden_size": width, "recurrent_size": size}
    layer = kind(algebra=kind.default_algebra(recurrent_size=size), scan=kind.default_scan(), **sizes)

    def carry(batch: int) -> Any:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (batch, *x.shape)), layer.zero_carry())

    def initialize(key: jax.Array, inputs: jax.Array, done: jax.Array) -> Any:
        return layer.init(key, layer.zero_carry(), (inputs[0], done[0]))

    def apply(params: Any, inputs: jax.Array, done: jax.Array, carry: Any) -> tuple[Any, jax.Array]:
        states, outputs = jax.vmap(partial(layer.apply, params))(carry, (inputs, done))
        return jax.tree.map(lambda x: x[:, -1], states), outputs

    return Peer(f"memax:{name.lower()}", initialize, carry, apply, 1024 if name == "FART" else 4096)


def _memax_equinox(name: str, width: int) -> Peer:
    """Make one layer of memax, Equinox half."""
    import equinox as eqx  # noqa: PLC0415
    from memax.equinox.semigroups.delta import DeltaNet  # noqa: PLC0415
    from memax.equinox.semigroups.ffm import FFM  # noqa: PLC0415
    from memax.equinox.semigroups.gdn import GDN  # noqa: PLC0415

    def build(key: jax.Array) -> Any:
        if name == "FFM":
            return FFM(hidden_size=width, trace_size=32, context_size=4, key=key)
        kind = {"DeltaNet": DeltaNet, "GDN": GDN}[name]
        return kind(hidden_size=width, recurrent_size=32, key=key)

    layer = build(jax.random.key(0))
    arrays, static = eqx.partition(layer, eqx.is_array)

    def carry(batch: int) -> Any:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (batch, *x.shape)), layer.initialize_carry())

    def initialize(key: jax.Array, inputs: jax.Array, done: jax.Array) -> Any:
        del key, inputs, done
        return arrays

    def apply(params: Any, inputs: jax.Array, done: jax.Array, carry: Any) -> tuple[Any, jax.Array]:
        states, outputs = jax.vmap(eqx.combine(params, static))(carry, (inputs, done))
        return jax.tree.map(lambda x: x[:, -1], states), outputs

    return Peer(f"memax:{name.lower()}", initialize, carry, apply, 4096 if name == "FFM" else 1024)

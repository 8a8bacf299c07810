"""Dropout: active in the losses that are differentiated, off in acting, in evaluation and in targets."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from flax.errors import InvalidRngError

from memorax.core.types import Key, PyTree

_KEY: ContextVar[Key | None] = ContextVar("dropout_key", default=None)


@contextmanager
def dropout(key: Key | None) -> Iterator[None]:
    """Give networks that are applied inside, while JAX traces them, the random stream `dropout`.

    Args:
        key: A random key, another one for every gradient step; None switches dropout off.
    """
    token = _KEY.set(key)
    try:
        yield
    finally:
        _KEY.reset(token)


def dropout_stream() -> dict[str, Any]:
    """The arguments of a network's `apply` that give it the random stream, where there is one."""
    key = _KEY.get()
    return {} if key is None else {"rngs": {"dropout": key}}


@contextmanager
def needs_no_stream(name: str) -> Iterator[None]:
    """Refuse a network that cannot be applied without random streams.

    Args:
        name: The network's name in messages.

    Raises:
        ValueError: A module inside asks for a random stream.
    """
    try:
        yield
    except InvalidRngError as error:
        raise ValueError(
            f"`{name}` must run without random streams in acting and evaluation, got a module that asks for one: "
            f"{str(error).split(' (http')[0]}; dropout that is active in learning alone is written "
            '`nn.Dropout(rate, deterministic=not self.has_rng("dropout"))`'
        ) from error


def only_parameters(name: str, variables: PyTree) -> PyTree:
    """Refuse a network with state beside its parameters, which an optimizer would move as if it were parameters.

    Args:
        name: The network's name in messages.
        variables: What the network's `init` gave.

    Returns:
        `variables`.

    Raises:
        ValueError: There are other collections than `params`.
    """
    others = sorted(set(variables) - {"params"})
    if others:
        raise ValueError(
            f"`{name}` must hold parameters only, got the collections {', '.join(f'`{other}`' for other in others)}; "
            "take nn.LayerNorm in the place of nn.BatchNorm, and skip `self.sow` where `self.is_initializing()`"
        )
    return variables

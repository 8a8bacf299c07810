"""Hidden layers of heads."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from memorax.core.checks import boolean, check_fields, function, sequence, size
from memorax.core.types import Array
from memorax.networks.mlp import MLP


class HasHidden(Protocol):
    """A head with hidden layers of its own.

    Attributes:
        hidden: Widths of the layers between torso and head; none where empty.
        activation: What follows each of them.
    """

    hidden: Sequence[int]
    activation: Callable[[Array], Array]


def check_hidden(head: Any) -> None:
    """Check a head's hidden layers, and the fields that nearly all heads have.

    Raises:
        TypeError: If a field is of another type.
        ValueError: If a width is below 1.
    """
    kinds = {"kernel_init": function(), "bias_init": function(), "dueling": boolean()}
    known = {name: kind for name, kind in kinds.items() if hasattr(head, name)}
    check_fields(head, hidden=sequence(size(), empty=True), activation=function(), **known)


def hidden_layers(head: HasHidden, features: Array) -> Array:
    """Apply a head's hidden layers; call it inside the head's compact method.

    Args:
        head: The head.
        features: The torso's outputs, `[batch, time, features]`.

    Returns:
        `[batch, time, head.hidden[-1]]`; `features` themselves where there are no hidden layers.
    """
    return MLP(tuple(head.hidden), head.activation, name="hidden")(features) if head.hidden else features

"""Dense layers that see all steps of all sequences along one axis."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import flax.linen as nn


def flat_dense() -> AbstractContextManager[None]:
    """Let the dense layers that are called inside the context multiply `[batch * time, features]`.

    What comes out is what would come out of `[batch, time, features]`. XLA's CPU backend lays the gradient of a product
    with two axes in front out by further transposes, and takes up to twice as long for it.

    Returns:
        The context.
    """
    return nn.intercept_methods(_flatten)


def _flatten(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    # Exactly Flax's own layer, called as usual: what a subclass does with the axes in front is not known.
    if type(context.module) is not nn.Dense or context.method_name != "__call__" or len(args) != 1 or args[0].ndim < 3:
        return call(*args, **kwargs)
    (inputs,) = args
    *front, features = inputs.shape
    outputs = call(inputs.reshape(math.prod(front), features), **kwargs)
    return outputs.reshape(*front, outputs.shape[-1])

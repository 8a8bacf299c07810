"""Dense layers and norms that see all steps of all sequences along one axis."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import flax.linen as nn


def flat_layers() -> AbstractContextManager[None]:
    """Let the dense layers and norms that are called inside the context compute `[batch * time, features]`.

    What comes out is what would come out of `[batch, time, features]`. XLA's CPU backend lays the gradient of a product
    with two axes in front out by further transposes, and takes up to twice as long for it; the gradient of a small
    MLP with layer norms takes up to three times as long.

    Returns:
        The context.
    """
    return nn.intercept_methods(_flatten)


_NORMS = (nn.LayerNorm, nn.RMSNorm)


def _flatten(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    # Exactly Flax's own layers, called as usual: what a subclass does with the axes in front is not known.
    module, usual = context.module, context.method_name == "__call__" and len(args) == 1 and not kwargs
    known = type(module) is nn.Dense or (type(module) in _NORMS and _over_features(module))
    if not (known and usual) or args[0].ndim < 3:
        return call(*args, **kwargs)
    (inputs,) = args
    *front, features = inputs.shape
    outputs = call(inputs.reshape(math.prod(front), features))
    return outputs.reshape(*front, outputs.shape[-1])


def _over_features(norm: Any) -> bool:
    return norm.reduction_axes == norm.feature_axes == -1 and norm.axis_name is None

"""`check_sequence_model`: does a memory model keep its promises?"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax

from memorax.networks.sequence_models import RNN, Memoroid, is_sequence_model
from memorax.networks.sequence_models.parts.nnx_cell import is_nnx_module
from memorax.testing.sequence_model_properties import FEATURES, PROPERTIES, make_case


def check_sequence_model(
    model: Any,
    *,
    input_features: int = FEATURES,
    receptive_field: int | None = None,
    tolerance: float = 1e-5,
    properties: Iterable[str] | None = None,
) -> None:
    """Check a memory model: resets inside sequences, carries, gradients, causality, types, JAX transformations.

    Call it in a test of your own model. It takes some seconds, nearly all of them for compilation. The properties are
    functions in `memorax.testing.sequence_model_properties`:

    * `stepwise`, `chunked`: step by step, in chunks and in one call, a sequence gives the same outputs and carry.
    * `forgets`: a sequence with `done` inside equals separate episodes.
    * `ignores_old_carry`: after a reset nothing of the old carry matters, NaN included.
    * `gradients_agree`: gradients of a whole sequence equal those of steps in a scan; every parameter has an effect.
    * `causal`: an output depends on its own row, on its own episode, and on all of it up to now, nothing else.
    * `quarantines_nan`: NaN in one episode does not reach the next one or other rows.
    * `stable_types`: carries keep structure, shapes and dtypes; outputs are `[batch, time, features]`, float32.
    * `transforms`: `jit`, `vmap` over parameters, `checkpoint`, `remat`, `eval_shape` and donation change nothing.
    * `copies`: a deep copy computes the very same program.

    Args:
        model: A sequence model such as `RNN(cell=MyCell(...))`; or a cell, which is run by `Memoroid` if it computes
            whole sequences and by `RNN` if it computes steps; or a function of no arguments that builds one.
        input_features: Width of the inputs that the model is checked with.
        receptive_field: How many steps an output may and must depend on, the current one included: 1 for a model
            without memory, the window of an attention; None: all since the episode's start.
        tolerance: How far two ways to compute the same may differ, relative to the largest magnitude.
        properties: Names of the properties to check; None: all.

    Raises:
        AssertionError: If properties do not hold; the message names each, and what was found.
        TypeError: If `model` is no sequence model and no cell.
        ValueError: If a property is unknown.

    Example:
        >>> import flax.linen as nn
        >>> from memorax.testing import check_sequence_model
        >>> check_sequence_model(nn.GRUCell(features=7), properties=["stepwise", "forgets"])
    """
    names = list(PROPERTIES if properties is None else properties)
    unknown = [name for name in names if name not in PROPERTIES]
    if unknown:
        raise ValueError(f"`properties` must be among {', '.join(PROPERTIES)}, got {unknown[0]!r}")
    with jax.default_matmul_precision("highest"):
        built = _as_sequence_model(model)
        try:
            case = make_case(built, input_features=input_features, receptive_field=receptive_field, tolerance=tolerance)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"the model does not run on a sequence: {type(error).__name__}: {error}") from error
        broken = [found for name in names if (found := _violation(name, case))]
    if broken:
        listed = "\n".join(f"* {line}" for line in broken)
        raise AssertionError(f"{len(broken)} of {len(names)} properties do not hold:\n{listed}")


def _violation(name: str, case: Any) -> str | None:
    check = PROPERTIES[name]
    try:
        check(case)
    except AssertionError as error:
        return f"`{name}` ({inspect.getdoc(check)}) {error}"
    except (TypeError, ValueError) as error:  # JAX refuses a carry that changes, in a scan for instance
        return f"`{name}` ({inspect.getdoc(check)}) raises {type(error).__name__}: {error}"
    return None


def _as_sequence_model(model: Any) -> nn.Module:
    """Build a model, and give a cell what runs it over time."""
    if not isinstance(model, nn.Module) and not is_nnx_module(model):
        if not callable(model):
            raise TypeError(f"`model` must be a sequence model, a cell, or a function that builds one, got {model!r}")
        build: Callable[[], Any] = model
        model = build()
    if is_nnx_module(model):
        return RNN(cell=model)
    if list(inspect.signature(type(model).__call__).parameters)[1:4] == ["carry", "inputs", "done"]:
        return Memoroid(cell=model)
    return model if is_sequence_model(model) else RNN(cell=model)

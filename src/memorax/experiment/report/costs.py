"""The cost of a memory model, measured from its compiled step."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from memorax.networks.sequence_models import MODELS


@dataclass(frozen=True)
class Costs:
    """Cost of one step of a memory model for one environment.

    Attributes:
        parameters: Number of parameters.
        state: Size of the carry, in bytes.
        flops: Floating-point operations of the compiled step.
        traffic: Bytes that the compiled step reads and writes, parameters among them.
    """

    parameters: int
    state: int
    flops: int
    traffic: int


def measure_costs(model: str, features: int = 64) -> Costs:
    """Compile one step of a registered memory model and measure its cost.

    Args:
        model: Its name.
        features: Width of its inputs and outputs.

    Returns:
        The costs for a batch of one.

    Raises:
        ValueError: If no model has that name.
    """
    torso = MODELS.get(model)(features)
    inputs, done = jnp.zeros((1, 1, features)), jnp.zeros((1, 1), bool)
    carry = torso.initialize_carry(jax.random.key(0), (1, features))
    params = jax.eval_shape(partial(torso.init, jax.random.key(0)), inputs, done)
    analysis: Any = jax.jit(torso.apply).lower(params, inputs, done, carry).compile().cost_analysis() or {}
    return Costs(
        parameters=sum(x.size for x in jax.tree.leaves(params)),
        state=sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(carry)),
        flops=int(analysis.get("flops", 0)),
        traffic=int(analysis.get("bytes accessed", 0)),
    )

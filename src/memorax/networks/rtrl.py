"""Real-time recurrent learning: exact gradients, computed forward in time."""

from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, real
from memorax.core.types import Array, Carry, Key, PyTree
from memorax.kernels.sensitivity import attach, pack
from memorax.networks.sequence_models.parts.base import check_sequence, is_sequence_model, select_carry


class RTRLCarry(NamedTuple):
    """The carry of `RTRL`: a memory, and its derivative with respect to the parameters.

    Attributes:
        memory: The wrapped model's carry.
        sensitivity: Its derivative with respect to the parameters that the past went through: for each parameter
            `[batch, states, *parameter.shape]`, where diagonal cells have one row per part of the state.
    """

    memory: Carry
    sensitivity: PyTree


class RTRL(nn.Module):
    """Real-time recurrent learning: gradients reach back to the start of the episode, however short a sequence is.

    The carry holds the sensitivity `S = dh/dp`, the derivative of the memory `h` with respect to the parameters `p`. A
    step updates it to `S' = (dh'/dh) S + dh'/dp`, and it is zero where an episode starts. Inside a sequence the
    gradient is that of backpropagation; at its start the loss's derivative with respect to the memory is multiplied by
    `S`, which adds the contribution of earlier steps. The outputs are those of the wrapped model.

    Exact for the parameters of the wrapped model and of everything above it. What lies below (a feature extractor)
    receives the gradient of this sequence only. Updates of the parameters between calls make `S` approximate, as in
    all online RTRL. In a stack, wrap every layer: `Stack([RTRL(a), RTRL(b)])` costs the sum of the layers and neglects
    the influence of lower parameters on the past of higher layers; `RTRL(Stack([a, b]))` is exact.

    Cells that name their `recurrent_parameters` are diagonal: unit `j` depends on slice `[..., j]` of each of them, and
    `S` is as large as the parameters, per row and part of the state. For any other model it is `states * parameters`.

    Attributes:
        model: A sequence model.
        max_mib: Refuse a sensitivity above this size, in MiB per row of the batch.

    Raises:
        TypeError: If `model` is not a sequence model.
        ValueError: If `max_mib` is not above 0; and where the carry is made, if the sensitivity would be larger.

    Source:
        Williams and Zipser 1989, "A Learning Algorithm for Continually Running Fully Recurrent Neural Networks",
        https://doi.org/10.1162/neco.1989.1.2.270
        Zucchet et al. 2023, "Online learning of long-range dependencies", https://arxiv.org/abs/2305.15947, for
        diagonal cells and the layers of a stack
    """

    model: Any
    max_mib: float = 64.0

    def __post_init__(self) -> None:
        """Check the model."""
        if not is_sequence_model(self.model):
            raise TypeError(f"`model` must be a sequence model such as RNN(cell=...), got {self.model!r}")
        check_fields(self, max_mib=real(above=0))
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> RTRLCarry:
        """Give the carry before an episode's first step.

        Args:
            key: A random key.
            input_shape: `(batch, features)`; here the features matter, since parameters depend on them.

        Returns:
            The model's carry, and zeros for its derivative.

        Raises:
            ValueError: If there is no memory, the features are not known, or the derivative is too large.
        """
        batch, features = input_shape
        if features is None:
            raise ValueError("`features` of `input_shape` must be known for RTRL, got None; derivatives have its size")
        memory = self.model.initialize_carry(key, input_shape)
        if not jax.tree.leaves(memory):
            raise ValueError(
                f"`model` must have a memory to differentiate, got {type(self.model).__name__} without one"
            )
        inputs, done = jax.ShapeDtypeStruct((1, 1, features), jnp.float32), jax.ShapeDtypeStruct((1, 1), bool)
        params = jax.eval_shape(self.model.init, jax.random.key(0), inputs, done).get("params", {})
        recurrent = self._recurrent(params)
        # Its row count is `states`; for a diagonal cell, the parts of its state.
        rows = jax.eval_shape(lambda: pack(memory, self._diagonal)[0]).shape[1]
        size = sum(x.size for x in jax.tree.leaves(recurrent))
        if 4 * rows * size > self.max_mib * 2**20:
            raise ValueError(
                f"`max_mib` must be at least {4 * rows * size / 2**20:.1f} for {rows} states times {size} parameters, "
                f"got {self.max_mib}; a diagonal cell such as RTUCell is cheaper, and so is RTRL around every layer of "
                "a stack"
            )
        return RTRLCarry(memory, jax.tree.map(lambda x: jnp.zeros((batch, rows, *x.shape), x.dtype), recurrent))

    def __call__(self, inputs: Array, done: Array, initial_carry: RTRLCarry | None = None) -> tuple[RTRLCarry, Array]:
        """Run the model, and update the sensitivity.

        Args:
            inputs: `[batch, time, features]`.
            done: True where the memory is reset before the step, `[batch, time]`.
            initial_carry: The carry before the first step; None: that of an episode's start.

        Returns:
            The carry after the last step, and the outputs `[batch, time, features]`.
        """
        check_sequence(inputs, done)
        fresh = self.initialize_carry(jax.random.key(0), (1, inputs.shape[-1]))
        memory, sensitivity = select_carry(done[:, 0], fresh, fresh if initial_carry is None else initial_carry)
        if self.is_initializing():
            memory, outputs = self.model(inputs, done, memory)
            return RTRLCarry(memory, sensitivity), outputs

        params = self.model.variables.get("params", {})
        state, whole = pack(memory, self._diagonal)
        state = cast(Array, attach(self._diagonal, self._recurrent(params), state, jax.lax.stop_gradient(sensitivity)))
        before = RTRLCarry(whole(state), sensitivity)
        memory, outputs = self.model(inputs, done, before.memory)

        model = self.model.clone(parent=None, name=None)
        advance = jax.vmap(partial(self._advance, model, jax.lax.stop_gradient(params)))

        def step(carry: RTRLCarry, now: tuple[Array, Array]) -> tuple[RTRLCarry, None]:
            inputs, done = now
            return advance(select_carry(done, fresh, carry), inputs), None

        over_time = inputs.swapaxes(0, 1), done.swapaxes(0, 1)
        after, _ = jax.lax.scan(step, *jax.lax.stop_gradient((before, over_time)))
        return RTRLCarry(memory, after.sensitivity), outputs

    def _advance(self, model: nn.Module, params: PyTree, carry: RTRLCarry, inputs: Array) -> RTRLCarry:
        """Update memory and sensitivity of one row by one step."""
        state, whole = pack(jax.tree.map(lambda x: x[None], carry.memory), self._diagonal)

        def step(recurrent: PyTree, state: Array) -> tuple[Array, Carry]:
            variables = {"params": self._merge(params, recurrent)}
            memory, _ = model.apply(variables, inputs[None, None], jnp.zeros((1, 1), bool), whole(state[None]))
            return pack(memory, self._diagonal)[0][0], jax.tree.map(lambda x: x[0], memory)

        recurrent = self._recurrent(params)
        if self._diagonal:
            _, pull, memory = jax.vjp(step, recurrent, state[0], has_aux=True)
            parts, units = state.shape[1:]
            # Unit j depends on slice j alone: one cotangent of ones per part brings the slopes of all units.
            ones = jnp.broadcast_to(jnp.eye(parts)[..., None], (parts, parts, units)).astype(state.dtype)
            new, through = jax.vmap(pull)(ones)
        else:
            (new, through), memory = jax.jacrev(step, (0, 1), has_aux=True)(recurrent, state[0])
        product = "abj,b...j->a...j" if self._diagonal else "ab,b...->a..."
        moved = jax.tree.map(lambda new, old: new + jnp.einsum(product, through, old), new, carry.sensitivity)
        return RTRLCarry(memory, moved)

    @property
    def _diagonal(self) -> bool:
        return hasattr(getattr(self.model, "cell", None), "recurrent_parameters")

    def _recurrent(self, params: PyTree) -> PyTree:
        """The parameters that the memory depends on; without knowledge of the model, all."""
        if not self._diagonal:
            return params
        return {name: params["cell"][name] for name in self.model.cell.recurrent_parameters}

    def _merge(self, params: PyTree, recurrent: PyTree) -> PyTree:
        return {**params, "cell": {**params["cell"], **recurrent}} if self._diagonal else recurrent

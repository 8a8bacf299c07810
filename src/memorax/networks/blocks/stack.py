"""Stacks of blocks."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.types import Array, Carry, Key
from memorax.networks.blocks.moe import MoE
from memorax.networks.rtrl import RTRL
from memorax.networks.sequence_models.parts.long import unroll_in_chunks
from memorax.networks.sequence_models.parts.wrapper import as_sequence_model

CHUNK = 256
"""Steps of a chunk of a long sequence: what all blocks compute of one is in memory at once."""
_KNOWN = (nn.Dense, nn.LayerNorm, nn.RMSNorm, nn.GRUCell, nn.LSTMCell, nn.OptimizedLSTMCell, nn.SimpleCell, nn.MGUCell)
"""Modules of Flax that compute each step alike and leave nothing but their outputs behind."""


class Stack(nn.Module):
    """Sequence models and feed-forward modules in sequence; the carry is a tuple with an entry for each.

    A block that is in `blocks` twice has one set of parameters and two carries. On a CPU, long sequences run through
    all blocks in chunks of time, whose insides are computed again for the gradient, where all blocks are of this
    library.

    Attributes:
        blocks: Sequence models, or feed-forward modules or functions of `[batch, time, features]`, which are
            wrapped as sequence models.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from memorax.networks.blocks import FFN, PreNorm, Residual
        >>> from memorax.networks.sequence_models import GRU
        >>> torso = Stack(blocks=[GRU(4), PreNorm(Residual(FFN(hidden_dim=6)))])
        >>> inputs, done = jnp.zeros((2, 5, 3)), jnp.zeros((2, 5), bool)
        >>> (carry, outputs), _ = torso.init_with_output(jax.random.key(0), inputs, done)
        >>> len(carry), outputs.shape
        (2, (2, 5, 4))
    """

    blocks: Sequence[Any]

    def __post_init__(self) -> None:
        """Wrap the blocks.

        Raises:
            TypeError: If `blocks` is no sequence, or one of them is a recurrent cell or not callable.
            ValueError: If there are none.
        """
        if not isinstance(self.blocks, Sequence) or isinstance(self.blocks, str):
            got = type(self.blocks).__name__ if isinstance(self.blocks, nn.Module) else repr(self.blocks)
            raise TypeError(f"`blocks` must be a sequence of modules, got {got}")
        if not self.blocks:
            raise ValueError(f"`blocks` must hold at least one block, got {self.blocks!r}")
        self.blocks = tuple(as_sequence_model("blocks", block) for block in self.blocks)
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give the carries before an episode's first step.

        Args:
            key: A random key.
            input_shape: `(batch, features)`.

        Returns:
            A tuple with the carry of each block; `()` for a feed-forward one.
        """
        batch, features = input_shape
        last = max((i for i, block in enumerate(self.blocks) if _knows_width(block)), default=0)
        carries = []
        for index, block in enumerate(self.blocks):
            carries.append(block.initialize_carry(key, (batch, features)))
            if index < last and features is not None:
                features = _output_width(block, features)
        return tuple(carries)

    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Run the blocks in sequence.

        Args:
            inputs: `[batch, time, features]`.
            done: True where the memory is reset before the step, `[batch, time]`.
            initial_carry: The carries before the first step; None: those of an episode's start.

        Returns:
            The carries after the last step, and the last block's outputs `[batch, time, features]`.

        Raises:
            ValueError: If `initial_carry` does not have an entry for each block.
        """
        if initial_carry is None:
            initial_carry = self.initialize_carry(jax.random.key(0), (inputs.shape[0], inputs.shape[-1]))
        if len(initial_carry) != len(self.blocks):
            raise ValueError(
                f"`initial_carry` must have an entry for each of {len(self.blocks)} blocks, got {len(initial_carry)}"
            )
        chunk = CHUNK if all(map(_can_be_cut, self.blocks)) else None
        return unroll_in_chunks(self, "run_blocks", initial_carry, inputs, done, chunk=chunk)

    def run_blocks(self, carry: Carry, inputs: Array, done: Array) -> tuple[Carry, Array]:
        """Run the blocks in sequence, each over the whole sequence.

        Args:
            carry: The carries before the first step.
            inputs: `[batch, time, features]`.
            done: True where the memory is reset before the step, `[batch, time]`.

        Returns:
            The carries after the last step, and the last block's outputs `[batch, time, features]`.
        """
        after = []
        for block, before in zip(self.blocks, carry, strict=True):
            new, inputs = block(inputs, done, before)
            after.append(new)
        return tuple(after), inputs


def _knows_width(block: nn.Module) -> bool:
    """Whether a carry depends on the width of the inputs: derivatives by parameters do, memories do not."""
    return isinstance(block, RTRL) or any(map(_knows_width, _modules_of(block)))


def _can_be_cut(block: nn.Module) -> bool:
    """Whether a block's chunks can be put together: what is sown or dropped out is of a whole sequence."""
    if isinstance(block, RTRL | MoE) or getattr(block, "dropout_rate", 0):
        return False
    ours = type(block).__module__.startswith("memorax.") or type(block) in _KNOWN
    return ours and all(map(_can_be_cut, _modules_of(block)))


def _modules_of(block: nn.Module) -> list[nn.Module]:
    parts = (getattr(block, field.name) for field in dataclasses.fields(block) if field.name != "parent")
    leaves = jax.tree.leaves(tuple(parts), is_leaf=lambda x: isinstance(x, nn.Module))
    return [leaf for leaf in leaves if isinstance(leaf, nn.Module)]


def _output_width(block: nn.Module, features: int) -> int:
    inputs, done = jax.ShapeDtypeStruct((1, 1, features), jnp.float32), jax.ShapeDtypeStruct((1, 1), bool)
    (_, outputs), _ = jax.eval_shape(block.init_with_output, jax.random.key(0), inputs, done)
    return outputs.shape[-1]

"""AssociativeRecall: see keys with their values, wait, then name the value of each key that is asked for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.chance import below
from memorax.environments.memory.task import Task, clipped, whole


@struct.dataclass
class RecallParams(EnvParams):
    """Parameters of AssociativeRecall: `length`, the blank steps between pairs and questions, int32."""

    length: Array | np.int32


@struct.dataclass
class RecallState(EnvState):
    """State of AssociativeRecall.

    Attributes:
        time: Completed steps.
        table: Value last shown with each key, -1 before the first, int32 `[keys]`.
        key: The key on show, int32.
    """

    table: Array
    key: Array


class AssociativeRecall(Task[RecallState, RecallParams]):
    """See keys with their values, wait, then name the value of each key that is asked for.

    Each key is shown once, or, with `overwrite`, keys come by chance and again: then the last value counts. Every
    key that was shown is asked for equally often.

    * Observation: float32 `[keys + values + 1]`: key and value (one-hot each; 0 where none), whether it is a question.
    * Action: a value, `Discrete(values)`; ignored before the questions.
    * Reward: `1 / queries` for each right value, otherwise 0.
    * Length: `pairs + length + queries` steps, ended by termination.
    * Returns: 1 with memory; `1 / values` at random and at best without memory.

    Source: Arora et al. (2023), Zoology: Measuring and Improving Recall in Efficient Language Models,
    https://arxiv.org/abs/2312.04927.
    """

    optimal_return = 1.0

    def __init__(
        self,
        length: int = 10,
        *,
        pairs: int = 4,
        keys: int = 8,
        values: int = 4,
        queries: int = 4,
        overwrite: bool = False,
    ) -> None:
        """Lay out the task.

        Args:
            length: Blank steps between pairs and questions, at least 0.
            pairs: How many keys are shown with a value, at least 1.
            keys: How many different keys there are, at least `pairs`, or 1 with `overwrite`.
            values: How many different values there are, at least 2.
            queries: How many questions are asked, at least 1.
            overwrite: Whether a key may be shown again with a new value.

        Raises:
            TypeError, ValueError: If a size is no integer, or too small.
        """
        self.length = whole("length", length, least=0)
        self.pairs = whole("pairs", pairs)
        self.keys = whole("keys", keys, least=1 if overwrite else self.pairs)
        self.values = whole("values", values, least=2)
        self.queries = whole("queries", queries)
        self.overwrite = overwrite
        self.memoryless_return = 1.0 / self.values

    @property
    def default_params(self) -> RecallParams:
        """The parameters used where none are given."""
        return RecallParams(length=np.int32(self.length))

    def _draw(self, key: Key, allowed: Array) -> tuple[Array, Array]:
        """Draw one of the allowed keys, and a value."""
        numbers = jnp.stack([jnp.maximum(jnp.sum(allowed), 1), jnp.int32(self.values)])
        place, value = below(key, numbers, (2,))
        return jnp.sum(jnp.cumsum(allowed) <= place, dtype=jnp.int32), value

    def draw_start(self, key: Key, params: RecallParams) -> tuple[Array, Array]:
        """Draw the first key and its value."""
        return self._draw(key, jnp.ones((self.keys,), bool))

    def draw(self, key: Key, state: RecallState, params: RecallParams) -> tuple[Array, Array]:
        """Draw the key of the next observation, and a value in case that it is shown with one."""
        asked, known = state.time + 1 >= self.pairs, state.table >= 0
        return self._draw(key, jnp.where(asked, known, self.overwrite | ~known))

    def start(self, drawn: tuple[Array, Array], params: RecallParams) -> tuple[Array, RecallState]:
        """Show the first pair."""
        zero, table = jnp.zeros((), jnp.int32), jnp.full((self.keys,), -1, jnp.int32)
        return self._show(RecallState(time=zero, table=table, key=zero), drawn, params)

    def _show(self, state: RecallState, drawn: Any, params: RecallParams) -> tuple[Array, RecallState]:
        key, value = (jnp.asarray(x, jnp.int32) for x in drawn)
        telling, asking = state.time < self.pairs, state.time >= self.pairs + params.length
        # The one-hot of -1 is all zero.
        seen_key = jax.nn.one_hot(jnp.where(telling | asking, key, -1), self.keys)
        seen_value = jax.nn.one_hot(jnp.where(telling, value, -1), self.values)
        table = jnp.where(telling & (jnp.arange(self.keys) == key), value, state.table)
        observation = jnp.concatenate([seen_key, seen_value, asking[None]]).astype(jnp.float32)
        return observation, RecallState(time=state.time, table=table, key=key)

    def transition(
        self, state: RecallState, action: Array, drawn: tuple[Array, Array], params: RecallParams
    ) -> tuple[Array, RecallState, Array, Array]:
        """See the next pair, wait, or answer and be judged."""
        right = clipped(action, self.values) == state.table[state.key]
        asked = state.time >= self.pairs + params.length
        reward = jnp.where(asked & right, 1.0 / self.queries, 0.0)
        state = RecallState(time=state.time + 1, table=state.table, key=state.key)
        return *self._show(state, drawn, params), reward, state.time >= self.pairs + params.length + self.queries

    def action_space(self, params: RecallParams | None = None) -> Discrete:
        """A value."""
        return Discrete(self.values)

    def observation_space(self, params: RecallParams | None = None) -> Box:
        """Key, value, question."""
        return Box(0.0, 1.0, (self.keys + self.values + 1,))

    def horizon(self, params: RecallParams | None = None) -> int:
        """Pairs, blanks, questions."""
        return self.pairs + int((params or self.default_params).length) + self.queries

    def memory_length(self, params: RecallParams | None = None) -> int:
        """From the first pair to the last question."""
        return self.horizon(params) - 1

    def credit_length(self, params: Any = None) -> int:
        """Each answer is paid at once."""
        return 1

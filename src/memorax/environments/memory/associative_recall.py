"""AssociativeRecall: remember key-value pairs and answer queries about them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import boolean, check, size, steps
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.prng import integers
from memorax.environments.memory.parts.task import Task, clip_action


@struct.dataclass
class RecallParams(EnvParams):
    """Parameters of AssociativeRecall: `length`, the blank steps between pairs and queries, int32."""

    length: Array | np.int32


@struct.dataclass
class RecallState(EnvState):
    """State of AssociativeRecall.

    Attributes:
        time: Completed steps.
        table: Value last shown with each key, -1 before the first, int32 `[keys]`.
        key: The key of the current observation, int32.
    """

    table: Array
    key: Array


class AssociativeRecall(Task[RecallState, RecallParams]):
    """See key-value pairs, wait, then recall the value of each queried key.

    Each key is shown once or, with `overwrite`, keys are drawn with repetition and the last value counts. Every key
    that was shown is equally likely to be queried.

    * Observation: float32 `[keys + values + 1]`: key and value (one-hot each; 0 where none), whether it is a query.
    * Action: a value, `Discrete(values)`; ignored before the queries.
    * Reward: `1 / queries` for each correct value, otherwise 0.
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
        """Create the task.

        Args:
            length: Blank steps between pairs and queries, at least 0.
            pairs: Number of pairs shown, at least 1.
            keys: Number of different keys, at least `pairs`, or 1 with `overwrite`.
            values: Number of different values, at least 2.
            queries: Number of queries, at least 1.
            overwrite: Whether a key may be shown again with a new value.

        Raises:
            TypeError: If an argument is not an integer.
            ValueError: If a size is too small.
        """
        self.length = check("length", length, steps(0))
        self.pairs = check("pairs", pairs, steps())
        self.overwrite = check("overwrite", overwrite, boolean())
        self.keys = check("keys", keys, size())
        if self.keys < self.pairs and not self.overwrite:
            raise ValueError(f"`keys` ({self.keys}) must be at least `pairs` ({self.pairs}) without `overwrite`")
        self.values = check("values", values, size(2))
        self.queries = check("queries", queries, steps())
        self.memoryless_return = 1.0 / self.values

    @property
    def default_params(self) -> RecallParams:
        """Parameters that `reset` and `step` use by default."""
        return RecallParams(length=np.int32(self.length))

    def _draw(self, key: Key, allowed: Array) -> tuple[Array, Array]:
        """Draw one of the allowed keys, and a value."""
        numbers = jnp.stack([jnp.maximum(jnp.sum(allowed), 1), jnp.int32(self.values)])
        place, value = integers(key, numbers, (2,))
        return jnp.sum(jnp.cumsum(allowed) <= place, dtype=jnp.int32), value

    def draw_start(self, key: Key, params: RecallParams) -> tuple[Array, Array]:
        """Draw the first key and its value."""
        return self._draw(key, jnp.ones((self.keys,), bool))

    def draw(self, key: Key, state: RecallState, params: RecallParams) -> tuple[Array, Array]:
        """Draw the key of the next observation, and a value for it, used if it is shown as a pair."""
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
        """Show the next pair, a blank or a query, and judge the answer to a query."""
        right = clip_action(action, self.values) == state.table[state.key]
        asked = state.time >= self.pairs + params.length
        reward = jnp.where(asked & right, 1.0 / self.queries, 0.0)
        state = RecallState(time=state.time + 1, table=state.table, key=state.key)
        return *self._show(state, drawn, params), reward, state.time >= self.pairs + params.length + self.queries

    def action_space(self, params: RecallParams | None = None) -> Discrete:
        """A value."""
        return Discrete(self.values)

    def observation_space(self, params: RecallParams | None = None) -> Box:
        """Key, value, whether it is a query."""
        return Box(0.0, 1.0, (self.keys + self.values + 1,))

    def horizon(self, params: RecallParams | None = None) -> int:
        """Pairs, blanks and queries."""
        return self.pairs + int((params or self.default_params).length) + self.queries

    def memory_length(self, params: RecallParams | None = None) -> int:
        """From the first pair to the last query."""
        return self.horizon(params) - 1

    def credit_length(self, params: Any = None) -> int:
        """Each answer is rewarded at once."""
        return 1

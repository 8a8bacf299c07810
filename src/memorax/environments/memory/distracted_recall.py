"""DistractedRecall: remember a cue while everything else that is seen must not be written into memory."""

import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import check, size, steps
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.prng import fair_coin
from memorax.environments.memory.parts.task import Task, clip_action


@struct.dataclass
class DistractedRecallParams(EnvParams):
    """Parameters of DistractedRecall.

    Attributes:
        length: Steps with distractors, between the cue and the question, int32.
    """

    length: Array | np.int32


@struct.dataclass
class DistractedRecallState(EnvState):
    """State of DistractedRecall.

    Attributes:
        time: Completed steps.
        cue: The cue, int32, 0 or 1.
    """

    cue: Array


class DistractedRecall(Task[DistractedRecallState, DistractedRecallParams]):
    """Report a cue that was seen before a stretch of distractors.

    The cue is seen at time 0, alone. Then every distractor is a fair coin flip at each of `length` steps, and the last
    observation is the question, alone. A memory with random input weights keeps sums over all of the
    `length * distractors + 1` numbers that it saw, from which the cue can be told only if its states are about as many.
    What helps is to write the cue and nothing else. No observation teaches that at the step where it is made: neither
    cue nor distractors are visible when the answer is given, so credit has to go back through the memory.

    Without the previous action as an input, that is: an agent that sees its last action can keep the cue by acting it.

    * Observation: float32 `[distractors + 2]`: whether this is the question, the cue as -1 or 1 (at time 0, later 0),
      the distractors as -1 or 1 (0 at time 0 and in the question).
    * Action: a bit, `Discrete(2)`; ignored before the question.
    * Reward: for the answer 1 if it is the cue and -1 if not, otherwise 0.
    * Length: `length + 2` steps, ended by termination.
    * Returns: 1 with memory; 0 at random and at best without memory.

    Source: a trace conditioning task with distractors and a delayed report, after Rafiee et al. (2023), From Eye-blinks
    to State Construction, https://arxiv.org/abs/2011.04590, on which Elelimy et al. (2024),
    https://arxiv.org/abs/2409.01449, compare online gradients.
    """

    optimal_return = 1.0
    memoryless_return = 0.0

    def __init__(self, length: int = 10, *, distractors: int = 8) -> None:
        """Create the task.

        Args:
            length: Steps with distractors, at least 0.
            distractors: Number of distractors, at least 0.

        Raises:
            TypeError: If `length` or `distractors` is not an integer.
            ValueError: If `length` or `distractors` is below 0.
        """
        self.length = check("length", length, steps(0))
        self.distractors = check("distractors", distractors, size(0))

    @property
    def default_params(self) -> DistractedRecallParams:
        """Parameters that `reset` and `step` use by default."""
        return DistractedRecallParams(length=np.int32(self.length))

    def draw_start(self, key: Key, params: DistractedRecallParams) -> Array:
        """Draw the cue."""
        return fair_coin(key).astype(jnp.int32)

    def start(self, drawn: Array, params: DistractedRecallParams) -> tuple[Array, DistractedRecallState]:
        """Show the cue."""
        cue = jnp.asarray(drawn, jnp.int32)
        state = DistractedRecallState(time=jnp.zeros((), jnp.int32), cue=cue)
        shown = jnp.stack([jnp.float32(0), (2 * cue - 1).astype(jnp.float32)])
        return jnp.concatenate([shown, jnp.zeros(self.distractors, jnp.float32)]), state

    def draw(self, key: Key, state: DistractedRecallState, params: DistractedRecallParams) -> Array:
        """Draw the distractors of the next observation."""
        return fair_coin(key, (self.distractors,))

    def transition(
        self, state: DistractedRecallState, action: Array, drawn: Array, params: DistractedRecallParams
    ) -> tuple[Array, DistractedRecallState, Array, Array]:
        """Wait, or answer."""
        time = state.time + 1
        last = state.time > params.length
        right = clip_action(action, 2) == state.cue
        reward = jnp.where(last, jnp.where(right, 1.0, -1.0), 0.0)
        question = time > params.length
        distractors = jnp.where(question, 0.0, jnp.where(drawn, 1.0, -1.0))
        shown = jnp.stack([question.astype(jnp.float32), jnp.float32(0)])
        observation = jnp.concatenate([shown, distractors])
        return observation, DistractedRecallState(time=time, cue=state.cue), reward, last

    def action_space(self, params: DistractedRecallParams | None = None) -> Discrete:
        """A bit."""
        return Discrete(2)

    def observation_space(self, params: DistractedRecallParams | None = None) -> Box:
        """Question, cue, distractors."""
        return Box(np.array([0.0] + [-1.0] * (1 + self.distractors)), 1.0)

    def horizon(self, params: DistractedRecallParams | None = None) -> int:
        """The cue, the distractors and the question."""
        return int((params or self.default_params).length) + 2

    def memory_length(self, params: DistractedRecallParams | None = None) -> int:
        """From the cue to the answer."""
        return int((params or self.default_params).length) + 1

    def credit_length(self, params: DistractedRecallParams | None = None) -> int:
        """The answer is rewarded at once."""
        return 1

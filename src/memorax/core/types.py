"""The data that agent, network and environment exchange.

Timeline of one environment, `t` counting steps::

    x_t  --network(carry_t)-->  carry_{t+1}, action_t
    action_t  --environment-->  reward_t, terminated_t, truncated_t, observation_{t+1}

`x_t` is a `Timestep`: the observation and what led to it. A `Transition` is `x_t` and what followed.
"""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct
from jax.extend.core.primitives import convert_element_type_p

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A typed JAX random key, as `jax.random.key` makes it."""
PyTree: TypeAlias = Any
"""A nested container of arrays."""
Carry: TypeAlias = PyTree
"""What a memory keeps between two steps: arrays whose first axis is the batch; `()` for the memoryless."""


@struct.dataclass
class Timestep:
    """What a network sees at one step: the observation, and how the agent came to it.

    At an episode's first step `action` and `reward` still hold what ended the episode before; the feature
    extractor zeroes them, so that acting and learning cannot differ.

    Attributes:
        observation: Array or nested container of arrays, `[batch, (time,) ...]`.
        action: The action before this observation, `[batch, (time,) ...]`, as the policy gave it: nested as the action
            space is, discrete ones as integers, arrays of any shape as vectors, before scaling and clipping.
        reward: The reward that came with this observation, `[batch, (time,)]`, float32.
        done: True where this observation is the first of an episode, `[batch, (time,)]`: memory is cleared
            before it is consumed.
    """

    observation: PyTree
    action: PyTree
    reward: Array
    done: Array

    @property
    def is_first(self) -> Array:
        """True where the observation is the first of an episode: `done`, by a name that cannot be mistaken."""
        return self.done


@struct.dataclass
class Transition:
    """One step of interaction: what the agent saw, what it did, what followed. Arrays are `[batch, (time,) ...]`.

    Attributes:
        inputs: `x_t`, what the network saw.
        action: What the agent did, in the form of `Timestep.action`.
        reward: What it got for it, float32.
        terminated: The episode ended by the rules of the task: its value after this step is zero.
        truncated: The episode was cut from outside (a time limit): its value after this step is not zero.
        carry: The memory before `x_t` was consumed; None where no algorithm needs it.
        aux: What the policy recorded while acting (log-probability, value, ...), by name.
        info: What the loop recorded about the step, by name (`returned_episode_returns`, ...).
    """

    inputs: Timestep
    action: PyTree
    reward: Array
    terminated: Array
    truncated: Array
    carry: Carry = None
    aux: dict[str, Array] = struct.field(default_factory=dict)
    info: dict[str, Array] = struct.field(default_factory=dict)

    @property
    def observation(self) -> PyTree:
        """The observation the agent acted on."""
        return self.inputs.observation

    @property
    def done(self) -> Array:
        """True where the episode ended with this step, for whichever reason."""
        return self.terminated | self.truncated

    @property
    def is_first(self) -> Array:
        """True where the step is the first of an episode."""
        return self.inputs.done

    @property
    def is_last(self) -> Array:
        """True where the step is the last of an episode: `done`, by a name that cannot be mistaken."""
        return self.terminated | self.truncated


def vary_alike(tree: PyTree, *others: PyTree) -> PyTree:
    """Let every leaf vary over the devices over which any leaf varies, of `tree` or of `others`.

    Inside `jax.shard_map` a constant does not vary, a loop's state must vary in the same way before and after a step.
    Everywhere else the tree is returned as it is.
    """
    axes = frozenset[Any]().union(*map(_varies_over, jax.tree.leaves((tree, others))))
    if not axes:
        return tree
    return jax.tree.map(lambda x: jax.lax.pcast(x, tuple(axes - _varies_over(x)), to="varying"), tree)


def _varies_over(x: Any) -> frozenset[Any]:
    """The axes of the mesh of `jax.shard_map` along which an array varies."""
    described: Any = jax.typeof(x)
    return described.manual_axis_type.varying if hasattr(described, "manual_axis_type") else described.vma


def weak(x: Any) -> Array:
    """Make a scalar weakly typed, as a Python number is: what it is multiplied with keeps its type."""
    x = jnp.asarray(x)
    return convert_element_type_p.bind(x, new_dtype=x.dtype, weak_type=True, sharding=None)


def strong(tree: PyTree) -> PyTree:
    """Make strongly typed arrays of all leaves: what goes round in a scan must keep its type."""

    def convert(x: Any) -> Array:
        try:
            x = jnp.asarray(x)
        except TypeError:
            raise TypeError(
                f"observation and state must be arrays or nested containers of them, got {x!r}; make a dataclass of "
                "arrays with `flax.struct.dataclass`, and leave out text"
            ) from None
        return x if jnp.issubdtype(x.dtype, jax.dtypes.extended) else jax.lax.convert_element_type(x, x.dtype)

    return jax.tree.map(convert, tree)

"""A memory that is itself a linear model, trained by gradient descent on what it sees, a mini-batch of steps at a time.

The weights `W = W_0 + D` map keys to targets. A mini-batch is `size` steps of an episode, counted from its beginning.
With `D` at the mini-batch's beginning, step s has the gradient `g_s` of its loss by the outputs `k_s W`, and step t
reads

    z_t = q_t (W_0 + D - c_t Σ_s η_s k_sᵀ g_s),   s from the mini-batch's beginning to t,

with biases alike. After its last step the mini-batch's updates are added to `D`. This is computed in the dual form: the
sum over s is a product of scores `q_t k_sᵀ` with the `g_s`, so that the weights of single steps are never formed. Where
mini-batches begin differs between rows; a chunk is no longer than a mini-batch, so that it sees at most the end of one,
the beginning of the next, and what follows resets.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.chunks import Masks, State, product, run_chunks


class LearnerSteps(NamedTuple):
    """What the steps of a sequence teach and ask.

    Attributes:
        query: `[batch, time, heads, dim]`.
        key: `[batch, time, heads, dim]`.
        value: The target is `value - key`, `[batch, time, heads, dim]`.
        rate: The learning rates `η`, `[batch, time, heads]`.
    """

    query: Array
    key: Array
    value: Array
    rate: Array


class Learner(NamedTuple):
    """What all episodes begin with.

    Attributes:
        weight: `W_0`, `[heads, dim, dim]`.
        bias: `[heads, dim]`.
        scale: Of the norm of the outputs, `[heads, dim]`.
        shift: Of the norm of the outputs, `[heads, dim]`.
        shares: How much of the updates so far a step of a mini-batch sees, `c`, by its position, `[size]`.
    """

    weight: Array
    bias: Array
    scale: Array
    shift: Array
    shares: Array


class LearnerState(NamedTuple):
    """What a learner has learned; zeros at an episode's beginning.

    Attributes:
        weight: What was added to the weights at the end of mini-batches, `[batch, heads, dim, dim]`.
        bias: Likewise of the biases, `[batch, heads, dim]`.
        weight_update: The sum of the unfinished mini-batch, `Σ η_s k_sᵀ g_s`, `[batch, heads, dim, dim]`.
        bias_update: `Σ η_s g_s`, `[batch, heads, dim]`.
    """

    weight: Array
    bias: Array
    weight_update: Array
    bias_update: Array


def learn_and_read(
    steps: LearnerSteps, learner: Learner, position: Array, reset: Array, state: LearnerState, *, eps: float = 1e-6
) -> tuple[LearnerState, Array]:
    """Train linear models on a sequence, and apply each to its queries.

    The loss of a step is half the squared distance between `norm(k W + b)` and `value - key`, where the norm is a layer
    norm with `scale` and `shift`.

    Args:
        steps: The inputs.
        learner: What they begin with.
        position: The place of a step in its mini-batch, counted from the episode's first step, from 0 to `size - 1`,
            `[batch, time]`.
        reset: True where what was learned is forgotten before the step, `[batch, time]`.
        state: Before the first step; float32 at least: everything is computed in its dtype.
        eps: Added to variances.

    Returns:
        The state after the last step, and `norm(z)`, `[batch, time, heads, dim]`.
    """
    dtype, size = state.weight.dtype, learner.shares.shape[0]
    learner = Learner(*(x.astype(dtype) for x in learner))

    def body(state: State, now: tuple[LearnerSteps, Array], masks: Masks) -> tuple[State, Array]:
        return _chunk(LearnerState(*state), now[0], learner, now[1][:, 0], masks, eps)

    parts, outputs = run_chunks(body, tuple(state), (steps, position[..., None]), reset, size)
    return LearnerState(*parts), outputs


def _chunk(
    state: LearnerState, steps: LearnerSteps, learner: Learner, position: Array, masks: Masks, eps: float
) -> tuple[State, Array]:
    query, key, value, rate = steps
    time, size = jnp.arange(position.shape[1], dtype=position.dtype), learner.shares.shape[0]
    # Positions inside a mini-batch grow by one; it began before the chunk, or with it, where they are as large as that.
    mine = masks.pair & (position[:, :, None] - position[:, None] == (time[:, None] - time[None])[None])[:, None]
    begun = masks.old & (position >= time[None])[:, None]
    after = masks.old & ~begun
    own = product("bhtn,hnp->bhtp", key, learner.weight) + learner.bias[None, :, None]

    def apply(to: Array, weight: Array, bias: Array) -> Array:
        return product("bhtn,bhnp->bhtp", to, weight) + bias[:, :, None]

    def learn(weight: Array, bias: Array, applies: Array) -> Array:
        outputs = own + jnp.where(applies[..., None], apply(key, weight, bias), 0)
        return _gradient(outputs, value - key, learner, eps) * rate[..., None]

    def updates(update: Array, sees: Array) -> tuple[Array, Array]:
        seen = jnp.where(sees[..., None], update, 0)
        return product("bhsn,bhsp->bhnp", key, seen), jnp.sum(seen, axis=2)

    # The mini-batch that began before, which may end here, and those after resets; then the next one.
    update = learn(state.weight, state.bias, begun)
    sums = [x + y for x, y in zip(updates(update, begun), (state.weight_update, state.bias_update), strict=True)]
    weight, bias = (x - learner.shares[-1] * y for x, y in zip((state.weight, state.bias), sums, strict=True))
    update = jnp.where(after[..., None], learn(weight, bias, after), update)

    share = learner.shares[position.astype(jnp.int32)][:, None, :, None]
    scores = jnp.where(mine, product("bhtn,bhsn->bhts", query, key) + 1, 0)
    outputs = product("bhtn,hnp->bhtp", query, learner.weight) + learner.bias[None, :, None]
    outputs -= share * product("bhts,bhsp->bhtp", scores, update)
    before = apply(query, state.weight, state.bias) - share * apply(query, state.weight_update, state.bias_update)
    outputs += jnp.where(begun[..., None], before, 0) + jnp.where(after[..., None], apply(query, weight, bias), 0)

    last = updates(update, mine[..., -1, :])
    kinds, complete = (begun[..., -1], after[..., -1]), position[:, -1] == size - 1
    first = (state.weight, weight), (state.bias, bias)
    unfinished = state.weight_update, state.bias_update
    bases, sums = [], []
    for new, (before, ended), carried in zip(last, first, unfinished, strict=True):
        flags = [flag.reshape(flag.shape + (1,) * (new.ndim - flag.ndim)) for flag in (*kinds, complete)]
        total = new + jnp.where(flags[0], carried, 0)
        kept = jnp.where(flags[0], before, jnp.where(flags[1], ended, 0))
        bases.append(jnp.where(flags[2], kept - learner.shares[-1] * total, kept))
        sums.append(jnp.where(flags[2], 0, total))
    return (*bases, *sums), _normalize(outputs, eps)[0] * learner.scale[None, :, None] + learner.shift[None, :, None]


def _normalize(x: Array, eps: float) -> tuple[Array, Array]:
    """Shift to mean 0 and scale to variance 1; return what it was scaled by, too."""
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    factor = jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps)
    return x * factor, factor


def _gradient(outputs: Array, target: Array, learner: Learner, eps: float) -> Array:
    """The gradient of half the squared distance between the normalized outputs and the target, by the outputs."""
    scale = learner.scale[None, :, None]
    normal, factor = _normalize(outputs, eps)
    inner = (normal * scale + learner.shift[None, :, None] - target) * scale
    mean = jnp.mean(inner, axis=-1, keepdims=True) + normal * jnp.mean(inner * normal, axis=-1, keepdims=True)
    return (inner - mean) * factor

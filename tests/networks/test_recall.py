"""Every memory learns to keep a symbol: the least that may be asked of it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from tests.long_runs import compile_for_long

from memorax.networks.sequence_models import MODELS

SYMBOLS, DELAY, BATCH, WIDTH, STEPS = 4, 6, 64, 32, 400
FLOOR = 0.95
CHANCE = 0.45
"""What no model without memory exceeds: guessing is right in a quarter of the cases."""
FORGETFUL = ("mlp", "frame_stack")


class Reader(nn.Module):
    memory: nn.Module

    @nn.compact
    def __call__(self, inputs, done):
        _, features = self.memory(nn.relu(nn.Dense(WIDTH)(inputs)), done)
        return nn.Dense(SYMBOLS)(features)


def episodes(key):
    """Two episodes a row: a marked symbol, distractors, and a question at the end.

    Returns:
        Inputs `[batch, time, symbols + 2]`, starts, questions and answers `[batch, time]`.
    """
    symbols = jax.random.randint(key, (BATCH, 2, DELAY), 0, SYMBOLS)
    shown = jax.nn.one_hot(symbols, SYMBOLS)
    asks = jnp.zeros((BATCH, 2, DELAY)).at[:, :, -1].set(1.0)
    shown = shown * (1.0 - asks[..., None])
    done = jnp.zeros((BATCH, 2, DELAY), bool).at[:, :, 0].set(True)
    answers = jnp.broadcast_to(symbols[:, :, :1], symbols.shape)
    # A gate that sees nothing but the current input has to be told what to keep.
    inputs = jnp.concatenate([shown, asks[..., None], done[..., None]], -1)
    return tuple(x.reshape(BATCH, 2 * DELAY, *x.shape[3:]) for x in (inputs, done, asks, answers))


def accuracy_after_training(memory):
    model, optimizer = Reader(memory), optax.chain(optax.clip_by_global_norm(1.0), optax.adam(5e-3))
    params = jax.jit(model.init)(jax.random.key(0), *episodes(jax.random.key(0))[:2])

    def loss(params, key):
        inputs, done, asks, answers = episodes(key)
        logits = model.apply(params, inputs, done)
        wrong = optax.softmax_cross_entropy_with_integer_labels(logits, answers)
        right = jnp.argmax(logits, -1) == answers
        return jnp.sum(wrong * asks) / jnp.sum(asks), jnp.sum(right * asks) / jnp.sum(asks)

    @compile_for_long
    def train(params, opt_state, key):
        def step(carry, key):
            params, opt_state = carry
            gradient, right = jax.grad(loss, has_aux=True)(params, key)
            updates, opt_state = optimizer.update(gradient, opt_state)
            return (optax.apply_updates(params, updates), opt_state), right

        return jax.lax.scan(step, (params, opt_state), jax.random.split(key, STEPS))[1]

    return float(train(params, optimizer.init(params), jax.random.key(1))[-20:].mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS.names())
def test_a_symbol_is_kept(name):
    accuracy = accuracy_after_training(MODELS.get(name)(WIDTH))
    if name in FORGETFUL:
        assert accuracy <= CHANCE
    else:
        assert accuracy >= FLOOR

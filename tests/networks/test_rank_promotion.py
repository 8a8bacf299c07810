"""Models broadcast explicitly: users may make it an error that JAX promotes ranks (`jax_numpy_rank_promotion`)."""

import jax
import jax.numpy as jnp
import pytest

from memorax.networks import MLP, SelfAttention, ViT
from memorax.networks.blocks import FFN, MoE, SegmentRecurrence
from memorax.networks.positional_embeddings import POSITIONAL_EMBEDDINGS
from memorax.networks.sequence_models import MODELS, RTU, S5

FEATURES = 7
SMALL = {"features": 11, "num_heads": 2, "head_dim": 4, "context_length": 3}
MORE = {
    **{
        f"attention, {kind}": lambda kind=kind: SelfAttention(**SMALL, positional_embedding=kind)
        for kind in POSITIONAL_EMBEDDINGS
    },
    "segments": lambda: SegmentRecurrence(SelfAttention(**SMALL), memory_length=2, features=FEATURES),
    "rtu with a rectifier": lambda: RTU(features=11, linear=False),
    "s5, bilinear": lambda: S5(features=11, discretization="bilinear"),
}


def make(name):
    return MORE[name]() if name in MORE else MODELS.get(name)(11, **MODELS.get(name).example)


@pytest.mark.parametrize("name", [*MODELS.names(), *MORE])
def test_a_model_promotes_no_ranks(name):
    """A step, and the gradient of a sequence."""
    model, key = make(name), jax.random.key(0)

    def loss(params, inputs):
        carry = model.initialize_carry(key, (2, FEATURES))
        _, outputs = model.apply(params, inputs, done=jnp.zeros(inputs.shape[:2], bool), initial_carry=carry)
        return jnp.sum(outputs)

    with jax.numpy_rank_promotion("raise"):
        step, sequence = (jax.ShapeDtypeStruct((2, time, FEATURES), jnp.float32) for time in (1, 4))
        done = jax.ShapeDtypeStruct((2, 1), bool)
        params = jax.eval_shape(model.init, key, step, done)
        jax.eval_shape(loss, params, step)
        jax.eval_shape(jax.grad(loss), params, sequence)


@pytest.mark.parametrize(
    "block", [FFN(features=FEATURES), MoE(expert=MLP((FEATURES,)), num_experts=3)], ids=["ffn", "moe"]
)
def test_a_block_promotes_no_ranks(block):
    with jax.numpy_rank_promotion("raise"):
        jax.eval_shape(block.init, jax.random.key(0), jax.ShapeDtypeStruct((2, 4, FEATURES), jnp.float32))


def test_pictures_promote_no_ranks():
    with jax.numpy_rank_promotion("raise"):
        jax.eval_shape(ViT(patch_size=4).init, jax.random.key(0), jax.ShapeDtypeStruct((2, 3, 8, 8, 3), jnp.float32))

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from memorax.networks import RNN, SequenceModelWrapper
from memorax.networks.sequence_models import MODELS
from memorax.testing.sequence_model_properties import DONE, FEATURES, PROPERTIES, make_case

HIDDEN = 11


class Leaky(nn.Module):
    """A cell of a user's own: two states of different ranks, the first carry not zero."""

    features: int

    @nn.nowrap
    def initialize_carry(self, key, input_shape):
        batch = input_shape[0]
        return {"slow": jnp.ones((batch, self.features)), "outer": jnp.full((batch, self.features, 2), 0.5)}

    @nn.compact
    def __call__(self, carry, inputs):
        new = nn.Dense(self.features)(inputs)
        slow = 0.7 * carry["slow"] + 0.3 * jnp.tanh(new)
        outer = 0.5 * carry["outer"] + jnp.stack([new, jnp.sin(slow)], -1)
        return {"slow": slow, "outer": outer}, jnp.tanh(outer.sum(-1))


EXTRA = {
    "custom": lambda: RNN(cell=Leaky(HIDDEN)),
    "gru_first_carry": lambda: RNN(cell=nn.GRUCell(HIDDEN, carry_init=nn.initializers.normal(1.0))),
    "nnx_gru": lambda: RNN(nnx.GRUCell(FEATURES, HIDDEN, rngs=nnx.Rngs(0))),
    "nnx_lstm": lambda: SequenceModelWrapper(RNN(nnx.LSTMCell(FEATURES, HIDDEN, rngs=nnx.Rngs(0)))),
}
NAMES = (*MODELS.names(), *EXTRA)
STACKS = ("gpt2", "gtrxl", "mamba2_stack", "xlstm")
KINDS = ("gru", "lru", "mamba", "mamba2", "mlstm", "gated_deltanet", "attention")
"""One of each kernel."""


def quick(name, check):
    """What every change is tested with; the slow run has the rest, which is mostly compilation."""
    if name in STACKS:
        return check in ("stepwise", "forgets", "ignores_old_carry")
    return check not in ("transforms", "half") or name in KINDS


def marked(name, check):
    return pytest.param(name, check, id=f"{check}-{name}", marks=[] if quick(name, check) else [pytest.mark.slow])


@pytest.fixture(scope="module")
def cases():
    return {}


def build(name):
    if name in MODELS:
        model = MODELS.get(name)
        built = model(features=HIDDEN, **model.example)
        return make_case(
            built, receptive_field=1 if model.memoryless else model.receptive_field, tolerance=model.tolerance
        )
    return make_case(EXTRA[name]())


@pytest.mark.parametrize(("name", "check"), [marked(name, check) for name in NAMES for check in PROPERTIES])
def test_property(cases, name, check):
    if name not in cases:
        cases[name] = build(name)
    PROPERTIES[check](cases[name])


@pytest.mark.parametrize("name", MODELS.names())
def test_entry_names_its_source(name):
    assert "Source:" in MODELS.get(name).build.__doc__


def test_misspelt_name_is_helped():
    with pytest.raises(ValueError, match=r"unknown memory model `gruu`; nearest: gru"):
        MODELS.get("gruu")


def test_initial_carry_of_registered_models_ignores_key():
    for name in MODELS:
        model = MODELS.get(name)(features=HIDDEN)
        first, second = (model.initialize_carry(jax.random.key(seed), (2, 3)) for seed in (0, 1))
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), first, second))


@pytest.mark.parametrize(("name", "check"), [marked(name, "half") for name in MODELS])
def test_half_precision_is_one_field(name, check):
    """P9: activations of 16 bits, recurrence of 32: close to 32 bits throughout, with the same carry."""
    entry = MODELS.get(name)
    if entry.memoryless:
        pytest.skip("no recurrence")
    full, half = (entry(features=HIDDEN, **entry.example, **more) for more in ({}, {"dtype": jnp.bfloat16}))
    case = make_case(full)
    want_carry, want = case.apply(case.params, case.inputs, jnp.asarray(DONE), case.carry)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient_and_results(params):
        carry, got = half.apply(params, case.inputs, jnp.asarray(DONE), case.carry)
        return jnp.sum(jnp.square(got)), (carry, got)

    gradient, (carry, got) = gradient_and_results(case.params)
    assert got.dtype == jnp.bfloat16
    assert jax.tree.map(lambda x: x.dtype, carry) == jax.tree.map(lambda x: x.dtype, want_carry)
    scale = float(jnp.max(jnp.abs(want)))
    assert float(jnp.max(jnp.abs(got.astype(jnp.float32) - want))) <= 5e-2 * scale
    for leaf in jax.tree.leaves(gradient):
        assert leaf.dtype == jnp.float32
        assert bool(jnp.all(jnp.isfinite(leaf)))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS.names())
def test_gradients_of_long_sequences_are_finite_and_memory_is_linear(name):
    """P9 and P15: 65,536 steps; and four times as many steps take at most four times the temporary memory."""
    entry = MODELS.get(name)
    model = entry(features=HIDDEN, **entry.example)
    key = jax.random.key(0)
    params = jax.jit(model.init)(key, jnp.zeros((1, 2, FEATURES)), jnp.zeros((1, 2), bool))

    def loss(params, inputs, done):
        return jnp.mean(jnp.square(model.apply(params, inputs, done)[1]))

    def compiled(length):
        inputs = jax.random.normal(key, (1, length, FEATURES))
        done = jax.random.bernoulli(key, 1e-4, (1, length))
        return jax.jit(jax.grad(loss)).lower(params, inputs, done).compile(), (params, inputs, done)

    temporary = [compiled(length)[0].memory_analysis().temp_size_in_bytes for length in (2048, 8192)]
    assert temporary[1] <= 4.2 * temporary[0] + 2**20
    function, arguments = compiled(65_536)
    for leaf in jax.tree.leaves(function(*arguments)):
        assert bool(jnp.all(jnp.isfinite(leaf)))

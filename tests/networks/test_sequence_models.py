import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from tests.conformance.sequence_models import FEATURES, HIDDEN, PROPERTIES, make_case

from memorax.networks import RNN, SequenceModelWrapper
from memorax.networks.sequence_models import MODELS


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


@pytest.fixture(scope="module")
def cases():
    return {}


def build(name):
    if name in MODELS:
        model = MODELS.get(name)
        built = model(features=HIDDEN, **model.example)
        return make_case(built, reach=1 if model.memoryless else model.reach, tolerance=model.tolerance)
    return make_case(EXTRA[name]())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", PROPERTIES.values(), ids=PROPERTIES.keys())
def test_property(cases, name, check):
    if name not in cases:
        cases[name] = build(name)
    check(cases[name])


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

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks import MLP, RNN, RTRL, SequenceModelWrapper
from memorax.networks.sequence_models import MODELS
from memorax.testing.sequence_model_properties import PROPERTIES, make_case

BATCH, TIME, FEATURES, HIDDEN = 2, 7, 3, 5
DONE = np.zeros((BATCH, TIME), bool)
DONE[:, 0] = True
DONE[0, 3] = True
DONE[1, 5] = True
LEGAL = ("stepwise", "chunked", "forgets", "ignores_old_carry", "quarantines_nan", "transforms")
"""Those that hold for RTRL too: its gradient reaches further on purpose, its carry depends on the inputs' width."""
DIAGONAL = [name for name in MODELS if hasattr(getattr(MODELS.get(name)(4), "cell", None), "recurrent_parameters")]


def small(name):
    return MODELS.get(name)(HIDDEN, **MODELS.get(name).example)


def inputs():
    return jax.random.normal(jax.random.key(1), (BATCH, TIME, FEATURES)), jnp.asarray(DONE)


def noisy(params):
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    return jax.tree.unflatten(
        tree, [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    )


def loss_of(outputs, weights):
    return jnp.sum(weights * jnp.sin(outputs))


def streamed(model, params, block):
    """The sum of the gradients of successive blocks, each taken alone."""
    x, done = inputs()
    weights = jax.random.normal(jax.random.key(2), (BATCH, TIME, HIDDEN))

    @jax.jit
    def gradient(params, carry, x, done, weights):
        def loss(params):
            after, outputs = model.apply(params, x, done, carry)
            return loss_of(outputs, weights), after

        return jax.grad(loss, has_aux=True)(params)

    carry = model.initialize_carry(jax.random.key(0), (BATCH, FEATURES))
    total = jax.tree.map(jnp.zeros_like, params)
    for start in range(0, TIME, block):
        piece = (a[:, start : start + block] for a in (x, done, weights))
        new, carry = gradient(params, carry, *piece)
        total = jax.tree.map(jnp.add, total, new)
    return total


def backpropagated(model, params):
    x, done = inputs()
    weights = jax.random.normal(jax.random.key(2), (BATCH, TIME, HIDDEN))
    return jax.jit(jax.grad(lambda p: loss_of(model.apply(p, x, done)[1], weights)))(params)


def error(got, want):
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    # Python's `max` would drop a NaN.
    return float(np.max([jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)) for a, b in pairs]))


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("name", ["gru", "lstm", *DIAGONAL])
def test_the_gradient_is_that_of_the_whole_past(name, block):
    model = RTRL(model=small(name))
    params = noisy(jax.jit(model.init)(jax.random.key(0), *inputs()))
    want = backpropagated(small(name), {"params": params["params"]["model"]})["params"]
    got = streamed(model, params, block)["params"]["model"]
    assert error(got, want) <= 5e-5
    if block == 1:  # without the sensitivities the gradient is another one
        truncated = streamed(small(name), {"params": params["params"]["model"]}, block)["params"]
        assert error(truncated, want) > 1e-2


def test_a_cell_of_a_users_own_is_exact():
    model = RTRL(RNN(nn.MGUCell(HIDDEN)))
    params = noisy(jax.jit(model.init)(jax.random.key(0), *inputs()))
    want = backpropagated(model.model, {"params": params["params"]["model"]})["params"]
    assert error(streamed(model, params, 2)["params"]["model"], want) <= 1e-5


def test_what_lies_below_gets_the_gradient_of_the_sequence_only():
    class Below(nn.Module):
        model: nn.Module

        @nn.nowrap
        def initialize_carry(self, key, input_shape):
            return self.model.initialize_carry(key, (input_shape[0], 4))

        @nn.compact
        def __call__(self, inputs, done, initial_carry=None):
            return self.model(nn.Dense(4)(inputs), done, initial_carry)

    model = Below(RTRL(small("gru")))
    params = noisy(jax.jit(model.init)(jax.random.key(0), *inputs()))
    want = backpropagated(model, params)["params"]
    got = streamed(model, params, 1)["params"]
    assert error(got["model"], want["model"]) <= 1e-5
    assert error(got["Dense_0"], want["Dense_0"]) > 1e-2


def test_diagonal_cells_keep_no_more_than_their_parameters():
    for name in DIAGONAL:
        carry = RTRL(small(name)).initialize_carry(jax.random.key(0), (1, FEATURES))
        variables = small(name).init(jax.random.key(0), jnp.zeros((1, 1, FEATURES)), jnp.zeros((1, 1), bool))
        parameters = sum(x.size for x in jax.tree.leaves(variables))
        assert sum(x.size for x in jax.tree.leaves(carry.sensitivity)) <= 2 * parameters, name


@pytest.fixture(scope="module")
def cases():
    return {}


@pytest.mark.parametrize("name", ["gru", *DIAGONAL[:1]])
@pytest.mark.parametrize("check", LEGAL)
def test_property(cases, name, check):
    if name not in cases:
        cases[name] = make_case(RTRL(MODELS.get(name)(11, **MODELS.get(name).example)))
    PROPERTIES[check](cases[name])


def test_refusals_name_the_cost():
    with pytest.raises(TypeError, match=r"`model` must be a sequence model such as RNN\(cell=...\), got GRUCell"):
        RTRL(nn.GRUCell(4))
    with pytest.raises(ValueError, match="`model` must have a memory to differentiate, got Memoryless"):
        RTRL(SequenceModelWrapper(MLP((4,)))).initialize_carry(jax.random.key(0), (2, 3))
    with pytest.raises(ValueError, match="`max_mib` must be above 0, got 0"):
        RTRL(RNN(nn.GRUCell(4)), max_mib=0)
    with pytest.raises(ValueError, match="`features` of `input_shape` must be known for RTRL, got None"):
        RTRL(RNN(nn.GRUCell(4))).initialize_carry(jax.random.key(0), (2, None))
    message = r"`max_mib` must be at least 98\.1 for 128 states times 200960 parameters, got 64\.0; a diagonal cell"
    with pytest.raises(ValueError, match=message):
        RTRL(RNN(nn.GRUCell(128))).initialize_carry(jax.random.key(0), (2, 394))

"""`memorax.testing.check_sequence_model` on cells and models written outside the package."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from memorax.kernels.linear_scan import linear_scan
from memorax.networks import RNN, Memoroid
from memorax.testing import check_sequence_model

QUICK = ["stepwise", "forgets", "ignores_old_carry", "stable_types"]


class Leaky(nn.Module):
    """A cell of a step."""

    features: int = 7
    leak: float = 0.7

    @nn.nowrap
    def initialize_carry(self, key, input_shape):
        return jnp.zeros((input_shape[0], self.features))

    @nn.compact
    def __call__(self, carry, inputs):
        carry = self.leak * carry + nn.Dense(self.features)(inputs)
        return carry, jnp.tanh(carry)


class Average(nn.Module):
    """A cell of a sequence."""

    features: int = 7

    @nn.nowrap
    def initialize_carry(self, key, input_shape):
        return jnp.zeros((input_shape[0], self.features))

    @nn.compact
    def __call__(self, carry, inputs, done):
        fade = jax.nn.sigmoid(self.param("fade", nn.initializers.normal(), (self.features,)))
        return linear_scan(fade, (1 - fade) * nn.Dense(self.features)(inputs), done, carry)


class Deaf(Average):
    """Ignores resets."""

    @nn.compact
    def __call__(self, carry, inputs, done):
        return Average(self.features)(carry, inputs, jnp.zeros_like(done))


class Widening(Leaky):
    """Its carry changes its type."""

    @nn.compact
    def __call__(self, carry, inputs):
        carry = (carry + nn.Dense(self.features)(inputs)).astype(jnp.int32)
        return carry, carry.astype(jnp.float32)


@pytest.mark.parametrize(
    "model",
    [Leaky(), Average(), RNN(cell=Leaky()), lambda: Memoroid(cell=Average()), Average],
    ids=["step cell", "sequence cell", "rnn", "factory", "class"],
)
def test_own_models_pass(model):
    check_sequence_model(model, properties=QUICK, input_features=6)


def test_every_property_is_checked_by_default():
    check_sequence_model(Average())


def test_a_broken_model_is_told_which_properties_it_lacks():
    with pytest.raises(AssertionError, match=r"3 of 4 properties do not hold") as error:
        check_sequence_model(Deaf(), properties=["stepwise", "forgets", "ignores_old_carry", "causal"])
    text = str(error.value)
    assert "* `forgets` (A sequence with resets equals separate episodes" in text
    assert "row 0, outputs of the episode from step 0: relative difference" in text
    assert "* `causal`" in text
    assert "depends on the inputs of row 0 at steps [0, 1, 2]" in text
    assert "stepwise" not in text


def test_a_carry_that_changes_is_told():
    with pytest.raises(AssertionError, match=r"the model does not run on a sequence: TypeError: (.|\n)* int32"):
        check_sequence_model(Widening())


def test_a_memory_that_should_reach_further_is_told():
    with pytest.raises(AssertionError, match=r"does not depend on its inputs at steps"):
        check_sequence_model(RNN(cell=Leaky(leak=0.0)), properties=["causal"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": 3}, TypeError, "`model` must be a sequence model, a cell, or a function that builds one, got 3"),
        (
            {"model": Leaky(), "properties": ["causl"]},
            ValueError,
            "`properties` must be among step.*, got 'causl'",
        ),
        ({"model": nn.Dense(3)}, TypeError, "`cell` must be a recurrent cell"),
    ],
)
def test_wrong_calls(arguments, error, message):
    with pytest.raises(error, match=message):
        check_sequence_model(**arguments)

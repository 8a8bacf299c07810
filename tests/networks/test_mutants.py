"""Deliberately broken memories, each of which the property made for it must reject."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from memorax.testing.sequence_model_properties import PROPERTIES, make_case

HIDDEN = 11


class Healthy(nn.Module):
    """A plain recurrence, written to be broken in subclasses."""

    @nn.nowrap
    def initialize_carry(self, key, input_shape):
        return jnp.zeros((input_shape[0], HIDDEN))

    def forget(self, done, carry):
        return jnp.where(done[:, None], 0.0, carry)

    def shift(self, done):
        return done

    def prepare(self, inputs):
        return inputs

    def finish(self, first, last, outputs):
        return last, outputs

    @nn.compact
    def __call__(self, inputs, done, initial_carry=None):
        first = jnp.zeros((inputs.shape[0], HIDDEN)) if initial_carry is None else initial_carry
        projected = self.prepare(nn.Dense(HIDDEN)(inputs))
        recurrent = self.param("recurrent", nn.initializers.orthogonal(), (HIDDEN, HIDDEN))

        def step(carry, now):
            new = jnp.tanh(now[0] + self.forget(now[1], carry) @ recurrent)
            return new, new

        xs = (projected.swapaxes(0, 1), self.shift(done).swapaxes(0, 1))
        last, outputs = jax.lax.scan(step, first, xs)
        return self.finish(first, last, outputs.swapaxes(0, 1))


class LateReset(Healthy):
    def shift(self, done):
        return jnp.concatenate([jnp.zeros_like(done[:, :1]), done[:, :-1]], 1)


class EarlyReset(Healthy):
    def shift(self, done):
        return jnp.concatenate([done[:, 1:], jnp.zeros_like(done[:, :1])], 1)


class NoReset(Healthy):
    def forget(self, done, carry):
        return carry


class MultiplyingReset(Healthy):
    def forget(self, done, carry):
        return carry * (1.0 - done[:, None])


class FirstRowReset(Healthy):
    def forget(self, done, carry):
        first = jnp.arange(done.shape[0]) == 0
        return jnp.where((done & first)[:, None], 0.0, carry)


class FirstStepReset(Healthy):
    def shift(self, done):
        return done & (jnp.arange(done.shape[1]) == 0)[None]


class FirstCarry(Healthy):
    def finish(self, first, last, outputs):
        return first, outputs


class TimeMajor(Healthy):
    def finish(self, first, last, outputs):
        return last, outputs.swapaxes(0, 1)


class SeesFuture(Healthy):
    def prepare(self, inputs):
        return inputs + jnp.concatenate([inputs[:, 1:], jnp.zeros_like(inputs[:, :1])], 1)


class MixesRows(Healthy):
    def prepare(self, inputs):
        return inputs + 0.1 * jnp.mean(inputs, 0, keepdims=True)


class Amnesiac(Healthy):
    def forget(self, done, carry):
        return jnp.zeros_like(carry)


class DetachedCarry(Healthy):
    def forget(self, done, carry):
        return jax.lax.stop_gradient(super().forget(done, carry))


class DeadParameter(Healthy):
    def prepare(self, inputs):
        return inputs + 0.0 * self.param("dead", nn.initializers.ones, (1, 1, HIDDEN))


class HalfCarry(Healthy):
    def finish(self, first, last, outputs):
        return last.astype(jnp.bfloat16), outputs


class NestedCarry(Healthy):
    def finish(self, first, last, outputs):
        return (last,), outputs


class ChangesWhenCopied(Healthy):
    scale: float = 1.0

    def prepare(self, inputs):
        return self.scale * inputs

    def __deepcopy__(self, memo):
        return ChangesWhenCopied(scale=0.5)


REJECTED_BY = [
    (LateReset, ("forgets", "stepwise", "causal")),
    (EarlyReset, ("forgets", "causal")),
    (NoReset, ("forgets", "ignores_old_carry", "causal")),
    (MultiplyingReset, ("ignores_old_carry", "quarantines_nan")),
    (FirstRowReset, ("forgets", "ignores_old_carry")),
    (FirstStepReset, ("forgets", "causal")),
    (FirstCarry, ("stepwise", "chunked")),
    (TimeMajor, ("stable_types", "forgets")),
    (SeesFuture, ("causal", "stepwise")),
    (MixesRows, ("causal", "quarantines_nan")),
    (Amnesiac, ("causal",)),
    (DetachedCarry, ("causal",)),
    (DeadParameter, ("gradients_agree",)),
    (HalfCarry, ("stable_types",)),
    (NestedCarry, ("stable_types",)),
    (ChangesWhenCopied, ("copies",)),
]


@pytest.fixture(scope="module")
def cases():
    return {}


@pytest.mark.parametrize("check", PROPERTIES.values(), ids=PROPERTIES.keys())
def test_healthy_model_passes(cases, check):
    if Healthy not in cases:
        cases[Healthy] = make_case(Healthy())
    check(cases[Healthy])


@pytest.mark.parametrize(("mutant", "name"), [(mutant, name) for mutant, names in REJECTED_BY for name in names])
def test_mutant_is_rejected(cases, mutant, name):
    if mutant not in cases:
        cases[mutant] = make_case(mutant())
    with pytest.raises((AssertionError, TypeError, ValueError)):
        PROPERTIES[name](cases[mutant])

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks import RNN, RL2Wrapper
from memorax.testing.sequence_model_properties import BATCH, DONE, FEATURES, PROPERTIES, TIME, make_case

HIDDEN = 11

LEGAL = ("stepwise", "chunked", "gradients_agree", "stable_types", "transforms")
"""Properties that hold although an episode's start is not a start for the memory."""
TRIALS = {"episodes": {"episodes_per_trial": 2}, "steps": {"steps_per_trial": 3}, "never": {}}


class Counter(nn.Module):
    """Counts the steps since it was cleared."""

    @nn.nowrap
    def initialize_carry(self, key, input_shape):
        return jnp.zeros((input_shape[0], 1))

    def __call__(self, carry, inputs):
        return carry + 1, carry + 1


def build(**trial):
    return RL2Wrapper(model=RNN(cell=nn.GRUCell(features=HIDDEN)), **trial)


def starts(trial, done):
    """Where trials start, by the definition, row by row."""
    begins = np.zeros_like(done)
    for row in range(done.shape[0]):
        count = 0
        for t in range(done.shape[1]):
            tick = done[row, t] if "episodes_per_trial" in trial else bool(trial)
            if tick:
                count += 1
            if trial and count > next(iter(trial.values())):
                begins[row, t], count = True, 1
    return begins


@pytest.fixture(scope="module")
def cases():
    return {}


@pytest.mark.parametrize("kind", TRIALS)
@pytest.mark.parametrize("check", LEGAL)
def test_property(cases, kind, check):
    if kind not in cases:
        cases[kind] = make_case(build(**TRIALS[kind]))
    PROPERTIES[check](cases[kind])


@pytest.mark.parametrize("kind", TRIALS)
def test_equals_the_model_cleared_at_trials(cases, kind):
    trial = TRIALS[kind]
    if kind not in cases:
        cases[kind] = make_case(build(**trial))
    case = cases[kind]
    done = np.random.default_rng(0).random((BATCH, TIME)) < 0.5
    done[:, 0] = True
    carry, got = case.apply(case.params, case.inputs, jnp.asarray(done), None)
    inner = {"params": case.params["params"]["model"]}
    want_carry, want = case.model.model.apply(inner, case.inputs, jnp.asarray(starts(trial, done)), case.fresh.memory)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(carry.memory, want_carry)
    if trial:
        assert starts(trial, done).any()


def test_counts_by_hand():
    done = jnp.asarray([[1, 0, 1, 0, 1, 1, 0, 0]], bool)
    inputs = jnp.zeros((1, 8, 1))
    ages = {
        "episodes": [1, 2, 3, 4, 1, 2, 3, 4],
        "steps": [1, 2, 3, 1, 2, 3, 1, 2],
        "never": [1, 2, 3, 4, 5, 6, 7, 8],
    }
    for kind, want in ages.items():
        _, outputs = RL2Wrapper(model=RNN(Counter()), **TRIALS[kind]).apply({}, inputs, done)
        np.testing.assert_array_equal(outputs[0, :, 0], want)


def test_an_episode_start_is_no_start():
    case = make_case(build())
    _, with_starts = case.apply(case.params, case.inputs, jnp.asarray(DONE), case.fresh)
    _, without = case.apply(case.params, case.inputs, jnp.zeros_like(DONE), case.fresh)
    np.testing.assert_array_equal(with_starts, without)


def test_refusals():
    with pytest.raises(TypeError, match=r"`model` must be a sequence model such as RNN\(cell=...\), got GRUCell"):
        RL2Wrapper(nn.GRUCell(4))
    with pytest.raises(ValueError, match="`steps_per_trial` must be at least 1 or None, got 0"):
        build(steps_per_trial=0)
    with pytest.raises(TypeError, match=r"`episodes_per_trial` must be an integer or None, got 1\.5"):
        build(episodes_per_trial=1.5)
    with pytest.raises(
        ValueError, match=r"`episodes_per_trial` \(2\) and `steps_per_trial` \(3\) must not both be given"
    ):
        build(episodes_per_trial=2, steps_per_trial=3)


def test_carry_does_not_depend_on_the_width():
    assert jax.tree.map(jnp.shape, build().initialize_carry(jax.random.key(0), (2, FEATURES))) == (
        (2, HIDDEN),
        (2,),
    )

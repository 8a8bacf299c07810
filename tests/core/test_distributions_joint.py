import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from memorax.core.distributions import Categorical, Joint, MultiCategorical, Normal, SquashedNormal

NVEC = (2, 3, 2)
LOGITS = jax.random.normal(jax.random.key(0), (4, sum(NVEC)))
MASK = jnp.array([[1, 1, 1, 0, 1, 1, 0], [0, 1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 0, 1]], bool)
ACTIONS = np.array(list(itertools.product(*map(range, NVEC))))


def reference(row, mask):
    """Probabilities of all actions by their definition, in float64."""
    logits = np.where(mask[row], np.asarray(LOGITS[row], np.float64), -np.inf)
    parts = [special.softmax(part) for part in np.split(logits, np.cumsum(NVEC)[:-1])]
    return np.array([np.prod([part[i] for part, i in zip(parts, action, strict=True)]) for action in ACTIONS])


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
def test_probabilities_and_entropy_are_those_of_independent_choices(mask):
    distribution = MultiCategorical(LOGITS, mask, NVEC)
    every = jnp.asarray(np.repeat(ACTIONS[:, None], 4, axis=1))
    log_prob = jax.vmap(distribution.log_prob)(every)
    for row in range(4):
        want = reference(row, np.ones_like(MASK) if mask is None else np.asarray(MASK))
        np.testing.assert_allclose(np.exp(log_prob[:, row]), want, atol=1e-6)
        np.testing.assert_allclose(distribution.entropy()[row], special.entr(want).sum(), atol=1e-5)
        assert ACTIONS[want.argmax()].tolist() == distribution.mode()[row].tolist()


def test_samples_follow_the_probabilities():
    distribution = MultiCategorical(LOGITS, MASK, NVEC)
    samples = np.asarray(jax.vmap(distribution.sample)(jax.random.split(jax.random.key(1), 20_000)))
    assert samples.dtype == np.int32
    for row in range(4):
        frequency = [(samples[:, row] == action).all(-1).mean() for action in ACTIONS]
        np.testing.assert_allclose(frequency, reference(row, np.asarray(MASK)), atol=0.015)


def test_an_entry_of_which_nothing_is_allowed_is_uniform_and_passes_no_gradient():
    nothing = MASK.at[:, 2:5].set(False)
    distribution = MultiCategorical(LOGITS, nothing, NVEC)
    samples = jax.vmap(distribution.sample)(jax.random.split(jax.random.key(1), 6_000))[:, 0, 1]
    np.testing.assert_allclose(np.bincount(samples, minlength=3) / 6_000, 1 / 3, atol=0.03)
    gradient = jax.grad(lambda x: MultiCategorical(x, nothing, NVEC).log_prob(jnp.ones((4, 3), int)).sum())(LOGITS)
    assert (gradient[:, 2:5] == 0).all()
    assert (gradient[3, :2] != 0).all()


def test_a_row_of_which_nothing_is_allowed_is_sampled_uniformly():
    distribution = Categorical(jnp.array([1.0, 2.0, 30.0]), jnp.zeros(3, bool))
    samples = jax.vmap(distribution.sample)(jax.random.split(jax.random.key(1), 6_000))
    np.testing.assert_allclose(np.bincount(samples, minlength=3) / 6_000, 1 / 3, atol=0.03)


PARTS = {
    "a": Categorical(LOGITS[:, :3]),
    "b": (Normal(LOGITS[:, :2], LOGITS[:, 2:4]), MultiCategorical(LOGITS, MASK, NVEC)),
}


def joint():
    return Joint({"a": PARTS["a"], "b": Joint(PARTS["b"])})


def test_a_joint_is_the_product_of_its_parts():
    distribution, key = joint(), jax.random.key(2)
    action, log_prob = distribution.sample_and_log_prob(key)
    same = distribution.sample(key)
    assert jax.tree.structure(action) == jax.tree.structure({"a": 0, "b": (0, 0)})
    jax.tree.map(np.testing.assert_array_equal, action, same)
    parts = [PARTS["a"], *PARTS["b"]]
    values = [action["a"], *action["b"]]
    want = sum(part.log_prob(x) for part, x in zip(parts, values, strict=True))
    np.testing.assert_allclose(log_prob, want, rtol=1e-6)
    np.testing.assert_allclose(distribution.log_prob(action), want, rtol=1e-6)
    np.testing.assert_allclose(distribution.entropy(), sum(part.entropy() for part in parts), rtol=1e-6)
    jax.tree.map(
        np.testing.assert_array_equal,
        distribution.mode(),
        {"a": parts[0].mode(), "b": (parts[1].mode(), parts[2].mode())},
    )


def test_parts_are_drawn_independently():
    same = Joint((Categorical(jnp.zeros(2)), Categorical(jnp.zeros(2))))
    first, second = jax.vmap(same.sample)(jax.random.split(jax.random.key(0), 4_000))
    np.testing.assert_allclose((first == second).mean(), 0.5, atol=0.05)


def test_a_joint_tells_which_parts_are_bounded_and_is_a_pytree():
    zeros = jnp.zeros((4, 2))
    distribution = jax.jit(lambda x: x)(Joint({"a": SquashedNormal(zeros, zeros), "b": Joint(PARTS["b"])}))
    assert distribution.bounded == {"a": True, "b": (False, False)}
    assert jax.vmap(lambda x: x.entropy())(distribution).shape == (4,)

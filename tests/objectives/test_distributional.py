"""Projections and histograms against their definitions, computed slowly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from memorax.networks.heads import HLGaussVNetwork
from memorax.objectives import cross_entropy, gaussian_histogram, project
from memorax.objectives.distributional import SMOOTHING

NO_FEATURES = {"Dense_0": {"kernel": jnp.zeros((2, 101)), "bias": jnp.zeros(101)}}
ATOMS = np.linspace(-3.0, 5.0, 9, dtype=np.float32)


def projected(returns, probabilities):
    """Algorithm 1 of the C51 paper, for one distribution."""
    width, result = ATOMS[1] - ATOMS[0], np.zeros(len(ATOMS))
    for value, p in zip(returns, probabilities, strict=True):
        place = (np.clip(value, ATOMS[0], ATOMS[-1]) - ATOMS[0]) / width
        low, high = int(np.floor(place)), int(np.ceil(place))
        if low == high:
            result[low] += p
        else:
            result[low] += p * (high - place)
            result[high] += p * (place - low)
    return result


@pytest.fixture
def returns():
    rng = np.random.default_rng(0)
    values = rng.uniform(-6.0, 8.0, (2, 4, 7)).astype(np.float32)
    values[0, 0, :3] = ATOMS[[0, 4, 8]]
    return values, rng.dirichlet(np.ones(7), (2, 4)).astype(np.float32)


def test_projection(returns):
    values, probabilities = returns
    found = jax.jit(project)(values, probabilities, jnp.asarray(ATOMS))
    assert found.shape == (2, 4, 9)
    expected = [[projected(v, p) for v, p in zip(*row, strict=True)] for row in zip(values, probabilities, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_projection_keeps_mass_always_and_the_mean_inside(returns):
    values, probabilities = returns
    np.testing.assert_allclose(project(values, probabilities, jnp.asarray(ATOMS)).sum(-1), 1.0, atol=1e-6)
    inside = np.clip(values, ATOMS[0], ATOMS[-1])
    mean = (project(inside, probabilities, jnp.asarray(ATOMS)) * ATOMS).sum(-1)
    np.testing.assert_allclose(mean, (inside * probabilities).sum(-1), atol=1e-5)


def test_atoms_are_projected_onto_themselves():
    probabilities = np.random.default_rng(1).dirichlet(np.ones(9)).astype(np.float32)
    np.testing.assert_allclose(project(ATOMS, probabilities, jnp.asarray(ATOMS)), probabilities, atol=1e-6)


@pytest.mark.parametrize("target", [-30.0, -3.5, -2.9, 0.0, 0.3, 5.4, 1e6])
def test_histogram_is_the_mass_of_a_normal_distribution_in_each_bin(target):
    width = float(ATOMS[1] - ATOMS[0])
    edges = np.append(ATOMS, ATOMS[-1] + width) - 0.5 * width
    cumulated = norm.cdf(edges, np.clip(target, edges[0], edges[-1]), SMOOTHING * width)
    expected = np.diff(cumulated) / (cumulated[-1] - cumulated[0])
    found = gaussian_histogram(jnp.float32(target), jnp.asarray(ATOMS))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(), 1.0, atol=1e-6)


def test_histogram_of_a_target_far_inside_has_it_as_its_mean():
    centers = jnp.linspace(-10.0, 10.0, 101)
    targets = jnp.asarray([[-4.0, 0.03], [2.2, 5.11]])
    found = gaussian_histogram(targets, centers)
    assert found.shape == (2, 2, 101)
    np.testing.assert_allclose((found * centers).sum(-1), targets, atol=1e-4)


@pytest.mark.parametrize(("target", "decoded"), [(10.0, 9.863), (9.8, 9.77), (9.4, 9.4), (-9.4, -9.4), (-10.0, -9.863)])
def test_a_histogram_reads_as_its_target_but_for_three_bins_at_either_end(target, decoded):
    centers = HLGaussVNetwork().apply({"params": NO_FEATURES}, jnp.zeros((1, 1, 2))).values
    found = gaussian_histogram(jnp.float32(target), centers)
    np.testing.assert_allclose((found * centers).sum(), decoded, atol=2e-3)


def test_cross_entropy():
    logits = jnp.asarray([[0.0, 1.0, -2.0]])
    log_q = np.log(np.exp(logits) / np.exp(logits).sum())
    p = jnp.asarray([[0.2, 0.5, 0.3]])
    np.testing.assert_allclose(cross_entropy(logits, p), -(p * log_q).sum(-1), rtol=1e-6)
    # Its gradient is the difference of the distributions: it vanishes where they are equal.
    gradient = jax.grad(lambda x: cross_entropy(x, p).sum())(logits)
    np.testing.assert_allclose(gradient, np.exp(log_q) - p, atol=1e-6)

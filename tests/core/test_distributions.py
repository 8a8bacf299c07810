import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from memorax.core.distributions import Beta, Categorical, Normal, SquashedNormal

SAMPLES = 10_000
MASK = jnp.array([[True, False, True, True, False], [False] * 5])
LOGITS = jnp.array([[0.3, 9.0, -1.2, 0.8, 0.1], [1.0, 2.0, 3.0, 4.0, 5.0]])
LOC, LOG_SCALE = jnp.array([[0.3, -1.1], [2.0, 0.0]]), jnp.array([[-0.5, 0.4], [-2.0, 0.7]])
ALPHA, BETA = jnp.array([[1.5, 4.0], [30.0, 1.01]]), jnp.array([[2.5, 1.2], [2.0, 1.01]])
CONTINUOUS = [Normal(LOC, LOG_SCALE), SquashedNormal(LOC, LOG_SCALE), Beta(ALPHA, BETA)]


def scipy_marginal(distribution, row, dimension):
    """The float64 log-density of one dimension, and its support."""
    if isinstance(distribution, Beta):
        reference = stats.beta(float(ALPHA[row, dimension]), float(BETA[row, dimension]), loc=-1, scale=2)
        return reference.logpdf, (-1, 1)
    normal = stats.norm(float(LOC[row, dimension]), np.exp(float(LOG_SCALE[row, dimension])))
    if isinstance(distribution, Normal):
        return normal.logpdf, (normal.ppf(1e-12), normal.ppf(1 - 1e-12))
    return lambda a: normal.logpdf(np.arctanh(a)) - np.log1p(-(a**2)), (-1, 1)


@pytest.mark.parametrize("distribution", CONTINUOUS, ids=lambda d: type(d).__name__)
def test_log_prob_equals_float64_reference(distribution):
    actions = jnp.array([[0.2, -0.7], [0.97, 0.4]])
    want = [sum(scipy_marginal(distribution, r, d)[0](float(actions[r, d])) for d in range(2)) for r in range(2)]
    np.testing.assert_allclose(distribution.log_prob(actions), want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("distribution", CONTINUOUS, ids=lambda d: type(d).__name__)
def test_entropy_equals_float64_integral(distribution):
    want = np.zeros(2)
    for row in range(2):
        for dimension in range(2):
            log_density, support = scipy_marginal(distribution, row, dimension)
            points = np.tanh(float(LOC[row, dimension])) if isinstance(distribution, SquashedNormal) else None
            minus = lambda a, f=log_density: -np.exp(f(a)) * f(a) if f(a) > -700 else 0.0  # noqa: E731
            with np.errstate(divide="ignore", invalid="ignore"):
                value = integrate.quad(minus, *support, points=[points] if points is not None else None, limit=500)
            want[row] += value[0]
    np.testing.assert_allclose(distribution.entropy(), want, atol=2e-5 if not isinstance(distribution, Beta) else 2e-4)


@pytest.mark.parametrize("distribution", CONTINUOUS, ids=lambda d: type(d).__name__)
def test_density_integrates_to_one(distribution):
    low, high = (-1.0, 1.0) if distribution.bounded else (-12.0, 12.0)
    edges = np.linspace(low, high, 1201)
    middle = (edges[1:] + edges[:-1]) / 2
    grid = jnp.asarray(np.stack(np.meshgrid(middle, middle, indexing="ij"), -1), jnp.float32)[:, :, None]
    if isinstance(distribution, SquashedNormal):  # narrower, or the density has poles at the border
        distribution = distribution.replace(log_scale=LOG_SCALE - 0.6)
    one = jax.tree.map(lambda x: x[None, None, :1], distribution)
    density = np.exp(np.asarray(jax.jit(lambda d, g: d.log_prob(g))(one, grid), np.float64))
    assert abs(density.sum() * ((high - low) / 1200) ** 2 - 1) < 2e-3


@pytest.mark.parametrize("distribution", CONTINUOUS, ids=lambda d: type(d).__name__)
def test_samples_have_the_density(distribution):
    actions, log_probs = jax.vmap(distribution.sample_and_log_prob)(jax.random.split(jax.random.key(3), SAMPLES))
    assert actions.shape == (SAMPLES, 2, 2)
    assert log_probs.shape == (SAMPLES, 2)
    np.testing.assert_allclose(
        -log_probs.mean(0), distribution.entropy(), atol=5 * float(log_probs.std()) / SAMPLES**0.5
    )
    within = np.abs(actions).max() < 1.0 - 1e-5
    if within:
        np.testing.assert_allclose(distribution.log_prob(actions[7]), log_probs[7], atol=1e-3)
    for row in range(2):
        log_density, (low, _) = scipy_marginal(distribution, row, 1)
        point = float(np.quantile(actions[:, row, 1], 0.3))
        mass = integrate.quad(lambda a, f=log_density: np.exp(f(a)), low, point, limit=200)[0]
        assert abs(mass - 0.3) < 0.025


@pytest.mark.parametrize("distribution", CONTINUOUS, ids=lambda d: type(d).__name__)
def test_mode_beats_its_neighbors(distribution):
    if isinstance(distribution, SquashedNormal):
        np.testing.assert_allclose(distribution.mode(), jnp.tanh(LOC), rtol=1e-6)
        return
    top = distribution.log_prob(distribution.mode())
    for step in (-0.01, 0.01):
        assert (distribution.log_prob(distribution.mode() + step) < top).all()


def test_beta_mode_of_the_flat_density_is_the_middle():
    assert float(Beta(jnp.ones(1), jnp.ones(1)).mode()[0]) == 0.0
    assert jnp.isfinite(jax.grad(lambda a: Beta(a, jnp.ones(1)).mode()[0])(jnp.ones(1))).all()


@pytest.mark.parametrize("action", [-1.0, 1.0, 1.0 - 1e-7, 0.0])
@pytest.mark.parametrize("extreme", [(0.0, -20.0), (0.0, 2.0), (50.0, 0.0), (-9.0, -5.0)])
def test_squashed_normal_is_finite_at_extremes(action, extreme):
    parameters = tuple(jnp.full((1, 2), x) for x in extreme)

    def everything(loc, log_scale, action):
        distribution = SquashedNormal(loc, log_scale)
        sample, log_prob = distribution.sample_and_log_prob(jax.random.key(0))
        scaled = distribution.log_prob(action) * jnp.exp(2 * jnp.minimum(log_scale[0, 0], 0.0))
        return (scaled + log_prob + distribution.entropy() + sample.sum(-1)).sum()

    value, gradients = jax.value_and_grad(everything, (0, 1, 2))(*parameters, jnp.full((1, 2), action))
    assert jnp.isfinite(value)
    assert all(jnp.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("action", [-1.0, 1.0, 0.0])
@pytest.mark.parametrize("extreme", [(1.0, 1.0), (1.0, 900.0), (1e4, 1e4)])
def test_beta_is_finite_at_extremes(action, extreme):
    def everything(alpha, beta):
        distribution = Beta(alpha, beta)
        sample, _ = distribution.sample_and_log_prob(jax.random.key(0))
        return (distribution.log_prob(jnp.full((1, 2), action)) + distribution.entropy() + sample.sum(-1)).sum()

    value, gradients = jax.value_and_grad(everything, (0, 1))(*(jnp.full((1, 2), x) for x in extreme))
    assert jnp.isfinite(value)
    assert all(jnp.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(("log_scale", "tolerance"), [(-5.0, 1e-5), (0.0, 1e-5), (0.7, 1e-4), (2.0, 3e-2)])
def test_squashed_normal_entropy_accuracy_by_scale(log_scale, tolerance):
    scale = np.exp(log_scale)

    def integrand(z):
        u = 0.4 + scale * z
        return 2 * (np.log(2) - u - np.logaddexp(0, -2 * u)) * stats.norm.pdf(z)

    want = 0.5 * np.log(2 * np.pi * np.e) + log_scale + integrate.quad(integrand, -12, 12, limit=400)[0]
    got = SquashedNormal(jnp.array([0.4]), jnp.array([log_scale])).entropy()
    assert abs(float(got) - want) < tolerance


def test_categorical_equals_scipy():
    distribution = Categorical(LOGITS)
    want = special.log_softmax(np.asarray(LOGITS, np.float64), axis=-1)
    np.testing.assert_allclose(distribution.log_prob(jnp.array([2, 4])), want[[0, 1], [2, 4]], rtol=1e-5)
    np.testing.assert_allclose(distribution.entropy(), stats.entropy(np.exp(want), axis=-1), rtol=1e-4)
    np.testing.assert_array_equal(distribution.mode(), [1, 4])


def test_masked_actions_have_no_probability_and_are_never_drawn():
    distribution = Categorical(LOGITS[:1], MASK[:1])
    np.testing.assert_array_equal(distribution.probabilities[0, [1, 4]], [0.0, 0.0])
    np.testing.assert_allclose(distribution.probabilities.sum(), 1.0, rtol=1e-6)
    actions = jax.vmap(distribution.sample)(jax.random.split(jax.random.key(0), 2000))[:, 0]
    counts = np.bincount(actions, minlength=5) / 2000
    assert counts[1] == counts[4] == 0
    np.testing.assert_allclose(counts, distribution.probabilities[0], atol=0.05)
    assert int(distribution.mode()[0]) == 3
    without = special.log_softmax(np.asarray(LOGITS, np.float64)[0, [0, 2, 3]])
    np.testing.assert_allclose(distribution.entropy()[0], stats.entropy(np.exp(without)), rtol=1e-5)
    np.testing.assert_allclose(distribution.log_prob(jnp.array([2]))[0], without[1], rtol=1e-5)


def test_masked_gradients_are_finite_and_zero_where_masked():
    def everything(logits):
        distribution = Categorical(logits, MASK)
        return (distribution.log_prob(jnp.array([0, 1])) + distribution.entropy()).sum()

    gradient = jax.grad(everything)(LOGITS)
    assert jnp.isfinite(gradient).all()
    assert not gradient[0, [1, 4]].any()
    assert not gradient[1].any(), "a row without a choice passes no gradient"
    assert gradient[0, [0, 2, 3]].all()


@pytest.mark.parametrize("scale", [1e30, -1e30])
def test_categorical_is_finite_at_extreme_logits(scale):
    logits = jnp.array([[0.0, 1.0, -1.0]]) * scale

    def everything(logits):
        return (Categorical(logits).entropy() + jnp.exp(Categorical(logits).log_prob(jnp.array([1])))).sum()

    value, gradient = jax.value_and_grad(everything)(logits)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()


def test_infinitely_unlikely_action_has_finite_entropy_and_gradient():
    logits = jnp.array([[0.0, -jnp.inf, 1.0]])
    value, gradient = jax.value_and_grad(lambda x: Categorical(x).entropy().sum())(logits)
    np.testing.assert_allclose(value, stats.entropy(special.softmax([0.0, 1.0])), rtol=1e-5)
    assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("kind", [Normal, SquashedNormal, Beta])
def test_compiled_results_equal_eager_ones_at_a_size_where_operations_are_fused(kind):
    first, second, action = jax.random.uniform(jax.random.key(5), (3, 16, 128, 6), minval=-0.99, maxval=0.99)
    parameters = (first + 2.1, second + 2.1) if kind is Beta else (first, second)

    def everything(parameters, action):
        distribution = kind(*parameters)
        return distribution.log_prob(action), distribution.entropy()

    gradient = jax.grad(lambda *x: sum(y.sum() for y in everything(*x)), (0, 1))
    for function in (everything, gradient):
        got, want = jax.jit(function)(parameters, action), function(parameters, action)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), got, want)


@pytest.mark.parametrize("distribution", [Categorical(LOGITS, MASK), *CONTINUOUS], ids=lambda d: type(d).__name__)
def test_distributions_are_pytrees(distribution):
    @jax.jit
    def through(d):
        return jax.tree.map(lambda x: x, d)

    same = through(distribution)
    assert type(same) is type(distribution)
    assert same.bounded is (type(distribution) in (SquashedNormal, Beta))
    rows = jax.vmap(lambda d: d.entropy())(distribution)
    np.testing.assert_allclose(rows, distribution.entropy(), rtol=1e-5)

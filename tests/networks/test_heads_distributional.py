import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.core.spaces import Box, Discrete
from memorax.networks import heads

FEATURES = jax.random.normal(jax.random.key(1), (2, 3, 7))
HEADS = {
    "c51": heads.C51QNetwork(action_dim=5, num_atoms=11, v_min=-2.0, v_max=6.0),
    "c51 dueling": heads.C51QNetwork(action_dim=5, num_atoms=11, v_min=-2.0, v_max=6.0, dueling=True),
    "hl-gauss": heads.HLGaussQNetwork(action_dim=5, num_bins=11, v_min=-2.0, v_max=6.0),
    "hl-gauss dueling": heads.HLGaussQNetwork(action_dim=5, num_bins=11, v_min=-2.0, v_max=6.0, dueling=True),
    "hl-gauss of a state": heads.HLGaussVNetwork(num_bins=11, v_min=-2.0, v_max=6.0),
}


@pytest.fixture(params=HEADS)
def head(request):
    return HEADS[request.param]


def shape(head):
    return (2, 3, 5) if hasattr(head, "action_dim") else (2, 3)


def test_probabilities_and_their_mean(head, key):
    output, _ = head.init_with_output(key, FEATURES)
    assert output.probabilities.shape == (*shape(head), 11)
    np.testing.assert_allclose(output.probabilities.sum(-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(output.mean(), (output.probabilities * output.values).sum(-1), atol=1e-6)
    assert ((output.mean() >= -2.0) & (output.mean() <= 6.0)).all()


def test_values_are_atoms_or_centers_of_bins(head, key):
    values = head.init_with_output(key, FEATURES)[0].values
    expected = np.linspace(-2.0, 6.0, 11)
    if not isinstance(head, heads.C51QNetwork):
        edges = np.linspace(-2.0, 6.0, 12)
        expected = 0.5 * (edges[1:] + edges[:-1])
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_every_parameter_matters(head, key):
    params = head.init(key, FEATURES)
    gradient = jax.grad(lambda params: jnp.square(head.apply(params, FEATURES).mean()).sum())(params)
    assert all(np.isfinite(x).all() and np.abs(x).max() > 0 for x in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", ["c51 dueling", "hl-gauss dueling"])
def test_dueling_centers_the_advantages(name, key):
    head = HEADS[name]
    params = head.init(key, FEATURES)
    layer = params["params"]["_ActionLogits_0"]
    value = FEATURES @ layer["value"]["kernel"]
    np.testing.assert_allclose(head.apply(params, FEATURES).logits.mean(-2), value, atol=1e-5)


@pytest.mark.parametrize("name", ["c51", "hl-gauss"])
def test_masked_actions_have_the_least_value(name, key):
    mask = jnp.arange(5) != 2
    output, _ = HEADS[name].init_with_output(key, FEATURES, jnp.broadcast_to(mask, (2, 3, 5)))
    assert (output.mean()[..., 2] == -1e9).all()
    assert (output.mean()[..., mask] >= -2.0).all()


def test_outputs_go_through_jit(head, key):
    params = head.init(key, FEATURES)
    output = jax.jit(head.apply)(params, FEATURES)
    assert type(output) is type(head.apply(params, FEATURES))
    np.testing.assert_allclose(output.mean(), head.apply(params, FEATURES).mean(), atol=1e-6)


@pytest.mark.parametrize("kind", [heads.C51QNetwork, heads.HLGaussQNetwork])
def test_action_spaces_that_do_not_fit_are_refused(kind):
    kind(action_dim=5).check_action_space(Discrete(5))
    with pytest.raises(ValueError, match=f"`action_dim` of head `{kind.__name__}` must be 4 .*, got 5"):
        kind(action_dim=5).check_action_space(Discrete(4))
    with pytest.raises(TypeError, match=f"head `{kind.__name__}` needs a Discrete action space, got Box"):
        kind(action_dim=5).check_action_space(Box(-1.0, 1.0, (5,)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: heads.C51QNetwork(action_dim=0), "`action_dim` must be at least 1, got 0"),
        (lambda: heads.C51QNetwork(action_dim=2, num_atoms=1), "`num_atoms` must be at least 2, got 1"),
        (lambda: heads.HLGaussQNetwork(action_dim=2, num_bins=1), "`num_bins` must be at least 2, got 1"),
        (lambda: heads.HLGaussQNetwork(action_dim=-1), "`action_dim` must be at least 1, got -1"),
        (lambda: heads.HLGaussVNetwork(num_bins=0), "`num_bins` must be at least 2, got 0"),
        (lambda: heads.HLGaussVNetwork(v_min=3.0, v_max=3.0), "`v_max` must be above 3.0, got 3.0"),
        (lambda: heads.C51QNetwork(action_dim=2, v_min=float("nan")), "`v_min` must be finite, got nan"),
    ],
)
def test_bad_sizes_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()

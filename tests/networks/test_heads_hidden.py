"""Heads with hidden layers of their own, and heads written outside the package."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.core import distributions
from memorax.core.spaces import Discrete
from memorax.networks import heads

FEATURES = jax.random.normal(jax.random.key(1), (2, 3, 5))
HEADS = {
    "Categorical": lambda **options: heads.Categorical(action_dim=4, **options),
    "MultiCategorical": lambda **options: heads.MultiCategorical(nvec=(2, 3), **options),
    "Gaussian": lambda **options: heads.Gaussian(action_dim=2, **options),
    "SquashedGaussian": lambda **options: heads.SquashedGaussian(action_dim=2, **options),
    "Beta": lambda **options: heads.Beta(action_dim=2, **options),
    "VNetwork": heads.VNetwork,
    "DiscreteQNetwork": lambda **options: heads.DiscreteQNetwork(action_dim=4, dueling=True, **options),
    "BranchingQNetwork": lambda **options: heads.BranchingQNetwork(nvec=(2, 3), **options),
    "HLGaussVNetwork": lambda **options: heads.HLGaussVNetwork(num_bins=7, **options),
    "HLGaussQNetwork": lambda **options: heads.HLGaussQNetwork(action_dim=4, num_bins=7, **options),
    "C51QNetwork": lambda **options: heads.C51QNetwork(action_dim=4, num_atoms=7, **options),
    "ContinuousQNetwork": lambda **options: heads.ContinuousQNetwork(features=(6,), **options),
    "TwinContinuousQNetwork": lambda **options: heads.TwinContinuousQNetwork(features=(6,), **options),
}


def arguments(name):
    return {"action": jnp.ones((2, 3, 4))} if "Continuous" in name else {}


@pytest.mark.parametrize("name", HEADS)
def test_hidden_layers_are_additive(name):
    def init(**options):
        return jax.eval_shape(lambda: HEADS[name](**options).init(jax.random.key(0), FEATURES, **arguments(name)))

    plain, deep = init()["params"], init(hidden=(8, 9))["params"]
    inner = deep.get("q", deep)
    layers = inner.pop("hidden")
    assert {k: v["kernel"].shape[-2:] for k, v in layers.items()} == {"Dense_0": (5, 8), "Dense_1": (8, 9)}
    assert jax.tree.structure(deep) == jax.tree.structure(plain)  # the names of all other parameters stay


@pytest.mark.parametrize("name", [name for name in HEADS if "Continuous" not in name])
def test_a_head_is_applied_to_its_hidden_layers(name):
    head = HEADS[name](hidden=(8,), activation=nn.tanh)
    params = head.init(jax.random.key(0), FEATURES)["params"]
    layer = params["hidden"]["Dense_0"]
    hidden = jnp.tanh(FEATURES @ layer["kernel"] + layer["bias"])
    rest = {key: value for key, value in params.items() if key != "hidden"}
    got, want = head.apply({"params": params}, FEATURES), HEADS[name]().apply({"params": rest}, hidden)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, want)


def test_every_head_has_hidden_layers():
    classes = {name for name, value in vars(heads).items() if isinstance(value, type) and issubclass(value, nn.Module)}
    assert classes - {"Alpha", "GVF", "Horde", "Hybrid"} == set(HEADS)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hidden": 128}, TypeError, r"`hidden` must be a sequence, each entry an integer, got 128; write \(128,\)"),
        ({"hidden": (0,)}, ValueError, "`hidden` must be at least 1, got 0"),
        ({"activation": "tanh"}, TypeError, "`activation` must be callable, got 'tanh'"),
    ],
)
@pytest.mark.parametrize("name", HEADS)
def test_wrong_layers_are_refused(name, options, error, message):
    with pytest.raises(error, match=message):
        HEADS[name](**options)


class Mine(nn.Module):
    """A policy head of a user's own."""

    action_dim: int

    @nn.compact
    def __call__(self, features, action_mask=None):
        return distributions.Categorical(2.0 * nn.Dense(self.action_dim)(features), action_mask)

    @nn.nowrap
    def check_action_space(self, space):
        heads.Categorical(self.action_dim).check_action_space(space)


def test_heads_of_ones_own():
    heads.check_policy_head("actor", Mine(4))
    assert isinstance(Mine(4), heads.PolicyHead)
    Mine(4).check_action_space(Discrete(4))
    assert isinstance(heads.Categorical(4), heads.PolicyHead)
    message = r"`actor` must have a policy head, got Dense without a method `check_action_space\(space\)`; see `memorax"
    with pytest.raises(TypeError, match=message):
        heads.check_policy_head("actor", nn.Dense(4))
    with pytest.raises(TypeError, match="`actor` must have a policy head, a Flax Linen module, got 3"):
        heads.check_policy_head("actor", 3)

"""A head with demons: what it gives, what it is made of, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.core.spaces import Box, Discrete
from memorax.networks import heads
from memorax.networks.heads import HLGaussValues, HordeValues

FEATURES = jax.random.normal(jax.random.key(1), (2, 3, 7))


def reward(transition):
    return transition.reward


def gvf(head=None, gamma=0.5, cumulant=reward):
    return heads.GVF(heads.VNetwork() if head is None else head, gamma=gamma, cumulant=cumulant)


def horde():
    histogram = heads.HLGaussVNetwork(num_bins=11)
    return heads.Horde(heads.VNetwork(), {"sum": gvf(), "histogram": gvf(histogram)})


def test_each_head_gives_values_of_its_own(key):
    output, params = horde().init_with_output(key, FEATURES)
    assert isinstance(output, HordeValues)
    assert list(output.demons) == ["sum", "histogram"]
    assert output.main.shape == output.demons["sum"].shape == (2, 3)
    assert isinstance(output.demons["histogram"], HLGaussValues)
    assert output.demons["histogram"].logits.shape == (2, 3, 11)
    assert not np.allclose(output.main, output.demons["sum"])
    assert set(params["params"]) == {"head", "demons_sum", "demons_histogram"}
    np.testing.assert_array_equal(output.main, heads.VNetwork().apply({"params": params["params"]["head"]}, FEATURES))


def test_every_parameter_matters_to_its_own_head_only(key):
    head = horde()
    params = head.init(key, FEATURES)
    gradient = jax.grad(lambda params: head.apply(params, FEATURES).demons["sum"].sum())(params)["params"]
    assert all((x != 0).any() for x in jax.tree.leaves(gradient.pop("demons_sum")))
    assert all((x == 0).all() for x in jax.tree.leaves(gradient))


def test_it_goes_through_jit(key):
    head = horde()
    params = head.init(key, FEATURES)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(head.apply)(params, FEATURES), head.apply(params, FEATURES))


def test_masks_reach_the_heads_that_take_one(key):
    actions = heads.Horde(
        heads.DiscreteQNetwork(5), {"dueling": gvf(heads.DiscreteQNetwork(5, dueling=True)), "state": gvf()}
    )
    mask = jnp.broadcast_to(jnp.arange(5) != 2, (2, 3, 5))
    output, _ = actions.init_with_output(key, FEATURES, action_mask=mask)
    for values in (output.main, output.demons["dueling"]):
        assert (values[..., 2] == -1e9).all()
        assert (values[mask] > -1e3).all()
    assert output.demons["state"].shape == (2, 3)


def test_action_spaces_have_to_fit_every_head():
    fits = heads.Horde(heads.DiscreteQNetwork(5), {"other": gvf(heads.C51QNetwork(5))})
    fits.check_action_space(Discrete(5))
    horde().check_action_space(Box(-1.0, 1.0, (2,)))
    with pytest.raises(ValueError, match=r"`action_dim` of head `DiscreteQNetwork` must be 4 .*, got 5"):
        fits.check_action_space(Discrete(4))
    wrong = heads.Horde(heads.DiscreteQNetwork(5), {"other": gvf(heads.C51QNetwork(3))})
    with pytest.raises(ValueError, match=r"`action_dim` of head `C51QNetwork` must be 5 .*, got 3"):
        wrong.check_action_space(Discrete(5))


@pytest.mark.parametrize("gamma", [0, 1, np.float32(0.5)])
def test_the_borders_of_the_discount_are_allowed(gamma):
    assert gvf(gamma=gamma).gamma == gamma


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: gvf(gamma=1.5), ValueError, r"`gamma` must be in \[0, 1\], got 1.5"),
        (lambda: gvf(gamma=-0.1), ValueError, r"`gamma` must be in \[0, 1\], got -0.1"),
        (lambda: gvf(gamma=float("nan")), ValueError, r"`gamma` must be in \[0, 1\], got nan"),
        (lambda: gvf(gamma="0.9"), TypeError, "`gamma` must be a number, got '0.9'"),
        (lambda: gvf(gamma=True), TypeError, "`gamma` must be a number, got True"),
        (lambda: gvf(cumulant=1.0), TypeError, "`cumulant` must be a function of transitions, got 1.0"),
        (lambda: gvf(heads.Categorical(3)), TypeError, "`head` of GVF must be a head for values .*, got Categorical"),
        (lambda: gvf(heads.ContinuousQNetwork()), TypeError, "or of all actions, .*, got ContinuousQNetwork"),
        (lambda: gvf(heads.TwinContinuousQNetwork()), TypeError, "or of all actions, .*, got TwinContinuousQNetwork"),
        (lambda: gvf(heads.Alpha()), TypeError, "`head` of GVF must be a head for values .*, got Alpha"),
        (lambda: gvf(gvf()), TypeError, "`head` of GVF must be a head for values .*, got GVF"),
        (lambda: gvf("value"), TypeError, "`head` of GVF must be a head for values .*, got 'value'"),
        (lambda: heads.Horde(horde(), {"x": gvf()}), TypeError, "`head` of Horde must be a head for .*, got Horde"),
        (lambda: heads.Horde(heads.VNetwork(), {}), ValueError, "`demons` must not be empty, got {}; use the main"),
        (lambda: heads.Horde(heads.VNetwork(), [gvf()]), TypeError, "`demons` must be a dictionary of GVFs, got "),
        (lambda: heads.Horde(heads.VNetwork(), {"": gvf()}), TypeError, "strings, not empty, got ''"),
        (lambda: heads.Horde(heads.VNetwork(), {3: gvf()}), TypeError, "`demons` must have names .*, got 3"),
        (
            lambda: heads.Horde(heads.VNetwork(), {"x": heads.VNetwork()}),
            TypeError,
            r"`demons` must be GVFs, got VNetwork for `x`; write `GVF\(head, ...\)`",
        ),
    ],
)
def test_what_does_not_fit_is_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_one_object_is_not_two_heads():
    head = heads.VNetwork()
    message = "`demons` must have a head of their own each, got one object twice"
    with pytest.raises(ValueError, match=message):
        heads.Horde(head, {"x": gvf(head)})
    demon = gvf()
    with pytest.raises(ValueError, match=message):
        heads.Horde(heads.VNetwork(), {"x": demon, "y": demon})

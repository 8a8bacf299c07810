"""Heads for actions of several parts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.core import distributions
from memorax.core.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from memorax.learning.values import expected_values
from memorax.networks import heads
from memorax.networks.heads.value import MASKED_VALUE

FEATURES = jax.random.normal(jax.random.key(1), (2, 3, 5))
MASK = jnp.broadcast_to(jnp.array([True, False, True, True, False]), (2, 3, 5))


def apply(head, *args, **kwargs):
    return head.init_with_output(jax.random.key(0), *args, **kwargs)[0]


def test_a_multi_categorical_has_a_logit_for_each_choice():
    distribution = apply(heads.MultiCategorical((2, 3)), FEATURES, action_mask=MASK)
    assert distribution.logits.shape == (2, 3, 5)
    assert distribution.nvec == (2, 3)
    np.testing.assert_array_equal(distribution.entries()[0].probabilities[..., 1], 0.0)
    np.testing.assert_allclose(apply(heads.MultiCategorical((2, 3)), FEATURES).entropy(), np.log(6), atol=1e-2)


def test_branches_share_a_state_value_and_center_their_advantages():
    head = heads.BranchingQNetwork((2, 3))
    values, variables = head.init_with_output(jax.random.key(0), FEATURES)
    layers = variables["params"]
    state_value = FEATURES @ layers["value"]["kernel"] + layers["value"]["bias"]
    assert sorted(layers) == ["advantage_0", "advantage_1", "value"]
    for i, branch in enumerate(values.branches):
        advantage = FEATURES @ layers[f"advantage_{i}"]["kernel"] + layers[f"advantage_{i}"]["bias"]
        want = state_value + advantage - advantage.mean(-1, keepdims=True)
        np.testing.assert_allclose(branch, want, rtol=1e-5, atol=1e-6)
    plain = heads.BranchingQNetwork((2, 3), dueling=False).init(jax.random.key(0), FEATURES)["params"]
    assert sorted(plain) == ["advantage_0", "advantage_1"]


def test_masked_choices_have_the_lowest_value():
    first, second = apply(heads.BranchingQNetwork((2, 3)), FEATURES, action_mask=MASK).branches
    assert (first[..., 1] == MASKED_VALUE).all()
    assert (second[..., 2] == MASKED_VALUE).all()
    assert (jnp.concatenate([first[..., :1], second[..., :2]], -1) > MASKED_VALUE).all()


@pytest.mark.parametrize(
    "head", [heads.DiscreteQNetwork(5), heads.C51QNetwork(5), heads.HLGaussQNetwork(5), heads.BranchingQNetwork((2, 3))]
)
def test_where_a_mask_allows_nothing_all_is_allowed(head):
    """As policies take it; returns would bootstrap from -1e9."""
    mask = jnp.ones((*FEATURES.shape[:2], 5), bool).at[0, 1].set(False).at[1, :, 3].set(False)
    values, free = (apply(head, FEATURES, **given) for given in ({"action_mask": mask}, {}))
    values, free = (x.branches if hasattr(x, "branches") else (expected_values(x),) for x in (values, free))
    values, free = (jnp.concatenate(x, axis=-1) for x in (values, free))
    np.testing.assert_array_equal(values[0], free[0])
    assert (values[1, :, 3] == MASKED_VALUE).all()


def hybrid():
    inner = heads.Hybrid((heads.Gaussian(action_dim=2), heads.MultiCategorical((2, 2))))
    return heads.Hybrid({"move": heads.Categorical(action_dim=3), "hand": inner})


SPACE = Dict({"move": Discrete(3), "hand": Tuple([Box(-1.0, 1.0, (2, 1)), MultiBinary(2)])})


def test_a_hybrid_has_a_head_for_each_part():
    head = hybrid()
    head.check_action_space(SPACE)
    distribution = apply(head, FEATURES)
    action = distribution.sample(jax.random.key(0))
    assert jax.tree.map(jnp.shape, action) == {"move": (2, 3), "hand": ((2, 3, 2), (2, 3, 2))}
    assert isinstance(distribution.parts["hand"].parts[1], distributions.MultiCategorical)
    assert distribution.log_prob(action).shape == (2, 3)


def test_masks_reach_the_parts_that_have_one():
    masks = {"move": jnp.broadcast_to(jnp.array([False, True, False]), (2, 3, 3))}
    action = apply(hybrid(), FEATURES, action_mask=masks).sample(jax.random.key(0))
    assert (action["move"] == 1).all()
    masks = {"hand": (None, jnp.broadcast_to(jnp.array([False, True, True, False]), (2, 3, 4)))}
    action = apply(hybrid(), FEATURES, action_mask=masks).sample(jax.random.key(0))
    np.testing.assert_array_equal(action["hand"][1], jnp.broadcast_to(jnp.array([1, 0]), (2, 3, 2)))


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"feet": MASK}, r"`action_mask` of head `Hybrid` must be of its parts \['move', 'hand'\], got one of 'feet'"),
        ({"hand": (MASK, None)}, "`action_mask` must be of parts with discrete actions, got one of Gaussian"),
        ({"move": MASK}, "`action_mask` of head `Categorical` must have a last axis of 3"),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks, message):
    with pytest.raises(ValueError, match=message):
        apply(hybrid(), FEATURES, action_mask=masks)


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        (Discrete(3), TypeError, r"head `Hybrid` of these parts needs a Dict action space, got Discrete\(3\)"),
        (Dict({"move": Discrete(3)}), ValueError, r"`parts` of head `Hybrid` must be \['move'\] for"),
        (Dict({**SPACE.spaces, "move": Discrete(2)}), ValueError, "`action_dim` of head `Categorical` must be 2"),
        (Dict({**SPACE.spaces, "hand": Discrete(2)}), TypeError, "head `Hybrid` of these parts needs a Tuple"),
    ],
)
def test_other_spaces_are_refused(space, error, message):
    with pytest.raises(error, match=message):
        hybrid().check_action_space(space)


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        (3, TypeError, "`parts` must be a dictionary or a sequence of policy heads, got 3"),
        ({}, ValueError, "`parts` must hold at least one policy head"),
        ({"a": heads.VNetwork()}, TypeError, r"`parts\['a'\]` must have a policy head, got VNetwork"),
        ([nn.Dense], TypeError, r"`parts\[0\]` must have a policy head, a Flax Linen module, got <class"),
    ],
)
def test_other_parts_are_refused(parts, error, message):
    with pytest.raises(error, match=message):
        heads.Hybrid(parts)


def test_spaces_name_the_heads_that_serve_them():
    for space, hint in (
        (MultiDiscrete((2, 3)), "use `MultiCategorical`"),
        (SPACE, "use `Hybrid`"),
        (Box(-1.0, 1.0, (2,)), "use a continuous head"),
    ):
        with pytest.raises(TypeError, match=hint):
            heads.Categorical(action_dim=3).check_action_space(space)
    with pytest.raises(TypeError, match="declare whole numbers as MultiDiscrete"):
        heads.Gaussian(action_dim=2).check_action_space(Box(0, 5, (2,), jnp.int32))

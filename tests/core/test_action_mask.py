import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from memorax.core.spaces import (
    Box,
    Dict,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    Tuple,
    check_action_mask,
    split_action_mask,
)

MASK, VECTOR, CARD = Box(0, 1, (4,), bool), Box(0.0, 1.0, (2,)), Discrete(3)


def test_one_entry_beside_the_mask_is_taken_out_of_its_dictionary():
    assert split_action_mask(Dict({"action_mask": MASK, "observation": VECTOR})) == (VECTOR, MASK)
    for kind in (dict, FrozenDict):
        rest, mask = split_action_mask(kind({"action_mask": jnp.ones((5, 4), bool), "seen": jnp.zeros((5, 2))}))
        assert rest.shape == (5, 2)
        assert mask.shape == (5, 4)


def test_several_entries_stay_a_dictionary():
    space = Dict({"action_mask": MASK, "a": VECTOR, "b": CARD})
    rest, mask = split_action_mask(space)
    assert rest == Dict({"a": VECTOR, "b": CARD})
    assert mask == MASK
    seen, allowed = split_action_mask(space.sample(jax.random.key(0)))
    assert sorted(seen) == ["a", "b"]
    assert bool(rest.contains(seen))
    assert bool(mask.contains(allowed))


@pytest.mark.parametrize("space", [VECTOR, CARD, Dict({"a": VECTOR}), Tuple((VECTOR, CARD))])
def test_without_a_mask_everything_stays(space):
    assert split_action_mask(space) == (space, None)
    sample = space.sample(jax.random.key(0))
    rest, mask = split_action_mask(sample)
    assert rest is sample
    assert mask is None


def test_a_mask_alone_is_refused():
    for alone in (Dict({"action_mask": MASK}), {"action_mask": jnp.ones((4,), bool)}):
        with pytest.raises(ValueError, match="must hold more than `action_mask`"):
            split_action_mask(alone)


PARTS = Dict({"a": Discrete(2), "b": Tuple([Box(0.0, 1.0, (2,)), MultiBinary((2, 1))])})


def test_masks_that_allow_something_are_accepted():
    check_action_mask(Discrete(3), np.array([[0, 1, 0], [1, 1, 1]]))
    check_action_mask(MultiDiscrete([[2, 3]]), np.ones((4, 5), bool))
    check_action_mask(PARTS, {"b": (None, np.array([1, 0, 0, 1]))})
    check_action_mask(PARTS, {"a": np.array([True, False]), "b": [None, None]})


@pytest.mark.parametrize(
    ("space", "mask", "message"),
    [
        (Discrete(3), [[1, 0, 0], [0, 0, 0]], "must allow at least one action of Discrete"),
        (MultiDiscrete((2, 3)), [1, 1, 0, 0, 0], "must allow at least one action of entry 1 of MultiDiscrete"),
        (PARTS, {"a": [0, 0]}, "must allow at least one action of Discrete"),
        (PARTS, {"b": (None, [1, 1, 0, 0])}, "must allow at least one action of entry 1 of MultiBinary"),
        (Discrete(3), [1, 1], r"must have a last axis of 3 for Discrete\(3\), got \(2,\)"),
        (PARTS, {"c": [1]}, "must be that of Dict"),
        (PARTS, {"b": (np.ones(2), None)}, "must be that of Box"),
    ],
)
def test_other_masks_are_refused(space, mask, message):
    with pytest.raises(ValueError, match=f"`action_mask` {message}"):
        check_action_mask(space, mask)

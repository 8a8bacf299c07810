import jax
import jax.numpy as jnp
import pytest
from flax.core import FrozenDict

from memorax.core.spaces import Box, Dict, Discrete, Tuple, split_action_mask

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

"""Spaces: which observations and actions an environment has.

Spaces are plain immutable values: equal spaces compare and hash equal, so they can be static arguments of `jax.jit`.
They describe one environment; batch axes belong to the caller.
"""

from memorax.core.spaces.action_mask import ACTION_MASK as ACTION_MASK
from memorax.core.spaces.action_mask import check_action_mask as check_action_mask
from memorax.core.spaces.action_mask import split_action_mask as split_action_mask
from memorax.core.spaces.base import Space as Space
from memorax.core.spaces.blank import blank as blank
from memorax.core.spaces.blank import with_blank as with_blank
from memorax.core.spaces.box import Box as Box
from memorax.core.spaces.discrete import Discrete as Discrete
from memorax.core.spaces.discrete import MultiBinary as MultiBinary
from memorax.core.spaces.discrete import MultiDiscrete as MultiDiscrete
from memorax.core.spaces.encode import encode as encode
from memorax.core.spaces.flat import change_space as change_space
from memorax.core.spaces.flat import flatten_space as flatten_space
from memorax.core.spaces.flat import map_space as map_space
from memorax.core.spaces.flat import plain as plain
from memorax.core.spaces.foreign import from_foreign as from_foreign
from memorax.core.spaces.nested import Dict as Dict
from memorax.core.spaces.nested import Tuple as Tuple

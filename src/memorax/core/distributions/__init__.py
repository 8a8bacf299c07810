"""Probability distributions over actions: closed forms, registered as pytrees, safe at their extremes.

Every distribution has `sample(key)`, `log_prob(action)`, `sample_and_log_prob(key)`, `entropy()`, `mode()` and the
attribute `bounded`: True where actions are in `[-1, 1]` and are rescaled to the action space by the caller.
"""

from memorax.core.distributions.continuous import Beta as Beta
from memorax.core.distributions.continuous import Normal as Normal
from memorax.core.distributions.continuous import SquashedNormal as SquashedNormal
from memorax.core.distributions.discrete import Categorical as Categorical
from memorax.core.distributions.discrete import MultiCategorical as MultiCategorical
from memorax.core.distributions.joint import Joint as Joint

"""Exact gradients of a memory make a difference where what is written must be learned; the settings are the benchmark's."""

import numpy as np
import pytest
from benchmarks.rtrl import Settings, measure

SETTINGS = Settings(seed=500, points=2)
"""With other seeds than those that are reported."""


def last_returns(gradient):
    return np.array(measure(gradient, SETTINGS)["curve"][-1])


@pytest.mark.slow
def test_exact_gradients_learn_what_to_write():
    returns = last_returns("rtrl")
    assert (returns >= 0.9).all(), returns


@pytest.mark.slow
def test_gradients_of_one_step_do_not():
    returns = last_returns("one_step")
    assert (returns < 0.6).all(), returns

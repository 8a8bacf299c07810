"""Exact gradients of a memory are what it takes where what is written must be learned; settings of the benchmark."""

import numpy as np
import pytest
from benchmarks.rtrl import Settings, measure
from tests.long_runs import compile_for_long

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SETTINGS = Settings(seed=500, points=6)
"""With other seeds than those that are reported."""


def last_returns(gradient):
    return np.array(measure(gradient, SETTINGS, compile_for_long)["curve"][-1])


def test_exact_gradients_learn_what_to_write():
    returns = last_returns("rtrl")
    assert (returns >= 0.9).all(), returns


def test_gradients_of_one_step_do_not():
    returns = last_returns("one_step")
    assert (returns < 0.6).all(), returns

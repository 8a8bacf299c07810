"""Replays under random operations, beside one made of lists; and what is broken is noticed."""

import functools
import inspect
import types

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.buffers import oracle as lists

from memorax.buffers import (
    episode_buffer,
    get_full_start_flags,
    layout,
    make_episode_buffer,
    make_prioritised_episode_buffer,
    prioritised_episode_buffer,
    sum_tree,
)

BATCH = 5
RINGS = {  # (length, sequence, rows, period, flags): odd sizes, and rings that divide by nothing
    "single step": (5, 1, 3, 1, lists.flagged),
    "whole ring": (6, 6, 2, 1, get_full_start_flags),
    "two levels": (37, 4, 3, 1, lists.flagged),
    "long sequences": (23, 17, 2, 1, get_full_start_flags),
    "period": (20, 7, 3, 5, get_full_start_flags),
    "period longer than sequences": (12, 2, 2, 4, lists.flagged),
}


class Subject:
    """A replay, compiled once, and its oracle."""

    def __init__(self, make, ring, **options):
        length, sequence, rows, period, flags = ring
        self.buffer = make(
            length * rows,
            2 * rows,
            BATCH,
            sequence,
            flags,
            add_sequences=True,
            add_batch_size=rows,
            period=period,
            **options,
        )
        self.layout = self.buffer.layout
        self.add, self.draw = jax.jit(self.buffer.add), jax.jit(self.buffer.sample)
        self.can_sample = jax.jit(self.buffer.can_sample)
        self.prioritized = hasattr(self.buffer, "set_priorities")
        if self.prioritized:
            self.set = jax.jit(self.buffer.set_priorities)

    def start(self):
        self.state = self.buffer.init(lists.make_item())
        self.oracle = lists.Oracle(self.layout)
        self.drawn = []

    def append(self, count, rng):
        flags = rng.random((self.layout.rows, count)) < 1 / lists.EPISODE
        if self.layout.get_start_flags is get_full_start_flags:
            flags[:] = True
        self.state = self.add(self.state, lists.steps(self.layout.rows, self.oracle.time, count, flags))
        self.oracle.add(flags)

    def sample(self, rng):
        if not self.oracle.can_sample():
            return
        sample = self.draw(self.state, jax.random.key(int(rng.integers(2**31))))
        starts = lists.are_whole_sequences(self.oracle, sample.experience)
        assert all(self.oracle.priorities[start] > 0 for start in starts)
        if self.prioritized:
            np.testing.assert_array_equal(sample.indices, starts)
            whole = sum(self.oracle.priorities.values())
            likely = [self.oracle.priorities[start] / whole for start in starts]
            np.testing.assert_allclose(sample.probabilities, likely, rtol=1e-5)
            self.drawn.append((sample.indices, starts))

    def prioritize(self, rng):
        """Set priorities of what was drawn last, or long ago."""
        if not self.drawn:
            return
        indices, starts = self.drawn[-1 if rng.random() < 0.5 else rng.integers(len(self.drawn))]
        priorities = rng.exponential(2.0, BATCH).astype(np.float32)
        priorities[rng.random(BATCH) < 0.1] = 0.0
        priorities[rng.random(BATCH) < 0.1] = np.nan
        self.state = self.set(self.state, indices, priorities)
        self.oracle.set_priorities(starts, priorities)

    def check(self):
        tree = self.state.sum_tree_state if self.prioritized else self.state.starts
        lists.agree(self.oracle, lists.weights(self.layout, tree, self.oracle.time))
        assert bool(self.can_sample(self.state)) == self.oracle.can_sample()
        assert self.state.current_index == self.oracle.time % self.layout.length
        assert bool(self.state.is_full) == (self.oracle.time >= self.layout.length)
        if self.prioritized:
            np.testing.assert_allclose(self.state.max_recorded_priority.max(), self.oracle.largest, rtol=1e-5)

    def run(self, operations, seed):
        rng = np.random.default_rng(seed)
        self.start()
        for operation in operations:
            if operation == "sample":
                self.sample(rng)
            elif operation == "prioritize":
                self.prioritize(rng)
            else:
                length, sequence = self.layout.length, self.layout.sample_sequence_length
                counts = {"step": 1, "some": 3, "sequence": sequence, "ring": length, "more": 2 * length + 1}
                self.append(min(counts[operation], 2 * length + 1), rng)
            self.check()


@functools.cache
def subject(make, name):
    return Subject(make, RINGS[name])


operations = st.lists(
    st.sampled_from(["step", "step", "step", "some", "sequence", "ring", "more", "sample"]), max_size=25
)
with_priorities = st.lists(
    st.sampled_from(
        ["step", "step", "some", "sequence", "ring", "more", "sample", "sample", "prioritize", "prioritize"]
    ),
    max_size=40,
)
few = settings(max_examples=10, deadline=None, derandomize=True)


@pytest.mark.parametrize("name", ["two levels", "period longer than sequences"])
@few
@given(operations=operations, seed=st.integers(0, 2**16))
def test_uniform_replay_is_a_list(name, operations, seed):
    subject(make_episode_buffer, name).run(operations, seed)


@pytest.mark.parametrize("name", RINGS)
@few
@given(operations=with_priorities, seed=st.integers(0, 2**16))
def test_prioritized_replay_is_a_list(name, operations, seed):
    subject(make_prioritised_episode_buffer, name).run(operations, seed)


MUTANTS = {  # what is broken: where, what stood there, what stands there now
    "columns that hold nothing": (layout, "(age <= filled)", "(filled > 0)"),
    "sequences across the write head": (
        layout,
        "(age >= self.sample_sequence_length) &",
        "(age >= self.sample_sequence_length - 1) &",
    ),
    "flags ignored": (
        layout,
        "self.get_start_flags(steps) & valid",
        "jnp.ones_like(self.get_start_flags(steps)) & valid",
    ),
    "what is completed later never enters": (layout, "[(1, count), (whole, whole + count - 1)]", "[(1, count)]"),
    "what was overwritten stays": (layout, "[(1, count), (whole, whole + count - 1)]", "[(whole, whole + count - 1)]"),
    "overwritten starts get priorities": (prioritised_episode_buffer, "& (age <= layout.length) ", ""),
    "NaN is a priority": (prioritised_episode_buffer, " & ~jnp.isnan(priorities)", ""),
    "new ones enter with 1": (prioritised_episode_buffer, "window.values * largest", "window.values * 1.0"),
    "priorities are not raised": (prioritised_episode_buffer, "priorities**exponent", "priorities"),
    "sums are not updated": (
        sum_tree,
        '_sum(level.at[rows, nodes].get(mode="clip"))',
        "above[rows, nodes // FANOUT, nodes % FANOUT]",
    ),
    "the last of two counts": (sum_tree, ".max(values.astype(lowest.dtype)", ".set(values.astype(lowest.dtype)"),
}


def mutated(module, old, new):
    """The module with one piece of its text replaced."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, old
    mutant = types.ModuleType(module.__name__)
    exec(compile(source.replace(old, new), module.__file__, "exec"), mutant.__dict__)
    return mutant


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_noticed(monkeypatch, name):
    module, old, new = MUTANTS[name]
    mutant = mutated(module, old, new)
    make = getattr(mutant, "make_prioritised_episode_buffer", make_prioritised_episode_buffer)
    for user in (episode_buffer, prioritised_episode_buffer):
        if module is layout:
            monkeypatch.setattr(user, "Layout", mutant.Layout)
        if module is sum_tree:
            monkeypatch.setattr(user, "sum_tree", mutant)
    with pytest.raises(AssertionError):
        go_on(make, get_full_start_flags if name == "columns that hold nothing" else lists.flagged)


def go_on(make, flags):
    """Act and learn as an algorithm does, round the ring more than once."""
    learn = ["sample", "prioritize", "prioritize"]
    Subject(make, (19, 4, 2, 1, flags)).run((["step", *learn] * 6 + ["some", *learn]) * 5, seed=0)


def test_what_is_not_broken_passes_what_mutants_fail():
    go_on(make_prioritised_episode_buffer, lists.flagged)

"""A replay made of lists, and what a real one must agree with it about after every operation."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.types import Timestep, Transition

EPISODE = 4
"""Mean steps between two starts."""


def make_item(*, transition=False):
    """One step, of nested containers and mixed dtypes; `clock` and `row` tell it from all others."""
    inner = {"clock": jnp.zeros((), jnp.uint32), "wide": jnp.zeros((2, 3), jnp.bfloat16)}
    if transition:
        zero, no = jnp.zeros(()), jnp.zeros((), bool)
        timestep = Timestep(inner | {"row": jnp.zeros((), jnp.int8)}, jnp.zeros((), jnp.int32), zero, no)
        return Transition(timestep, jnp.zeros((), jnp.int32), zero, no, no, carry=(jnp.zeros(5),))
    return {"seen": (inner, jnp.zeros((), bool)), "row": jnp.zeros((), jnp.int8)}


def steps(rows, begin, count, flags):
    """Columns `[rows, count]` of such items."""
    clock = np.broadcast_to(np.arange(begin, begin + count), (rows, count))
    wide = np.broadcast_to((clock % 7)[..., None, None], (rows, count, 2, 3))
    inner = {"clock": clock.astype(np.uint32), "wide": wide.astype(jnp.bfloat16)}
    row = np.broadcast_to(np.arange(rows)[:, None], (rows, count)).astype(np.int8)
    return {"seen": (inner, flags), "row": row}


def transitions(rows, begin, count, flags):
    """The same as transitions, whose carry is the clock."""
    plain = steps(rows, begin, count, flags)
    zero, no = np.zeros((rows, count), np.float32), np.zeros((rows, count), bool)
    observation = plain["seen"][0] | {"row": plain["row"]}
    clock = plain["seen"][0]["clock"]
    carry = np.broadcast_to(clock[..., None], (*clock.shape, 5)).astype(np.float32)
    action = clock.astype(np.int32)
    return Transition(Timestep(observation, action, zero, flags), action, zero, no, no, carry=(carry,))


def flagged(experience):
    """Start flags of such items."""
    return experience["seen"][1]


class Oracle:
    """Remembers everything, and works out anew what can be drawn."""

    def __init__(self, layout, exponent=0.6):
        self.layout, self.exponent = layout, exponent
        self.flags = np.zeros((layout.rows, 0), bool)
        self.priorities = {}
        self.largest = 1.0

    @property
    def time(self):
        return self.flags.shape[1]

    def add(self, flags):
        self.flags = np.concatenate([self.flags, flags], axis=1)
        before = self.priorities
        self.priorities = {start: before.get(start, self.largest) for start in self.starts()}

    def starts(self):
        """Rows and steps of what can be drawn: flagged, whole, not overwritten."""
        oldest = max(0, self.time - self.layout.length)
        last = self.time - self.layout.sample_sequence_length
        everywhere = self.layout.period
        return [
            (row, step)
            for row in range(self.layout.rows)
            for step in range(oldest, last + 1)
            if self.flags[row, step] and step % everywhere == 0
        ]

    def set_priorities(self, starts, priorities):
        new = {}
        for start, priority in zip(starts, priorities, strict=True):
            if start in self.priorities and not math.isnan(priority):
                new[start] = max(new.get(start, 0.0), float(priority) ** self.exponent if priority > 0 else 0.0)
        self.priorities |= new
        self.largest = max([self.largest, *new.values()])

    def can_sample(self):
        enough = min(self.time, self.layout.length) >= self.layout.min_columns
        return enough and any(self.priorities.values())


def weights(layout, tree, time):
    """What a tree of sums holds, by row and step; every sum in it is that of its children."""
    for below, above in zip(tree.levels, tree.levels[1:], strict=False):
        sums = np.asarray(jnp.sum(below, axis=-1, dtype=above.dtype))
        held = np.asarray(above).reshape(layout.rows, -1)
        np.testing.assert_array_equal(held[:, : sums.shape[1]], sums)
        assert not held[:, sums.shape[1] :].any()
    leaves = np.asarray(tree.levels[0]).astype(np.float64).reshape(layout.rows, -1)
    assert not leaves[:, layout.places :].any()
    newest = {step % layout.length: step for step in range(max(0, time - layout.length), time)}
    return {
        (row, newest.get(place * layout.period)): leaves[row, place]
        for row, place in zip(*(axis.tolist() for axis in np.nonzero(leaves)), strict=True)
    }


def agree(oracle, held):
    """The replay can draw what the oracle can, as often."""
    expected = {start: weight for start, weight in oracle.priorities.items() if weight > 0}
    assert held.keys() == expected.keys()
    for start, weight in expected.items():
        np.testing.assert_allclose(held[start], weight, rtol=1e-5)


def are_whole_sequences(oracle, experience, make=steps):
    """What was drawn is what was added, in its order; returns where each sequence begins."""
    clock = np.asarray(jax.tree.leaves(experience)[0] if make is steps else experience.action)
    row = np.asarray(experience["row"] if make is steps else experience.inputs.observation["row"])
    clock = np.asarray(experience["seen"][0]["clock"]) if make is steps else clock
    length = oracle.layout.sample_sequence_length
    for i in range(len(row)):
        begin, flags = int(clock[i, 0]), oracle.flags[:, int(clock[i, 0]) :][:, :length]
        added = jax.tree.map(lambda x, i=i: x[row[i, 0]], make(oracle.layout.rows, begin, length, flags))
        drawn = jax.tree.map(lambda x, i=i: np.asarray(x[i]), experience)
        if make is transitions:
            kept = None if drawn.carry is None else jax.tree.map(lambda x: x[:1], added.carry)
            added = added.replace(carry=kept)
        jax.tree.map(np.testing.assert_array_equal, drawn, added)
        assert jax.tree.map(lambda x: x.dtype, drawn) == jax.tree.map(lambda x: x.dtype, added)
    return [(int(r[0]), int(c[0])) for r, c in zip(row, clock, strict=True)]

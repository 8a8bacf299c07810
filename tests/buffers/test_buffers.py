"""What replays promise besides drawing the right sequences: types, sizes, seeds, devices, messages."""

import dataclasses

import flashbax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from scipy import stats
from tests.assertions import assert_equal
from tests.buffers import oracle as lists

import memorax.buffers
from memorax.buffers import (
    PrioritisedEpisodeBufferSample,
    compute_importance_weights,
    get_full_start_flags,
    get_start_flags_from_done,
    make_episode_buffer,
    make_prioritised_episode_buffer,
)

MAKERS = [make_episode_buffer, make_prioritised_episode_buffer]
SIZES = {"max_length": 40, "min_length": 12, "sample_batch_size": 3, "sample_sequence_length": 5}
ROWS, COLUMNS = 4, 13


def make(maker=make_prioritised_episode_buffer, flags=lists.flagged, **sizes):
    return maker(**SIZES | {"get_start_flags": flags, "add_batch_size": ROWS} | sizes)


def some_steps(rows=ROWS, count=COLUMNS, begin=0, make_steps=lists.steps):
    flags = np.random.default_rng(begin).random((rows, count)) < 0.5
    flags[:, 2:3] = True
    return make_steps(rows, begin, count, flags)


def compiled(buffer):
    names = ["init", "add", "sample", "can_sample"] + ["set_priorities"] * hasattr(buffer, "set_priorities")
    return dataclasses.replace(buffer, **{name: jax.jit(getattr(buffer, name)) for name in names})


@pytest.fixture(scope="module")
def replay():
    buffer = compiled(make())
    state = buffer.add(buffer.init(lists.make_item()), some_steps())
    return buffer, buffer.add(state, some_steps(count=1, begin=COLUMNS))


def test_the_types_are_those_of_flashbax(replay, key):
    buffer, state = replay
    module = flashbax.prioritised_trajectory_buffer
    assert isinstance(buffer, module.PrioritisedTrajectoryBuffer)
    assert isinstance(state, module.PrioritisedTrajectoryBufferState)
    sample = buffer.sample(state, key)
    assert type(sample) is PrioritisedEpisodeBufferSample
    assert isinstance(sample, module.PrioritisedTrajectoryBufferSample)
    assert list(sample) == ["experience", "indices", "probabilities"]
    uniform = make(make_episode_buffer)
    assert isinstance(uniform, flashbax.trajectory_buffer.TrajectoryBuffer)
    state = uniform.init(lists.make_item())
    assert isinstance(state, flashbax.trajectory_buffer.TrajectoryBufferState)
    assert isinstance(uniform.sample(state, key), flashbax.trajectory_buffer.TrajectoryBufferSample)


def test_the_room_has_no_other_names():
    with pytest.raises(AttributeError, match="has no attribute 'make_buffer'"):
        memorax.buffers.make_buffer  # noqa: B018


def described(tree):
    return [(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("maker", MAKERS)
def test_the_state_keeps_its_types_and_is_donated(maker, key):
    buffer = make(maker)
    state = jax.jit(buffer.init)(lists.make_item())
    before = described(state)
    assert not any(weak for _, _, weak in before)
    leaves = jax.tree.leaves(state)
    state = jax.jit(buffer.add, donate_argnums=0)(state, some_steps())  # warns, and so fails, where it cannot be
    assert all(leaf.is_deleted() for leaf in leaves)
    assert described(state) == before
    if hasattr(buffer, "set_priorities"):
        sample = buffer.sample(state, key)
        assert described(buffer.set_priorities(state, sample.indices, jnp.ones(3))) == before


def test_seeds_side_by_side_are_seeds_alone(replay):
    buffer, state = replay
    keys = jax.random.split(jax.random.key(1), 2)
    states = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    samples = jax.vmap(buffer.sample)(states, keys)
    later = jax.vmap(buffer.set_priorities)(states, samples.indices, jnp.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    later = jax.vmap(buffer.add)(later, jax.tree.map(lambda x: np.stack([x, x]), some_steps(count=1, begin=14)))
    for i in range(2):
        sample = buffer.sample(state, keys[i])
        assert_equal(jax.tree.map(lambda x, i=i: x[i], samples), sample)
        alone = buffer.set_priorities(state, sample.indices, jnp.asarray([1.0, 2.0, 3.0]) + 3 * i)
        alone = buffer.add(alone, some_steps(count=1, begin=14))
        assert_equal(jax.tree.map(lambda x, i=i: x[i], later), alone)


def test_every_device_may_draw_from_its_own_rows(replay, key):
    buffer, state = replay
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    by_row = jax.tree.map(lambda x: P("rows") if x.ndim else P(), state)
    spread = jax.device_put(state, jax.tree.map(lambda spec: NamedSharding(mesh, spec), by_row))

    def learn(state, key, batch):
        sample = buffer.sample(state, jax.random.fold_in(key, jax.lax.axis_index("rows")))
        state = buffer.set_priorities(state, sample.indices, jnp.asarray([2.0, 0.5, 7.0]))
        return buffer.add(state, batch), sample

    batch = some_steps(count=1, begin=14)
    specs = {"mesh": mesh, "in_specs": (by_row, P(), P("rows")), "out_specs": (by_row, P("rows"))}
    after, samples = jax.jit(jax.shard_map(learn, **specs))(spread, key, batch)
    assert {tuple(x.sharding.spec)[:1] for x in jax.tree.leaves(after) if x.ndim} == {("rows",)}
    for i in range(2):
        mine = slice(2 * i, 2 * i + 2)
        half = jax.tree.map(lambda x, mine=mine: x[mine] if x.ndim else x, state)
        sample = buffer.sample(half, jax.random.fold_in(key, i))
        half = buffer.set_priorities(half, sample.indices, jnp.asarray([2.0, 0.5, 7.0]))
        half = buffer.add(half, jax.tree.map(lambda x, mine=mine: x[mine], batch))
        assert_equal(jax.tree.map(lambda x, i=i: x[3 * i : 3 * i + 3], samples), sample)
        assert_equal(jax.tree.map(lambda x, mine=mine: x[mine] if x.ndim else x, after), half)
    # Without `shard_map` the devices draw together, as one would.
    assert_equal(jax.jit(buffer.sample)(spread, key), buffer.sample(state, key))


def starts_drawn(buffer, state, draws):
    """How often each start was drawn, by row and step."""
    keys = jax.random.split(jax.random.key(2), draws // buffer.layout.sample_batch_size)
    experience = jax.jit(jax.vmap(lambda key: buffer.sample(state, key).experience))(keys)
    row, clock = (np.asarray(x, int)[..., 0].ravel() for x in (experience["row"], experience["seen"][0]["clock"]))
    return np.bincount(row * 100 + clock)


def test_the_uniform_one_draws_all_starts_equally_often():
    # Rows with different numbers of starts, after the ring has wrapped.
    buffer = compiled(make(make_episode_buffer, sample_batch_size=20))
    steps = some_steps()
    steps["seen"][1][3] = False
    steps["seen"][1][3, 5] = True
    state = buffer.add(buffer.init(lists.make_item()), steps)
    counts = starts_drawn(buffer, state, 10_000)
    expected = np.zeros(400)
    for row, step in np.argwhere(steps["seen"][1][:, 3:9]):
        expected[row * 100 + step + 3] = 1
    counts = np.pad(counts, (0, 400 - len(counts)))
    assert not counts[expected == 0].any()
    assert stats.chisquare(counts[expected == 1]).pvalue > 1e-3


def test_the_prioritized_one_draws_by_priority(key):
    buffer = compiled(make(flags=get_full_start_flags, sample_batch_size=20, priority_exponent=0.5))
    state = buffer.add(buffer.init(lists.make_item()), some_steps())
    indices = jnp.asarray([(row, step) for row in range(ROWS) for step in range(3, 9)], jnp.uint32)
    priorities = np.random.default_rng(0).exponential(1.0, len(indices))
    state = buffer.set_priorities(state, indices, jnp.asarray(priorities))
    counts = starts_drawn(buffer, state, 10_000)
    observed = np.pad(counts, (0, 400))[[100 * row + step for row, step in np.asarray(indices)]]
    assert observed.sum() == 10_000
    assert stats.chisquare(observed, 10_000 * priorities**0.5 / (priorities**0.5).sum()).pvalue > 1e-3


@pytest.mark.parametrize(("maker", "period"), list(zip(MAKERS, [5, 1], strict=True)))
def test_a_carry_is_stored_once_per_place_and_drawn_once_per_sequence(maker, period):
    buffer = make(maker, get_full_start_flags, period=period, max_length=80)
    item = lists.make_item(transition=True)
    state, oracle = buffer.init(item), lists.Oracle(buffer.layout)
    add, sample = jax.jit(buffer.add), jax.jit(buffer.sample)
    assert state.experience.carry[0].shape == (ROWS, 20 // period, 5)
    for i, count in enumerate([1, 3, 17, 1, 1, 3, 1, 45, 1]):
        flags = np.ones((ROWS, count), bool)
        state = add(state, lists.transitions(ROWS, oracle.time, count, flags))
        oracle.add(flags)
        if oracle.can_sample():
            experience = sample(state, jax.random.key(i)).experience
            assert set(lists.are_whole_sequences(oracle, experience, lists.transitions)) <= oracle.priorities.keys()


def test_no_carry_is_stored_where_sequences_begin_with_episodes(key):
    buffer = compiled(make(make_episode_buffer, get_start_flags_from_done))
    state = buffer.init(lists.make_item(transition=True))
    assert state.experience.carry is None
    steps = some_steps(make_steps=lists.transitions)
    experience = buffer.sample(buffer.add(state, steps), key).experience
    assert experience.carry is None
    assert experience.inputs.done[:, 0].all()


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("rows", [None, 3])
@pytest.mark.parametrize("add_sequences", [False, True])
def test_items_may_be_added_with_the_axes_announced_or_with_all(maker, rows, add_sequences):
    buffer = compiled(make(maker, add_batch_size=rows, add_sequences=add_sequences))
    state = buffer.init(lists.make_item())
    steps = some_steps(rows or 1, count=2 if add_sequences else 1)
    given = steps if add_sequences else jax.tree.map(lambda x: x[:, 0], steps)
    given = given if rows else jax.tree.map(lambda x: x[0], given)
    assert_equal(buffer.add(state, given), buffer.add(state, steps))


def test_what_is_not_like_the_items_is_not_added(replay):
    buffer, state = replay
    steps = some_steps()
    for wrong in (
        jax.tree.map(lambda x: x[:3], steps),
        jax.tree.map(lambda x: x[0, 0], steps),
        steps | {"row": steps["row"].astype(np.int32)},
        steps | {"row": steps["row"][..., None]},
    ):
        with pytest.raises(ValueError, match=r"must be \w+ \[4, time.*\] to be added, got \w+ \[.*`add_batch_size`"):
            buffer.add(state, wrong)


def test_importance_weights_are_those_of_the_paper():
    probabilities, beta = np.asarray([0.5, 0.01, 1e-7, 0.2]), 0.6
    expected = (1000 * probabilities) ** -beta
    weights = compute_importance_weights(jnp.asarray(probabilities), 1000, beta)
    np.testing.assert_allclose(weights, expected / expected.max(), rtol=1e-4)
    np.testing.assert_array_equal(compute_importance_weights(jnp.asarray(probabilities), 1000, 0.0), 1.0)


def test_an_empty_replay_says_so_and_learns_nothing_from_what_it_drew(replay, key):
    buffer, _ = replay
    state = buffer.init(lists.make_item())
    assert not buffer.can_sample(state)
    sample = buffer.sample(state, key)
    np.testing.assert_array_equal(sample.probabilities, 0.0)
    assert_equal(buffer.set_priorities(state, sample.indices, jnp.ones(3)), state)
    # Long enough, but with no start: episodes may be longer than the ring.
    state = buffer.add(state, lists.steps(ROWS, 0, COLUMNS, np.zeros((ROWS, COLUMNS), bool)))
    assert state.is_full
    assert not buffer.can_sample(state)


def test_extreme_priorities_leave_sums_finite(replay, key):
    buffer, state = replay
    sample = buffer.sample(state, key)
    state = buffer.set_priorities(state, sample.indices, jnp.asarray([jnp.inf, 1e38, -1.0]))
    assert jnp.isfinite(buffer.sample(state, key).probabilities).all()
    state = buffer.add(state, some_steps())
    assert jnp.isfinite(buffer.sample(state, key).probabilities).all()


def test_counters_may_pass_their_end(replay, key):
    # After 2^32 steps of a row its number begins again; what can be drawn does not depend on it.
    buffer, state = replay
    moved = state.replace(running_index=jnp.uint32(2**32 - 2))
    for count in (1, 3):
        state, moved = (buffer.add(x, some_steps(count=count, begin=40 + count)) for x in (state, moved))
    assert moved.running_index == 2
    samples = [buffer.sample(x, key) for x in (state, moved)]
    assert_equal(samples[0].experience, samples[1].experience)
    both = [
        buffer.set_priorities(x, sample.indices, jnp.asarray([9.0, 8.0, 7.0])).sum_tree_state
        for x, sample in zip((state, moved), samples, strict=True)
    ]
    assert_equal(*both)
    assert not jnp.array_equal(both[0].levels[0], state.sum_tree_state.levels[0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_length": 0}, ValueError, "`max_length` must be at least 1, got 0"),
        ({"max_length": 2.5}, TypeError, "`max_length` must be an integer, got 2.5"),
        ({"min_length": 0}, ValueError, "`min_length` must be at least 1"),
        ({"sample_batch_size": 0}, ValueError, "`sample_batch_size` must be at least 1"),
        ({"sample_sequence_length": 0}, ValueError, "`sample_sequence_length` must be at least 1"),
        ({"add_batch_size": 0}, ValueError, "`add_batch_size` must be at least 1"),
        ({"period": 0}, ValueError, "`period` must be at least 1"),
        ({"get_start_flags": "done"}, TypeError, "`get_start_flags` must be callable, got 'done'"),
        ({"max_length": 19}, ValueError, r"`max_length` must be at least 20, .* in each of 4 rows, got 19"),
        ({"max_length": 31, "period": 4}, ValueError, "`max_length` must be at least 32"),
        ({"min_length": 41}, ValueError, "`min_length` must be at most 40, the capacity of the buffer, got 41"),
        ({"period": 2, "get_start_flags": get_start_flags_from_done}, ValueError, r"`period` \(2\) must be 1 if"),
        ({"max_length": 2**31 + 3}, ValueError, "`max_length` must be below 2147483648, because starts"),
    ],
)
@pytest.mark.parametrize("maker", MAKERS)
def test_sizes_that_do_not_fit_are_refused(maker, options, error, message):
    with pytest.raises(error, match=message):
        maker(**SIZES | {"get_start_flags": lists.flagged, "add_batch_size": ROWS} | options)


def test_options_of_one_kind_are_refused():
    with pytest.raises(ValueError, match="`min_length_time_axis` must be at most 10, the capacity of the buffer"):
        make(make_episode_buffer, min_length_time_axis=11)
    with pytest.raises(ValueError, match=r"`priority_exponent` must be in \[0, 1\], got 1.5"):
        make(priority_exponent=1.5)
    with pytest.raises(ValueError, match="`device` must be one of cpu, gpu, tpu, got 'npu'"):
        make(device="npu")


def test_min_length_counts_all_rows_and_min_length_time_axis_one():
    assert make(min_length=13).layout.min_columns == 4
    assert make(make_episode_buffer, min_length_time_axis=7).layout.min_columns == 7


def test_start_flags_that_are_none_are_refused():
    item = lists.make_item()
    with pytest.raises(ValueError, match=r"`get_start_flags` must return one flag per step, .* got \(4,\)"):
        make(flags=lambda x: x["seen"][1][:, 0]).init(item)
    with pytest.raises(TypeError, match="`get_start_flags` must return booleans, got int8"):
        make(flags=lambda x: x["row"]).init(item)
    with pytest.raises(TypeError, match="needs a `Transition` or `Timestep`, got dict; pass `get_start_flags`"):
        make(flags=get_start_flags_from_done).init(item)


def test_episodes_begin_where_a_timestep_says_so():
    steps = some_steps(make_steps=lists.transitions)
    np.testing.assert_array_equal(get_start_flags_from_done(steps), steps.inputs.done)
    np.testing.assert_array_equal(get_start_flags_from_done(steps.inputs), steps.inputs.done)

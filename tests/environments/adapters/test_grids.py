"""XLand-MiniGrid and NAVIX beside the libraries driven by hand."""

from urllib.error import URLError

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests import example_agents
from tests.environments.adapters.by_hand import Library, compare, make_or_skip, trains

from memorax.networks import RNN, RL2Wrapper, layers
from memorax.testing import check_environment

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

MEMORY = ("xminigrid::MiniGrid-MemoryS8", {"max_steps": 20})
DOOR = ("navix::Navix-DoorKey-5x5-v0", {"max_steps": 20})


def xminigrid_by_hand(name, **options):
    import xminigrid

    env, params = xminigrid.make(name, **options)

    def look(timestep):
        ids = timestep.observation
        return jnp.concatenate([jnp.eye(13)[ids[..., 0]], jnp.eye(12)[ids[..., 1]]], axis=-1)

    def reset(key):
        timestep = env.reset(params, key)
        return look(timestep), timestep

    def step(key, timestep, action):
        timestep = env.step(params, timestep, action)
        ended, achieved = timestep.last(), timestep.discount == 0
        return look(timestep), timestep, timestep.reward, ended & achieved, ended & ~achieved

    return Library(reset, step)


def test_xminigrid_steps_like_the_library():
    env, params = make_or_skip(MEMORY[0], **MEMORY[1])
    assert compare(env, params, xminigrid_by_hand("MiniGrid-MemoryS8", max_steps=20)) > 5


def test_navix_steps_like_the_library():
    env, params = make_or_skip(DOOR[0], **DOOR[1])
    import navix

    raw = navix.make("Navix-DoorKey-5x5-v0", max_steps=20, observation_fn=navix.observations.symbolic_first_person)

    def reset(key):
        timestep = raw.reset(key)
        return timestep.observation.astype(jnp.float32), timestep

    def step(key, timestep, action):
        timestep = raw._step(timestep, action)
        kind = timestep.step_type
        return timestep.observation.astype(jnp.float32), timestep, timestep.reward, kind == 2, kind == 1

    assert compare(env, params, Library(reset, step)) > 5


@pytest.mark.parametrize(("name", "options"), [MEMORY, DOOR])
def test_contract(name, options):
    env, params = make_or_skip(name, **options)
    check_environment(env, params, steps=60)
    _, state = env.reset(jax.random.key(0), params)
    picture = np.asarray(env.render(state, params))
    assert (picture.dtype, picture.ndim, picture.shape[-1]) == (np.uint8, 3, 3)
    assert picture.std() > 0


@pytest.mark.parametrize(("name", "options"), [MEMORY, DOOR])
def test_agents_train(name, options, tmp_path):
    make_or_skip(name, **options)
    trains(name, tmp_path, **options)


def benchmark(number=3):
    """Rulesets that differ in the tile to hold."""
    xminigrid = pytest.importorskip("xminigrid", reason="the extra `xminigrid` is not installed")
    from xminigrid.core.goals import AgentHoldGoal
    from xminigrid.core.rules import EmptyRule

    tiles = xminigrid.core.constants.TILES_REGISTRY
    balls = jnp.stack([tiles[3, 1 + color] for color in range(number)])
    goals = jnp.stack([AgentHoldGoal(tile=ball).encode() for ball in balls])
    rules = jnp.tile(EmptyRule().encode()[None, None], (number, 1, 1))
    objects = jnp.tile(balls[None], (number, 1, 1))
    return xminigrid.benchmarks.Benchmark(goals, rules, objects, jnp.zeros(number, jnp.int32))


@pytest.mark.parametrize("reset_pool", [None, 2])
def test_a_ruleset_lasts_for_a_trial(reset_pool):
    options = {"benchmark": benchmark(), "episodes_per_trial": 4, "max_steps": 3, "reset_pool": reset_pool}
    env, params = make_or_skip("xminigrid::XLand-MiniGrid-R1-9x9", **options)

    def act(state, key):
        _, after, _, terminated, truncated, info = env.step(key, state, jnp.int32(0), params)
        same = (after.inner.timestep.state.goal_encoding == params.goal[after.inner.ruleset]).all()
        return after, (state.inner.ruleset, after.inner.ruleset, terminated | truncated, info["trial_begins"], same)

    def walk(key):
        state = env.reset(key, params)[1]
        return jax.lax.scan(act, state, jax.random.split(key, 72))[1]

    before, after, done, begins, same = jax.jit(jax.vmap(walk))(jax.random.split(jax.random.key(0), 5))
    assert same.all()
    assert not (begins & ~done).any()
    np.testing.assert_array_equal(done.sum(axis=1), 24)
    np.testing.assert_array_equal(begins.sum(axis=1), 6)
    changed = before != after
    assert not (changed & ~begins).any()
    assert changed.any()
    assert set(np.unique(after)) == {0, 1, 2}


def test_memory_lasts_for_a_trial():
    episodes, options = 3, {"max_steps": 3, "height": 4, "width": 4, "view_size": 3}
    env, _ = make_or_skip(
        "xminigrid::XLand-MiniGrid-R1-9x9", benchmark=benchmark(2), episodes_per_trial=episodes, **options
    )
    look = nn.Sequential([layers.Flatten(), nn.Dense(7)])
    extract = example_agents.extractor().clone(observation_extractor=look, mask_at_start=False)
    gru = RL2Wrapper(RNN(nn.GRUCell(11)), episodes_per_trial=episodes)
    agent = example_agents.ppo(env, lambda: gru, extract=extract, num_envs=16)
    state = agent.init(jax.random.key(0))
    empty = agent.networks.initialize_carry(jax.random.key(0), 16)
    value = jax.jit(lambda learner, carry, timestep: agent.value(learner)(carry, timestep))
    starts, later, rewarded = 0, 0, 0
    for _ in range(25):
        before = state.loop
        state, taken = agent.rollout(jax.random.key(1), state, 1)
        episode, seen = before.env_state.inner.episode, before.timestep
        np.testing.assert_array_equal(state.loop.carry["actor"].progress, episode + 1)
        # A trial starts with an empty memory, its later episodes with what was remembered, done and paid before.
        begins, goes_on = seen.done & (episode == 0), seen.done & (episode > 0)
        same = np.isclose(taken.aux["value"][:, 0], value(state.learner, empty, seen), atol=1e-6)
        assert same[begins].all()
        assert not same[goes_on].any()
        for other in (seen.replace(reward=seen.reward + 1), seen.replace(action=(seen.action + 1) % 6)):
            assert not np.isclose(taken.aux["value"][:, 0], value(state.learner, before.carry, other), atol=1e-6).any()
        np.testing.assert_array_equal(state.loop.timestep.reward, taken.reward[:, 0])
        np.testing.assert_array_equal(state.loop.timestep.action, taken.action[:, 0])
        starts, later = starts + begins.sum(), later + goes_on.sum()
        rewarded += (state.loop.timestep.done & (taken.reward[:, 0] > 0)).sum()
    assert min(starts, later, rewarded) > 0


def test_a_benchmark_that_cannot_be_downloaded_is_named(monkeypatch):
    xminigrid = pytest.importorskip("xminigrid", reason="the extra `xminigrid` is not installed")

    def load(name):
        raise URLError("no route to host")

    monkeypatch.setattr(xminigrid, "load_benchmark", load)
    with pytest.raises(OSError, match=r"`benchmark` `small-1m` could not be downloaded or read .*no route to host"):
        make_or_skip("xminigrid::XLand-MiniGrid-R1-9x9", benchmark="small-1m")


def test_rulesets_are_asked_for():
    rulesets = benchmark()
    for name, options, message in (
        ("XLand-MiniGrid-R1-9x9", {}, "`benchmark` or `ruleset` must be given for `XLand-MiniGrid-R1-9x9`"),
        ("MiniGrid-MemoryS8", {"benchmark": rulesets}, "must not be given for `MiniGrid-MemoryS8`"),
        ("XLand-MiniGrid-R1-9x9", {"ruleset": 1}, "`ruleset` must be a RuleSet where no `benchmark` is given"),
        ("XLand-MiniGrid-R1-9x9", {"benchmark": "huge"}, "`benchmark` must be a path or one of .*trivial-"),
        ("XLand-MiniGrid-R1-9x9", {"benchmark": rulesets, "episodes_per_trial": 0}, "`episodes_per_trial` must be"),
    ):
        with pytest.raises(ValueError, match=message):
            make_or_skip(f"xminigrid::{name}", **options)
    env, params = make_or_skip("xminigrid::XLand-MiniGrid-R1-9x9", benchmark=rulesets, ruleset=2)
    _, state = env.reset(jax.random.key(0), params)
    np.testing.assert_array_equal(state.inner.timestep.state.goal_encoding, rulesets.goals[2])

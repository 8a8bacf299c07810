"""Batches of environments in Python: what the library gives by hand, in the step that ends an episode reset."""

import copy
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from tests.environments.host import toys
from tests.environments.host.toys import Breaking, Counter, Reusing, Walk, WithGame, everything

from memorax.core.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple
from memorax.environments import HostEnvironmentError, as_host, make
from memorax.environments.host import HostCopies
from memorax.environments.host.copies import wait
from memorax.environments.host.spaces import ChannelsLast

LENGTHS = (3, 5, 2)

# Some libraries install a package `tests`, which other processes would find in the place of this one.
cloudpickle.register_pickle_by_value(toys)


def vector(mode: AutoresetMode, **options: Any) -> Any:
    return SyncVectorEnv([lambda n=n: Counter(n, truncates=n == 5) for n in LENGTHS], autoreset_mode=mode, **options)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_no_step_is_lost_or_made_up_in_any_autoreset_mode(mode):
    batch = as_host(lambda: vector(mode)).source.batch(3)
    observation, mask = batch.reset([0, 1, 2])
    assert mask is None
    before, episode = observation[:, 0], observation[:, 1]
    for t in range(1, 12):
        step = batch.step(np.full(3, t % 5))
        for i, length in enumerate(LENGTHS):
            over = t % length == 0
            assert step.reward[i] == t % 5
            assert step.observation[i, 0] == before[i] + t, "the environment was stepped more than once, or not at all"
            final = [before[i] + t, episode[i] + (t - 1) // length, (t - 1) % length + 1]
            assert step.final_observation[i].tolist() == final
            assert step.observation[i, 2] == (0 if over else t % length)
            assert step.terminated[i] == (over and length != 5)
            assert step.truncated[i] == (over and length == 5)
    batch.close()


def by_hand(make_one: Any, seed: int, actions: list[Any]) -> list[Any]:
    """Play with the library alone; reset after the end of an episode."""
    env = make_one()
    seen = [(env.reset(seed=seed)[0], 0.0, False, False, None)]
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        final = copy.deepcopy(observation)
        if terminated or truncated:
            observation, _ = env.reset()
        seen.append((copy.deepcopy(observation), reward, terminated, truncated, final))
    env.close()
    return seen


def through_copies(env: Any, sessions: list[int], num_envs: int, actions: Any) -> list[Any]:
    copies = HostCopies(env, len(sessions), num_envs)
    seen = [copies.reset(np.array(sessions, np.uint32))[0][0]]
    seen += [wait(copies.step(0, action)) for action in actions]
    copies.close()
    return seen


def seeds_of(session: int, num_envs: int) -> list[int]:
    return (np.random.SeedSequence(session).generate_state(num_envs) % np.uint32(2**31 - 1)).tolist()


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCarContinuous-v0", "FrozenLake-v1"])
def test_two_hundred_steps_are_those_of_gymnasium_by_hand(name):
    env, _ = make(f"gymnasium::{name}", max_episode_steps=40)
    rng = np.random.default_rng(0)
    discrete = isinstance(env.action_space(), Discrete)
    shape = (200, 2, 3)
    actions = rng.integers(2, size=shape) if discrete else rng.uniform(-1, 1, (*shape, 1)).astype(np.float32)
    first, *steps = through_copies(env, [5, 6], 3, actions)
    dtype = env.observation_space().dtype
    ends = 0
    for i, session in enumerate((5, 6)):
        for j, seed in enumerate(seeds_of(session, 3)):
            own = [int(a) if discrete else a for a in actions[:, i, j]]
            wanted = by_hand(lambda: gymnasium.make(name, max_episode_steps=40), seed, own)
            np.testing.assert_array_equal(first[i, j], np.asarray(wanted[0][0], dtype))
            for step, (observation, reward, terminated, truncated, final) in zip(steps, wanted[1:], strict=True):
                np.testing.assert_array_equal(step.observation[i, j], np.asarray(observation, dtype))
                np.testing.assert_array_equal(step.final_observation[i, j], np.asarray(final, dtype))
                assert step.reward[i, j] == np.float32(reward)
                assert (step.terminated[i, j], step.truncated[i, j]) == (terminated, truncated)
                ends += terminated or truncated
    assert ends > 10


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_environment_may_write_into_the_same_array_again(processes):
    """Its reset then overwrites the last observation of the episode."""
    actions = np.random.default_rng(0).integers(2, size=(40, 1, 2))
    expected = through_copies(as_host(partial(Walk)), [1], 2, actions)
    seen = through_copies(as_host(partial(Reusing), processes=processes, groups=1), [1], 2, actions)
    np.testing.assert_array_equal(seen[0], expected[0])
    for got, wanted in zip(seen[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(got.observation, wanted.observation)
        np.testing.assert_array_equal(got.final_observation, wanted.final_observation)
    assert any((step.final_observation != step.observation).any() for step in expected[1:])


def test_spaces_of_every_kind_are_translated_in_both_directions():
    env = as_host(everything)
    space = env.action_space()
    assert isinstance(space, Dict)
    assert set(env.observation_space().spaces) == {"which", "both", "bits", "force", "picture"}
    assert space["which"] == Discrete(3, np.int32)
    assert isinstance(space["both"], MultiDiscrete)
    assert space["bits"].nvec == (2, 2, 2)
    assert space["force"] == Tuple([Box(-1.0, 1.0, (2,))])
    actions = jax.device_get(jax.vmap(jax.vmap(space.sample))(jax.random.split(jax.random.key(0), (9, 2))))
    steps = through_copies(env, [1], 2, [jax.tree.map(lambda x, t=t: x[t][None], actions) for t in range(9)])
    for t, step in enumerate(steps[1:]):
        assert jax.vmap(jax.vmap(env.observation_space().contains))(step.final_observation).all()
        assert step.terminated.all() == (t % 2 == 1)
        seen = {name: x for name, x in step.final_observation.items() if name != "picture"}
        jax.tree.map(lambda x, y, t=t: np.testing.assert_array_equal(x[0], y[t]), seen, actions)
        np.testing.assert_array_equal(step.final_observation["picture"], t % 2 + 1)
        np.testing.assert_array_equal(step.observation["picture"], 0 if t % 2 else 1)


def test_channels_come_last():
    box = gymnasium.spaces.Box(0, 255, (2, 5, 6), np.uint8)
    translation = ChannelsLast(
        gymnasium.spaces.Dict({"frames": box, "grid": gymnasium.spaces.Box(0, 9, (7, 7, 3), np.uint8)})
    )
    assert translation.space["frames"].shape == (5, 6, 2)
    assert translation.space["grid"].shape == (7, 7, 3)
    image = np.arange(60, dtype=np.uint8).reshape(1, 2, 5, 6)
    read = translation.read({"frames": image, "grid": np.zeros((1, 7, 7, 3), np.uint8)})
    np.testing.assert_array_equal(read["frames"][0, ..., 1], image[0, 1])


@pytest.mark.filterwarnings("ignore:.*ERROR")  # Gymnasium shows the traceback of the process
@pytest.mark.parametrize("kill", [False, True])
def test_a_crash_in_a_process_is_an_error_and_leaves_no_process(kill):
    env = as_host(lambda: Breaking(after=4, kill=kill), name="Robot", processes=True, groups=2)
    copies = HostCopies(env, 1, 4, groups=2)
    copies.reset(np.array([0], np.uint32))
    processes = [process for batch in copies._batches for process in batch.vector.processes]
    assert all(process.is_alive() for process in processes)
    wanted = "process of an environment died, exit code -9" if kill else "the robot fell over"
    for _ in range(3):
        for step in [copies.step(g, np.zeros((1, 2), int)) for g in range(2)]:
            wait(step)
    step = copies.step(0, np.zeros((1, 2), int))
    with pytest.raises(HostEnvironmentError, match=f"environment Robot failed in step 4.*{wanted}"):
        wait(step)
    copies.close()
    assert not any(process.is_alive() for process in processes)
    copies.close()


@pytest.mark.filterwarnings("ignore:.*ERROR")
@pytest.mark.parametrize("options", [{"after": 99}, {"after": 4}, {"after": 4, "kill": True}], ids=str)
def test_what_an_environment_started_ends_with_its_process(options, tmp_path):
    copies = HostCopies(as_host(lambda: WithGame(str(tmp_path), **options), processes=True, groups=1), 1, 2)
    copies.reset(np.array([0], np.uint32))
    for process in copies._batches[0].vector.processes:
        assert os.getpgid(process.pid) == process.pid, "what is sent to the group of a run must not end it"
    games = [int(path.name) for path in tmp_path.iterdir()]
    if options["after"] == 4:
        for _ in range(3):
            wait(copies.step(0, np.zeros((1, 2), int)))
        with pytest.raises(HostEnvironmentError):
            wait(copies.step(0, np.zeros((1, 2), int)))
    copies.close()
    assert len(games) >= 2
    until = time.monotonic() + 20  # the kernel takes a moment
    while any(is_running(pid) for pid in games) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in games)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc/self").exists() else True


def test_processes_step_as_one_process_does_and_end_with_their_owner():
    alone, apart = (as_host(partial(Walk), processes=processes, groups=1) for processes in (False, True))
    actions = np.random.default_rng(1).integers(2, size=(15, 1, 2))
    copies = HostCopies(apart, 1, 2)
    first = copies.reset(np.array([3], np.uint32))[0][0]
    steps = [wait(copies.step(0, action)) for action in actions]
    wanted_first, *wanted = through_copies(alone, [3], 2, actions)
    np.testing.assert_array_equal(first, wanted_first)
    jax.tree.map(np.testing.assert_array_equal, [vars(s) for s in steps], [vars(s) for s in wanted])
    processes = copies._batches[0].vector.processes
    assert isinstance(copies._batches[0].vector, AsyncVectorEnv)
    for process in processes:
        os.kill(process.pid, signal.SIGINT)  # as from the keyboard, which reaches all processes
    wait(copies.step(0, actions[0]))
    del copies
    assert not any(process.is_alive() for process in processes)

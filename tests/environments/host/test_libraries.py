"""Libraries of environments in Python, step by step against the library alone; skipped where one is not installed."""

from typing import Any

import jax
import numpy as np
import pytest

from memorax.environments import make
from memorax.environments.host import HostCopies
from memorax.environments.host.copies import wait
from memorax.testing import check_environment

STEPS, SESSION = 200, 11


def play(env: Any, num_envs: int) -> tuple[Any, list[Any], np.ndarray]:
    """Two hundred random steps; the first observations, what followed, and the actions."""
    actions = np.random.default_rng(0).integers(env.action_space().n, size=(STEPS, 1, num_envs))
    copies = HostCopies(env, 1, num_envs)
    first = copies.reset(np.array([SESSION], np.uint32))[0][0]
    steps = [wait(copies.step(0, action)) for action in actions]
    copies.close()
    return (
        jax.tree.map(lambda x: x[0], first),
        [jax.tree.map(lambda x: x[0], vars(step)) for step in steps],
        actions[:, 0],
    )


def seeds(num_envs: int) -> list[int]:
    return (np.random.SeedSequence(SESSION).generate_state(num_envs) % np.uint32(2**31 - 1)).tolist()


def assert_equal(got: Any, wanted: Any) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, np.asarray(y, np.asarray(x).dtype)), got, wanted)


def compare_single(env: Any, make_one: Any, read: Any) -> None:
    """Against environments of Gymnasium that are made and reset by hand."""
    first, steps, actions = play(env, 3)
    ends = 0
    for i, seed in enumerate(seeds(3)):
        one = make_one()
        assert_equal(jax.tree.map(lambda x, i=i: x[i], first), read(one.reset(seed=seed)[0]))
        for step, action in zip(steps, actions[:, i].tolist(), strict=True):
            observation, reward, terminated, truncated, _ = one.step(action)
            final = read(observation)
            if terminated or truncated:
                observation, ends = one.reset()[0], ends + 1
            own = jax.tree.map(lambda x, i=i: x[i], step)
            assert_equal(own["observation"], read(observation))
            assert_equal(own["final_observation"], final)
            assert_equal(
                (own["reward"], own["terminated"], own["truncated"]), (np.float32(reward), terminated, truncated)
            )
        one.close()
    assert ends


def test_minigrid():
    gymnasium, _ = pytest.importorskip("gymnasium"), pytest.importorskip("minigrid")
    env, _ = make("minigrid::MiniGrid-MemoryS7-v0", max_steps=30)

    def read(observation: Any) -> Any:
        cells = observation["image"]
        vectors = [np.eye(n, dtype=np.float32)[cells[..., k]] for k, n in enumerate((11, 6, 3))]
        return {"direction": observation["direction"], "image": np.concatenate(vectors, -1)}

    assert env.observation_space()["image"].shape == (7, 7, 20)
    compare_single(env, lambda: gymnasium.make("MiniGrid-MemoryS7-v0", max_steps=30), read)
    check_environment(make("minigrid::MiniGrid-MemoryS7-v0", one_hot=False)[0], steps=60)


def test_popgym():
    gymnasium, _ = pytest.importorskip("gymnasium"), pytest.importorskip("popgym")
    env, _ = make("popgym::RepeatPreviousEasy-v0")
    compare_single(env, lambda: gymnasium.make("popgym-RepeatPreviousEasy-v0"), lambda observation: observation)
    with pytest.raises(ValueError, match="nearest: RepeatPreviousEasy-v0"):
        make("popgym::RepeatPreviousEazy-v0")


@pytest.mark.filterwarnings("ignore:.*precision lowered")
def test_envpool():
    envpool = pytest.importorskip("envpool")
    env, _ = make("envpool::CartPole-v1", max_episode_steps=15)
    first, steps, actions = play(env, 3)
    for i, seed in enumerate(seeds(3)):
        pool = envpool.make("CartPole-v1", env_type="gymnasium", num_envs=1, env_seed=[seed], max_episode_steps=15)
        observation, _ = pool.reset()
        assert_equal(first[i], observation[0])
        resets = 0
        for step, action in zip(steps, actions[:, i], strict=True):
            observation, reward, terminated, truncated, _ = pool.step(np.array([action]))
            assert_equal(step["final_observation"][i], observation[0])
            assert_equal(
                (step["reward"][i], step["terminated"][i], step["truncated"][i]),
                (reward[0], terminated[0], truncated[0]),
            )
            if terminated[0] or truncated[0]:
                # The library resets in the next step, whatever the action.
                observation, resets = pool.step(np.array([0]))[0], resets + 1
            assert_equal(step["observation"][i], observation[0])
        assert resets > 5
    check_environment(make("envpool::Acrobot-v1")[0], steps=40)


def test_envpool_atari():
    pytest.importorskip("envpool")
    env, _ = make("envpool::Pong-v5")
    assert env.observation_space().shape == (84, 84, 1)
    check_environment(env, steps=20)


def test_ale():
    pytest.importorskip("ale_py")
    from ale_py.vector_env import AtariVectorEnv

    options = {"max_num_frames_per_episode": 240}
    env, _ = make("ale::pong", **options)
    first, steps, actions = play(env, 3)
    own_options = {"stack_num": 1, "repeat_action_probability": 0.25, "reward_clipping": False} | options
    for i, seed in enumerate(seeds(3)):
        game = AtariVectorEnv("pong", 1, autoreset_mode="NextStep", **own_options)
        observation, _ = game.reset(seed=np.array([seed]))
        assert_equal(first[i], np.moveaxis(observation[0], 0, -1))
        resets = 0
        for step, action in zip(steps, actions[:, i], strict=True):
            observation, reward, terminated, truncated, _ = game.step(np.array([action]))
            assert_equal(step["final_observation"][i], np.moveaxis(observation[0], 0, -1))
            own = [step[name][i] for name in ("reward", "terminated", "truncated")]
            assert_equal(own, [reward[0], terminated[0], truncated[0]])
            if terminated[0] or truncated[0]:
                # The library resets in the next step, whatever the action.
                observation, resets = game.step(np.array([0]))[0], resets + 1
            assert_equal(step["observation"][i], np.moveaxis(observation[0], 0, -1))
        assert resets > 1
        game.close()
    color, _ = make("ale::pong", grayscale=False)
    assert color.observation_space().shape == (84, 84, 3)
    check_environment(color, steps=20)
    with pytest.raises(ValueError, match="unknown environment `ale::pongg`; nearest: pong"):
        make("ale::pongg")


def test_ale_ends_an_episode_with_a_life_where_it_is_asked_to():
    pytest.importorskip("ale_py")
    ends = []
    for option in (False, True):
        _, steps, _ = play(make("ale::breakout", episodic_life=option)[0], 2)
        ends.append(sum(step["terminated"].sum() for step in steps))
    assert ends[1] > 2 * ends[0] > 0


def test_procgen_in_memory_mode():
    envpool = pytest.importorskip("envpool")
    try:
        pool = envpool.make("MazeMemory-v0", env_type="gymnasium", num_envs=1, seed=0)
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"Procgen needs Qt 5: {error}")
    pool.close()
    env, _ = make("envpool::MazeMemory-v0")
    assert env.observation_space().shape == (64, 64, 3)
    check_environment(env, steps=20)


@pytest.mark.parametrize("env_id", ["NetHackScore-v0", "MiniHack-Room-Random-5x5-v0"])
def test_nle_and_minihack(env_id):
    gymnasium, _ = pytest.importorskip("gymnasium"), pytest.importorskip("nle")
    module = "minihack" if env_id.startswith("MiniHack") else "nle"
    pytest.importorskip(module)
    keys, limit = ["chars", "colors", "blstats"], {"max_episode_steps": 30}
    env, _ = make(f"nle::{env_id}", **limit)
    space = env.observation_space()
    assert {name: part.shape for name, part in space.spaces.items()} == {
        "blstats": (27,),
        "chars": (21, 79),
        "colors": (21, 79),
    }
    first, steps, actions = play(env, 2)
    for i, seed in enumerate(seeds(2)):
        one = gymnasium.make(f"{module}:{env_id}", observation_keys=keys, **limit)
        numbers, ends = np.random.default_rng(seed), 0

        def begin(one: Any = one, numbers: Any = numbers) -> Any:
            core, display, levels = (int(x) for x in numbers.integers(2**31, size=3))
            one.unwrapped.seed(core, display, reseed=False, lgen=levels)
            return one.reset()[0]

        assert_equal(jax.tree.map(lambda x, i=i: x[i], first), begin())
        for step, action in zip(steps, actions[:, i].tolist(), strict=True):
            observation, reward, terminated, truncated, _ = one.step(action)
            own = jax.tree.map(lambda x, i=i: x[i], step)
            assert_equal(own["final_observation"], observation)
            assert_equal((own["reward"], own["terminated"], own["truncated"]), (reward, terminated, truncated))
            if terminated or truncated:
                observation, ends = begin(), ends + 1
            assert_equal(own["observation"], observation)
        one.close()
        assert ends > 3
    with pytest.raises(ValueError, match="nearest: NetHackScore-v0"):
        make("nle::NetHackScor-v0")
    for processes in (False, True):
        check_environment(make(f"nle::{env_id}", observation_keys="blstats", processes=processes)[0], steps=40)


def test_vizdoom():
    gymnasium, _ = pytest.importorskip("gymnasium"), pytest.importorskip("vizdoom")
    env, _ = make("gymnasium::vizdoom.gymnasium_wrapper:VizdoomBasic-v1", frame_skip=4)
    assert set(env.observation_space().spaces) == {"gamevariables", "screen"}
    compare_single(env, lambda: gymnasium.make("VizdoomBasic-v1", frame_skip=4), lambda observation: observation)

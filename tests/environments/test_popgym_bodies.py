"""Pendulums, the cart without positions, pictures, and names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.environments.fixed_cards import play
from tests.fast_compile import jit

from memorax.environments import make, register, registered
from memorax.environments.memory import MemoryChain
from memorax.environments.memory.cart_pole import step_physics
from memorax.environments.memory.parts.lines import draw_lines
from memorax.environments.memory.parts.picture import BLUE, ORANGE, PALETTE, RED, WHITE, characters, paint, paint_cards


def test_a_pendulum_is_paid_for_standing():
    still, quiet = np.zeros((200, 1), np.float32), np.zeros((200, 2), np.float32)
    seen, rewards, terminated, truncated = play("PositionOnlyPendulumEasy", (np.zeros(2), np.zeros(2)), still, quiet)
    np.testing.assert_allclose(seen, [[1, 0]] * 201)
    assert rewards.sum() == pytest.approx(1, abs=1e-5)
    assert not terminated.any()
    assert np.flatnonzero(truncated).tolist() == [199]
    # Hanging down at full speed is the worst there is.
    down = (np.array([np.pi, 8.0]), np.zeros(2))
    assert play("PositionOnlyPendulumEasy", down, still + 2, quiet)[1][0] == pytest.approx(-1 / 200, rel=1e-4)


def test_a_torque_turns_a_pendulum():
    begin, quiet = (np.array([0.3, -0.2]), np.zeros(2)), np.zeros((5, 2), np.float32)
    seen = play("PositionOnlyPendulumEasy", begin, np.array([[1.5], [9], [-2], [-9], [0]], np.float32), quiet)[0]
    angle, spin, expected = 0.3, -0.2, []
    for torque in (1.5, 2, -2, -2, 0):
        expected.append([np.cos(angle), np.sin(angle)])
        spin += (15 * np.sin(angle) + 3 * torque) * 0.05
        angle += spin * 0.05
    np.testing.assert_allclose(seen[:5], expected, rtol=1e-5)


def test_noise_is_scaled_and_clipped():
    noise = np.tile(np.array([[0.5, -0.5], [40, -40]], np.float32), (4, 1))
    begin = (np.array([np.pi / 2, 0.0]), np.array([2.0, -1.0]))
    seen = play("NoisyPositionOnlyPendulumHard", begin, np.zeros((8, 1), np.float32), noise)[0]
    np.testing.assert_allclose(seen[0], [0.6, 0.7], rtol=1e-5)
    np.testing.assert_allclose(seen[2], [1, -1])


def test_velocities_are_shown():
    begin = (np.array([0.01, 0.02, 0.03, 0.04]), np.zeros(2))
    quiet = np.zeros((3, 2), np.float32)
    seen, rewards, _, _ = play("VelocityOnlyCartPoleEasy", begin, [1, 0, 1], quiet)
    np.testing.assert_allclose(seen[0], [0.02, 0.04])
    assert seen[1, 0] > 0.1
    assert seen[1, 1] < -0.1
    np.testing.assert_allclose(rewards, 1 / 200)
    compatible = play("VelocityOnlyCartPoleEasy", begin, [1, 0, 1], quiet, popgym_compat=True)[0]
    np.testing.assert_allclose(compatible[0], [0.01, 0.03])
    np.testing.assert_array_equal(compatible[1:], seen[1:])
    with pytest.raises(TypeError, match="`popgym_compat` must be True or False, got 'yes'"):
        make("memory::VelocityOnlyCartPoleEasy", popgym_compat="yes")


def test_a_pole_can_be_balanced_from_velocities():
    """A controller that keeps account of positions, and corrects the angle by how the spin changes."""
    env, params = make("memory::VelocityOnlyCartPoleHard")

    def episode(key):
        observation, state = env.reset(key, params)

        def act(loop, key):
            believed, state = loop
            action = (believed @ jnp.array([0.05, 0.1, 1.0, 0.4]) > 0).astype(jnp.int32)
            (velocity, spin), state, reward, terminated, _ = env.step_env(key, state, action, params)
            expected = step_physics(believed, action == 1)
            angle = expected[2] + (spin - expected[3]) / (0.02 * 15.7)
            return (jnp.stack([expected[0], velocity, angle, spin]), state), (reward, terminated)

        believed = jnp.array([0.0, 1.0, 0.0, 1.0]) * jnp.repeat(observation, 2)
        return jax.lax.scan(act, (believed, state), jax.random.split(key, 600))[1]

    reward, terminated = jit(jax.vmap(episode))(jax.random.split(jax.random.key(1), 8))
    assert not terminated.any()
    np.testing.assert_allclose(reward.sum(axis=1), env.optimal_return, rtol=1e-5)


def test_the_names_of_the_paper_make_tasks_that_are_listed_once():
    names = {card.id for card in registered()}
    for alias, name in (("StatelessCartPole", "PositionOnlyCartPole"), ("NoisyStatelessPendulum", "NoisyPositionOnly")):
        env, params = make(f"memory::{alias}Medium")
        assert env.name.startswith(name)
        assert env.horizon(params) == env.horizon()
        assert f"memory::{alias}Medium" not in names
    with pytest.raises(ValueError, match="`memory::StatelessPendulumHard` must be new, but is another name"):
        register("memory::StatelessPendulumHard", MemoryChain)


def test_a_grid_is_painted():
    picture = np.asarray(paint(jnp.array([[WHITE, RED, BLUE]]), jnp.array([characters(" 1 ")[:3]]), zoom=2))
    assert picture.shape == (16, 48, 3)
    assert picture.dtype == np.uint8
    cells = picture.reshape(16, 3, 16, 3)[:14, :, :14]
    assert [len(np.unique(cells[:, i].reshape(-1, 3), axis=0)) for i in range(3)] == [1, 2, 1]
    assert (cells[0, 1, 0] == [200, 48, 56]).all()


def test_cards_lie_face_down_or_up():
    picture = np.asarray(paint_cards(jnp.array([[0, 3, 4, -1]]), 4, zoom=1)).reshape(8, 4, 8, 3)[:7, :, :7]
    inks = [len(np.unique(picture[:, i].reshape(-1, 3), axis=0)) for i in range(4)]
    assert inks == [2, 2, 1, 1]
    np.testing.assert_array_equal(picture[:, 2], picture[:, 3])


def places(picture, color, zoom=40):
    """Where a color is, right and up from the middle, `[points, 2]`."""
    rows, columns = np.nonzero((np.asarray(picture) == PALETTE[color]).all(axis=2))
    height, width, _ = picture.shape
    return np.stack([columns + 0.5 - width / 2, height / 2 - 0.5 - rows], 1) / zoom


def test_lines_are_drawn():
    """A long thin line, a disk over it, and what lies outside."""
    strokes = [((-1.0, 0.0), (1.0, 0.5), 0.1, BLUE), ((0.5, 0.2), (0.5, 0.2), 0.3, RED), ((3, 3), (4, 3), 0.5, ORANGE)]
    picture = draw_lines(strokes, (2.0, 1.0))
    assert (picture.shape, picture.dtype) == ((80, 160, 3), np.uint8)
    disk, line = places(picture, RED), places(picture, BLUE)
    np.testing.assert_allclose(disk.mean(axis=0), [0.5, 0.2], atol=0.02)
    assert len(disk) / 40**2 == pytest.approx(np.pi * 0.3**2, rel=0.05)
    assert np.abs(line @ np.array([-0.25, 1.0]) - 0.25).max() < 0.1 * np.hypot(0.25, 1) + 1e-6
    assert line[:, 0].min() == pytest.approx(-1.1, abs=0.03)
    assert line[:, 0].max() == pytest.approx(1.1, abs=0.03)
    assert len(places(picture, ORANGE)) == 0
    assert len(places(picture, WHITE)) == 80 * 160 - len(disk) - len(line)


@pytest.mark.parametrize(("x", "angle"), [(0.0, 0.0), (-2.3, 0.2), (1.5, -0.2)])
def test_a_cart_and_its_pole_are_drawn_where_they_are(x, angle):
    env, _ = make("memory::NoisyPositionOnlyCartPoleEasy")
    picture = env.render(env.start((np.array([x, 9.0, angle, 9.0]), np.zeros(2)), env.default_params)[1])
    cart, pole = places(picture, BLUE), places(picture, ORANGE)
    assert cart[:, 0].mean() == pytest.approx(x, abs=0.02)
    hinge = np.array([x, -0.5])
    tip = hinge + np.array([np.sin(angle), np.cos(angle)])
    assert np.linalg.norm(pole - tip, axis=1).min() < 0.03
    assert np.linalg.norm(pole - hinge, axis=1).max() == pytest.approx(1.05, abs=0.03)


@pytest.mark.parametrize("angle", [0.0, 0.8, -1.6, np.pi])
def test_a_pendulum_is_drawn_as_it_hangs(angle):
    """0 is upright, and angles grow to the left."""
    env, params = make("memory::PositionOnlyPendulumEasy")
    picture = env.render(env.start((np.array([angle, 5.0]), np.zeros(2)), params)[1], params)
    rod = places(picture, ORANGE)
    direction = np.array([-np.sin(angle), np.cos(angle)])
    assert (rod @ direction).max() == pytest.approx(1.08, abs=0.03)
    assert np.abs(rod @ np.array([direction[1], -direction[0]])).max() < 0.081


def test_a_task_without_a_picture_says_so():
    env, params = make("memory::MemoryChain")
    with pytest.raises(NotImplementedError, match="`render` must be implemented by MemoryChain, which has no image"):
        env.render(None, params)

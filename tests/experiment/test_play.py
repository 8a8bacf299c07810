"""What is played is what is evaluated, and what is shown is what was played."""

import io
import itertools
import subprocess
import sys

import jax
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image
from rich.console import Console
from tests import example_agents
from tests.experiment.policies import make_policy

from memorax import lox
from memorax.acting import VectorEnv
from memorax.core.spaces import Box, Discrete
from memorax.environments import make
from memorax.experiment import TrainedPolicy
from memorax.experiment.play import Episode, Moment, record_episodes, write_film
from memorax.experiment.play.colors import BLUE, FAINT, GREEN, ORANGE, RED
from memorax.experiment.play.film import _write_mp4, make_painter
from memorax.experiment.play.frames import WIDTH, FramePainter
from memorax.experiment.play.pictures import choose_picture, draw_observation
from memorax.experiment.play.terminal import half_blocks, lines, show_episodes
from memorax.experiment.run.programs import seed_keys


@pytest.fixture(scope="module")
def policy():
    return make_policy(env="memory::TMazePassive", env_options={"length": 4})


@pytest.fixture(scope="module")
def episodes(policy):
    return record_episodes(policy, 3, seed=5)


def evaluated(policy, episodes, seed, most):
    key = seed_keys([seed])[2][0]
    _, logs = jax.jit(lambda key: lox.spool(policy.agent.evaluate)(key, policy.state, most, episodes))(key)
    return logs["returned_episode_returns"].ravel(), logs["returned_episode_lengths"].ravel()


def test_the_episodes_are_those_that_are_evaluated(policy, episodes):
    returns, lengths = evaluated(policy, 3, 5, 1000)
    np.testing.assert_allclose([episode.total for episode in episodes], returns, atol=1e-5)
    assert [len(episode.moments) for episode in episodes] == lengths.tolist()
    assert all(episode.complete for episode in episodes)


def test_values_and_actions_are_those_of_the_policy(policy, episodes):
    moments, memory, reward = episodes[1].moments, None, None
    for moment in moments[:4]:
        value = policy.value(moment.observation, memory, reward=reward)
        action, memory = policy.predict(moment.observation, memory, reward=reward)
        np.testing.assert_allclose(moment.value, value, rtol=1e-5)
        assert moment.action == action
        reward = moment.reward


def test_a_long_episode_is_left_unfinished(policy):
    (episode,) = record_episodes(policy, 1, max_steps=2, seed=5)
    assert len(episode.moments) == 2
    assert not episode.complete
    assert list(lines([episode]))[-1].endswith("so far")


@pytest.mark.parametrize("numbers", [{"episodes": 0}, {"max_steps": 0}])
def test_numbers_are_checked(policy, numbers):
    with pytest.raises(ValueError, match=f"`{next(iter(numbers))}` must be"):
        record_episodes(policy, **numbers)


def test_an_animation_has_a_frame_for_each_step(policy, episodes, tmp_path):
    out = write_film(policy, episodes, tmp_path / "new" / "film.gif", fps=10)
    with Image.open(out) as film:
        shown = []
        for i in range(film.n_frames):
            film.seek(i)
            shown.append(film.info["duration"])
    steps = sum(len(episode.moments) for episode in episodes)
    assert sum(shown) == 100 * (steps + 7 * len(episodes))  # the last frame of an episode stays
    assert film.size[0] == WIDTH
    assert film.size[1] % 16 == 0
    assert [path.name for path in out.parent.iterdir()] == ["film.gif"]


def test_a_film_is_complete_or_not_there(policy, episodes, tmp_path, monkeypatch):
    def frames(self):
        yield self.frame(0, 0)
        raise OSError("the disk is full")

    monkeypatch.setattr(FramePainter, "frames", frames)
    with pytest.raises(OSError, match="the disk is full"):
        write_film(policy, episodes, tmp_path / "film.gif")
    assert list(tmp_path.iterdir()) == []


def test_a_video_has_a_frame_for_each_step(policy, episodes, tmp_path):
    library = pytest.importorskip("imageio_ffmpeg", reason="videos need the extra `video`")
    out = write_film(policy, episodes[:1], tmp_path / "film.mp4", fps=10)
    command = [library.get_ffmpeg_exe(), "-i", str(out), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = subprocess.run(command, capture_output=True, check=True).stdout
    wanted = np.asarray(make_painter(policy, episodes[:1]).frame(0, 0)).astype(int)
    frames = np.frombuffer(pixels, np.uint8).reshape(-1, *wanted.shape)
    assert len(frames) == len(episodes[0].moments) + 7
    assert np.mean(np.abs(frames[0] - wanted)) < 4


def test_an_error_of_the_encoder_is_reported(policy, episodes, tmp_path):
    pytest.importorskip("imageio_ffmpeg", reason="videos need the extra `video`")
    holds = [1] * sum(len(episode.moments) for episode in episodes)
    with pytest.raises(OSError, match=r"ffmpeg could not write .*film.mp4 \(.+\)"):
        _write_mp4(tmp_path / "missing" / "film.mp4", make_painter(policy, episodes), holds, 8.0)


def test_what_cannot_be_written_is_refused(policy, episodes, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"`out` must end in .gif, .mp4 or .html, got .*film.avi"):
        write_film(policy, episodes, tmp_path / "film.avi")
    with pytest.raises(ValueError, match=r"`out` must end in .gif or .mp4, got .html: .* has no viewer for pages"):
        write_film(policy, episodes, tmp_path / "film.html")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r'run `pip install "memorax\[video\]"`, or write a .gif'):
        write_film(policy, episodes, tmp_path / "film.mp4")
    assert list(tmp_path.iterdir()) == []


def moment(observation=(), action=0, reward=0.0, value=None):
    arrays = np.asarray(observation, np.float32), np.asarray(action), np.float32(reward)
    return Moment((), *arrays, None if value is None else np.float32(value))


def colors_of(image, box=None):
    return {color for _, color in image.crop(box or (0, 0, *image.size)).convert("RGB").getcolors(1 << 20)}


class Plain:
    """An environment without a picture."""


def painter(moments, space):
    episode = Episode(moments, complete=True)
    return FramePainter(choose_picture(Plain(), [episode]), space, [episode])


def test_the_chosen_action_is_marked():
    frames = painter([moment([1.0], action) for action in (0, 2)], Discrete(3))
    top = frames.size[1] - 176 + 42
    boxes = [(72 + 36 * i, top, 100 + 36 * i, top + 22) for i in range(3)]
    for t, action in enumerate((0, 2)):
        marked = [BLUE in colors_of(frames.frame(0, t), box) for box in boxes]
        assert marked == [i == action for i in range(3)]


@pytest.mark.parametrize(("action", "left", "right"), [(-1.0, True, False), (1.0, False, True), (0.0, False, False)])
def test_a_continuous_action_is_a_bar_from_the_middle(action, left, right):
    frames = painter([moment([1.0], np.array([action], np.float32))], Box(-2.0, 2.0, (1,)))
    frame, top = frames.frame(0, 0), frames.size[1] - 176 + 42
    middle = (72 + 48 + WIDTH - 16 - 8) // 2
    sides = (120, top + 4, middle - 4, top + 18), (middle + 4, top + 4, 456, top + 18)
    assert [BLUE in colors_of(frame, side) for side in sides] == [left, right]


def test_rewards_are_colored_by_their_sign_and_the_future_is_hidden():
    frames = painter([moment([1.0], 0, reward) for reward in (1.0, -1.0)], Discrete(2))
    course = (0, frames.size[1] - 60, WIDTH, frames.size[1] - 8)
    assert {GREEN, RED} & colors_of(frames.frame(0, 0), course) == {GREEN}
    assert {GREEN, RED} & colors_of(frames.frame(0, 1), course) == {GREEN, RED}


@pytest.mark.parametrize(
    ("action", "space"),
    [
        (np.array([1, 0, 2]), Discrete(3)),
        (np.int32(11), Discrete(20)),
        (np.zeros(7, np.float32), Box(-1.0, 1.0, (7,))),
        (np.zeros((2, 2), np.float32), Box(-np.inf, np.inf, (2,))),
    ],
    ids=["agents", "many", "long", "unbounded"],
)
def test_every_kind_of_action_is_painted(action, space):
    moments = [moment(np.ones(3), action, np.ones(2), np.ones(2))]
    assert painter(moments, space).frame(0, 0).size[0] == WIDTH


def test_an_environment_without_a_picture_shows_what_the_agent_sees():
    moments = [moment([0.5, -1.0, 0.0]), moment([0.5, 2.0, 0.0])]
    episode = Episode(moments, complete=True)
    draw = choose_picture(Plain(), [episode])
    assert {BLUE, ORANGE} & colors_of(draw(episode, moments[0])) == {BLUE, ORANGE}
    assert {BLUE, ORANGE} & colors_of(draw(episode, moments[1])) == {BLUE}
    sizes = [np.sum(np.all(np.asarray(draw(episode, x)) == BLUE, axis=-1)) for x in moments]
    assert sizes[1] == pytest.approx(5 * sizes[0], rel=0.1)  # one scale for the whole film


def test_images_are_drawn_as_they_are():
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(draw_observation(picture), picture)
    gray = np.array([[0.0, 1.0], [0.5, 0.0]], np.float32)
    np.testing.assert_array_equal(np.asarray(draw_observation(gray))[..., 0], [[0, 255], [127, 0]])
    channels = np.zeros((2, 2, 5), np.float32)
    channels[0, 0, 0], channels[1, 1, 1] = 1, 1
    assert np.asarray(draw_observation({"seen": channels}))[0, 0].tolist() == list(BLUE)
    assert np.asarray(draw_observation(channels))[1, 1].tolist() == list(ORANGE)
    assert colors_of(draw_observation(np.ones(100))) == {(255, 255, 255)}


def test_a_figure_is_a_picture():
    class Figured(Plain):
        def render(self, state, params):
            figure, axes = pyplot.subplots(figsize=(2, 1), dpi=50)
            axes.set_position((0, 0, 1, 1))
            axes.imshow(np.full((1, 2, 3), params), aspect="auto")
            return {"figure": (figure, axes), "image": axes.images[0]}[state]

    for state in ("figure", "image"):
        played = Moment(state, np.zeros(2), np.int32(0), np.float32(0), None)
        episode = Episode([played], complete=True, env_params=0.5)
        image = choose_picture(Figured(), [episode])(episode, played)
        assert image.size == (100, 50)
        assert (127, 127, 127) in colors_of(image)
    assert not pyplot.get_fignums()


def test_environments_paint_with_arrays_of_jax():
    """What they step with; NumPy's have no `at`."""

    class Written(Plain):
        def render(self, state, params):
            return params["picture"].at[state["row"], 0].set(255)

    state, params = {"row": np.array(1)}, {"picture": np.zeros((3, 2, 3), np.uint8)}
    played = Moment(state, np.zeros(2), np.int32(0), np.float32(0), None)
    episode = Episode([played], complete=True, env_params=params)
    image = np.asarray(choose_picture(Written(), [episode])(episode, played))
    np.testing.assert_array_equal(image[..., 0], [[0, 0], [255, 0], [0, 0]])


@pytest.mark.filterwarnings("ignore")  # of pygame
@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_gymnasium_paints_what_gymnax_has_of_it(name):
    pytest.importorskip("gymnax", reason="the environments of gymnax need memorax[gymnax]")
    pytest.importorskip("pygame", reason="Gymnasium paints by pygame; install gymnasium[classic-control]")
    env, params = make(f"gymnax::{name}")
    state = env.reset(jax.random.key(0), params)[1]
    picture = env.render(state, params)
    assert picture.ndim == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 2


def test_what_cannot_be_rendered_is_said_and_drawn_by_what_is_seen():
    class Unpaintable(Plain):
        def render(self, state, params):
            raise ImportError("no OpenGL")

    episode = Episode([moment([0.5, -1.0])], complete=True)
    with pytest.warns(UserWarning, match=r"could not be rendered \(ImportError: no OpenGL\)"):
        draw = choose_picture(Unpaintable(), [episode])
    assert BLUE in colors_of(draw(episode, episode.moments[0]))


def test_every_episode_is_played_and_drawn_with_the_parameters_of_its_environment():
    env, params = make("memory::TMazePassive")
    params = params.replace(length=np.array([2, 5, 3], np.int32))
    agent = example_agents.ppo(env, "mlp", num_envs=3, num_minibatches=1)
    agent.vector_env = VectorEnv(env, params, 3)
    episodes = record_episodes(TrainedPolicy(agent, agent.init(jax.random.key(0))), 4, max_steps=2)
    assert [int(episode.env_params.length) for episode in episodes] == [2, 5, 3, 2]
    draw = choose_picture(env, episodes)
    widths = [draw(episode, episode.moments[0]).width for episode in episodes]
    assert widths[0] == widths[3] < widths[2] < widths[1]
    assert FramePainter(draw, Discrete(4), episodes).frame(1, 0).size[0] == WIDTH


def test_tiny_pictures_are_enlarged():
    frames = painter([moment(np.zeros((10, 8)))], Discrete(2))
    assert frames.size[1] >= 240 + 176


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sac", "dqn", "mappo"])
def test_other_algorithms_are_played(name, tmp_path):
    env = "multi_agent::RollCall" if name == "mappo" else "memory::MemoryChain"
    policy = make_policy(name, env=env)
    episodes = record_episodes(policy, 2, max_steps=5)
    assert (episodes[0].moments[0].value is None) == (name == "sac")
    write_film(policy, episodes, tmp_path / "film.gif")
    text = next(lines(episodes))
    assert ("value" in text) == (name != "sac")


def test_a_line_describes_a_step():
    played = [Episode([moment((), 3, 0.5, 0.25), moment((), 1, -1.0, 0.0)], complete=True)]
    assert list(lines(played)) == [
        "episode 1  step    1  action 3  reward +0.500  value +0.250",
        "episode 1  step    2  action 1  reward -1.000  value +0.000  return -0.500",
    ]


def test_pictures_are_half_blocks_in_a_terminal(policy, episodes):
    image = Image.new("RGB", (4, 2), BLUE)
    image.paste(FAINT, (0, 1, 4, 2))
    text = half_blocks(image)
    rows = text.plain.splitlines()
    assert {len(row) for row in rows} == {72}
    assert str(text.spans[0].style) == f"rgb({','.join(map(str, BLUE))}) on rgb({','.join(map(str, BLUE))})"
    out = io.StringIO()
    show_episodes(policy, episodes[:1], Console(file=out, force_terminal=True, width=100), fps=1e6)
    assert "▀" in out.getvalue()
    assert "return" in out.getvalue()


def test_without_a_terminal_there_is_text(policy, episodes):
    out = io.StringIO()
    show_episodes(policy, episodes, Console(file=out, width=140))
    assert out.getvalue().splitlines() == list(lines(episodes))
    assert len(list(itertools.islice(lines(episodes), 2))) == 2

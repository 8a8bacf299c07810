"""Atari games of the Arcade Learning Environment, as `ale::<game>`."""

from typing import Any

from memorax.core.spaces import Box
from memorax.environments.adapters.raw import check_name, import_library
from memorax.environments.host import HostBatch, HostEnvironment, Source
from memorax.environments.host.batch import VectorBatch
from memorax.environments.host.spaces import ChannelsLast, Translation

ale_py = import_library("ale_py", "ale")


def names() -> tuple[str, ...]:
    """Names of all games, as `ms_pacman`."""
    return tuple(sorted(ale_py.roms.get_all_rom_ids()))


def make(name: str, *, groups: int | None = None, overlap: bool = False, **kwargs: Any) -> HostEnvironment:
    """Make an Atari game with the usual preprocessing.

    Observations are single grayscale images, uint8 `[84, 84, 1]`, every fourth frame (the maximum of the last two), of
    episodes of at most 108,000 frames; each action is repeated with probability 0.25 in place of the next one (sticky
    actions), and rewards are the game's own.

    Args:
        name: Name of the game, for example `pong`.
        groups: Number of groups of environments that take turns; None chooses.
        overlap: Whether agents act while they learn.
        **kwargs: Arguments of `ale_py.vector_env.AtariVectorEnv` in place of these: `stack_num=4` for four frames as
            channels, `repeat_action_probability=0.0`, `episodic_life=True` to end an episode with each life,
            `reward_clipping=True`, `full_action_space=True`, `grayscale=False`, `frameskip`, `noop_max`,
            `num_threads`, ...

    Returns:
        The environment.

    Raises:
        TypeError: If an argument is unknown.
        ValueError: If there is no such game.
    """
    check_name("ale", name, names())
    return HostEnvironment(AtariSource(name, kwargs), groups, overlap)


class AtariSource(Source):
    """Makes batches of an Atari game, whose environments step in threads.

    Args:
        game: Name of the game.
        options: Arguments of `AtariVectorEnv`.
    """

    parallel = True

    def __init__(self, game: str, options: dict[str, Any]) -> None:
        self.name = f"ale::{game}"
        defaults = {"stack_num": 1, "repeat_action_probability": 0.25, "reward_clipping": False}
        self._arguments: dict[str, Any] = {"game": game} | defaults | options
        first = self._vector(1)
        self.observation = _observation(self.name, first.single_observation_space)
        self.action = Translation(first.single_action_space)
        frames = int(self._arguments.get("max_num_frames_per_episode", 108_000))
        self.horizon = frames // int(self._arguments.get("frameskip", 4))
        first.close()

    def _vector(self, num_envs: int) -> Any:
        vector_env = import_library("ale_py.vector_env", "ale")
        return vector_env.AtariVectorEnv(num_envs=num_envs, autoreset_mode="SameStep", **self._arguments)

    def batch(self, num_envs: int) -> HostBatch:
        """Make a batch of environments."""
        return VectorBatch(self._vector(num_envs), self.observation, self.action)


def _observation(name: str, space: Any) -> Translation:
    """Show images with their channels last: the frames of a stack, or the colors of a single image."""
    if len(space.shape) == 3:
        return ChannelsLast(space)
    if space.shape[0] > 1:
        raise ValueError(f"`stack_num` of {name} must be 1 without grayscale, got {space.shape[0]}")
    translation = Translation(space)
    translation.space = Box(0, 255, space.shape[1:], space.dtype)
    return translation

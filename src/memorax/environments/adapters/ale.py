"""Atari games of the Arcade Learning Environment, as `ale::<game>`."""

from typing import Any

from memorax.environments.adapters.raw import check_name, import_library
from memorax.environments.host import HostBatch, HostEnvironment, Source
from memorax.environments.host.batch import VectorBatch
from memorax.environments.host.spaces import ChannelsLast, Translation

ale_py = import_library("ale_py", "ale")


def names() -> tuple[str, ...]:
    """Names of all games, as `ms_pacman`."""
    return tuple(sorted(ale_py.roms.get_all_rom_ids()))


def make(name: str, *, groups: int | None = None, **kwargs: Any) -> HostEnvironment:
    """Make an Atari game with the usual preprocessing.

    Observations are single grayscale images, uint8 `[84, 84, 1]`, every fourth frame (the maximum of the last two), of
    episodes of at most 108,000 frames; each action is repeated with probability 0.25 in place of the next one (sticky
    actions), and rewards are the game's own.

    Args:
        name: Name of the game, for example `pong`.
        groups: Number of groups of environments that take turns; None chooses.
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
    return HostEnvironment(AtariSource(name, kwargs), groups)


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
        self._arguments = {"game": game} | defaults | options
        first = self._vector(1)
        space = first.single_observation_space
        self._color = len(space.shape) == 4
        if self._color and space.shape[0] > 1:
            raise ValueError(f"`stack_num` of {self.name} must be 1 without grayscale, got {space.shape[0]}")
        # A single image in color has its channels last already.
        self.observation = Translation(first.single_observation_space) if self._color else ChannelsLast(space)
        if self._color:
            self.observation.space = type(self.observation.space)(0, 255, space.shape[1:], space.dtype)
        self.action = Translation(first.single_action_space)
        frames = self._arguments.get("max_num_frames_per_episode", 108_000)
        self.horizon = frames // self._arguments.get("frameskip", 4)
        first.close()

    def _vector(self, num_envs: int) -> Any:
        from ale_py.vector_env import AtariVectorEnv

        return AtariVectorEnv(num_envs=num_envs, autoreset_mode="SameStep", **self._arguments)

    def batch(self, num_envs: int) -> HostBatch:
        """Make a batch of environments."""
        return VectorBatch(self._vector(num_envs), self.observation, self.action)

"""The environments of XLand-MiniGrid, as `xminigrid::<id>`."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import boolean, check, size
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.raw import (
    Raw,
    RawEnvironment,
    RawState,
    check_name,
    import_library,
    key_data,
    one_hot_cells,
    pooled,
)
from memorax.environments.environment import Environment

xminigrid = import_library("xminigrid", "xminigrid")

_CELL = (xminigrid.core.constants.NUM_TILES, xminigrid.core.constants.NUM_COLORS)


def names() -> tuple[str, ...]:
    """Ids of all environments of the library."""
    return tuple(sorted(xminigrid.registered_environments()))


def make(
    name: str,
    *,
    benchmark: Any = None,
    ruleset: Any = None,
    episodes_per_trial: int = 1,
    one_hot: bool = True,
    reset_pool: int | None = 16,
    **kwargs: Any,
) -> tuple[Environment, PyTree]:
    """Make an environment of XLand-MiniGrid.

    Args:
        name: Id in XLand-MiniGrid, for example `MiniGrid-MemoryS16` or `XLand-MiniGrid-R1-9x9`.
        benchmark: For `XLand-MiniGrid-...`: the rulesets (goal, rules and objects) of which every trial draws one: the
            name of a benchmark (`trivial-21k`, downloaded once), the path of one, or a `Benchmark` object.
        ruleset: One ruleset for all episodes: its number in the benchmark, or a `RuleSet` object.
        episodes_per_trial: Episodes for which a ruleset stays the same, at least 1; `info["trial_begins"]` says that
            the observation that follows is the first of a trial. With more than one, put the memory into an
            `RL2Wrapper`.
        one_hot: Whether tile and color of each cell in view are one-hot vectors, float32 `[view, view, 25]`; otherwise
            they are ids, uint8 `[view, view, 2]`.
        reset_pool: How many resets are computed at once for the environments whose episode ended; None computes one
            for every environment in every step.
        **kwargs: Fields of its parameters: `height`, `width`, `view_size`, `max_steps`.

    Returns:
        The environment and its parameters.

    Raises:
        OSError: If the benchmark cannot be downloaded or read.
        TypeError: If an argument is of another kind.
        ValueError: If XLand-MiniGrid has no such environment, or the rulesets do not fit it.
    """
    check_name("xminigrid", name, names())
    check("episodes_per_trial", episodes_per_trial, size())
    check("one_hot", one_hot, boolean())
    env, params = xminigrid.make(name, **kwargs)
    if hasattr(params, "ruleset") == (benchmark is None and ruleset is None):
        needed = "must be given for" if hasattr(params, "ruleset") else "must not be given for"
        raise ValueError(f"`benchmark` or `ruleset` {needed} `{name}`; only `XLand-MiniGrid-...` have rulesets")
    rulesets = _rulesets(benchmark, ruleset)
    made = XMiniGrid(name, env, params, rulesets, episodes_per_trial=episodes_per_trial, one_hot=one_hot)
    return pooled(made, reset_pool)


def _rulesets(benchmark: Any, ruleset: Any) -> PyTree:
    """Stacked rulesets to draw from; an empty tuple where there are none."""
    if isinstance(benchmark, str):
        load = xminigrid.load_benchmark
        if Path(benchmark).exists():
            load = xminigrid.benchmarks.load_benchmark_from_path
        elif benchmark not in xminigrid.registered_benchmarks():
            known = ", ".join(xminigrid.registered_benchmarks())
            raise ValueError(f"`benchmark` must be a path or one of {known}, got `{benchmark}`")
        try:
            benchmark = load(benchmark)
        except OSError as error:
            raise OSError(f"`benchmark` `{benchmark}` could not be downloaded or read ({error})") from error
    if isinstance(ruleset, int):
        if benchmark is None:
            raise ValueError(f"`ruleset` must be a RuleSet where no `benchmark` is given, got the number {ruleset}")
        ruleset = benchmark.get_ruleset(ruleset)
    if ruleset is not None:
        return jax.tree.map(lambda x: x[None], ruleset)
    if benchmark is None:
        return ()
    return xminigrid.types.RuleSet(goal=benchmark.goals, rules=benchmark.rules, init_tiles=benchmark.init_tiles)


@struct.dataclass
class Trial:
    """State of an episode within a trial.

    Attributes:
        timestep: State of the library.
        ruleset: Number of the ruleset of the trial, int32.
        episode: Completed episodes of the trial, int32.
    """

    timestep: PyTree
    ruleset: Array
    episode: Array


class XMiniGrid(RawEnvironment):
    """An environment of XLand-MiniGrid; its parameters are the rulesets that trials draw from."""

    def __init__(
        self, name: str, env: Any, env_params: Any, rulesets: PyTree, *, episodes_per_trial: int, one_hot: bool
    ) -> None:
        """Hold the library's environment.

        Args:
            name: Id in XLand-MiniGrid.
            env: The library's environment.
            env_params: Its parameters.
            rulesets: Rulesets to draw from, stacked; an empty tuple where there are none.
            episodes_per_trial: Episodes for which a ruleset stays the same.
            one_hot: Whether cells are one-hot vectors.
        """
        self._env_params, self._one_hot, self.episodes_per_trial = env_params, one_hot, episodes_per_trial
        self._count = len(jax.tree.leaves(rulesets)[0]) if jax.tree.leaves(rulesets) else 1
        shape = env.observation_shape(env_params)
        ids = Box(0, np.array(_CELL) - 1, shape, np.uint8)
        super().__init__(
            name,
            env,
            observation_space=Box(0.0, 1.0, (*shape[:2], sum(_CELL))) if one_hot else ids,
            action_space=Discrete(int(env.num_actions(env_params))),
            params=rulesets,
        )

    def _start(self, key: Key, ruleset: Array, episode: Array, rulesets: PyTree) -> tuple[Array, Trial]:
        params = self._env_params
        if jax.tree.leaves(rulesets):
            params = params.replace(ruleset=jax.tree.map(lambda x: x[ruleset], rulesets))
        timestep = self.foreign.reset(params, key)
        return self._look(timestep), Trial(timestep, ruleset, episode)

    def _look(self, timestep: PyTree) -> Array:
        return one_hot_cells(timestep.observation, _CELL) if self._one_hot else timestep.observation

    def _draw(self, key: Key) -> Array:
        # The key itself starts the episode, as it does in the library.
        return jax.random.randint(jax.random.fold_in(key, 1), (), 0, self._count)

    def begin(self, key: Key, params: PyTree) -> tuple[Array, Trial]:
        """Start a trial."""
        return self._start(key, self._draw(key), jnp.zeros((), jnp.int32), params)

    def next_start(self, key: Key, last: RawState, params: PyTree) -> tuple[PyTree, RawState]:
        """Start the next episode of the trial, or the next trial."""
        key, episode = key_data(key), last.inner.episode + 1
        goes_on = episode < self.episodes_per_trial
        ruleset = jnp.where(goes_on, last.inner.ruleset, self._draw(key))
        return self.first(*self._start(key, ruleset, jnp.where(goes_on, episode, 0), params))

    def advance(self, key: Key, inner: Trial, action: Array, params: PyTree) -> Raw:
        """Take one step, which is deterministic."""
        timestep = self.foreign.step(self._env_params, inner.timestep, action)
        achieved = timestep.last() & (timestep.discount == 0)
        observation = self._look(timestep)
        inner = Trial(timestep, inner.ruleset, inner.episode)
        return observation, inner, timestep.reward, achieved, timestep.last() & ~achieved

    def complete_info(self, observation: PyTree, state: RawState, info: dict[str, Any]) -> dict[str, Any]:
        """Say whether the observation that is returned is the first of a trial."""
        return {**info, "trial_begins": (state.time == 0) & (state.inner.episode == 0)}

    def render(self, state: RawState, params: PyTree | None = None) -> np.ndarray:
        """Paint the whole grid on the host, uint8 RGB `[height, width, 3]`."""
        return np.asarray(self.foreign.render(self._env_params, state.inner.timestep), np.uint8)

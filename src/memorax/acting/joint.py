"""Environments in which several agents act at the same time.

Everything that belongs to an agent has its axis behind that of the environments: `[num_envs, agents, ...]`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from memorax.acting.loop import Episode, Loop, Stage
from memorax.core.spaces import Dict, Space, encode
from memorax.core.types import Array, Carry, Key, PyTree, Timestep
from memorax.environments import Environment
from memorax.environments.environment import Step
from memorax.networks import Network


def check_agents(env: Any) -> None:
    """Refuse an environment that does not say how many agents it has and what their spaces are.

    Raises:
        TypeError: It does not.
    """
    for name in ("num_agents", "agent_action_space", "agent_observation_space"):
        if not hasattr(env, name):
            raise TypeError(
                f"`env` must have several agents, got {type(env).__name__} without `{name}`; take a "
                "MultiAgentEnvironment, or another algorithm such as PPO"
            )


@struct.dataclass
class JointEpisode(Episode):
    """Return and length of the running and of the last finished episode; returns are means over the agents."""

    def advance(self, reward: Array, done: Array) -> tuple["JointEpisode", dict[str, Array]]:
        """Count one step, `[batch, agents]`; it ended the episode where it ended it for every agent."""
        episode, info = super().advance(jnp.mean(reward, axis=1), jnp.all(done, axis=1))
        return JointEpisode(**vars(episode)), info


class JointStage(Stage):
    """A number of equal environments with several agents each.

    Args:
        env: A `MultiAgentEnvironment`, or anything that speaks its protocol.
        env_params: Its parameters; None for its default ones.
        num_envs: How many run side by side.

    Raises:
        TypeError: The environment does not say how many agents it has, or what their spaces are.
    """

    def __init__(self, env: Any, env_params: PyTree, num_envs: int) -> None:
        check_agents(env)
        super().__init__(env, env_params, num_envs)
        self.num_agents: int = cast(Any, self.env).num_agents

    def reset(self, key: Key, carry: Carry, num_envs: int | None = None) -> Loop:
        """Start an episode in every environment; takes what `Stage.reset` does."""
        loop = super().reset(key, carry, num_envs)
        batch = (loop.timestep.reward.shape[0], self.num_agents)
        timestep = dataclasses.replace(loop.timestep, reward=jnp.zeros(batch, jnp.float32), done=jnp.ones(batch, bool))
        return Loop(timestep, loop.env_state, carry, JointEpisode.start(batch[0]))


class OneOfMany(Environment[PyTree, PyTree]):
    """What the first agent sees of an environment in which all do as it does: says what one agent is made for.

    Args:
        env: The environment.
        view: What an agent sees of the observations of all, `[agents, ...]` to `[agents, ...]`.

    Raises:
        TypeError: The environment has no agents.
    """

    def __init__(self, env: Any, view: Callable[[PyTree], PyTree]) -> None:
        check_agents(env)
        self.env, self.view = env, view

    @property
    def default_params(self) -> Any:
        """Those of the environment."""
        return self.env.default_params

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        """Begin an episode."""
        observation, state = self.env.reset(key, params)
        return self._first(self.view(observation)), state

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step in which every agent acts alike."""
        everyone = jnp.broadcast_to(action, (self.env.num_agents, *action.shape))
        observation, state, *outcome, info = self.env.step(key, state, everyone, params)
        shown = {"final_observation": self._first(self.view(info["final_observation"]))}
        if "action_mask" in info:
            shown["action_mask"] = info["action_mask"][0]
        reward, terminated, truncated = self._first(tuple(outcome))
        return self._first(self.view(observation)), state, reward, terminated, truncated, shown

    def _first(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda x: x[0], tree)

    def action_space(self, params: PyTree | None = None) -> Space:
        """The actions of one agent."""
        return self.env.agent_action_space(params)

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The observations of one agent, before `view`."""
        return self.env.agent_observation_space(params)


class Seeing(nn.Module):
    """A feature extractor that sees one part of an observation which is a dictionary.

    Attributes:
        extractor: The feature extractor.
        part: The part's name.
    """

    extractor: nn.Module
    part: str

    def __call__(self, timestep: Timestep) -> Array:
        """Extract features `[batch, time, features]`."""
        return cast(Any, self.extractor)(dataclasses.replace(timestep, observation=timestep.observation[self.part]))


def seeing(network: Network, part: str) -> Network:
    """Let a network see only one part of an observation; what is no network is returned as it is."""
    if not isinstance(network, Network):
        return network
    return Network(Seeing(network.feature_extractor, part), network.torso, network.head)


def see_all(space: Space, observation: PyTree, axis: int) -> dict[str, PyTree]:
    """Show each agent, beside its own observation, those of all.

    Args:
        space: The space of an agent's observations.
        observation: Observations, each leaf with the agents along `axis`.
        axis: The agents' axis.

    Returns:
        `"own"`, the observation without its mask of actions; `"all"`, everyone's encoded side by side, one's own first
        and then in the order of the agents, `[..., agents * features]`; and `"action_mask"`, if there is one.
    """
    if isinstance(space, Dict) and "action_mask" in space.spaces:
        rest = {name: part for name, part in space.spaces.items() if name != "action_mask"}
        space = next(iter(rest.values())) if len(rest) == 1 else Dict(rest)
    mask = {}
    if isinstance(observation, Mapping) and "action_mask" in observation:
        parts = dict(observation)
        mask = {"action_mask": parts.pop("action_mask")}
        observation = next(iter(parts.values())) if len(parts) == 1 else parts
    encoded = encode(space, observation)
    number = encoded.shape[axis]
    everyone = jnp.concatenate([jnp.roll(encoded, -i, axis=axis) for i in range(number)], axis=-1)
    return mask | {"own": observation, "all": everyone}

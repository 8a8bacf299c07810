"""Bad values for the arguments that are put together from parts: networks, optimizers, mappings, arrays, names."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import numpy as np
import optax
from tests import example_agents as agents
from tests.structure.constructor_fuzz import Finding, Target, findings_of

from memorax import algorithms
from memorax.environments import make
from memorax.environments.multi_agent import RollCall
from memorax.environments.wrappers import NormalizeObservation
from memorax.experiment import RunConfig
from memorax.networks import MLP, Network, heads
from memorax.networks.architectures import xlstm
from memorax.networks.blocks import Stack
from memorax.networks.sequence_models import GRU
from memorax.testing.probe_environments import Clock

NAN, INF = math.nan, math.inf
NETWORK = ["x", 3, None, NAN, [1], True, nn.Dense, nn.Dense(3), Network]
OPTIMIZER = ["adam", 1e-3, None, NAN, True, optax.adam, [1]]
ARRAY = ["x", None, NAN, [NAN, 1.0], [1.0, INF], [[1.0], [None]], True, {"a": 1}, ["x", "y"], 1j]
NAMES = ["x", 3, None, NAN, True, [3], [None], [["x"]], {"a": 1}]
OPTIONS = ["x", 3, None, NAN, [1], {3: 1}, {"a": NAN}, {"a": INF}, {"a": None}, {"a": [1]}]


def _reward(transition: Any) -> Any:
    return transition.reward


def _gvf() -> heads.GVF:
    return heads.GVF(heads.VNetwork(), 0.9, _reward)


@dataclasses.dataclass(frozen=True)
class Parts:
    """A constructor, arguments that it accepts, and bad values by argument."""

    name: str
    build: Callable[..., Any]
    base: dict[str, Any]
    wrong: dict[str, list[Any]]


def parts() -> Iterator[Parts]:
    """What the walk over annotations does not reach, agents apart."""
    demons = ["x", 3, None, NAN, [], {}, [1], {"a": 3}, {"a": None}, {"a": heads.GVF}, {3: _gvf()}, {"": _gvf()}]
    yield Parts("Horde", heads.Horde, {"head": heads.VNetwork()}, {"demons": demons})
    blocks = ["x", 3, None, NAN, [], [3], [None], ["x"], [nn.GRUCell(4)], True, {"a": 1}, GRU(4), [[GRU(4)]]]
    yield Parts("Stack", Stack, {}, {"blocks": blocks})
    ratio = ["x", 3, None, NAN, (1,), (1, 2, 3), (0, 0), (-1, 1), (1.5, 1), (True, False), ("x", 1), {"a": 1}]
    yield Parts("xlstm", xlstm, {}, {"ratio": ratio})
    env, _ = make("memory::PositionOnlyPendulumEasy")
    base = {"env": env, "mean": np.zeros(2), "variance": np.ones(2)}
    yield Parts("NormalizeObservation", NormalizeObservation, base, {"mean": ARRAY, "variance": [*ARRAY, -1.0]})
    run = {"algorithm": "ppo", "env": "memory::RepeatPreviousEasy", "hyperparameters": algorithms.PPOConfig()}
    hyperparameters = ["x", 3, None, NAN, algorithms.PPOConfig, {"gamma": 0.9}]
    wrong = {"loggers": NAMES, "imports": NAMES, "env_options": OPTIONS, "hyperparameters": hyperparameters}
    yield Parts("RunConfig", RunConfig, run, wrong)


def agent(name: str) -> Parts:
    """The constructor of an algorithm's agent."""
    env = RollCall() if name == "mappo" else Clock()
    made = getattr(agents, name)(env, "mlp")
    cls, networks = type(made), made.networks
    other = algorithms.DQNConfig() if name != "dqn" else algorithms.PPOConfig()
    wrong: dict[str, list[Any]] = {"config": ["x", 3, None, NAN, cls.Config, other, {"gamma": 0.9}]}
    base: dict[str, Any] = {"config": made.config, "env": env, "env_params": None}
    if hasattr(networks, "network"):
        base |= {"q_network": networks.network, "optimizer": optax.adam(1e-3)}
    else:
        both = made.member.networks if name == "mappo" else networks
        critic = both.critics[0] if name == "sac" else both.critic
        base |= {"actor": both.actor.network, "critic": critic.network}
        if name == "sac":
            base["second_critic"] = base["critic"]
        if name != "stream_ac":
            base |= {f"{which}_optimizer": optax.adam(1e-3) for which in ("actor", "critic")}
        if name == "sac":
            base["alpha_optimizer"] = optax.adam(1e-3)
    for field in base:
        if field.endswith("optimizer"):
            wrong[field] = OPTIMIZER
        elif field in ("q_network", "actor", "critic", "second_critic"):
            wrong[field] = [*NETWORK, MLP((3,))]
    if name in ("dqn", "r2d2", "pqn"):
        wrong["epsilon_schedule"] = ["x", 3, 0.1, NAN, [1], True, optax.constant_schedule.__class__]
    if name in ("dqn", "r2d2", "sac"):
        wrong["buffer"] = ["x", 3, NAN, [1], True, dict]
    wrong["env"] = ["x", 3, None, NAN, [1], True, Clock]
    return Parts(f"{cls.__name__}", cls, base, wrong)


def findings(part: Parts) -> Iterator[Finding]:
    """All that is wrong with a constructor."""
    fields = dict.fromkeys(part.wrong, "part")
    target = Target(part.name, part.build, fields, frozenset(), part.base)
    for field, values in part.wrong.items():
        yield from findings_of(target, field, values)

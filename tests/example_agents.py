"""Small agents for tests, with pairwise distinct sizes."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import optax

from memorax.algorithms import (
    DQN,
    MAPPO,
    PPO,
    PQN,
    R2D2,
    SAC,
    DQNConfig,
    GradientPPO,
    GradientPPOConfig,
    MAPPOConfig,
    PPOConfig,
    PQNConfig,
    R2D2Config,
    SACConfig,
    StreamAC,
    StreamACConfig,
)
from memorax.core.spaces import Box
from memorax.experiment import modules
from memorax.networks import MLP, RNN, FeatureExtractor, Network, heads
from memorax.networks.sequence_models import MODELS
from memorax.testing.probe_environments import Clock
from memorax.testing.q_learning_properties import CountingCell, CountingHead

TORSOS: dict[str, Callable[[], nn.Module]] = {
    **{name: partial(MODELS.get(name), features=11, **MODELS.get(name).example) for name in MODELS},
    "any cell": lambda: RNN(cell=nn.MGUCell(features=11)),
}
"""Every registered memory model, and one that nobody registered."""
SMALL = {"num_envs": 6, "num_steps": 8, "num_minibatches": 2, "update_epochs": 2}


def extractor() -> FeatureExtractor:
    """All four inputs, so that none of them can differ between acting and learning unseen."""
    return FeatureExtractor(
        observation_extractor=MLP(features=(7,)),
        action_extractor=MLP(features=(5,)),
        reward_extractor=MLP(features=(3,)),
        done_extractor=MLP(features=(2,)),
    )


def policy_head(space: Any) -> nn.Module:
    return modules.policy_head(space, "a test")


def value_head(space: Any) -> nn.Module:
    return modules.value_head(space, "a test")


def ppo(
    env: Any,
    torso: str | Callable[[], nn.Module] = "gru",
    *,
    critic_torso: str | None = None,
    shared: bool = True,
    head: nn.Module | None = None,
    extract: FeatureExtractor | None = None,
    cls: type[PPO] = PPO,
    learning_rate: float = 3e-3,
    arguments: dict[str, Any] | None = None,
    **config: Any,
) -> PPO:
    """PPO on one trunk, or on two where `shared` is off or the critic has a torso of its own."""
    make_torso = TORSOS[torso] if isinstance(torso, str) else torso
    trunk = (extractor() if extract is None else extract, make_torso())
    other = trunk
    if critic_torso is not None:
        other = (extractor(), TORSOS[critic_torso]())
    elif not shared:
        other = (extractor(), make_torso())
    space = env.action_space(env.default_params)
    actor = Network(*trunk, policy_head(space) if head is None else head)
    critic = Network(*other, heads.VNetwork())
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(learning_rate))
    gradient = issubclass(cls, GradientPPO)
    fields = SMALL | ({"truncation_length": 4} if gradient else {}) | config
    hyperparameters = (GradientPPOConfig if gradient else PPOConfig)(**fields)
    return cls(hyperparameters, env, env.default_params, actor, critic, optimizer, optimizer, **(arguments or {}))


def gradient_ppo(env: Any, torso: str | Callable[[], nn.Module] = "gru", **options: Any) -> GradientPPO:
    """GradientPPO on small networks, in chunks of half a rollout."""
    return ppo(env, torso, **({"cls": GradientPPO} | options))


def mappo(
    env: Any,
    torso: str | Callable[[], nn.Module] = "gru",
    *,
    shared: bool = True,
    cls: type[MAPPO] = MAPPO,
    learning_rate: float = 3e-3,
    **config: Any,
) -> MAPPO:
    """MAPPO on networks for one agent; with a central critic never on one trunk."""
    make_torso = TORSOS[torso] if isinstance(torso, str) else torso
    trunk = (extractor(), make_torso())
    other = trunk if shared and not config.get("centralized_critic") else (extractor(), make_torso())
    actor = Network(*trunk, policy_head(env.agent_action_space(env.default_params)))
    critic = Network(*other, heads.VNetwork())
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(learning_rate))
    return cls(MAPPOConfig(**(SMALL | config)), env, env.default_params, actor, critic, optimizer, optimizer)


class Drawn(NamedTuple):
    """A sample of a replay."""

    experience: Any
    probabilities: Any = None


def recording(cls: type) -> Any:
    """An algorithm that keeps what it thought of its actions in its replay."""

    class Recording(cls):
        def record(self, transition):
            return transition.replace(info={})

    return Recording


REPLAY = {
    "num_envs": 2,
    "train_frequency": 12,
    "batch_size": 4,
    "sequence_length": 5,
    "buffer_size": 200,
    "learning_starts": 1,
    "target_update_frequency": 24,
}
"""Learns from the first update on; `train_frequency` is a multiple of `num_envs`, so there is one update a time."""


def dqn(
    env: Any,
    torso: str | Callable[[], nn.Module] = "gru",
    *,
    head: nn.Module | None = None,
    cls: type[DQN] = DQN,
    learning_rate: float = 3e-3,
    arguments: dict[str, Any] | None = None,
    **config: Any,
) -> DQN:
    """DQN with a small replay; R2D2 where `cls` is one."""
    make_torso = TORSOS[torso] if isinstance(torso, str) else torso
    space = env.action_space(env.default_params)
    head = value_head(space) if head is None else head
    network = Network(extractor(), make_torso(), head)
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(learning_rate))
    fields = REPLAY | ({"burn_in_length": 1} if issubclass(cls, R2D2) else {}) | config
    hyperparameters = (R2D2Config if issubclass(cls, R2D2) else DQNConfig)(**fields)
    return cls(hyperparameters, env, env.default_params, network, optimizer, **(arguments or {}))


def counting(cls: type[DQN], **config: Any) -> DQN:
    """An agent whose values are the number of inputs that its memory has seen."""
    options = {"gamma": 1.0, "sequence_length": 6} | config
    return dqn(Clock("never"), lambda: RNN(cell=CountingCell()), head=CountingHead(), cls=cls, **options)


def r2d2(env: Any, torso: str | Callable[[], nn.Module] = "gru", *, cls: type[R2D2] = R2D2, **options: Any) -> DQN:
    """R2D2 with a small replay."""
    return dqn(env, torso, cls=cls, **options)


def pqn(
    env: Any,
    torso: str | Callable[[], nn.Module] = "gru",
    *,
    head: nn.Module | None = None,
    cls: type[PQN] = PQN,
    learning_rate: float = 3e-3,
    epsilon_schedule: Callable[[Any], Any] | None = None,
    **config: Any,
) -> PQN:
    """PQN on a small network."""
    make_torso = TORSOS[torso] if isinstance(torso, str) else torso
    space = env.action_space(env.default_params)
    head = value_head(space) if head is None else head
    network = Network(extractor(), make_torso(), head)
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(learning_rate))
    return cls(PQNConfig(**(SMALL | config)), env, env.default_params, network, optimizer, epsilon_schedule)


def stream_ac(
    env: Any,
    torso: str | Callable[[], nn.Module] = "gru",
    *,
    shared: bool = False,
    head: nn.Module | None = None,
    cls: type[StreamAC] = StreamAC,
    **config: Any,
) -> StreamAC:
    """StreamAC on two trunks, or on one where `shared` is on."""
    make_torso = TORSOS[torso] if isinstance(torso, str) else torso
    trunk = (extractor(), make_torso())
    other = trunk if shared else (extractor(), make_torso())
    space = env.action_space(env.default_params)
    actor = Network(*trunk, policy_head(space) if head is None else head)
    critic = Network(*other, heads.VNetwork())
    return cls(StreamACConfig(**({"num_envs": 3} | config)), env, env.default_params, actor, critic)


def sac(
    env: Any,
    torso: str | Callable[[], nn.Module] = "gru",
    *,
    critic_torso: str | None = None,
    head: nn.Module | None = None,
    critic_head: nn.Module | None = None,
    cls: type[SAC] = SAC,
    learning_rate: float = 3e-3,
    arguments: dict[str, Any] | None = None,
    **config: Any,
) -> SAC:
    """SAC with a small replay, on a trunk for each network."""
    make_torso = TORSOS[torso] if isinstance(torso, str) else torso
    make_other = make_torso if critic_torso is None else TORSOS[critic_torso]
    space = env.action_space(env.default_params)
    continuous = isinstance(space, Box)
    if head is None:
        head = heads.SquashedGaussian(math.prod(space.shape)) if continuous else heads.Categorical(space.n)
    if critic_head is None:
        critic_head = heads.ContinuousQNetwork((9,)) if continuous else heads.DiscreteQNetwork(space.n)
    actor = Network(extractor(), make_torso(), head)
    critic = Network(extractor(), make_other(), critic_head)
    given = {"actor": actor, "critic": critic, "second_critic": critic} | (arguments or {})
    optimizers = {f"{name}_optimizer": optax.adam(learning_rate) for name in ("actor", "critic", "alpha")}
    return cls(SACConfig(**(REPLAY | config)), env, env.default_params, **(given | optimizers))

"""Short runs of every algorithm, from the public names alone: what `record.py` records and the test repeats."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import optax

from memorax import lox
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
from memorax.environments import make
from memorax.environments.wrappers import TimeLimit
from memorax.networks import (
    MLP,
    RNN,
    RTRL,
    FeatureExtractor,
    Network,
    RTUCell,
    SequenceModelWrapper,
    blocks,
    heads,
)

MAZE = {"length": 1, "max_steps": 5}
"""Of a T-maze: its episodes are short, and random ones terminate and are truncated."""
ROLLOUT = {"num_envs": 4, "num_steps": 6, "num_minibatches": 2, "update_epochs": 2}
REPLAY = {
    "num_envs": 2,
    "train_frequency": 8,
    "batch_size": 3,
    "sequence_length": 5,
    "buffer_size": 80,
    "learning_starts": 20,
    "target_update_frequency": 16,
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A run to record.

    Attributes:
        build: Makes the agent.
        steps: Steps of training, over all environments.
        warmup: Steps of `agent.warmup` before.
        slow: Whether `make test` leaves it out.
    """

    build: Callable[[], Any]
    steps: int
    warmup: int = 0
    slow: bool = False

    def __call__(self) -> dict[str, Any]:
        """Train, and evaluate where there is time; give what was logged, by name, and the state at the end."""
        agent = self.build()
        state = agent.init(jax.random.key(0))
        if self.warmup:
            state = agent.warmup(jax.random.key(1), state, num_steps=self.warmup)
        state, logs = lox.spool(agent.train)(jax.random.key(2), state, num_steps=self.steps)
        result = {"train": logs, "state": state}
        if self.slow:
            result["evaluate"] = lox.spool(agent.evaluate)(jax.random.key(3), state, num_episodes=3, num_steps=7)[1]
        return result


def maze(**options: Any) -> tuple[Any, Any]:
    return make("memory::TMaze", **(MAZE | options))


def pendulum() -> tuple[Any, Any]:
    """Continuous actions; episodes are truncated."""
    env, params = make("memory::PositionOnlyPendulumEasy")
    return TimeLimit(env, 5), params


def extractor(*, previous: bool = True) -> FeatureExtractor:
    """Encodes the observation, and the previous action and reward unless told otherwise."""
    others = {"action_extractor": MLP(features=(2,)), "reward_extractor": MLP(features=(1,))} if previous else {}
    return FeatureExtractor(observation_extractor=MLP(features=(3,)), **others)


def gru() -> nn.Module:
    return RNN(cell=nn.GRUCell(features=5))


def mlp() -> nn.Module:
    return SequenceModelWrapper(MLP(features=(5,)))


def experts() -> nn.Module:
    """Sows a loss, which balances its two experts."""
    return SequenceModelWrapper(blocks.MoE(blocks.FFN(hidden_dim=3), num_experts=2))


def rtu() -> nn.Module:
    return RTRL(model=RNN(cell=RTUCell(features=5, hidden_dim=3)))


def steps_taken(transition: Any) -> Any:
    return transition.done == transition.done


def reward(transition: Any) -> Any:
    return transition.reward


def horde(head: Callable[[], nn.Module]) -> nn.Module:
    """A main head with two general value functions beside it."""
    answers = {"reward": (0.7, reward), "steps": (0.5, steps_taken)}
    return heads.Horde(head(), {name: heads.GVF(head(), gamma=g, cumulant=c) for name, (g, c) in answers.items()})


def adam(learning_rate: float = 0.01) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(0.5), optax.adam(learning_rate))


def actor_critic(
    cls: type,
    config: Any,
    task: tuple[Any, Any],
    torso: Callable[[], nn.Module],
    *,
    head: nn.Module | None = None,
    value: nn.Module | None = None,
    shared: bool = True,
    previous: bool = True,
) -> Any:
    """PPO or one of its kin, on one trunk or on two."""
    trunk = extractor(previous=previous), torso()
    other = trunk if shared else (extractor(previous=previous), torso())
    actor = Network(*trunk, heads.Categorical(action_dim=4) if head is None else head)
    critic = Network(*other, heads.VNetwork() if value is None else value)
    return cls(config, *task, actor, critic, adam(), adam())


def ppo(torso: Callable[[], nn.Module] = gru, *, task: Callable[[], Any] = maze, networks: Any = None, **config: Any):
    def build() -> PPO:
        return actor_critic(PPO, PPOConfig(**(ROLLOUT | config)), task(), torso, **(networks or {}))

    return build


def gradient_ppo(torso: Callable[[], nn.Module] = gru, **config: Any):
    def build() -> GradientPPO:
        fields = ROLLOUT | {"truncation_length": 3} | config
        return actor_critic(GradientPPO, GradientPPOConfig(**fields), maze(), torso, shared=False)

    return build


def mappo(torso: Callable[[], nn.Module] = gru, *, shared: bool = True, **config: Any):
    def build() -> MAPPO:
        task = make("multi_agent::RollCall", delay=1)
        head = heads.Categorical(action_dim=2)
        return actor_critic(MAPPO, MAPPOConfig(**(ROLLOUT | config)), task, torso, head=head, shared=shared)

    return build


def q_learning(cls: type, config: Any, torso: Callable[[], nn.Module], head: nn.Module | None = None) -> Any:
    head = heads.DiscreteQNetwork(action_dim=4) if head is None else head
    return cls(config, *maze(), Network(extractor(), torso(), head), adam())


def discrete_q() -> nn.Module:
    return heads.DiscreteQNetwork(action_dim=4)


def pqn(torso: Callable[[], nn.Module] = gru, *, head: Callable[[], nn.Module] = discrete_q, **config: Any):
    return lambda: q_learning(PQN, PQNConfig(**(ROLLOUT | config)), torso, head())


def dqn(torso: Callable[[], nn.Module] = gru, *, head: Callable[[], nn.Module] = discrete_q, **config: Any):
    return lambda: q_learning(DQN, DQNConfig(**(REPLAY | {"n_step": 2} | config)), torso, head())


def r2d2(torso: Callable[[], nn.Module] = gru, *, head: Callable[[], nn.Module] = discrete_q, **config: Any):
    fields = REPLAY | {"burn_in_length": 1, "n_step": 2} | config
    return lambda: q_learning(R2D2, R2D2Config(**fields), torso, head())


def sac(torso: Callable[[], nn.Module] = gru, *, continuous: bool = True, **config: Any):
    def build() -> SAC:
        policy = heads.SquashedGaussian(1) if continuous else heads.Categorical(4)
        value = heads.ContinuousQNetwork((4,)) if continuous else discrete_q()
        actor, critic = Network(extractor(), torso(), policy), Network(extractor(), torso(), value)
        task = pendulum() if continuous else maze()
        fields = REPLAY | {"target_entropy_scale": 0.89, "initial_temperature": 1.0} | config
        return SAC(SACConfig(**fields), *task, actor, critic, critic, adam(), adam(), adam())

    return build


def stream_ac(torso: Callable[[], nn.Module], *, shared: bool = False, **config: Any):
    def build() -> StreamAC:
        trunk = extractor(), torso()
        other = trunk if shared else (extractor(), torso())
        actor, critic = Network(*trunk, heads.Categorical(4)), Network(*other, heads.VNetwork())
        return StreamAC(StreamACConfig(**({"num_envs": 3} | config)), *maze(), actor, critic)

    return build


def on_policy(build: Callable[[], Any], *, slow: bool = False) -> Run:
    """Five updates of a rollout."""
    return Run(build, steps=120, slow=slow)


def replayed(build: Callable[[], Any], *, slow: bool = False) -> Run:
    """An update or two in which nothing is learned yet, many in which something is; the replay forgets by the end."""
    return Run(build, steps=128, warmup=6, slow=slow)


def streamed(build: Callable[[], Any], *, slow: bool = False) -> Run:
    """Many updates of one step."""
    return Run(build, steps=96, slow=slow)


NORMALIZED = {"normalize_observations": True, "normalize_rewards": True}
TWO_TRUNKS = {"shared": False}

RUNS: dict[str, Run] = {
    # One of every algorithm.
    "dqn gru": replayed(dqn()),
    "gradient_ppo gru, burn-in": on_policy(gradient_ppo(burn_in_length=1)),
    "mappo gru": on_policy(mappo()),
    "ppo gru": on_policy(ppo()),
    "pqn gru": on_policy(pqn()),
    "r2d2 gru": replayed(r2d2()),
    "sac gru, continuous": replayed(sac()),
    "stream_ac rtu with rtrl": streamed(stream_ac(rtu)),
    # Their variants.
    "dqn gru, fresh memory": replayed(dqn(store_carry=False, double=False, tau=0.5), slow=True),
    "dqn gru, horde": replayed(dqn(head=lambda: horde(discrete_q)), slow=True),
    "dqn mlp, normalized": replayed(dqn(mlp, **NORMALIZED), slow=True),
    "dqn mlp, c51": replayed(dqn(mlp, head=lambda: heads.C51QNetwork(4, 7, -1.0, 4.0)), slow=True),
    "gradient_ppo mlp": on_policy(gradient_ppo(mlp), slow=True),
    "mappo gru, central critic": on_policy(mappo(shared=False, centralized_critic=True), slow=True),
    "mappo gru, shared parameters": on_policy(mappo(share_parameters=True, target_kl=1e-6), slow=True),
    "mappo mlp, central critic, shared parameters": on_policy(
        mappo(mlp, shared=False, centralized_critic=True, share_parameters=True), slow=True
    ),
    "ppo experts": on_policy(ppo(experts, networks={"previous": False}), slow=True),
    "ppo gru, burn-in": on_policy(ppo(burn_in_length=2), slow=True),
    "ppo gru, continuous, normalized": on_policy(
        ppo(task=pendulum, networks=TWO_TRUNKS | {"head": heads.Gaussian(1)}, **NORMALIZED), slow=True
    ),
    "ppo gru, histograms": on_policy(ppo(networks={"value": heads.HLGaussVNetwork(7, -1.0, 4.0)}), slow=True),
    "ppo gru, horde": on_policy(ppo(networks={"value": horde(heads.VNetwork)}), slow=True),
    "ppo gru, stopped by the divergence": on_policy(ppo(update_epochs=3, target_kl=1e-3), slow=True),
    "ppo mlp": on_policy(ppo(mlp), slow=True),
    "ppo mlp, two trunks": on_policy(ppo(mlp, networks=TWO_TRUNKS), slow=True),
    "pqn gru, burn-in, horde": on_policy(pqn(head=lambda: horde(discrete_q), burn_in_length=1), slow=True),
    "pqn gru, new targets": on_policy(pqn(refresh_targets=True), slow=True),
    "pqn mlp": on_policy(pqn(mlp), slow=True),
    "pqn mlp, new targets": on_policy(pqn(mlp, refresh_targets=True), slow=True),
    "r2d2 gru, horde": replayed(r2d2(head=lambda: horde(discrete_q), epsilon_base=1.0), slow=True),
    "r2d2 mlp": replayed(r2d2(mlp), slow=True),
    "sac gru, discrete": replayed(sac(continuous=False), slow=True),
    "sac mlp, two gradient steps": replayed(sac(mlp, gradient_steps=2), slow=True),
    "stream_ac mlp, one trunk, normalized": streamed(stream_ac(mlp, shared=True, **NORMALIZED), slow=True),
}
"""Every recorded run, by algorithm, torso and what is special about it."""

"""The pieces of work of `benchmarks.agents`: what each contender is asked to do, ours and those of other libraries."""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import optax
from benchmarks import _agents_elsewhere as elsewhere
from benchmarks import _stoix as stoix
from benchmarks._agents_elsewhere import Contender

from memorax import lox
from memorax.algorithms import DQN, PPO, PQN, R2D2, SAC, DQNConfig, PPOConfig, PQNConfig, R2D2Config, SACConfig
from memorax.environments import make
from memorax.experiment.devices import Devices
from memorax.networks import MLP, RNN, FeatureExtractor, Memoroid, Network, S5Cell, SequenceModelWrapper, heads
from memorax.networks.blocks import Residual, Stack

PPO_GRU = {16: (128, 16_384), 64: (128, 32_768), 256: (128, 65_536), 1024: (128, 131_072), 4096: (32, 131_072)}
"""PPO with a GRU: by the number of environments the length of a rollout, and the steps of a timed call."""
Peers = Callable[[argparse.Namespace], Iterator[Contender]]


def normalized_relu(x: jax.Array) -> jax.Array:
    """Normalize, then rectify, as the networks of PQN do."""
    return nn.relu(nn.LayerNorm()(x))


def same(x: jax.Array) -> jax.Array:
    """Give what is given."""
    return x


def feed_forward(head: nn.Module, activation: Callable[[jax.Array], jax.Array]) -> Network:
    """Two hidden layers of 64."""
    return Network(FeatureExtractor(MLP((64, 64), activation=activation)), SequenceModelWrapper(same), head)


def ours(agent: Any, steps: int, *, seeds: int = 1, warmup: int = 0, devices: int = 1) -> Contender:
    """Make an agent a contender, whose seeds are divided over devices."""
    one = max(1, steps // agent.steps_per_update) * agent.steps_per_update
    spread = Devices(devices, seeds)
    keys = jax.random.split(jax.random.key(0), seeds)
    state = jax.jit(jax.vmap(agent.init))(keys)
    if warmup:
        state = jax.jit(jax.vmap(lambda key, state: agent.warmup(key, state, warmup)))(keys, state)
    keys, state = spread.place((keys, state))

    def train(state: Any) -> tuple[Any, Any]:
        if seeds == 1:
            state, logs = lox.spool(agent.train)(keys[0], jax.tree.map(lambda x: x[0], state), one)
            return jax.tree.map(lambda x: x[None], state), logs
        return spread.each_seed(lambda key, state: lox.spool(agent.train)(key, state, one))(keys, state)

    return Contender("memorax", train, state, one * seeds)


def ppo_feed_forward(envs: int, steps: int) -> Peers:
    """PPO with two networks of 64 x 64, as purejaxrl's."""
    config = {"envs": envs, "length": 128, "epochs": 4, "minibatches": 4, "steps": steps}

    def contenders(options: argparse.Namespace) -> Iterator[Contender]:
        actor = feed_forward(heads.Categorical(action_dim=2), nn.tanh)
        critic = feed_forward(heads.VNetwork(), nn.tanh)
        yield ours(_ppo(config, actor, critic), steps)
        if options.purejaxrl:
            yield elsewhere.purejaxrl(options.purejaxrl, "ppo.py", config)
        sizes = {"num_steps": 128, "num_epochs": 4, "num_minibatches": 4, "agent_kwargs": {"activation": "tanh"}}
        yield elsewhere.rejax("PPO", "CartPole-v1", config, **sizes)

    return contenders


def ppo_gru(envs: int) -> Peers:
    """PPO with a GRU of 128 units on one trunk, as purejaxrl's."""
    length, steps = PPO_GRU[envs]
    config = {"envs": envs, "length": length, "epochs": 4, "minibatches": 4, "steps": steps}

    def contenders(options: argparse.Namespace) -> Iterator[Contender]:
        trunk = FeatureExtractor(MLP((128,))), RNN(nn.GRUCell(features=128))
        actor = Network(*trunk, heads.Categorical(action_dim=2, hidden=(128,)))
        yield ours(_ppo(config, actor, Network(*trunk, heads.VNetwork(hidden=(128,)))), steps)
        if options.purejaxrl:
            yield elsewhere.purejaxrl(options.purejaxrl, "ppo_rnn.py", config)

    return contenders


def ppo_gru_wide(options: argparse.Namespace) -> Iterator[Contender]:
    """PPO with a GRU of 256 units and two layers before and after it, as popjaxrl's."""
    config = {"envs": 64, "length": 128, "epochs": 4, "minibatches": 4, "steps": 16_384}
    trunk = FeatureExtractor(MLP((128, 256), activation=nn.leaky_relu)), RNN(nn.GRUCell(features=256))
    actor = Network(*trunk, heads.Categorical(action_dim=2, hidden=(128, 128)))
    yield ours(_ppo(config, actor, Network(*trunk, heads.VNetwork(hidden=(128, 128)))), config["steps"])
    if options.popjaxrl and options.purejaxrl:
        yield elsewhere.popjaxrl(options.popjaxrl, options.purejaxrl, config)


class GatedLinearUnit(nn.Module):
    """What follows the states of an S5 layer, as popjaxrl has it."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Rectify smoothly, then gate."""
        x, width = nn.gelu(x), x.shape[-1]
        return nn.Dense(width)(x) * nn.sigmoid(nn.Dense(width)(x))


def ppo_s5(options: argparse.Namespace) -> Iterator[Contender]:
    """PPO with two S5 layers of 256 features and states, and two layers before and after them, as popjaxrl's."""
    config = {"envs": 64, "length": 128, "epochs": 4, "minibatches": 4, "steps": 8_192}
    s5 = (Stack([Memoroid(S5Cell(features=256, state_dim=256)), SequenceModelWrapper(GatedLinearUnit())]) for _ in "12")
    trunk = FeatureExtractor(MLP((128, 256), activation=nn.leaky_relu)), Stack([Residual(layer) for layer in s5])
    actor = Network(*trunk, heads.Categorical(action_dim=2, hidden=(128, 128)))
    yield ours(_ppo(config, actor, Network(*trunk, heads.VNetwork(hidden=(128, 128)))), config["steps"])
    if options.popjaxrl and options.purejaxrl:
        yield elsewhere.popjaxrl_s5(options.popjaxrl, options.purejaxrl, config, width=256, layers=2)


def pqn_feed_forward(options: argparse.Namespace) -> Iterator[Contender]:
    """PQN with a network of 64 x 64 and layer norms, as rejax's."""
    config = {"envs": 64, "length": 64, "epochs": 4, "minibatches": 16, "steps": 131_072}
    env, params = make("gymnax::CartPole-v1")
    settings = PQNConfig(num_envs=64, num_steps=64, update_epochs=4, num_minibatches=16)
    network = feed_forward(heads.DiscreteQNetwork(action_dim=2), normalized_relu)
    yield ours(PQN(settings, env, params, network, _optimizer()), config["steps"])
    sizes = {"num_steps": 64, "num_epochs": 4, "num_minibatches": 16}
    yield elsewhere.rejax("PQN", "CartPole-v1", config, **sizes)
    if options.purejaxql and options.purejaxrl:
        yield elsewhere.purejaxql(options.purejaxql, options.purejaxrl, config)


def pqn_gru(options: argparse.Namespace) -> Iterator[Contender]:
    """PQN with a layer and a GRU of 128 that sees the previous action, and new targets in each step, as PureJaxQL's."""
    config = {"envs": 64, "length": 64, "epochs": 4, "minibatches": 4, "steps": 32_768}
    env, params = make("gymnax::CartPole-v1")
    settings = PQNConfig(num_envs=64, num_steps=64, update_epochs=4, num_minibatches=4, refresh_targets=True)
    trunk = FeatureExtractor(MLP((128,), activation=normalized_relu), same), RNN(nn.GRUCell(features=128))
    network = Network(*trunk, heads.DiscreteQNetwork(action_dim=2))
    yield ours(PQN(settings, env, params, network, _optimizer()), config["steps"])
    if options.purejaxql and options.purejaxrl:
        yield elsewhere.purejaxql(options.purejaxql, options.purejaxrl, config, width=128, gru=True)


def sac_feed_forward(*, discrete: bool) -> Peers:
    """SAC with networks of 64 x 64: 16 environments, and for 16 transitions an update on 256."""
    name = "CartPole-v1" if discrete else "Pendulum-v1"

    def contenders(options: argparse.Namespace) -> Iterator[Contender]:
        del options
        env, params = make(f"gymnax::{name}")
        settings = SACConfig(num_envs=16, train_frequency=16, batch_size=256, buffer_size=100_000)
        if discrete:
            actor = feed_forward(heads.Categorical(action_dim=2), nn.relu)
            critic = feed_forward(heads.DiscreteQNetwork(action_dim=2), nn.relu)
        else:
            actor = feed_forward(heads.SquashedGaussian(action_dim=1), nn.relu)
            # Observation and action go through both layers together, as in rejax.
            critic = Network(FeatureExtractor(same), SequenceModelWrapper(same), heads.ContinuousQNetwork((64, 64)))
        agent = SAC(settings, env, params, actor, critic, critic, *[_optimizer() for _ in range(3)])
        yield ours(agent, 8_192, warmup=4_096)
        sizes = {"buffer_size": 100_000, "fill_buffer": 4_096, "batch_size": 256}
        yield elsewhere.rejax("SAC", name, {"envs": 16, "steps": 8_192}, **sizes)

    return contenders


def dqn_feed_forward(options: argparse.Namespace) -> Iterator[Contender]:
    """DQN with a network of 64 x 64: 16 environments, and for 16 transitions an update on 256."""
    del options
    env, params = make("gymnax::CartPole-v1")
    settings = DQNConfig(num_envs=16, train_frequency=16, batch_size=256, buffer_size=100_000)
    network = feed_forward(heads.DiscreteQNetwork(action_dim=2), nn.relu)
    yield ours(DQN(settings, env, params, network, _optimizer()), 16_384, warmup=4_096)
    sizes = {"buffer_size": 100_000, "fill_buffer": 4_096, "batch_size": 256}
    yield elsewhere.rejax("DQN", "CartPole-v1", {"envs": 16, "steps": 16_384}, **sizes)


def r2d2_gru(options: argparse.Namespace) -> Iterator[Contender]:
    """R2D2 with a layer and a GRU of 128: 16 environments, and for 16 transitions an update on 32 sequences of 40."""
    env, params = make("gymnax::CartPole-v1")
    work = {"envs": 16, "width": 128, "batch": 32, "sequence": 40, "burn_in": 10, "period": 15, "n_step": 5}
    work |= {"rollout": 32, "positions": 16_320, "steps": 2_048}
    settings = R2D2Config(
        num_envs=16,
        train_frequency=16,
        batch_size=32,
        sequence_length=40,
        burn_in_length=10,
        sequence_period=15,
        n_step=5,
        buffer_size=16_320,
    )
    trunk = FeatureExtractor(MLP((128,))), RNN(nn.GRUCell(features=128))
    agent = R2D2(settings, env, params, Network(*trunk, heads.DiscreteQNetwork(action_dim=2)), _optimizer())
    yield ours(agent, work["steps"], warmup=16_320)
    if options.stoix:
        yield stoix.r2d2(options.stoix, work)


def seeds(options: argparse.Namespace) -> Iterator[Contender]:
    """Sixteen seeds of PPO with a GRU of 64 units, and one alone.

    Where JAX has several devices, `JAX_NUM_CPU_DEVICES=2` for instance, the seeds are divided over them first, as
    `memorax train` does.
    """
    del options
    config = {"envs": 32, "length": 128, "epochs": 4, "minibatches": 4}
    trunk = FeatureExtractor(MLP((64,))), RNN(nn.GRUCell(features=64))
    actor, critic = Network(*trunk, heads.Categorical(action_dim=2)), Network(*trunk, heads.VNetwork())
    if jax.device_count() > 1:
        yield ours(_ppo(config, actor, critic), 8_192, seeds=16, devices=jax.device_count())
    together = ours(_ppo(config, actor, critic), 8_192, seeds=16)
    yield together._replace(name="one device") if jax.device_count() > 1 else together
    yield ours(_ppo(config, actor, critic), 65_536)._replace(name="one seed")


def _ppo(config: dict[str, Any], actor: Network, critic: Network) -> PPO:
    env, params = make("gymnax::CartPole-v1")
    settings = PPOConfig(
        num_envs=config["envs"],
        num_steps=config["length"],
        update_epochs=config["epochs"],
        num_minibatches=config["minibatches"],
        value_coefficient=0.5,
    )
    return PPO(settings, env, params, actor, critic, _optimizer(), _optimizer())


def _optimizer() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(0.5), optax.adam(3e-4, eps=1e-5))


ROWS: dict[str, Peers] = {
    "PPO, MLP, 64 environments": ppo_feed_forward(64, 131_072),
    "PQN, MLP, 64 environments": pqn_feed_forward,
    "SAC, MLP, 16 environments": sac_feed_forward(discrete=False),
    "SAC, MLP, discrete actions, 16 environments": sac_feed_forward(discrete=True),
    "DQN, MLP, 16 environments": dqn_feed_forward,
    "PQN, GRU(128), 64 environments": pqn_gru,
    "R2D2, GRU(128), 16 environments": r2d2_gru,
    "PPO, MLP, 2,048 environments": ppo_feed_forward(2048, 262_144),
    "PPO, GRU(64), 16 seeds and one": seeds,
    "PPO, GRU(128), 16 environments": ppo_gru(16),
    "PPO, GRU(128), 64 environments": ppo_gru(64),
    "PPO, GRU(256), 64 environments": ppo_gru_wide,
    "PPO, 2 x S5(256), 64 environments": ppo_s5,
    "PPO, GRU(128), 256 environments": ppo_gru(256),
    "PPO, GRU(128), 1,024 environments": ppo_gru(1024),
    "PPO, GRU(128), 4,096 environments": ppo_gru(4096),
}
"""Every piece of work, quick ones first."""

"""What `benchmarks.gpu` does with whole agents: check that they train, and time PPO."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from benchmarks._gpu import UNTUNED, Bench, Case, Row, say

from memorax.algorithms import PPO, PQN, R2D2, SAC, PPOConfig, PQNConfig, R2D2Config, SACConfig
from memorax.environments import make
from memorax.networks import MLP, RNN, FeatureExtractor, Network, heads
from memorax.networks.sequence_models import MODELS


def check_agents(bench: Bench) -> None:
    """Train small agents for some updates, side by side; their parameters must stay finite and move."""
    runs = {name: bench.pool.submit(lambda build: _train(build()), build) for name, build in AGENTS.items()}
    for name, run in runs.items():
        try:
            row = run.result(timeout=max(1.0, bench.left))
        except TimeoutError:
            row = {"skipped": "no time left"}
        except Exception as error:
            row = {"passed": False, "error": say(error)}
        bench.report.add("agents", {"check": name} | row)


def _train(agent: Any) -> Row:
    jit = partial(jax.jit, compiler_options=UNTUNED)
    first = jit(agent.init)(jax.random.key(0))
    if hasattr(agent, "warmup"):
        first = jit(lambda key, state: agent.warmup(key, state, 2048))(jax.random.key(1), first)
    steps = 4 * agent.steps_per_update
    last = jit(lambda key, state: agent.train(key, state, steps))(jax.random.key(2), first)
    pairs = [(np.asarray(x), np.asarray(y)) for x, y in zip(*map(_floats, (first.learner, last.learner)), strict=True)]
    finite = all(np.all(np.isfinite(after)) for _, after in pairs)
    moved = max(float(np.max(np.abs(after - before), initial=0)) for before, after in pairs)
    return {"passed": finite and moved > 0, "updates": 4, "largest_change": moved}


def _floats(tree: Any) -> list[jax.Array]:
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]


def _network(head: nn.Module) -> Network:
    return Network(FeatureExtractor(observation_extractor=MLP(features=(32,))), MODELS.get("gru")(32), head)


def _ppo() -> PPO:
    env, params = make("memory::RepeatPreviousEasy")
    trunk = FeatureExtractor(observation_extractor=MLP(features=(32,))), MODELS.get("gru")(32)
    actor, critic = Network(*trunk, heads.Categorical(action_dim=4)), Network(*trunk, heads.VNetwork())
    return PPO(PPOConfig(num_envs=64, num_steps=32), env, params, actor, critic, *[optax.adam(3e-4)] * 2)


def _pqn() -> PQN:
    env, params = make("memory::RepeatPreviousEasy")
    network = _network(heads.DiscreteQNetwork(action_dim=4))
    return PQN(PQNConfig(num_envs=64, num_steps=32), env, params, network, optax.adam(3e-4))


def _r2d2() -> R2D2:
    env, params = make("memory::RepeatPreviousEasy")
    config = R2D2Config(
        num_envs=16, train_frequency=16, batch_size=32, sequence_length=40, buffer_size=10_000, learning_starts=1
    )
    return R2D2(config, env, params, _network(heads.DiscreteQNetwork(action_dim=4)), optax.adam(3e-4))


def _sac() -> SAC:
    env, params = make("memory::PositionOnlyPendulumEasy")
    config = SACConfig(
        num_envs=16, train_frequency=16, batch_size=32, sequence_length=20, buffer_size=10_000, learning_starts=1
    )
    critic = _network(heads.ContinuousQNetwork((32,)))
    actor = _network(heads.SquashedGaussian(1))
    return SAC(config, env, params, actor, critic, critic, *[optax.adam(3e-4)] * 3)


AGENTS: dict[str, Callable[[], Any]] = {"ppo": _ppo, "pqn": _pqn, "r2d2": _r2d2, "sac": _sac}


def ppo_cases(envs: tuple[int, ...], num_steps: int, cells: tuple[str, ...] = ("memorax", "flax")) -> Iterator[Case]:
    """Time updates of PPO on RepeatPreviousEasy: MLP(128) and GRU(128) on one trunk, 4 epochs of 4 minibatches."""
    for num_envs in envs:
        for cell in cells:
            row = {"num_envs": num_envs, "num_steps": num_steps, "cell": cell}
            transitions = num_envs * num_steps
            rates = partial(lambda transitions, seconds: {"steps_per_second": transitions / seconds}, transitions)
            yield Case(row, partial(_update, num_envs, num_steps, cell), rates)


def _update(num_envs: int, num_steps: int, cell: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    env, params = make("memory::RepeatPreviousEasy")
    torso = RNN(cell=nn.GRUCell(features=128), fused=cell == "memorax")
    trunk = FeatureExtractor(observation_extractor=MLP(features=(128,))), torso
    actor, critic = Network(*trunk, heads.Categorical(action_dim=4)), Network(*trunk, heads.VNetwork())
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(3e-4, eps=1e-5))
    config = PPOConfig(num_envs=num_envs, num_steps=num_steps, update_epochs=4, num_minibatches=4)
    agent = PPO(config, env, params, actor, critic, optimizer, optimizer)
    key = jax.random.key(0)
    return lambda key, state: agent.train(key, state, agent.steps_per_update), (
        key,
        jax.jit(agent.init, compiler_options=UNTUNED)(key),
    )

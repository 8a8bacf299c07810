"""Continuous control with memory: SAC swings up a pendulum of which it sees the angle but not the velocity.

python examples/continuous_control.py
"""

import flax.linen as nn
import jax
import optax

from memorax import MLP, RNN, SAC, FeatureExtractor, Network, SACConfig, heads, lox, make


def network(head: nn.Module) -> Network:
    """A recurrent network that also sees its previous action."""
    extractor = FeatureExtractor(MLP(features=(64,)), action_extractor=MLP(features=(16,)))
    return Network(extractor, RNN(cell=nn.GRUCell(features=64)), head)


def main(num_steps: int = 60_000, warmup: int = 4_000, **options: int) -> tuple[float, float]:
    """Train; give the mean return before and after."""
    env, env_params = make("memory::PositionOnlyPendulumEasy")
    actor, critic = network(heads.SquashedGaussian(action_dim=1)), network(heads.ContinuousQNetwork(features=(64,)))
    config = SACConfig(**{"num_envs": 8, "train_frequency": 8, "batch_size": 32, "burn_in_length": 4} | options)
    optimizer = optax.adam(1e-3)
    agent = SAC(config, env, env_params, actor, critic, critic, optimizer, optimizer, optimizer)

    def evaluate(state) -> float:
        _, logs = lox.spool(agent.evaluate)(jax.random.key(3), state, num_episodes=10)
        return float(logs["returned_episode_returns"].mean())

    state = agent.init(jax.random.key(0))
    before = evaluate(state)
    state = agent.warmup(jax.random.key(1), state, num_steps=warmup)
    state = agent.train(jax.random.key(2), state, num_steps)
    after = evaluate(state)
    print(f"mean return {before:.2f} before, {after:.2f} after training; at best 1")
    return before, after


if __name__ == "__main__":
    main()

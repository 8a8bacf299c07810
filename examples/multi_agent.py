"""Several agents with memory: MAPPO, where each must recall what its neighbor did at the beginning.

python examples/multi_agent.py
"""

import flax.linen as nn
import jax
import optax

from memorax import MAPPO, MLP, RNN, FeatureExtractor, MAPPOConfig, Network, heads, lox, make


def main(num_steps: int = 300_000, delay: int = 3) -> float:
    """Train; give the mean return of the greedy policies."""
    env, env_params = make("multi_agent::PartnerRecall", delay=delay)
    trunk = FeatureExtractor(observation_extractor=MLP(features=(32,))), RNN(cell=nn.GRUCell(features=32))
    actor = Network(*trunk, heads.Categorical(action_dim=env.agent_action_space(env_params).n))
    critic = Network(*trunk, heads.VNetwork())
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(2e-3, eps=1e-5))
    agent = MAPPO(MAPPOConfig(num_envs=32, num_steps=32), env, env_params, actor, critic, optimizer, optimizer)
    state = agent.train(jax.random.key(1), agent.init(jax.random.key(0)), num_steps)
    _, logs = lox.spool(agent.evaluate)(jax.random.key(2), state, num_episodes=20)
    result = float(logs["returned_episode_returns"].mean())
    print(f"mean return over {env.num_agents} agents: {result:.2f}")
    return result


if __name__ == "__main__":
    main()

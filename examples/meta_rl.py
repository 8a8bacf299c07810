"""Meta-reinforcement learning with RL²: memory that outlives episodes learns to find the good arm of a bandit.

python examples/meta_rl.py
"""

import flax.linen as nn
import jax
import numpy as np
import optax

from memorax import MLP, PPO, RNN, FeatureExtractor, Network, PPOConfig, heads, lox, make
from memorax.networks import RL2Wrapper

PULLS, EPISODES = 5, 4


def main(num_steps: int = 300_000) -> tuple[float, float]:
    """Train with and without RL²; give both mean returns in the end."""
    env, env_params = make("memory::OneGoodArm", pulls=PULLS, arms=5, episodes_per_trial=EPISODES)

    def train(torso: nn.Module, mask: bool) -> float:
        extractor = FeatureExtractor(
            observation_extractor=MLP(features=(32,)),
            action_extractor=MLP(features=(16,)),
            reward_extractor=MLP(features=(16,)),
            done_extractor=MLP(features=(8,)),
            mask_at_start=mask,  # RL² must see the last action and reward of the episode before
        )
        actor = Network(extractor, torso, heads.Categorical(action_dim=5))
        critic = Network(extractor, torso, heads.VNetwork())
        optimizer = optax.adam(2e-3)
        config = PPOConfig(num_envs=32, num_steps=PULLS * EPISODES)
        agent = PPO(config, env, env_params, actor, critic, optimizer, optimizer)
        state = agent.init(jax.random.key(0))
        _, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=num_steps)
        ended = logs["returned_episode"]
        returns = np.asarray(logs["returned_episode_returns"])[np.asarray(ended)]
        return float(returns[-len(returns) // 10 :].mean())

    gru = RNN(cell=nn.GRUCell(features=32))
    across = train(RL2Wrapper(model=gru, episodes_per_trial=EPISODES), mask=False)
    within = train(gru, mask=True)
    print(f"mean return of an episode: {across:.2f} with memory across episodes, {within:.2f} within them")
    return across, within


if __name__ == "__main__":
    main()

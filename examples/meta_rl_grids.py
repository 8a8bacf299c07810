"""Meta-reinforcement learning on XLand-MiniGrid: RL² finds out which ball to take, and remembers it in later episodes.

python examples/meta_rl_grids.py    (needs `pip install "memorax[xminigrid]"`; writes meta_rl_grids.png)
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from xminigrid import benchmarks, core

from memorax import MLP, PPO, RNN, FeatureExtractor, Network, PPOConfig, heads, make
from memorax.environments.wrappers import Wrapper
from memorax.networks import RL2Wrapper

BALLS, EPISODES, MAX_STEPS = 2, 6, 5  # an episode is too short to try both balls


class Found(Wrapper):
    """Pay 1 for the goal; the library pays less the later it is reached, so that guessing is worth nearly as much."""

    def step(self, *args):
        """Take one step."""
        observation, state, reward, *rest = super().step(*args)
        return observation, state, (reward > 0).astype(jnp.float32), *rest


def rulesets():
    """Rulesets that differ in the color of the ball that the agent must pick up, as a benchmark."""
    balls = core.constants.TILES_REGISTRY[core.constants.Tiles.BALL, 1 : 1 + BALLS]
    goals = jnp.stack([core.goals.AgentHoldGoal(tile=ball).encode() for ball in balls])
    rules, objects = (jnp.tile(x, (BALLS, 1, 1)) for x in (core.rules.EmptyRule().encode()[None, None], balls[None]))
    return benchmarks.Benchmark(goals, rules, objects, jnp.zeros(BALLS, jnp.int32))


def returns_in_trials(agent, state, rounds=16):
    """Mean return of the first, second, ... episode of new trials."""
    returns = np.zeros(EPISODES)
    for init_key, key in jax.random.split(jax.random.key(int(state.step)), (rounds, 2)):  # other trials each time
        _, steps = agent.rollout(key, agent.init(init_key).replace(learner=state.learner), EPISODES * MAX_STEPS)
        done, reward = np.asarray(steps.terminated | steps.truncated), np.asarray(steps.reward)
        episode = np.cumsum(done, axis=1) - done
        returns += [np.where(episode == i, reward, 0.0).sum(axis=1).mean() / rounds for i in range(EPISODES)]
    return returns.tolist()


def main(num_steps: int = 1_200_000, parts: int = 12) -> list[float]:
    """Train with memory across and within episodes; give the mean returns of a trial's first and last episodes."""
    options = {"episodes_per_trial": EPISODES, "max_steps": MAX_STEPS, "height": 4, "width": 4, "view_size": 3}
    env, env_params = make("xminigrid::XLand-MiniGrid-R1-9x9", benchmark=rulesets(), **options)
    env, config = Found(env), PPOConfig(num_envs=64, num_steps=EPISODES * MAX_STEPS, gamma=0.95)
    gru, curves = RNN(cell=nn.GRUCell(features=64)), {}
    for name, torso in (("across", RL2Wrapper(gru, episodes_per_trial=EPISODES)), ("within", gru)):
        # RL² must see the last action and reward of the episode before.
        small = {f"{part}_extractor": MLP(features=(16,)) for part in ("action", "reward", "done")}
        look = nn.Sequential([lambda x: x.reshape(*x.shape[:-3], -1), nn.Dense(64), nn.relu])
        extractor = FeatureExtractor(observation_extractor=look, mask_at_start=name == "within", **small)
        actor = Network(extractor, torso, heads.Categorical(action_dim=env.action_space(env_params).n))
        optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3))
        agent = PPO(config, env, env_params, actor, Network(extractor, torso, heads.VNetwork()), optimizer, optimizer)
        state = agent.init(jax.random.key(0))
        curves[name] = [[0, *returns_in_trials(agent, state)]]
        for _ in range(parts):
            state = agent.train(jax.random.key(1), state, num_steps // parts)
            curves[name].append([int(state.step), *returns_in_trials(agent, state)])
            print(name, *(f"{x:.3g}" for x in curves[name][-1]), flush=True)
    for name, curve in curves.items():
        steps, first, *_, last = zip(*curve, strict=True)
        plt.plot(steps, np.stack([first, last], 1), label=[f"{x}, memory {name} episodes" for x in ("first", "last")])
    plt.gca().set(xlabel="environment steps", ylabel="mean return", title="First and last episodes of trials")
    plt.legend()
    plt.savefig("meta_rl_grids.png", dpi=120)
    return [curve[-1][i] for curve in curves.values() for i in (1, -1)]


if __name__ == "__main__":
    main()

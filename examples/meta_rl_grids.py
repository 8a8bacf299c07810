"""Meta-reinforcement learning on XLand-MiniGrid, where the ball to pick up must be found out: RL² and a control.

python examples/meta_rl_grids.py    (needs `pip install "memorax[xminigrid]"`; writes meta_rl_grids.json and .png)
"""

import dataclasses
import json
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import xminigrid
from xminigrid.core.goals import AgentHoldGoal
from xminigrid.core.rules import EmptyRule

from memorax import MLP, PPO, RNN, FeatureExtractor, Network, PPOConfig, heads, make
from memorax.networks import RL2Wrapper

BALLS, EPISODES, MAX_STEPS = 2, 6, 10  # an episode is too short to try both balls


def rulesets():
    """Rulesets that differ in the color of the ball that the agent must pick up, as a benchmark."""
    constants = xminigrid.core.constants
    balls = constants.TILES_REGISTRY[constants.Tiles.BALL, 1 : 1 + BALLS]
    goals = jnp.stack([AgentHoldGoal(tile=ball).encode() for ball in balls])
    rules, objects = (jnp.tile(x, (BALLS, 1, 1)) for x in (EmptyRule().encode()[None, None], balls[None]))
    return xminigrid.benchmarks.Benchmark(goals, rules, objects, jnp.zeros(BALLS, jnp.int32))


def returns_in_trials(agent, state, rounds=16):
    """Mean return of the first, second, ... episode of new trials."""
    returns = np.zeros(EPISODES)
    for init_key, key in jax.random.split(jax.random.key(int(state.step)), (rounds, 2)):  # other trials each time
        fresh = dataclasses.replace(agent.init(init_key), learner=state.learner)
        _, steps = agent.rollout(key, fresh, EPISODES * MAX_STEPS)
        done, reward = np.asarray(steps.terminated | steps.truncated), np.asarray(steps.reward)
        episode = np.cumsum(done, axis=1) - done
        returns += [np.where(episode == i, reward, 0.0).sum(axis=1).mean() / rounds for i in range(EPISODES)]
    return returns.tolist()


def main(num_steps: int = 600_000, parts: int = 12) -> list[float]:
    """Train with memory across and within episodes; give the mean returns of a trial's first and last episodes."""
    options = {"episodes_per_trial": EPISODES, "max_steps": MAX_STEPS, "height": 6, "width": 6}
    env, env_params = make("xminigrid::XLand-MiniGrid-R1-9x9", benchmark=rulesets(), **options)
    config = PPOConfig(num_envs=32, num_steps=60, num_minibatches=4, entropy_coefficient=0.01)
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
    Path("meta_rl_grids.json").write_text(json.dumps({"episodes": EPISODES, "step_and_returns": curves}))
    for name, curve in curves.items():
        steps, first, *_, last = zip(*curve, strict=True)
        for label, returns in (("first", first), ("last", last)):
            plt.plot(steps, returns, label=f"memory {name} episodes, {label} episode of a trial")
    plt.gca().set(xlabel="environment steps", ylabel="mean return", title="XLand-MiniGrid, a goal to be found out")
    plt.legend()
    plt.savefig("meta_rl_grids.png", dpi=120)
    return [curve[-1][i] for curve in curves.values() for i in (1, -1)]


if __name__ == "__main__":
    main()

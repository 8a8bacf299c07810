"""Recurrent PPO by hand, of memorax's parts: the loop is yours, memory and returns are right.

python examples/ppo_by_hand.py
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from memorax import MLP, RNN, FeatureExtractor, Network, heads, make
from memorax.acting import VectorEnv
from memorax.learning import ActorCritic
from memorax.objectives import clipped_policy_loss, episode_ends, lambda_returns, standardize, value_loss, weighted_mean

NUM_ENVS, NUM_STEPS, EPOCHS, GAMMA, LAMBDA, CLIP = 32, 64, 4, 0.99, 0.95, 0.2


def main(updates: int = 100) -> float:
    """Train; give the mean return of the last rollout's episodes."""
    env, env_params = make("memory::RepeatPreviousEasy")
    trunk = FeatureExtractor(observation_extractor=MLP(features=(32,))), RNN(cell=nn.GRUCell(features=32))
    actor, critic = Network(*trunk, heads.Categorical(action_dim=4)), Network(*trunk, heads.VNetwork())
    vector_env = VectorEnv(env, env_params, NUM_ENVS)
    networks = ActorCritic(vector_env, actor, critic)
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(2e-3))

    def loss(params, trajectory, carry, target, advantage, weight):
        """PPO's loss over the whole rollout, unrolled from the memory that acting started with."""
        _, (distribution, value) = networks.unroll(params, trajectory.inputs, carry)
        log_ratio = distribution.log_prob(trajectory.action) - trajectory.aux["log_prob"]
        policy = clipped_policy_loss(log_ratio, advantage, weight, CLIP)
        entropy = weighted_mean(distribution.entropy(), weight)
        return policy + 0.5 * value_loss(value, target, weight) - 0.01 * entropy

    @jax.jit
    def update(key, params, opt_state, now):
        """Act, estimate advantages, and take `EPOCHS` gradient steps."""
        carry, value = now.carry, networks.value(params)
        now, trajectory = vector_env.rollout(key, now, networks.policy(params, "explore"), NUM_STEPS, value=value)
        last = value(now.carry, now.timestep)
        values = jnp.concatenate([trajectory.aux["value"], last[:, None]], axis=1)
        reward, discount, hidden = episode_ends(trajectory, GAMMA)
        target, weight = lambda_returns(reward, discount, hidden, values, LAMBDA), 1.0 - hidden
        advantage = standardize(target - values[:, :-1], weight)
        for _ in range(EPOCHS):
            gradients = jax.grad(loss)(params, trajectory, carry, target, advantage, weight)
            step, opt_state = optimizer.update(gradients, opt_state, params)
            params = optax.apply_updates(params, step)
        return params, opt_state, now, trajectory.info

    key = jax.random.key(0)
    now = vector_env.reset(jax.random.fold_in(key, 0), networks.initialize_carry(key, NUM_ENVS))
    params = networks.init(jax.random.fold_in(key, 1), now.timestep, now.carry)
    opt_state = optimizer.init(params)
    result = 0.0
    for i in range(updates):
        params, opt_state, now, info = update(jax.random.fold_in(key, 2 + i), params, opt_state, now)
        result = float(info["returned_episode_returns"][info["returned_episode"]].mean())
        if (i + 1) % 20 == 0:
            print(f"update {i + 1}: mean return {result:+.2f}")
    return result


if __name__ == "__main__":
    main()

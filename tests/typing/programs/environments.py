"""Environments as users write them; `make lint` checks the types."""

import jax

from memorax.environments import make, register

env, env_params = make("memory::RepeatPreviousEasy")
env, env_params = make("memory::RepeatPrevious", k=8)
key = jax.random.key(0)
observation, state = env.reset(key, env_params)
action = env.action_space(env_params).sample(key)
observation, state, reward, terminated, truncated, info = env.step(key, state, action, env_params)
register("mine::Task", lambda: (env, env_params))

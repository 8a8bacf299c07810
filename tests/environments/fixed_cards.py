"""Episodes with fixed samples: cards and actions are given, the rules of the task answer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from tests.fast_compile import jit

from memorax.environments import make


@functools.cache
def _rules(name, options):
    env, params = make(f"memory::{name}", **dict(options))

    def run(begin, actions, drawn):
        def step(state, given):
            observation, state, reward, terminated = env.transition(state, given[0], given[1], params)
            return state, (observation, reward, terminated, env.is_truncated(state, params))

        first, state = env.start(begin, params)
        return first, jax.lax.scan(step, state, (actions, drawn))[1]

    return env, jit(run)


def play(name, begin, actions, drawn=None, **options):
    """Play an episode, past its end where there are more actions.

    Returns:
        Observations `[time + 1, ...]`, rewards, terminated and truncated `[time]`.
    """
    env, run = _rules(name, tuple(options.items()))
    steps, actions = len(actions), np.asarray(actions)
    longest = env.horizon() + 1
    actions = np.concatenate([actions, np.zeros((longest - steps, *actions.shape[1:]), actions.dtype)])
    drawn = np.zeros((longest, 1)) if drawn is None else np.resize(drawn, (longest, *np.shape(drawn)[1:]))
    first, (later, *outcomes) = run(jax.tree.map(jnp.asarray, begin), actions, drawn)
    return np.concatenate([first[None], later[:steps]]), *(np.asarray(x)[:steps] for x in outcomes)


def mean_return(name, policy, episodes=2000):
    """Mean return, and its standard error, of a policy over whole episodes: `(state, observation) -> action`."""
    env, params = make(f"memory::{name}")

    def episode(key):
        def act(loop, key):
            observation, state, going = loop
            observation, state, reward, terminated, _ = env.step_env(key, state, policy(state, observation), params)
            return (observation, state, going & ~terminated), reward * going

        loop = (*env.reset(key, params), jnp.ones((), bool))
        return jax.lax.scan(act, loop, jax.random.split(key, env.horizon(params)))[1].sum()

    returns = np.asarray(jit(jax.vmap(episode))(jax.random.split(jax.random.key(5), episodes)))
    return env, returns.mean(), returns.std() / np.sqrt(episodes)

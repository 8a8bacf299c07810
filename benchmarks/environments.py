"""Environment steps per second, automatic resets included, under a random policy.

Run as `python -m benchmarks.environments [--out FILE] [--only TEXT] [--envs 1 64 1024] [--seconds 0.5]`. Each number
is the best of three repeats of one compiled loop; compiling is not counted. The result is one JSON object.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
from benchmarks._report import add_output_option, write

from memorax.environments import ENVIRONMENTS, MissingExtraError, make

LIBRARIES = ("gymnax::CartPole-v1",)
REPEATS = 3
PROBE = 200


def measure(env_id: str, num_envs: int, seconds: float) -> float:
    """Steps per second of `num_envs` environments at once; a short walk tells how long one lasts for `seconds`."""
    env, params = make(env_id)
    space = env.action_space(params)

    def act(i: jax.Array, loop: tuple[Any, jax.Array, jax.Array]) -> tuple[Any, jax.Array, jax.Array]:
        state, checksum, key = loop
        action_key, step_key = jax.random.split(jax.random.fold_in(key, i))
        action = jax.vmap(space.sample)(jax.random.split(action_key, num_envs))
        step_keys = jax.random.split(step_key, num_envs)
        step = jax.vmap(env.step, in_axes=(0, 0, 0, None))
        observation, state, reward, terminated, truncated, _ = step(step_keys, state, action, params)
        # Everything must be used, or the compiler leaves it out.
        return state, checksum + jnp.sum(reward) + jnp.sum(terminated | truncated) + jnp.sum(observation), key

    @jax.jit
    def walk(key: jax.Array, state: Any, num_steps: int) -> tuple[Any, jax.Array]:
        return jax.lax.fori_loop(0, num_steps, act, (state, jnp.float32(0), key))[:2]

    def time_of(num_steps: int) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(walk(jax.random.key(1), state, num_steps))
        return time.perf_counter() - begin

    keys = jax.random.split(jax.random.key(0), num_envs)
    state = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))(keys, params)[1]
    time_of(1)
    num_steps = max(PROBE, int(PROBE * seconds / time_of(PROBE)))
    return num_envs * num_steps / min(time_of(num_steps) for _ in range(REPEATS))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output_option(parser, "environments")
    parser.add_argument("--only", default="", help="measure only environments whose name contains this")
    parser.add_argument("--envs", type=int, nargs="+", default=[1, 64, 1024], help="numbers of environments at once")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one repeat")
    arguments = parser.parse_args()
    results: dict[str, dict[str, int]] = {}
    for env_id in (*ENVIRONMENTS, *LIBRARIES):
        if arguments.only not in env_id:
            continue
        try:
            rates = {str(n): round(measure(env_id, n, arguments.seconds)) for n in arguments.envs}
        except MissingExtraError as error:
            print(f"{env_id} left out: {error}")
            continue
        results[env_id] = rates
        print(env_id, rates, flush=True)
    write(arguments.out, {"steps_per_second": results})


if __name__ == "__main__":
    main()

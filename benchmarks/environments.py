"""Environment steps per second, automatic resets included, under a random policy, in one process.

Run as `python -m benchmarks.environments [--out FILE] [--only TEXT] [--all] [--envs 1 64 1024] [--seconds 0.5]`. Each
number is the median of some repeats of one compiled loop; compiling is not counted. Actions are drawn beforehand, and
observations are written to memory, where an agent would read them. Where the package `popgym` is installed, its own
environment of the same name is measured beside each task: one environment, its actions drawn beforehand too, reset
after every end. The result is one JSON object.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from benchmarks._report import add_output_option, write

from memorax.environments import MissingExtraError, make
from memorax.environments.memory import TASKS

LIBRARIES = ("gymnax::CartPole-v1",)
REPEATS = 5
PROBE = 200
CYCLE = 250  # as many actions are drawn for each environment, and used again and again
GRADED = ("Medium", "Hard")


def measure(env_id: str, num_envs: int, seconds: float, repeats: int) -> float:
    """Steps per second of `num_envs` environments at once; a short walk tells how long one lasts for `seconds`."""
    env, params = make(env_id)
    draw = jax.jit(jax.vmap(jax.vmap(env.action_space(params).sample)))
    actions = draw(jax.random.split(jax.random.key(2), (CYCLE, num_envs)))
    step = jax.vmap(env.step, in_axes=(0, 0, 0, None))

    @jax.jit
    def walk(key: jax.Array, start: tuple[Any, Any], actions: jax.Array, num_steps: int) -> tuple[Any, ...]:
        def act(i: jax.Array, loop: tuple[Any, Any, jax.Array]) -> tuple[Any, Any, jax.Array]:
            _, state, checksum = loop
            keys = jax.random.split(jax.random.fold_in(key, i), num_envs)
            observation, state, reward, terminated, truncated, _ = step(keys, state, actions[i % CYCLE], params)
            # Everything must be used, or the compiler leaves it out.
            return observation, state, checksum + jnp.sum(reward) + jnp.sum(terminated | truncated)

        return jax.lax.fori_loop(0, num_steps, act, (*start, jnp.float32(0)))

    keys = jax.random.split(jax.random.key(0), num_envs)
    start = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))(keys, params)
    rate = rate_of(
        lambda steps: jax.block_until_ready(walk(jax.random.key(1), start, actions, steps)), seconds, repeats
    )
    return num_envs * rate


def popgym_name(env_id: str) -> str | None:
    """The id of POPGym's own environment, None where there is none or the package is not installed."""
    if importlib.util.find_spec("popgym") is None:
        return None
    import gymnasium  # noqa: PLC0415 - optional
    import popgym  # noqa: F401, PLC0415 - optional; registers its environments

    name = f"popgym-{env_id.removeprefix('memory::')}-v0"
    known = {known.lower(): known for known in gymnasium.registry}
    return known.get(name.lower())


def measure_popgym(name: str, seconds: float, repeats: int) -> float:
    """Steps per second of one environment of POPGym without wrappers."""
    import gymnasium  # noqa: PLC0415 - optional

    env = gymnasium.make(name, disable_env_checker=True).unwrapped
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(1000)]
    env.reset(seed=0)

    def walk(steps: int) -> None:
        for i in range(steps):
            _, _, terminated, truncated, _ = env.step(actions[i % len(actions)])
            if terminated or truncated:
                env.reset()

    return rate_of(walk, seconds, repeats)


def rate_of(walk: Callable[[int], Any], seconds: float, repeats: int) -> float:
    """Steps per second: the median of some walks of about so many seconds."""

    def time_of(steps: int) -> float:
        begin = time.perf_counter()
        walk(steps)
        return time.perf_counter() - begin

    time_of(1)
    steps = max(PROBE, int(PROBE * seconds / time_of(PROBE)))
    return steps / statistics.median(time_of(steps) for _ in range(repeats))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output_option(parser, "environments")
    parser.add_argument("--only", default="", help="measure only environments whose name contains this")
    parser.add_argument("--all", action="store_true", help="measure every difficulty, not only the easy ones")
    parser.add_argument("--envs", type=int, nargs="+", default=[1, 64, 1024], help="numbers of environments at once")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one repeat")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="repeats of which the median counts")
    arguments = parser.parse_args()
    tasks = sorted(f"memory::{name}" for name in TASKS if arguments.all or not name.endswith(GRADED))
    effort = (arguments.seconds, arguments.repeats)
    results: dict[str, dict[str, int]] = {}
    originals: dict[str, int] = {}
    for env_id in (*tasks, *LIBRARIES):
        if arguments.only not in env_id:
            continue
        try:
            results[env_id] = {str(n): round(measure(env_id, n, *effort)) for n in arguments.envs}
        except MissingExtraError as error:
            print(f"{env_id} left out: {error}")
            continue
        original = popgym_name(env_id)
        if original is not None:
            originals[env_id] = round(measure_popgym(original, *effort))
        print(env_id, results[env_id], "popgym:", originals.get(env_id, "-"), flush=True)
    write(arguments.out, {"steps_per_second": results, "popgym_steps_per_second": originals})


if __name__ == "__main__":
    main()

"""Steps per second through memorax over those of each library's own vectorised loop with automatic resets.

Run as `python -m benchmarks.library_loops [--out FILE] [--add] [--only TEXT] [--envs 256] [--rounds 5]
[--seconds 0.5]`. For every library that is installed both loops run in one process, by turns, with the same number of
environments and the same actions, random and drawn beforehand; the ratio is the median over the rounds, by the clock
and by the CPU time of the process, which tells more on a machine that is shared. What is written into `info` and not
read is left out by the compiler on both sides. Most libraries lose the last observation of an episode, and some begin
every episode in the same state; through memorax each episode has a start of its own. For Brax the row `fresh resets`
is beside the library's loop with resets of the same kind. The row `reset_pool` is what that brings to an environment
whose reset is expensive: with it over without it. The result is one JSON object; `--add` keeps the rows that are in
the file, since not all libraries can be installed together.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from benchmarks._report import add_output_option, write

from memorax.environments import MissingExtraError, make

CYCLE = 64  # as many actions are drawn for each environment, and used again and again
PROBE = 8
POOLED = ("jumanji::Maze-v0", 16)

Loop = tuple[Callable[[jax.Array], Any], Callable[[Any, jax.Array, jax.Array], tuple[Any, Any]]]
"""`start(keys) -> state` and `advance(state, actions, keys) -> (state, what an agent reads)`, over all environments."""


def ours(env_id: str, **options: Any) -> tuple[Any, Loop]:
    """The loop through memorax, and its space of actions."""
    env, params = make(env_id, **options)

    def advance(state: Any, actions: jax.Array, keys: jax.Array) -> tuple[Any, Any]:
        step = jax.vmap(env.step, in_axes=(0, 0, 0, None))
        observation, state, reward, terminated, truncated, _ = step(keys, state, actions, params)
        return state, (observation, reward, terminated | truncated)

    def start(keys: jax.Array) -> Any:
        return jax.vmap(env.reset, in_axes=(0, None))(keys, params)[1]

    return env.action_space(params), (start, advance)


def gymnax_like(env: Any, params: Any) -> Loop:
    """A library whose `step` returns the observation first, then the state, and resets by itself."""

    def advance(state: Any, actions: jax.Array, keys: jax.Array) -> tuple[Any, Any]:
        stepped = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, state, actions, params)
        return stepped[1], (stepped[0], *stepped[2:-1])

    return lambda keys: jax.vmap(env.reset, in_axes=(0, None))(keys, params)[1], advance


def brax_like(env: Any) -> Loop:
    """A vectorised environment of Brax or MuJoCo Playground."""

    def advance(state: Any, actions: jax.Array, keys: jax.Array) -> tuple[Any, Any]:
        state = env.step(state, actions)
        return state, (state.obs, state.reward, state.done)

    # Wrappers outside of the one that vectorises take the shape of a batch from that of its keys' numbers.
    return lambda keys: env.reset(jax.random.key_data(keys)), advance


def brax(name: str) -> Loop:
    """As `envs.create` makes it: its wrappers start every episode in the same state."""
    from brax import envs  # noqa: PLC0415 - optional
    from brax.envs.wrappers import training  # noqa: PLC0415 - optional

    env = envs.create(name, auto_reset=False, backend="spring")
    return brax_like(training.AutoResetWrapper(training.VmapWrapper(env)))


def brax_with_fresh_resets(name: str) -> Loop:
    """Without its wrapper for resets: as that computes them, for every environment in every step, but with new keys."""
    from brax import envs  # noqa: PLC0415 - optional

    env = envs.get_environment(name, backend="spring")

    def advance(state: Any, actions: jax.Array, keys: jax.Array) -> tuple[Any, Any]:
        stepped, fresh = jax.vmap(env.step)(state, actions), jax.vmap(env.reset)(keys)

        def choose(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(stepped.done.reshape(-1, *[1] * (old.ndim - 1)) > 0, new, old)

        return jax.tree.map(choose, fresh, stepped), (stepped.obs, stepped.reward, stepped.done)

    return jax.vmap(env.reset), advance


def playground(name: str) -> Loop:
    """As its training scripts make it: its wrappers start every episode in the same state."""
    from mujoco_playground import registry, wrapper  # noqa: PLC0415 - optional

    return brax_like(wrapper.wrap_for_brax_training(registry.load(name, config_overrides={"impl": "jax"})))


def craftax(name: str) -> Loop:
    """With its own automatic reset."""
    from craftax.craftax_env import make_craftax_env_from_name  # noqa: PLC0415 - optional

    env = make_craftax_env_from_name(name, auto_reset=True)
    return gymnax_like(env, env.default_params)


def gymnax(name: str) -> Loop:
    """Its own `step`."""
    import gymnax as library  # noqa: PLC0415 - optional

    return gymnax_like(*library.make(name))


def popgym_arcade(name: str) -> Loop:
    """Its own `step`."""
    import popgym_arcade as library  # noqa: PLC0415 - optional

    return gymnax_like(*library.make(name, partial_obs=True))


def navix(name: str) -> Loop:
    """Its own `step`, which resets one step late."""
    import navix as library  # noqa: PLC0415 - optional

    env = library.make(name, observation_fn=library.observations.symbolic_first_person)

    def advance(timestep: Any, actions: jax.Array, keys: jax.Array) -> tuple[Any, Any]:
        timestep = jax.vmap(env.step)(timestep, actions)
        return timestep, (timestep.observation, timestep.reward, timestep.step_type)

    return jax.vmap(env.reset), advance


def xminigrid(name: str) -> Loop:
    """With its wrapper for automatic resets."""
    import xminigrid as library  # noqa: PLC0415 - optional
    from xminigrid.wrappers import GymAutoResetWrapper  # noqa: PLC0415 - optional

    env, params = library.make(name)
    env = GymAutoResetWrapper(env)

    def advance(timestep: Any, actions: jax.Array, keys: jax.Array) -> tuple[Any, Any]:
        timestep = jax.vmap(env.step, in_axes=(None, 0, 0))(params, timestep, actions)
        return timestep, (timestep.observation, timestep.reward, timestep.step_type)

    return lambda keys: jax.vmap(env.reset, in_axes=(None, 0))(params, keys), advance


def jumanji(name: str) -> Loop:
    """With its wrapper for automatic resets."""
    import jumanji as library  # noqa: PLC0415 - optional
    from jumanji.wrappers import AutoResetWrapper, VmapWrapper  # noqa: PLC0415 - optional

    env = VmapWrapper(AutoResetWrapper(library.make(name)))

    def advance(state: Any, actions: jax.Array, keys: jax.Array) -> tuple[Any, Any]:
        state, timestep = env.step(state, actions)
        return state, (timestep.observation, timestep.reward, timestep.step_type)

    return lambda keys: env.reset(keys)[0], advance


def pgx(name: str) -> Loop:
    """With its wrapper for automatic resets."""
    import pgx as library  # noqa: PLC0415 - optional
    from pgx.experimental import auto_reset  # noqa: PLC0415 - optional

    env = library.make(name)

    def advance(state: Any, actions: jax.Array, keys: jax.Array) -> tuple[Any, Any]:
        state = jax.vmap(auto_reset(env.step, env.init))(state, actions, keys)
        return state, (state.observation, state.rewards, state.terminated)

    return jax.vmap(env.init), advance


ROWS: dict[str, tuple[Callable[[str], Loop], dict[str, Any]]] = {
    "gymnax::CartPole-v1": (gymnax, {}),
    "brax::inverted_pendulum": (brax, {"backend": "spring"}),
    "brax::ant": (brax, {"backend": "spring"}),
    "craftax::Craftax-Classic-Symbolic-v1": (craftax, {}),
    "jumanji::Maze-v0": (jumanji, {}),
    "navix::Navix-DoorKey-5x5-v0": (navix, {}),
    "pgx::minatar-breakout": (pgx, {}),
    "playground::CartpoleBalance": (playground, {"impl": "jax"}),
    "popgym_arcade::CountRecallEasy": (popgym_arcade, {}),
    "xminigrid::MiniGrid-MemoryS16": (xminigrid, {"one_hot": False}),
}


def compiled(loop: Loop, space: Any, num_envs: int) -> Callable[[int], None]:
    """What takes a number of steps in all environments."""
    start, advance = loop
    draw = jax.jit(jax.vmap(jax.vmap(space.sample)))
    actions = draw(jax.random.split(jax.random.key(2), (CYCLE, num_envs)))
    first = jax.jit(start)(jax.random.split(jax.random.key(0), num_envs))

    @jax.jit
    def walk(state: Any, actions: jax.Array, num_steps: int) -> Any:
        keys = jax.random.split(jax.random.key(1), num_envs)
        read = jax.eval_shape(advance, state, actions[0], keys)[1]
        read = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), read)

        def act(i: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            keys = jax.random.split(jax.random.fold_in(jax.random.key(1), i), num_envs)
            after, read = advance(carry[0], actions[i % CYCLE], keys)
            return jax.tree.map(_like, after, carry[0]), read

        return jax.lax.fori_loop(0, num_steps, act, (state, read))

    return lambda steps: jax.block_until_ready(walk(first, actions, steps))


def _like(x: Any, twin: Any) -> jax.Array:
    """In the dtype that was there first: some libraries begin with another one than they go on with."""
    return x if jnp.issubdtype(jnp.asarray(x).dtype, jax.dtypes.extended) else jnp.asarray(x).astype(twin.dtype)


def compare(
    first: Callable[[int], None], second: Callable[[int], None], seconds: float, rounds: int
) -> dict[str, list[float]]:
    """How many times faster the first is than the second, in each round: by the clock, and by CPU time."""

    def rate(walk: Callable[[int], None], steps: int) -> tuple[float, float]:
        begin = time.perf_counter(), time.process_time()
        walk(steps)
        return steps / (time.perf_counter() - begin[0]), steps / (time.process_time() - begin[1])

    steps = []
    for walk in (first, second):
        walk(PROBE)
        steps.append(max(PROBE, int(seconds * rate(walk, PROBE)[0])))
    pairs = [(rate(first, steps[0]), rate(second, steps[1])) for _ in range(rounds)]
    return {name: [round(a[i] / b[i], 2) for a, b in pairs] for i, name in enumerate(("clock", "cpu"))}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output_option(parser, "library_loops")
    parser.add_argument("--add", action="store_true", help="keep the rows that are in the file of results")
    parser.add_argument("--only", default="", help="measure only environments whose name contains this")
    parser.add_argument("--envs", type=int, default=256, help="number of environments at once")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one walk")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median counts")
    arguments = parser.parse_args()
    ratios: dict[str, dict[str, Any]] = {}
    if arguments.add and arguments.out.exists():
        ratios = json.loads(arguments.out.read_text())["ratio"]

    def measure(name: str, first: Loop, second: Loop, space: Any) -> None:
        walks = (compiled(loop, space, arguments.envs) for loop in (first, second))
        rounds = compare(*walks, arguments.seconds, arguments.rounds)
        medians = {f"median_{kind}": statistics.median(values) for kind, values in rounds.items()}
        ratios[name] = medians | {f"rounds_{kind}": values for kind, values in rounds.items()}
        print(name, ratios[name], flush=True)

    for env_id, (library_loop, options) in ROWS.items():
        if arguments.only not in env_id:
            continue
        try:
            space, loop = ours(env_id, **options)
        except MissingExtraError as error:
            print(f"{env_id} left out: {error}")
            continue
        measure(env_id, loop, library_loop(env_id.split("::")[1]), space)
        if env_id.startswith("brax::"):
            measure(f"{env_id}, fresh resets", loop, brax_with_fresh_resets(env_id.split("::")[1]), space)
        if env_id == POOLED[0]:
            space, loop = ours(env_id, reset_pool=POOLED[1])
            _, plain = ours(env_id, reset_pool=None)
            measure(f"{env_id} reset_pool={POOLED[1]}", loop, plain, space)
    write(arguments.out, {"num_envs": arguments.envs, "ratio": ratios})


if __name__ == "__main__":
    main()

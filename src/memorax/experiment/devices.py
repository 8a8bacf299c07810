"""The devices of a run: which of them train which seed and which environments, and where the parts of its state are."""

import contextlib
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from memorax.core.checks import check, integer
from memorax.core.devices import ENVS, SEEDS
from memorax.core.types import PyTree
from memorax.experiment.run.hosts import group
from memorax.experiment.run.python_environments import in_python

_ROWS = frozenset({"loop", "buffer", "traces", "running_return"})
"""What a state holds for each environment: memory and environments, replay buffer, eligibility traces, returns."""


class Devices:
    """Devices that train together: seeds are split over them first, then the environments of each seed.

    With 4 seeds, 8 devices are a mesh of 4 x 2: each seed has two devices, each of which has half of its environments.
    Parameters are on all devices of their seed. The number of devices does not change the result, up to rounding.

    Args:
        number: How many devices, or `"all"`; None for one, or for all where several processes train together.
        seeds: Number of seeds.
        num_envs: Number of environments of each seed; None where nothing is known of them.

    Raises:
        TypeError: `number` is neither an integer nor `"all"`.
        ValueError: There are fewer devices, or they do not divide seeds and environments.

    Attributes:
        mesh: The devices, with the axes `"seed"` and `"env"`; None for a single one.
        number: How many devices.
    """

    def __init__(self, number: int | Literal["all"] | None = None, seeds: int = 1, num_envs: int | None = None) -> None:
        available = jax.devices()
        several = jax.process_count() > 1
        if number is None:
            number = "all" if several else 1
        number = len(available) if number == "all" else check("devices", number, integer(1))
        if several and number < len(available):
            raise ValueError(f"`devices` must be all {len(available)} of all processes, got {number}; leave it out")
        if number > len(available):
            raise ValueError(
                f"`devices` must be at most the {len(available)} that JAX has here ({available[0].platform}), got "
                f"{number}"
            )
        self.number, self._num_envs = number, num_envs
        self.mesh: Mesh | None = None
        if number == 1:
            return
        over_seeds = math.gcd(number, seeds)
        over_envs = number // over_seeds
        if over_envs > 1 and (num_envs is None or num_envs % over_envs):
            fitting = [n for n in range(number, 0, -1) if (num_envs or 1) % (n // math.gcd(n, seeds)) == 0]
            raise ValueError(
                f"`devices` must divide the seeds ({seeds}), or what is left must divide `num_envs` ({num_envs}), got "
                f"{number}; lower it to {fitting[0]}, or choose `seeds` or `num_envs` that are a multiple of {number}"
            )
        grid = np.array(available[:number]).reshape(over_seeds, over_envs)
        self.mesh = Mesh(grid, (SEEDS, ENVS), axis_types=(AxisType.Auto, AxisType.Auto))

    def check(self, agent: Any) -> None:
        """Trace an update, so that sizes which these devices do not divide are refused when the run is prepared.

        Raises:
            TypeError: The environments run in Python, in one process and for one device.
            ValueError: The devices do not divide what is learned from at once.
        """
        if self.mesh is None:
            return
        if in_python(agent):
            raise TypeError(
                f"`devices` must be 1 for an environment that runs in Python, got {self.number}; train further seeds "
                "in processes of their own"
            )
        if self.mesh.shape[ENVS] > 1:
            with self.inside():
                key = jax.eval_shape(lambda: jax.random.key(0))
                state = jax.eval_shape(agent.init, key)
                jax.eval_shape(lambda key, state: agent.train(key, state, agent.steps_per_update), key, state)

    def inside(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which programs for these devices are traced and compiled."""
        return contextlib.nullcontext() if self.mesh is None else jax.set_mesh(self.mesh)

    def compiled(self, program: Any, *args: PyTree) -> Callable[..., PyTree]:
        """Compile what `jax.jit` gave, and wait until all processes have: exchanges wait for a short time only."""
        with self.inside():
            ready = program.lower(*args).compile()
        group().meet()
        return ready

    def each_seed(self, function: Callable[..., PyTree]) -> Callable[..., PyTree]:
        """Map a function over seeds, `[seeds, ...]`, on each device over its own."""
        if self.mesh is None or self.mesh.shape[ENVS] > 1:
            return jax.vmap(function, spmd_axis_name=SEEDS if self.mesh is not None else None)
        spec = PartitionSpec(SEEDS)
        # Whole seeds exchange nothing: each device runs a program of its own.
        return jax.shard_map(jax.vmap(function), mesh=self.mesh, in_specs=spec, out_specs=spec, check_vma=False)

    def shardings(self, tree: PyTree) -> PyTree:
        """Say where the leaves of a state of all seeds are, `[seeds, ...]`, or of keys and the like; None anywhere."""
        return jax.tree_util.tree_map_with_path(self._sharding, tree)

    def everywhere(self) -> NamedSharding | None:
        """Say that every device has the whole of an array."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())

    def place(self, tree: PyTree) -> PyTree:
        """Put a state of all seeds, `[seeds, ...]`, or keys and the like, where they belong."""
        if self.mesh is None:
            return jax.tree.map(jnp.asarray, tree)
        return jax.tree.map(_put, tree, self.shardings(tree))

    def gather(self, tree: PyTree) -> PyTree:
        """Bring arrays of all processes to the host of each; one after the other, as a device must hold it whole."""
        whole = jax.jit(lambda x: x, out_shardings=self.everywhere())

        def fetch(x: Any) -> Any:
            if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(fetch(jax.random.key_data(x)), impl=jax.random.key_impl(x))
            return np.asarray(whole(x))

        return jax.tree.map(fetch, tree)

    def _sharding(self, path: tuple[Any, ...], x: Any) -> NamedSharding | None:
        if self.mesh is None:
            return None
        names = {getattr(part, "name", None) for part in path}
        rows = names & _ROWS and len(x.shape) > 1 and x.shape[1] == self._num_envs
        return NamedSharding(self.mesh, PartitionSpec(SEEDS, ENVS) if rows else PartitionSpec(SEEDS))


def _put(x: Any, where: NamedSharding) -> Any:
    """Put an array on devices, of which each process gives its own their parts."""
    if where.is_fully_addressable:
        return jax.device_put(x, where)
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return x  # it is there
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(jax.random.key_data(x), where), impl=jax.random.key_impl(x))
    array = np.asarray(x)
    return jax.make_array_from_callback(array.shape, where, lambda index: array[index])

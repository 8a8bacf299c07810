"""Record the runs of `runs.py`: what they log and the state they end in, every leaf by its path.

`python -m tests.recorded.record [NAME...]` from the root of the repository writes `runs.json`, or only the named runs
in it. That is for a change that is meant to change numbers; say in the commit which numbers, and why.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    import tests.conftest  # noqa: F401  # the flags that the tests give to XLA

import jax
import jax.numpy as jnp
import numpy as np
from tests.recorded.runs import RUNS

from memorax import lox

FILE = Path(__file__).with_name("runs.json")
LIBRARIES = ("flashbax", "flax", "jax", "jaxlib", "optax")
SAMPLES = 4
"""How many numbers of a leaf are kept, evenly spaced; all of them where there are not more."""


def flatten(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def number(x: Any) -> Any:
    """A number that JSON can hold, from which the same one of its type comes back."""
    if x.dtype == bool or np.issubdtype(x.dtype, np.integer):
        return int(x)
    return float(str(x)) if np.isfinite(x) else str(x)


def describe(leaf: np.ndarray) -> list[Any]:
    """Type and checksum of a leaf, and a few numbers to say by how much another one differs.

    These are all numbers of a small leaf; of a large one some, evenly spaced, then the sum and the largest one.
    """
    flat = leaf.ravel()
    kind = f"{leaf.dtype.name}[{','.join(map(str, leaf.shape))}]"
    entry = [kind, hashlib.sha256(leaf.tobytes()).hexdigest()[:16]]
    if flat.size <= SAMPLES:
        return [*entry, *map(number, flat)]
    some = flat[np.linspace(0, flat.size - 1, SAMPLES).astype(int)]
    wide = flat.astype(np.float64)
    return [*entry, *map(number, some), number(np.float32(np.sum(wide))), number(np.float32(np.max(np.abs(wide))))]


def fill(tree: Any) -> Any:
    """Put NaN where nothing was logged; that is how logs were recorded."""
    if not isinstance(tree, lox.Logs):
        return tree
    absent = {
        name: ~present.reshape(*present.shape, *(1,) * (tree[name].ndim - 1)) for name, present in tree.present.items()
    }
    return {name: np.where(absent[name], np.float32(np.nan), x) if name in absent else x for name, x in tree.items()}


def record(name: str) -> dict[str, Any]:
    """Repeat a run and describe it."""
    tree = jax.tree.map(fill, jax.device_get(RUNS[name]()), is_leaf=lambda x: isinstance(x, lox.Logs))
    return {path: describe(leaf) for path, leaf in flatten(tree).items()}


def machine() -> dict[str, Any]:
    """What decides about the last bits: the libraries, the processor, and some arithmetic to be sure."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line.split(":")[1].split() for line in lines if line.startswith(("flags", "Features"))), [])
    vectors = ("amx", "asimd", "avx", "fma", "sse", "sve")
    return {
        "libraries": {name: version(name) for name in LIBRARIES},
        "processor": " ".join([platform.machine(), *sorted(flag for flag in flags if flag.startswith(vectors))]),
        "arithmetic": arithmetic(),
        "flags": " ".join(sorted(os.environ.get("XLA_FLAGS", "").split())),
    }


def arithmetic() -> str:
    """A checksum of what the functions that networks are made of give here."""

    @jax.jit
    def work(key: Any) -> list[Any]:
        x = jax.random.normal(key, (37, 29))
        y = x @ x.T
        return [x, y, jnp.exp(x), jnp.tanh(y), jnp.log1p(x * x), jax.nn.softmax(y), jnp.sum(y, 0), jax.lax.rsqrt(y * y)]

    parts = jax.device_get(work(jax.random.key(0)))
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]


def read() -> dict[str, Any]:
    """What was recorded."""
    return json.loads(FILE.read_text())


def write(content: dict[str, Any]) -> None:
    """Write it with a line for every leaf, so that differences can be read."""
    runs = ",\n".join(f"{json.dumps(name)}: {_lines(leaves)}" for name, leaves in sorted(content["runs"].items()))
    FILE.write_text(f'{{\n"machine": {_lines(content["machine"])},\n"runs": {{\n{runs}\n}}\n}}\n')


def _lines(content: dict[str, Any]) -> str:
    entries = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items())
    return "{\n" + ",\n".join(entries) + "\n}"


def main(names: Iterable[str]) -> None:
    """Record the named runs, or all."""
    names = list(names) or list(RUNS)
    before = read() if FILE.exists() else {"machine": machine(), "runs": {}}
    if len(names) < len(RUNS) and before["machine"] != machine():
        raise SystemExit("the other runs were recorded on another machine; record all of them")
    kept = before["runs"]
    made = {}
    for name in names:
        made[name] = record(name)
        print(f"{name}: {len(made[name])} leaves", flush=True)  # noqa: T201
    runs = {name: leaves for name, leaves in (kept | made).items() if name in RUNS}
    write({"machine": machine(), "runs": runs})


if __name__ == "__main__":
    main(sys.argv[1:])

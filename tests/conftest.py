"""What every test starts from: two devices, a cache of compiled programs, and a key.

Warnings are errors; `pyproject.toml` says so.

Ranks and dtypes promote as JAX does by default: the layers of Flax rely on it.
"""

import os
from pathlib import Path

# Before JAX is imported: a second device, so that nothing relies on there being one; and quick compilation, which is
# where most of the time goes. The emitters of LLVM are more than twice as quick as those of MLIR.
_FLAGS = (
    "--xla_force_host_platform_device_count=2",
    "--xla_backend_optimization_level=0",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_use_fusion_emitters=false",
)
_given = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = " ".join([_given, *(flag for flag in _FLAGS if flag.split("=")[0] not in _given)]).strip()

# Kept from one run to the next, and shared by the processes of one, those that tests start included: compiled programs,
# named after all that decides about them. Every test runs the program that it would have compiled.
_CACHE = {
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parents[1] / ".cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}
for _name, _value in _CACHE.items():
    os.environ.setdefault(_name, _value)

import jax
import pytest


@pytest.fixture
def key() -> jax.Array:
    """A random key; `jax.random.fold_in` makes further ones."""
    return jax.random.key(0)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Let the compiled programs of a module go: thousands of them in one process exhaust the system's memory maps."""
    yield
    jax.clear_caches()

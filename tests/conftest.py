"""What every test starts from: two devices, and a key. Warnings are errors; `pyproject.toml` says so.

Ranks and dtypes promote as JAX does by default: the layers of Flax rely on it.
"""

import os

# Before JAX is imported: a second device, so that nothing relies on there being one; and quick compilation, which is
# where most of the time goes.
_FLAGS = ("--xla_force_host_platform_device_count=2", "--xla_backend_optimization_level=0")
_given = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = " ".join([_given, *(flag for flag in _FLAGS if flag.split("=")[0] not in _given)]).strip()

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

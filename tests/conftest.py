"""What every test starts from: two devices, and ranks that do not promote silently.

Warnings are errors; `pyproject.toml` says so.
"""

import os

# Before JAX is imported: a second device, so that nothing relies on there being one.
_FLAG = "--xla_force_host_platform_device_count=2"
if _FLAG not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}".strip()

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key() -> jax.Array:
    """A random key; `jax.random.fold_in` makes further ones."""
    return jax.random.key(0)

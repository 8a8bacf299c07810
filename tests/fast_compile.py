"""Programs that run once compile in half the time without XLA's optimizations."""

import functools

import jax

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

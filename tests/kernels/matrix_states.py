"""What the tests of the chunked kernels share: resets in awkward places, comparisons, and steps one by one."""

import jax
import jax.numpy as jnp
import numpy as np

BATCH, TIME, HEADS, KEYS, VALUES, CHUNK = 3, 37, 4, 6, 5, 8


def resets():
    reset = np.zeros((BATCH, TIME), bool)
    reset[0, [0, 3, 4, TIME - 1]] = True  # at both ends, and adjacent
    reset[1, [CHUNK, 2 * CHUNK - 1, 2 * CHUNK, 3 * CHUNK - 1]] = True  # on both sides of a chunk's border
    return reset


def draw(seed, **shapes):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def difference(got, want):
    """The largest difference of two pytrees, each leaf relative to its largest magnitude."""

    def one(a, b):
        return float(np.max(np.abs(np.asarray(a, float) - np.asarray(b, float))) / max(1e-3, np.max(np.abs(b))))

    return float(np.max(jax.tree.leaves(jax.tree.map(one, got, want))))  # Python's `max` would lose a NaN


def steep(seed):
    """Logarithms of decays so strong that the ratio of two episodes' decays overflows within a chunk."""
    return -np.random.default_rng(seed).uniform(20, 40, (BATCH, TIME, HEADS)).astype(np.float32)


def in_double_precision(kernel, steps, state):
    """What `with_gradients` gives for a kernel in float64, one step at a time: no step sees another episode's decay."""
    with jax.enable_x64(True):
        steps, state = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, float)), (steps, state))
        return jax.device_get(with_gradients(by_steps(kernel), resets())(steps, state))


def by_steps(kernel):
    """Run a kernel of signature `(steps, reset, state)` one step at a time."""

    def run(steps, reset, state):
        def step(state, now):
            steps, reset = jax.tree.map(lambda x: x[:, None], now)
            state, output = kernel(steps, reset, state)
            return state, output[:, 0]

        now = jax.tree.map(lambda x: x.swapaxes(0, 1), (steps, reset))
        state, outputs = jax.lax.scan(step, state, now)
        return state, outputs.swapaxes(0, 1)

    return run


def with_gradients(kernel, reset):
    """Compile `(steps, state) -> ((state, outputs), gradients)`."""

    def loss(steps, state):
        state, outputs = kernel(steps, jnp.asarray(reset), state)
        # A stabilizer, where there is one, carries no gradient, so that it is not asked for one here.
        seen = [x for x in jax.tree.leaves(state) if x.ndim > 2]
        return jnp.sum(jnp.sin(3 * outputs)) + sum(jnp.sum(jnp.cos(x)) for x in seen), (state, outputs)

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))


def gradient_bytes(kernel, steps, reset, state):
    """Temporary memory of a compiled gradient."""

    def loss(steps):
        return jnp.sum(jnp.square(kernel(steps, reset, state)[1]))

    return jax.jit(jax.grad(loss)).lower(steps).compile().memory_analysis().temp_size_in_bytes

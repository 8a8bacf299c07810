"""Memory models against numbers of their authors' code.

`official/*.json` holds for each model: the arguments, parameters under this project's names, inputs, and the outputs
that the authors' code gives for them (and the gradient of the sum of their sines by the inputs, where it has one), with
the repository, commit and class that was run. Weight matrices of theirs are transposed, complex ones split into real
and imaginary part.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks import architectures, sequence_models

CASES = {
    path.stem: json.loads(path.read_text()) for path in sorted(Path(__file__).with_name("official").glob("*.json"))
}
TOLERANCE = {"retnet": 1e-4, "ffm": 1e-5}
"""Where the authors' code itself is less exact: another normalization, or a memory of single precision."""


def arrays(tree):
    """Nested dictionaries of lists as arrays."""
    if isinstance(tree, dict):
        return {name: arrays(value) for name, value in tree.items()}
    return jnp.asarray(tree, jnp.float32)


def test_models_with_stored_numbers():
    assert {case["model"] for case in CASES.values()} >= {"LRU", "S5", "RTU", "FFM", "SHM", "Mamba3", "RetNet", "gtrxl"}


@pytest.mark.parametrize("name", CASES)
def test_equals_official_numbers(name):
    case = CASES[name]
    room = sequence_models if hasattr(sequence_models, case["model"]) else architectures
    model = getattr(room, case["model"])(**case["arguments"])
    params, inputs, want = arrays(case["params"]), arrays(case["inputs"]), np.asarray(case["outputs"])
    done = jnp.zeros(inputs.shape[:2], bool)

    def loss(x):
        outputs = model.apply(params, x, done)[1]
        return jnp.sum(jnp.sin(outputs)), outputs

    gradient, outputs = jax.jit(jax.grad(loss, has_aux=True))(inputs)
    tolerance = TOLERANCE.get(name, 3e-6)
    np.testing.assert_allclose(outputs, want, rtol=0, atol=tolerance * np.abs(want).max())
    if "input_gradient" in case:
        want = np.asarray(case["input_gradient"])
        np.testing.assert_allclose(gradient, want, rtol=0, atol=5 * tolerance * np.abs(want).max())

import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.groups import in_groups


@pytest.mark.parametrize(
    ("batch", "size", "rows"), [(6, 2, 2), (6, 4, 3), (6, 6, 6), (6, 9, 6), (7, 2, 1), (7, 4, 7), (1, 2, 1)]
)
def test_rows_come_back_where_they_were(batch, size, rows):
    seen = []

    def run(x, y):
        seen.append(x.shape[1])
        return {"sum": x + y["y"], "double": 2 * x}

    x = jnp.arange(3.0 * batch * 2).reshape(3, batch, 2)
    got = in_groups(run, size, x, {"y": x[:, :, :1]}, axis=1)
    np.testing.assert_array_equal(got["sum"], x + x[:, :, :1])
    np.testing.assert_array_equal(got["double"], 2 * x)
    assert set(seen) == {rows}


def test_a_gpu_has_the_whole_batch(monkeypatch):
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    assert in_groups(lambda x: x.shape[0] + 0 * x, 2, jnp.ones(6)).max() == 6

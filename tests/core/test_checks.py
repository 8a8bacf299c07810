import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.core.checks import (
    boolean,
    check,
    check_fields,
    choice,
    divides,
    instance,
    integer,
    optional,
    real,
    sequence,
    size,
)

KINDS = {
    "integer(1)": integer(1),
    "integer()": integer(),
    "integer(0, 9)": integer(0, 9),
    "size()": size(),
    "real()": real(),
    "real(0, 1)": real(0, 1),
    "real(above=0)": real(above=0),
    "real(0, below=1)": real(0, below=1),
    "real(finite=False)": real(finite=False),
    "boolean()": boolean(),
    "choice('a', 'b')": choice("a", "b"),
    "optional(integer(1))": optional(integer(1)),
    "instance(dict)": instance(dict),
    "sequence(integer(1))": sequence(integer(1)),
    "sequence(size(), empty=True)": sequence(size(), empty=True),
}


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("integer(1)", 1, 1),
        ("integer(1)", np.int64(7), 7),
        ("integer(1)", np.uint8(7), 7),
        ("integer(1)", jnp.int32(7), 7),
        ("integer()", -(10**12), -(10**12)),
        ("integer(0, 9)", 9, 9),
        ("size()", 2**31 - 1, 2**31 - 1),
        ("real()", -1, -1),
        ("real()", 10**30, 10**30),
        ("real(0, 1)", 1, 1),
        ("real(0, 1)", np.float32(0.5), 0.5),
        ("real(0, 1)", jnp.float32(0.5), 0.5),
        ("real(0, 1)", jnp.bfloat16(0.5), 0.5),
        ("real(above=0)", 1e-300, 1e-300),
        ("real(0, below=1)", 0.0, 0.0),
        ("real(finite=False)", float("inf"), float("inf")),
        ("boolean()", True, True),
        ("boolean()", np.bool_(False), False),
        ("boolean()", jnp.asarray(True), True),
        ("choice('a', 'b')", "b", "b"),
        ("optional(integer(1))", None, None),
        ("optional(integer(1))", np.int32(3), 3),
        ("sequence(integer(1))", [1, np.int32(2)], (1, 2)),
        ("sequence(size(), empty=True)", (), ()),
    ],
)
def test_what_is_allowed_is_kept_as_a_python_value(kind, value, kept):
    got = check("field", value, KINDS[kind])
    assert got == kept
    assert type(got) is type(kept)


@pytest.mark.parametrize(
    ("kind", "value", "error", "message"),
    [
        ("integer(1)", 0, ValueError, "`field` must be at least 1, got 0"),
        ("integer(1)", np.int64(0), ValueError, "`field` must be at least 1, got 0"),
        ("integer(0, 9)", 10, ValueError, "`field` must be at most 9, got 10"),
        ("integer(1)", 10**20, ValueError, f"`field` must be at most {2**63 - 1}, got 1{'0' * 20}"),
        ("integer(1)", 1.5, TypeError, "`field` must be an integer, got 1.5"),
        ("integer(1)", 1e6, TypeError, "`field` must be an integer, got 1000000.0; write 1000000"),
        ("integer(1)", float("nan"), TypeError, "`field` must be an integer, got nan"),
        ("integer(1)", True, TypeError, "`field` must be an integer, got True"),
        ("integer(1)", np.bool_(True), TypeError, f"`field` must be an integer, got {np.bool_(True)!r}"),
        ("integer(1)", "3", TypeError, "`field` must be an integer, got '3'"),
        ("integer(1)", None, TypeError, "`field` must be an integer, got None"),
        ("integer(1)", np.arange(3), TypeError, "`field` must be an integer, got an array of shape (3,)"),
        ("size()", 2**31, ValueError, f"`field` must be at most {2**31 - 1}, got {2**31}"),
        ("optional(integer(1))", 0, ValueError, "`field` must be at least 1 or None, got 0"),
        ("optional(integer(1))", "x", TypeError, "`field` must be an integer or None, got 'x'"),
        ("real(0, 1)", 1.5, ValueError, "`field` must be in [0, 1], got 1.5"),
        ("real(0, 1)", np.float64(2), ValueError, "`field` must be in [0, 1], got 2.0"),
        ("real(0, 1)", float("nan"), ValueError, "`field` must be in [0, 1], got nan"),
        ("real()", float("nan"), ValueError, "`field` must be finite, got nan"),
        ("real()", float("-inf"), ValueError, "`field` must be finite, got -inf"),
        ("real(finite=False)", float("nan"), ValueError, "`field` must be a number, got nan"),
        ("real(above=0)", 0, ValueError, "`field` must be above 0, got 0"),
        ("real(above=0)", float("inf"), ValueError, "`field` must be finite, got inf"),
        ("real(0, below=1)", 1.0, ValueError, "`field` must be at least 0 and below 1, got 1.0"),
        ("real()", True, TypeError, "`field` must be a number, got True"),
        ("real()", "0.5", TypeError, "`field` must be a number, got '0.5'"),
        ("real()", 1j, TypeError, "`field` must be a number, got 1j"),
        ("real()", np.zeros((2,)), TypeError, "`field` must be a number, got an array of shape (2,)"),
        ("boolean()", "false", TypeError, "`field` must be True or False, got 'false'"),
        ("boolean()", 0, TypeError, "`field` must be True or False, got 0"),
        ("boolean()", None, TypeError, "`field` must be True or False, got None"),
        ("choice('a', 'b')", "c", ValueError, "`field` must be one of a, b, got 'c'"),
        ("choice('a', 'b')", 3, TypeError, "`field` must be one of a, b, got 3"),
        ("choice('a', 'b')", np.zeros((2,)), TypeError, "`field` must be one of a, b, got an array of shape (2,)"),
        ("instance(dict)", 3, TypeError, "`field` must be an instance of dict, got 3"),
        (
            "sequence(integer(1))",
            64,
            TypeError,
            "`field` must be a sequence, each entry an integer, got 64; write (64,)",
        ),
        ("sequence(integer(1))", "64", TypeError, "`field` must be a sequence, each entry an integer, got '64'"),
        ("sequence(integer(1))", (), ValueError, "`field` must not be empty, got ()"),
        ("sequence(integer(1))", (1, 0), ValueError, "`field` must be at least 1, got 0"),
    ],
)
def test_anything_else_is_refused_by_name(kind, value, error, message):
    with pytest.raises(error) as raised:
        check("field", value, KINDS[kind])
    assert str(raised.value).startswith(message)


def test_a_class_in_place_of_an_object_is_refused():
    with pytest.raises(TypeError, match=r"write `Settings\(\.\.\.\)`, an object of the class"):
        check("config", Settings, instance(Settings, called="a configuration"))


def test_long_values_are_cut_in_the_message():
    with pytest.raises(TypeError) as raised:
        check("field", "x" * 10_000, integer())
    assert len(str(raised.value)) < 200


@dataclasses.dataclass(frozen=True)
class Settings:
    count: Any = 3
    share: Any = 0.5

    def __post_init__(self):
        check_fields(self, count=integer(1), share=real(0, 1))


def test_a_frozen_dataclass_keeps_the_checked_values():
    settings = Settings(count=np.int64(4), share=np.float32(0.25))
    assert settings == Settings(4, 0.25)
    assert [type(value) for value in dataclasses.astuple(settings)] == [int, float]
    with pytest.raises(ValueError, match="`share` must be in"):
        Settings(share=2.0)


def test_a_traced_number_passes_and_a_traced_size_is_refused():
    built = jax.eval_shape(lambda share: jnp.asarray(Settings(share=share).share), jnp.float32(0.5))
    assert built.dtype == jnp.float32
    with pytest.raises(TypeError, match=r"`count` must be an integer, .* known before tracing"):
        jax.eval_shape(lambda count: Settings(count=count).share, jnp.int32(1))
    with pytest.raises(TypeError, match="`share` must be a number"):
        jax.eval_shape(lambda share: Settings(share=share).share, jnp.zeros((2,)))


@pytest.mark.parametrize(
    ("divisor", "number", "nearest"), [(3, 8, "2 or 4"), (7, 12, "6 or 4"), (5, 4, "4 or 2"), (3, 10**20, "2 or 4")]
)
def test_the_nearest_divisors_are_suggested_at_once(divisor, number, nearest):
    # Trying all numbers up to 10^20 would not come to an end.
    divides(("num_minibatches", 4), ("num_envs", 8), "recurrent networks")
    with pytest.raises(ValueError, match=rf"`num_minibatches` \({divisor}\) must divide .* try {nearest}$"):
        divides(("num_minibatches", divisor), ("num_envs", number), "recurrent networks")

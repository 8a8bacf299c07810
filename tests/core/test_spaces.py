from collections import namedtuple
from dataclasses import make_dataclass
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict
from tests.fast_compile import jit

from memorax.core.spaces import (
    Box,
    Dict,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    Tuple,
    encode,
    flatten_space,
    from_foreign,
    map_space,
    plain,
)

INF = np.inf
SPACES = {
    "discrete": lambda: Discrete(5),
    "discrete uint8": lambda: Discrete(3, np.uint8),
    "multi discrete": lambda: MultiDiscrete([2, 3, 5]),
    "multi discrete matrix": lambda: MultiDiscrete([[2, 3], [5, 4]], np.int8),
    "multi binary": lambda: MultiBinary(3),
    "multi binary matrix": lambda: MultiBinary((2, 3), bool),
    "box": lambda: Box(-1.0, 2.0, (3, 2)),
    "box by entry": lambda: Box([-1.0, 0.0, 4.0], [1.0, 7.0, 4.0]),
    "box without bounds": lambda: Box(-INF, INF, (4,)),
    "box with one bound": lambda: Box([0.0, -INF], [INF, 3.0]),
    "box of huge floats": lambda: Box(-3.4e38, 3.4e38, (2,)),
    "box of bytes": lambda: Box(0, 255, (2, 7), np.uint8),
    "box of flags": lambda: Box(0, 1, (3,), bool),
    "dict": lambda: Dict({"b": Discrete(3), "a": Box(0.0, 1.0, (2,))}),
    "tuple": lambda: Tuple((Discrete(3), Tuple((MultiDiscrete([2, 7]),)))),
}
every_space = pytest.mark.parametrize("make", SPACES.values(), ids=SPACES)


@every_space
def test_samples_are_contained_and_encoded(make):
    space = make()

    def draw(keys):
        samples = jax.vmap(jax.vmap(space.sample))(keys)
        return samples, jax.vmap(jax.vmap(space.contains))(samples), encode(space, samples)

    samples, contained, encoded = jit(draw)(jax.random.split(jax.random.key(0), (5, 7)))
    assert contained.all()
    leaves = jax.tree.leaves(samples)
    shapes = jax.tree.leaves(space.shape, is_leaf=lambda s: isinstance(s, tuple) and all(isinstance(i, int) for i in s))
    assert [x.shape[2:] for x in leaves] == shapes
    assert [x.dtype for x in leaves] == jax.tree.leaves(space.dtype)
    assert not any(x.weak_type for x in leaves)
    assert all(np.isfinite(np.asarray(x, np.float32)).all() for x in leaves)
    assert encoded.dtype == jnp.float32
    assert encoded.shape[:2] == (5, 7)
    assert encoded.ndim == 3


@every_space
def test_equal_spaces_are_equal_and_fixed(make):
    space = make()
    assert space == make()
    assert hash(space) == hash(make())
    assert [name for name, other in SPACES.items() if other() == space] == [n for n, m in SPACES.items() if m is make]
    with pytest.raises(AttributeError, match="must not be changed, got `shape`"):
        space.shape = ()
    assert repr(space) == repr(make())


def test_discrete_samples_are_uniform():
    counts = np.bincount(jit(jax.vmap(Discrete(4).sample))(jax.random.split(jax.random.key(0), 4000)))
    assert (abs(counts - 1000) < 5 * np.sqrt(750)).all()


def test_encoding_by_hand():
    np.testing.assert_array_equal(encode(Discrete(3), jnp.array([2, 0])), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(encode(MultiDiscrete([2, 3]), jnp.array([1, 2])), [0, 1, 0, 0, 1])
    np.testing.assert_array_equal(encode(MultiDiscrete([[2], [3]]), jnp.array([[1], [2]])), [0, 1, 0, 0, 1])
    np.testing.assert_array_equal(encode(MultiBinary((2, 2)), jnp.array([[1, 0], [1, 1]])), [1, 0, 1, 1])
    np.testing.assert_array_equal(encode(Box(0, 9, (2, 2), np.int32), jnp.array([[1, 2], [3, 4]])), [1, 2, 3, 4])
    np.testing.assert_array_equal(encode(Box(0.0, 9.0, ()), jnp.array([1.0, 2.0])), [[1], [2]])
    both = Dict({"b": Discrete(2), "a": Box(0.0, 9.0, (1,))})
    np.testing.assert_array_equal(encode(both, {"b": jnp.int32(1), "a": jnp.array([5.0])}), [5, 0, 1])


@pytest.mark.parametrize(
    ("space", "outside"),
    [
        (Discrete(3), 3),
        (Discrete(3), -1),
        (Discrete(3), 1.0),
        (Discrete(3), np.zeros(1, np.int32)),
        (Discrete(3), "one"),
        (MultiDiscrete([2, 3]), np.array([1, 3])),
        (MultiDiscrete([2, 3]), np.array([1])),
        (Box(0.0, 1.0, (2,)), np.array([0.5, 1.5], np.float32)),
        (Box(0.0, 1.0, (2,)), np.array([0.5, np.nan], np.float32)),
        (Box(0.0, 1.0, (2,)), np.zeros((2, 1), np.float32)),
        (Dict({"a": Discrete(2)}), {"b": 1}),
        (Dict({"a": Discrete(2)}), {"a": 2}),
        (Tuple([Discrete(2)]), (2,)),
        (Tuple([Discrete(2)]), (1, 1)),
    ],
)
def test_what_is_outside_is_not_contained(space, outside):
    assert not space.contains(outside)


def test_containment_works_under_jit():
    assert jax.jit(Box(0.0, 1.0, (2,)).contains)(jnp.ones(2))
    assert not jax.jit(Discrete(2).contains)(jnp.int32(2))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Discrete(0), ValueError, "`n` must be at least 1, got 0"),
        (lambda: Discrete(-2), ValueError, "`n` must be at least 1, got -2"),
        (lambda: Discrete(2.5), TypeError, "`n` must be an integer, got 2.5"),
        (lambda: Discrete(True), TypeError, "`n` must be an integer, got True"),
        (lambda: Discrete(2, np.float32), TypeError, "`dtype` of Discrete must be an integer dtype, got float32"),
        (lambda: MultiDiscrete([2, 0]), ValueError, r"`nvec` must be at least 1 everywhere, got \[2, 0\]"),
        (lambda: MultiDiscrete(2), ValueError, r"`nvec` must be a vector .*, got shape \(\)"),
        (lambda: MultiBinary(0), ValueError, "`shape` must be at least 1, got 0"),
        (lambda: MultiBinary((2, 0)), ValueError, "`shape` must"),
        (lambda: MultiBinary(2.5), TypeError, "`shape` must be an integer, got 2.5"),
        (lambda: MultiBinary(2, float), TypeError, "`dtype` of MultiBinary must be an integer dtype"),
        (lambda: Discrete(129, np.int8), ValueError, "`dtype` of Discrete must hold numbers up to 128, got int8"),
        (lambda: MultiDiscrete([2, 257], np.uint8), ValueError, "must hold numbers up to 256, got uint8"),
        (lambda: MultiDiscrete([]), ValueError, r"`nvec` must be a vector .*, got shape \(0,\)"),
        (lambda: MultiDiscrete([2.0]), TypeError, "`nvec` must hold integers, got float64"),
        (lambda: MultiDiscrete([2], float), TypeError, "`dtype` of MultiDiscrete must be an integer dtype"),
        (lambda: Box(1.0, 0.0, (2,)), ValueError, r"`low` must not exceed `high`, got low 1\. and high 0\."),
        (lambda: Box(np.zeros(3), 1.0, (2,)), ValueError, r"`low` must broadcast to shape \(2,\), got shape \(3,\)"),
        (lambda: Box(0.0, np.nan, (2,)), ValueError, "`high` must not be NaN, got nan"),
        (lambda: Dict({}), ValueError, "`spaces` of Dict must not be empty"),
        (lambda: Dict([Discrete(2)]), TypeError, "`spaces` of Dict must be a mapping, got list"),
        (lambda: Dict({"a": 3}), TypeError, "`spaces` of Dict must hold spaces, got 3 at 'a'"),
        (lambda: Tuple(()), ValueError, "`spaces` of Tuple must not be empty"),
        (lambda: Tuple(Discrete(2)), TypeError, "`spaces` of Tuple must be a sequence, got Discrete"),
        (lambda: Tuple([3]), TypeError, "`spaces` of Tuple must hold spaces, got 3 at 0"),
        (lambda: encode(3, 1), TypeError, "`space` must be a space, got 3; convert it with `from_foreign`"),
        (lambda: encode(Box(0, 1, (2,)), jnp.ones(3)), ValueError, r"`x` must end in the axes of the space \(2,\)"),
        (lambda: from_foreign(3), TypeError, "`space` must be one of Discrete, MultiDiscrete, .*, got 3"),
    ],
)
def test_errors(build, error, message):
    with pytest.raises(error, match=message):
        build()


def foreign(kind, **fields):
    """An object whose class has the name of a space and nothing else in common with ours."""
    return type(kind, (), fields)()


@pytest.mark.parametrize(
    ("space", "ours"),
    [
        (foreign("Discrete", n=np.int64(3), dtype=np.int64), Discrete(3)),
        (foreign("Discrete", n=3, dtype=np.float32), Discrete(3)),
        (foreign("Box", low=0.0, high=1.0, shape=(2,), dtype=jnp.float32), Box(0.0, 1.0, (2,))),
        (foreign("Box", low=np.zeros(2), high=np.ones(2), shape=(2,), dtype=np.float64), Box(0.0, 1.0, (2,))),
        (foreign("MultiDiscrete", nvec=np.array([2, 3])), MultiDiscrete([2, 3])),
        (foreign("MultiDiscrete", nvec=np.array([[2], [3]]), dtype=np.int8), MultiDiscrete([[2], [3]], np.int8)),
        (foreign("MultiBinary", shape=(3,)), MultiBinary(3)),
        (foreign("Dict", spaces={"a": foreign("Discrete", n=2)}), Dict({"a": Discrete(2)})),
        (foreign("Tuple", spaces=[foreign("Discrete", n=2)]), Tuple([Discrete(2)])),
        (type("Mine", (type("Discrete", (), {}),), {"n": 4})(), Discrete(4)),
        (Discrete(2), Discrete(2)),
    ],
)
def test_spaces_of_other_libraries(space, ours):
    assert from_foreign(space) == ours


def test_a_discrete_space_starts_at_zero():
    with pytest.raises(ValueError, match="`start` of a foreign Discrete must be 0, got 1"):
        from_foreign(foreign("Discrete", n=2, start=1))

    with pytest.raises(ValueError, match=r"`start` of a foreign MultiDiscrete must be 0, got \[0, 1\]"):
        from_foreign(foreign("MultiDiscrete", nvec=np.array([2, 2]), start=np.array([0, 1])))


def test_policies_give_vectors():
    matrix = Box([[0.0, 1.0], [2.0, 3.0]], 4.0)
    assert flatten_space(matrix) == Box([0.0, 1.0, 2.0, 3.0], 4.0, (4,))
    assert flatten_space(Box(0.0, 1.0, ())) == Box(0.0, 1.0, (1,))
    assert flatten_space(MultiDiscrete([[2, 3], [5, 4]], np.int8)) == MultiDiscrete([2, 3, 5, 4], np.int8)
    assert flatten_space(MultiBinary((2, 3))) == MultiBinary(6)
    nested = Dict({"a": Tuple([matrix, Discrete(3)])})
    assert flatten_space(nested) == Dict({"a": Tuple([flatten_space(matrix), Discrete(3)])})
    for space in (Discrete(3), MultiDiscrete((2, 3)), Box(0.0, 1.0, (3,))):
        assert flatten_space(space) is space or flatten_space(space) == space


def test_a_space_is_walked_through_with_its_values():
    space = Dict({"a": Tuple([Discrete(3), Discrete(5)]), "b": Discrete(7)})
    assert map_space(lambda part, x: part.n * x, space, {"a": (2, 3), "b": 4}) == {"a": (6, 15), "b": 28}


def test_what_is_nested_like_a_space_is_brought_into_its_form():
    space = Dict({"a": Box(0.0, 1.0, ()), "b": Tuple([Discrete(2), Dict({"c": Discrete(3)})])})
    wanted = {"a": 1.0, "b": (1, {"c": 2})}
    pair, inner = namedtuple("pair", "x y"), namedtuple("inner", "c")
    assert plain(space, FrozenDict({"a": 1.0, "b": pair(1, FrozenDict({"c": 2}))})) == wanted
    assert plain(space, make_dataclass("Seen", ["b", "a"])((1, inner(2)), 1.0)) == wanted
    assert plain(space, {**wanted, "action_mask": 3}) == {**wanted, "action_mask": 3}
    assert plain(space, 5) == 5


def test_a_name_alone_makes_no_space():
    with pytest.raises(TypeError, match="`space` must be one of"):
        from_foreign(SimpleNamespace(n=2))

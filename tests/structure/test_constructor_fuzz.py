"""Every public constructor refuses what it cannot use, by name, and takes NumPy scalars as what they hold."""

import time

import pytest
from tests.structure.constructor_fuzz import Target, findings, targets

from memorax.networks.heads import C51QNetwork


def test_bad_values_are_refused_by_name_and_good_ones_kept():
    start = time.process_time()
    found = [finding for case in targets() for finding in findings(case)]
    assert not found, "\n".join([f"{len(found)} findings", *map(str, found)])
    assert time.process_time() - start < 60, "constructors compile something"


def test_the_walk_reaches_the_rooms():
    names = {case.name for case in targets()}
    expected = {"networks.CNN", "networks.heads.Gaussian", "networks.blocks.GatedResidual", "model lru", "RunConfig"}
    assert expected | {"algorithms.PPOConfig", "memory::RepeatFirstEasy", "wrappers.TimeLimit", "Layout"} <= names
    assert len(names) > 150


def test_lax_constructor_is_found():
    def lax(size: int = 3, rate: float = 0.5, flag: bool = True) -> tuple[int, float, bool]:
        if size < 1:
            raise ValueError("no")
        return size, rate, flag

    case = Target("lax", lax, {"size": "int", "rate": "float", "flag": "bool"}, frozenset(), {})
    kinds = {(finding.where, finding.kind) for finding in findings(case)}
    assert kinds == {
        ("lax.size", "obscure"),
        ("lax.size", "meaningless"),
        ("lax.rate", "meaningless"),
        ("lax.flag", "meaningless"),
    }


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), "x"])
def test_ends_of_a_distribution_are_finite(value):
    with pytest.raises((TypeError, ValueError), match=r"`v_min` must be"):
        C51QNetwork(action_dim=2, v_min=value)

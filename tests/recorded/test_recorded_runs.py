"""Every algorithm gives the bits that were recorded: logs and state, compared leaf by leaf."""

import copy
import fnmatch

import numpy as np
import pytest
from tests.recorded.record import flatten, machine, read, record
from tests.recorded.runs import RUNS

RECORDED = read()
SAME_MACHINE = machine() == RECORDED["machine"]
"""Whether this machine has the libraries and the processor of the one that recorded; elsewhere other bits are right."""
ALLOWED: dict[tuple[str, str], str] = {}
"""Leaves that may differ from what was recorded by `ALLOWANCE`: patterns of run and path, and the reason."""
ALLOWANCE = 1e-6
"""Of a leaf's largest number."""
ELSEWHERE = 1e-4
"""How far the losses of the first update may be off on another machine, relative to themselves, or to 0.1."""


def allowed(name: str, path: str) -> bool:
    return any(fnmatch.fnmatchcase(name, run) and fnmatch.fnmatchcase(path, leaf) for run, leaf in ALLOWED)


def numbers(leaf: list) -> np.ndarray:
    return np.array(leaf[2:], np.float64)


def distance(was: list, now: list) -> float:
    """By how much two leaves differ, relative to their largest number."""
    a, b = numbers(was), numbers(now)
    if was[0] != now[0] or (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    scale = np.nanmax(np.abs([a, b]), initial=0.0) or 1.0
    return float(np.nanmax(np.abs(a - b), initial=0.0) / scale)


def differences(name: str, was: dict, now: dict) -> list[str]:
    """The leaves that are not as they were, and how."""
    found = [f"{path} is gone" for path in was.keys() - now.keys()]
    found += [f"{path} is new" for path in now.keys() - was.keys()]
    for path in was.keys() & now.keys():
        far = distance(was[path], now[path])
        if was[path] != now[path] and not (allowed(name, path) and far <= ALLOWANCE):
            found.append(f"{path} differs by {far:.1e}: {was[path]} became {now[path]}")
    return sorted(found)


def first_losses(leaves: dict) -> dict[str, float]:
    """The losses of the first update that learned something."""
    losses = {path: numbers(leaf) for path, leaf in leaves.items() if path.startswith("train/losses/")}
    return {path: values[~np.isnan(values)][0] for path, values in losses.items()}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if r.slow else n for n, r in RUNS.items()])
def test_a_run_is_as_it_was_recorded(name):
    was, now = RECORDED["runs"][name], record(name)
    if SAME_MACHINE:
        found = differences(name, was, now)
        assert not found, f"{len(found)} of {len(was)} leaves of `{name}` are not as recorded:\n" + "\n".join(found)
    else:
        # Another processor or library rounds differently, and what follows drifts apart.
        assert was.keys() == now.keys()
        assert {path: leaf[0] for path, leaf in was.items()} == {path: leaf[0] for path, leaf in now.items()}
        before, after = first_losses(was), first_losses(now)
        assert after == pytest.approx(before, rel=ELSEWHERE, abs=0.1 * ELSEWHERE)


def test_every_run_is_recorded():
    assert RECORDED["runs"].keys() == RUNS.keys()


def test_what_is_recorded_says_something():
    """There are losses, episodes that ended, and rewards."""
    for name, leaves in RECORDED["runs"].items():
        assert len(first_losses(leaves)) >= 3, name
        assert leaves["train/returned_episode"][-1] > 0, name
        assert leaves["train/returned_episode_returns"][-1] > 0, name
        assert not RUNS[name].slow or "evaluate/returned_episode_returns" in leaves


@pytest.fixture
def leaves():
    return copy.deepcopy(RECORDED["runs"]["ppo gru"])


PATH = "state/learner/critic/params/params/head/Dense_0/kernel"


def test_a_changed_bit_is_found(leaves):
    changed = copy.deepcopy(leaves)
    changed[PATH][1] = "another"
    assert [text.split(" ")[0] for text in differences("ppo gru", leaves, changed)] == [PATH]


def test_a_renamed_leaf_is_found(leaves):
    changed = {path.replace("/critic/", "/value/"): leaf for path, leaf in leaves.items()}
    found = differences("ppo gru", leaves, changed)
    assert f"{PATH} is gone" in found
    assert f"{PATH.replace('/critic/', '/value/')} is new" in found


@pytest.mark.parametrize(("factor", "number"), [(1 + 5e-7, 0), (1 + 3e-6, 1)])
def test_an_allowed_leaf_may_differ_a_little(leaves, monkeypatch, factor, number):
    monkeypatch.setitem(ALLOWED, ("ppo *", "state/learner/critic/*"), "for this test")
    changed = copy.deepcopy(leaves)
    changed[PATH] = [leaves[PATH][0], "another", *(factor * x for x in leaves[PATH][2:])]
    assert len(differences("ppo gru", leaves, changed)) == number
    changed[PATH][0] = "float64[5,1]"
    assert len(differences("ppo gru", leaves, changed)) == 1


def test_a_tree_is_flattened_by_path():
    assert list(flatten({"a": (np.zeros(2), np.ones(3)), "b": 1.0})) == ["a/0", "a/1", "b"]

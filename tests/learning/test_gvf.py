"""Targets and losses of demons, against sums computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.core.types import Timestep, Transition
from memorax.learning import gvf
from memorax.learning.gvf import (
    gvf_losses,
    gvf_targets,
    refresh_gvf_targets,
    replayed_gvf_losses,
    with_cumulant,
    with_main_bootstrap,
)
from memorax.learning.values import (
    NStepTargets,
    action_values,
    as_scalars,
    expected_values,
    first_steps,
    greedy_values,
    main_values,
)
from memorax.networks import heads
from memorax.networks.heads import HLGaussValues, HordeValues
from memorax.objectives import episode_ends

GAMMA = 0.5
# The action is the cumulant. Row 0 terminates at step 1 and is truncated at step 3; row 1 is truncated at step 0, where
# it terminates, too, and goes on to the end.
ACTION = np.array([[1, 2, 4, 8, 16], [3, 5, 7, 9, 11]])
REWARD = np.full((2, 5), 100.0, np.float32)
TERMINATED = np.array([[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]], bool)
TRUNCATED = np.array([[0, 0, 0, 1, 0], [1, 0, 0, 0, 0]], bool)
BOOTSTRAP = np.array([[0, 0, 0, 6, 0], [0, 0, 0, 0, 0]], np.float32)
LAST = np.array([10.0, 20.0])
FOLDED = [[1 + 0.5 * 2, 2, 4 + 0.5 * 11, 8 + 0.5 * 6, 16 + 0.5 * 10], [3, 11.125, 12.25, 10.5, 21]]
FOLDED[1] = [3, 5 + 0.5 * (7 + 0.5 * (9 + 0.5 * 21)), 7 + 0.5 * (9 + 0.5 * 21), 9 + 0.5 * 21, 11 + 0.5 * 20]
"""Sums of the whole episodes, the truncated one with the value of its final observation, the last ones with LAST."""
GVF = heads.GVF(heads.VNetwork(), gamma=GAMMA, cumulant=lambda transition: transition.action)
HEAD = heads.Horde(heads.VNetwork(), {"sum": GVF})
Q_HEAD = heads.Horde(
    heads.DiscreteQNetwork(3),
    {"sum": heads.GVF(heads.DiscreteQNetwork(3), gamma=GAMMA, cumulant=lambda transition: transition.action)},
)


def trajectory(**aux):
    inputs = Timestep(jnp.zeros((2, 5, 1)), jnp.asarray(ACTION), jnp.asarray(REWARD), jnp.zeros((2, 5), bool))
    reward, ends = jnp.asarray(REWARD), (jnp.asarray(TERMINATED), jnp.asarray(TRUNCATED))
    return Transition(inputs, jnp.asarray(ACTION), reward, *ends, aux=aux, info={"returned_episode": ends[0]})


def values(last=LAST):
    """Values before the end that no sum of whole episodes may contain."""
    demon = np.full((2, 6), 1000.0, np.float32)
    demon[:, -1] = last
    return HordeValues(jnp.full((2, 6), -1e6), {"sum": jnp.asarray(demon)})


def sums_are_those_computed_by_hand():
    bootstrap = HordeValues(jnp.full((2, 5), -1e6), {"sum": jnp.asarray(BOOTSTRAP)})
    predicted = gvf_targets(HEAD, trajectory(bootstrap=bootstrap), values(), 1.0)["sum"]
    np.testing.assert_allclose(predicted.target, FOLDED)
    assert not predicted.hidden.any()


def test_sums_are_those_computed_by_hand():
    sums_are_those_computed_by_hand()


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("episode_ends", lambda steps, gamma: episode_ends(steps, 0.9)),
        ("episode_ends", lambda steps, gamma: episode_ends(steps.replace(aux={}), gamma)),
        ("episode_ends", lambda steps, gamma: episode_ends(steps.replace(terminated=TERMINATED & False), gamma)),
        ("with_cumulant", lambda name, demon, steps: with_cumulant(name, demon, steps).replace(reward=steps.reward)),
        ("with_cumulant", lambda name, demon, steps: with_main_bootstrap(steps)),
    ],
    ids=["the agent's discount", "truncated worth nothing", "never terminates", "the reward", "the main head's view"],
)
def test_the_sums_find_mutants(monkeypatch, name, broken):
    monkeypatch.setattr(gvf, name, broken)
    with pytest.raises(AssertionError):
        sums_are_those_computed_by_hand()


def test_steps_with_a_hidden_successor_have_no_target_where_their_value_is_not_known():
    predicted = gvf_targets(HEAD, trajectory(), values(), 1.0)["sum"]
    np.testing.assert_array_equal(predicted.hidden, TRUNCATED & ~TERMINATED)
    # Step 2 comes before the truncated one, and bootstraps from its value.
    np.testing.assert_allclose(predicted.target[0], [2, 2, 4 + 0.5 * 1000, 1000, 21])
    loss = gvf_losses(first_steps(values(), 5), {"sum": predicted}, 1.0 - predicted.hidden)
    assert list(loss) == ["demon_sum"]


def test_shorter_returns_bootstrap_from_the_demon():
    predicted = gvf_targets(HEAD, trajectory(), values(), 0.0)["sum"]
    np.testing.assert_allclose(predicted.target[1], [3, 505, 507, 509, 11 + 0.5 * 20])


def test_flags_are_numbers():
    ended = heads.GVF(heads.VNetwork(), gamma=1.0, cumulant=lambda transition: transition.terminated)
    view = with_cumulant("ended", ended, trajectory())
    assert view.reward.dtype == jnp.float32
    np.testing.assert_array_equal(view.reward, TERMINATED)


def test_cumulants_see_what_every_algorithm_can_show():
    """A rollout has more than a replay; a cumulant that needs it would work with some algorithms only."""
    seen = []
    demon = heads.GVF(heads.VNetwork(), gamma=1.0, cumulant=lambda steps: seen.append(steps) or steps.reward)
    with_cumulant("curious", demon, trajectory(log_prob=jnp.zeros((2, 5))))
    assert (seen[0].aux, seen[0].info, seen[0].carry) == ({}, {}, None)
    np.testing.assert_array_equal(seen[0].action, ACTION)


@pytest.mark.parametrize(
    ("cumulant", "shape"),
    [
        (lambda transition: transition.reward[..., None], r"\[2, 5, 1\]"),
        (lambda transition: transition.reward[:, :1], r"\[2, 1\]"),
        (lambda transition: transition.reward.mean(), r"\[\]"),
        (lambda transition: 1.0, r"\[\]"),
    ],
)
def test_other_shapes_are_not_broadcast(cumulant, shape):
    demon = heads.GVF(heads.VNetwork(), gamma=1.0, cumulant=cumulant)
    message = rf"`cumulant` of demon `x` must give one number per step, \[batch, time\] = \[2, 5\], got {shape}"
    with pytest.raises(ValueError, match=message):
        with_cumulant("x", demon, trajectory())


def test_losses_are_means_over_the_steps_that_count():
    predicted = gvf.GVFTarget(*(jnp.zeros((2, 5)),) * 3, jnp.asarray(FOLDED))
    weight = jnp.ones((2, 5)).at[0, 3].set(0.0)
    loss = gvf_losses(HordeValues(None, {"sum": jnp.ones((2, 5))}), {"sum": predicted}, weight)["demon_sum"]
    counted = np.delete(np.asarray(FOLDED).ravel(), 3)
    np.testing.assert_allclose(loss, 0.5 * np.square(counted - 1.0).mean(), rtol=1e-6)


def q_values(seed, time):
    rows = jax.random.normal(jax.random.key(seed), (2, 2, time, 3))
    return HordeValues(rows[0], {"sum": rows[1]})


def two_steps(batch, gamma=0.9):
    return NStepTargets(*episode_ends(batch, gamma), 2)


def test_in_a_replay_returns_have_n_cumulants_and_follow_the_main_head():
    batch, chosen = trajectory(), action_values(q_values(0, 5), jnp.asarray(ACTION % 3))
    output = q_values(1, 6)
    best = action_values(output, jnp.argmax(expected_values(output), -1))
    following = jax.tree.map(lambda x: x[:, 1:], best)
    importance = jnp.asarray([1.0, 0.25])
    loss = replayed_gvf_losses(Q_HEAD, batch, chosen, following, two_steps, importance)["demon_sum"]
    v = np.take_along_axis(np.asarray(output.demons["sum"]), np.asarray(output.main).argmax(-1)[..., None], -1)[..., 0]
    # Truncated: no target; before it and before the end of the sequence: one cumulant and a bootstrap.
    target = [
        [1 + 0.5 * 2, 2, 4 + 0.5 * v[0, 3], np.nan, 16 + 0.5 * v[0, 5]],
        [3, 5 + 3.5 + 0.25 * v[1, 3], 7 + 4.5 + 0.25 * v[1, 4], 9 + 5.5 + 0.25 * v[1, 5], 11 + 0.5 * v[1, 5]],
    ]
    error = np.asarray(target) - np.asarray(chosen.demons["sum"])
    np.testing.assert_allclose(loss, np.nanmean(0.5 * error**2 * np.asarray(importance)[:, None]), rtol=1e-5)


def test_targets_get_no_gradient():
    batch, chosen = trajectory(), action_values(q_values(0, 5), jnp.asarray(ACTION % 3))

    def replayed(following):
        return replayed_gvf_losses(Q_HEAD, batch, chosen, greedy_values(following), two_steps, jnp.ones(2))["demon_sum"]

    def rolled_out(output):
        asked = refresh_gvf_targets(gvf_targets(HEAD, batch, output, 0.5), output, 0.5)
        return gvf_losses(HordeValues(None, {"sum": jnp.ones((2, 5))}), asked, jnp.ones((2, 5)))["demon_sum"]

    assert replayed(q_values(1, 5)) > 0
    for loss, output in ((replayed, q_values(1, 5)), (rolled_out, values())):
        assert all((x == 0).all() for x in jax.tree.leaves(jax.grad(loss)(output)))


def test_heads_without_demons_ask_nothing():
    batch, plain = trajectory(), jnp.zeros((2, 6))
    assert gvf_targets(heads.VNetwork(), batch, plain, 1.0) == refresh_gvf_targets({}, plain, 1.0) == {}
    assert gvf_losses(plain, {}, jnp.ones((2, 5))) == {}
    assert replayed_gvf_losses(heads.DiscreteQNetwork(3), batch, plain, plain, two_steps, jnp.ones(2)) == {}
    assert with_main_bootstrap(batch) is batch


def test_demons_follow_the_best_action_of_the_main_head():
    logits = jax.random.normal(jax.random.key(2), (2, 4, 3, 9))
    atoms = jnp.linspace(-1.0, 1.0, 9)
    output = HordeValues(HLGaussValues(logits, atoms), {"sum": jnp.arange(24.0).reshape(2, 4, 3)})
    action = np.asarray(output.main.mean()).argmax(-1)
    np.testing.assert_array_equal(
        greedy_values(output).demons["sum"],
        np.arange(24.0).reshape(2, 4, 3).reshape(-1, 3)[np.arange(8), action.ravel()].reshape(2, 4),
    )
    np.testing.assert_allclose(greedy_values(output).main, output.main.mean().max(-1), rtol=1e-6)
    np.testing.assert_array_equal(expected_values(output), main_values(output).mean())
    np.testing.assert_array_equal(as_scalars(output).demons["sum"], output.demons["sum"])
    first = first_steps(output, 3)
    assert (first.main.logits.shape, first.demons["sum"].shape) == ((2, 3, 3, 9), (2, 3, 3))

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests import example_agents as agents

from memorax.algorithms import ALGORITHMS, PPO, GradientPPO, GradientPPOConfig, gradient_ppo
from memorax.learning.minibatches import carries_of_chunks
from memorax.networks import MLP, Network, heads
from memorax.objectives import episode_ends, lambda_returns
from memorax.testing import algorithm_properties as replay
from memorax.testing.algorithm_properties import (
    PROPERTIES,
    compiles_once,
    evaluates_whole_episodes,
    maps_over_seeds,
)
from memorax.testing.probe_environments import Clock, MixedEnds

SLOW = pytest.mark.slow
LONG = (maps_over_seeds, compiles_once, evaluates_whole_episodes)
ONCE = {"update_epochs": 1, "num_minibatches": 1}
GAMMA, LAMBDA, BETA = 0.9, 0.7, 0.3
MIXED = {"gamma": GAMMA, "gae_lambda": LAMBDA, "regularization_coefficient": BETA, "normalize_advantage": False}


@pytest.fixture(scope="module")
def agent():
    return agents.gradient_ppo(Clock("terminated"), "simple")


@pytest.mark.parametrize(
    "holds", [pytest.param(f, marks=SLOW if f in LONG else ()) for f in PROPERTIES], ids=lambda f: f.__name__
)
def test_property(agent, holds):
    holds(agent)


def test_the_first_ratio_of_every_chunk_is_one():
    replay.begins_with_a_ratio_of_one(agents.gradient_ppo(Clock("truncated", 2, 7), burn_in_length=1, **ONCE))


def recorded(agent):
    """Two chunks of a rollout: state before, steps, what is learned from, and the memory at the start of each."""

    @jax.jit
    def record(key):
        before, _ = agent.rollout(key, agent.init(key), 5)
        after, steps = agent.rollout(key, before, agent.config.num_steps)
        batch = agent.batch(before.learner, steps, after.loop)
        run = lambda carry, inputs: agent.networks.unroll(before.learner.params, inputs, carry)[0]  # noqa: E731
        carries = carries_of_chunks(run, before.loop.carry, steps.inputs, agent.config.truncation_length)
        return before, steps, after, batch, agent.split(batch), carries

    return record(jax.random.key(3))


@pytest.fixture(scope="module", params=["mlp", "gru"])
def tiny(request):
    agent = agents.gradient_ppo(MixedEnds(), request.param, shared=False, num_envs=3, **MIXED)
    return agent, recorded(agent)


def flat(jacobian, columns):
    """Derivatives `[batch, columns, parameters]`."""
    return np.concatenate([np.asarray(x).reshape(-1, columns, x[0, 0].size) for x in jax.tree.leaves(jacobian)], -1)


def follows_the_whole_gradient(agent, record):
    """The critic's and the second network's gradients are those of TDRC(lambda), from explicit jacobians."""
    before, _, _, _, chunks, carry = record
    params, columns = before.learner.params, agent.config.truncation_length + 1

    @jax.jit
    def differentiate(params):
        value = lambda critic: agent.networks.unroll(params | {"critic": critic}, chunks.inputs, carry)[1][1]  # noqa: E731
        h = lambda h: agent.networks.h.unroll(h, chunks.inputs, carry["h"])[1]  # noqa: E731
        pairs = [(f(params[name]), jax.jacrev(f)(params[name])) for name, f in (("critic", value), ("h", h))]
        return pairs, jax.grad(agent.loss, has_aux=True)(params, chunks, carry)

    ((v, grad_v), (h, grad_h)), (gradient, metrics) = differentiate(params)
    v, h, grad_v, grad_h = np.asarray(v), np.asarray(h)[:, :-1], flat(grad_v, columns), flat(grad_h, columns)[:, :-1]
    reward, discount, _ = (np.asarray(x) for x in chunks.ends)
    assert (discount[:, :-1] == 0).any()
    assert (discount[:, :-1] > 0).any()
    target, grad_target = v.copy(), grad_v.copy()
    for t in reversed(range(columns - 1)):
        target[:, t] = reward[:, t] + discount[:, t] * ((1 - LAMBDA) * v[:, t + 1] + LAMBDA * target[:, t + 1])
        mixed = (1 - LAMBDA) * grad_v[:, t + 1] + LAMBDA * grad_target[:, t + 1]
        grad_target[:, t] = discount[:, t, None] * mixed
    delta, grad_delta = (target - v)[:, :-1], (grad_target - grad_v)[:, :-1]
    step = (delta - h)[..., None] * grad_v[:, :-1] - h[..., None] * grad_delta
    ravel = lambda tree: np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])  # noqa: E731
    np.testing.assert_allclose(ravel(gradient["critic"]), -step.mean((0, 1)), atol=1e-5)
    fit = ((delta - h)[..., None] * grad_h).mean((0, 1))
    np.testing.assert_allclose(ravel(gradient["h"]), BETA * ravel(params["h"]) - fit, atol=1e-5)
    np.testing.assert_allclose(metrics["critic"], 0.5 * np.square(delta).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["h"], 0.5 * np.square(delta - h).mean(), rtol=1e-4)


def test_gradients_are_those_of_explicit_jacobians(tiny):
    follows_the_whole_gradient(*tiny)


@pytest.mark.parametrize("tiny", ["mlp"], indirect=True)
def test_half_a_gradient_is_noticed(tiny, monkeypatch):
    half = lambda *arguments: jax.lax.stop_gradient(lambda_returns(*arguments))  # noqa: E731
    monkeypatch.setattr(gradient_ppo, "lambda_returns", half)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        follows_the_whole_gradient(*tiny)


def test_episodes_end_inside_chunks(tiny):
    _, (_, steps, _, _, chunks, _) = tiny
    ends = episode_ends(steps, GAMMA)
    assert steps.truncated.any()
    for ours, expected in zip(chunks.ends, ends, strict=True):
        np.testing.assert_array_equal(ours[:, :-1].reshape(expected.shape), expected)
    np.testing.assert_array_equal(np.asarray(chunks.ends[1])[:, :-1].reshape(steps.done.shape) == 0, steps.done)


def test_advantages_are_not_cut_where_chunks_end(tiny):
    agent, (before, steps, after, _, chunks, _) = tiny
    last = jax.jit(agent.value(before.learner))(after.loop.carry, after.loop.timestep)
    values = jnp.concatenate([steps.aux["value"], last[:, None]], axis=1)
    target = lambda_returns(*episode_ends(steps, GAMMA), values, LAMBDA)
    np.testing.assert_allclose(chunks.target[:, :-1].reshape(target.shape), target, atol=1e-5)
    np.testing.assert_array_equal(chunks.weight, np.broadcast_to([1, 1, 1, 1, 0], chunks.weight.shape))


def test_chunks_lie_side_by_side_and_share_a_step(tiny):
    _, (_, steps, after, _, chunks, _) = tiny
    time = np.concatenate([steps.observation, after.loop.timestep.observation[:, None]], 1)
    expected = np.stack([time[:, :5], time[:, 4:]], 1).reshape(-1, 5, 1)
    np.testing.assert_array_equal(chunks.inputs.observation, expected)
    np.testing.assert_array_equal(chunks.action[:, :-1].reshape(3, 8), steps.action)


def remembers(agent, record):
    """Each network's memory goes on while acting, and every chunk begins with the memory that acting had there."""
    before, steps, after, _, _, carries = record
    first = jax.tree.map(lambda x: x[:, :4], steps.inputs)
    middle, _ = agent.networks.h.unroll(before.learner.params["h"], first, before.loop.carry["h"])
    last, _ = agent.networks.h.unroll(before.learner.params["h"], steps.inputs, before.loop.carry["h"])
    np.testing.assert_allclose(carries["h"].reshape(3, 2, -1)[:, 0], before.loop.carry["h"], atol=1e-5)
    np.testing.assert_allclose(carries["h"].reshape(3, 2, -1)[:, 1], middle, atol=1e-5)
    np.testing.assert_allclose(after.loop.carry["h"], last, atol=1e-5)


@pytest.mark.parametrize("tiny", ["gru"], indirect=True)
def test_the_second_network_remembers(tiny):
    remembers(*tiny)


class Forgets(GradientPPO):
    """Mutant: the second network's memory stays as it was."""

    def make_networks(self, actor, critic):
        networks = super().make_networks(actor, critic)
        remembers = networks.unroll_with_losses

        def forgets(params, inputs, carry, burn_in=0):
            after, outputs, sown = remembers(params, inputs, carry, burn_in)
            return after | {"h": carry["h"]}, outputs, sown

        networks.unroll_with_losses = forgets
        return networks


def test_a_second_network_that_forgets_is_noticed():
    mutant = agents.gradient_ppo(MixedEnds(), cls=Forgets, num_envs=3)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        remembers(mutant, recorded(mutant))


def test_the_second_network_may_be_another_with_an_optimizer_of_its_own(key):
    h = Network(agents.extractor(), agents.TORSOS["gru"](), heads.VNetwork())
    agent = agents.gradient_ppo(Clock(), "mlp", arguments={"h_network": h, "h_optimizer": optax.sgd(0.0)})
    assert agent.recurrent

    @jax.jit
    def run(key):
        before = agent.init(key)
        return before, agent.train(key, before, agent.steps_per_update)

    before, after = run(key)
    jax.tree.map(np.testing.assert_array_equal, before.learner.h.params, after.learner.h.params)
    assert (after.loop.carry["h"] != 0).any()
    critics = (jax.tree.leaves(state.learner.critic.params)[-1] for state in (before, after))
    assert not np.array_equal(*critics)


def test_gradient_ppo_is_registered():
    assert ALGORITHMS.get("gradient_ppo") == (GradientPPO, GradientPPOConfig)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"regularization_coefficient": -0.1}, "`regularization_coefficient` must be at least 0, got -0.1"),
        ({"truncation_length": 0}, "`truncation_length` must be at least 1 or None, got 0"),
        ({"truncation_length": 17}, r"`truncation_length` \(17\) must divide `num_steps` \(128\) for chunks of equal"),
        (
            {"burn_in_length": 16, "truncation_length": 16},
            r"`burn_in_length` \(16\) must be below `truncation_length` \(16\)",
        ),
        ({"burn_in_length": 64}, r"`burn_in_length` \(64\) must be below `truncation_length` \(64\)"),
        ({"gamma": 1.5}, "`gamma` must be in"),
    ],
)
def test_bad_configurations_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        GradientPPOConfig(**fields)


@pytest.mark.parametrize(("num_steps", "chunk"), [(128, 64), (64, 64), (96, 96), (130, 65), (20, 20), (67, 67)])
def test_chunks_are_long_unless_told_otherwise(num_steps, chunk):
    config = GradientPPOConfig(num_steps=num_steps)
    assert config.chunk_length == chunk
    assert config.minibatches(recurrent=True) == 4


def test_the_length_of_chunks_is_an_integer():
    with pytest.raises(TypeError, match=r"`truncation_length` must be an integer or None, got 8\.0"):
        GradientPPOConfig(truncation_length=8.0)


def test_minibatches_must_divide_the_chunks():
    message = r"`num_minibatches` \(5\) must divide `num_envs \* num_steps / truncation_length` \(12\) for chunks"
    with pytest.raises(ValueError, match=message):
        agents.gradient_ppo(Clock(), "mlp", num_minibatches=5)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (MLP(), "`h_network` must be a Network, got MLP"),
        (heads.Categorical(3), "`h_network` must have a head that gives one value per step, got Categorical"),
        (heads.HLGaussVNetwork(), "`h_network` must have a head that gives one value per step, got HLGaussVNetwork"),
    ],
)
def test_second_networks_that_do_not_fit_are_refused(network, message):
    if not isinstance(network, MLP):
        network = Network(agents.extractor(), agents.TORSOS["mlp"](), network)
    with pytest.raises(TypeError, match=message):
        agents.gradient_ppo(Clock(), "mlp", arguments={"h_network": network})


def test_a_critic_that_is_learned_by_classification_is_refused():
    actor = agents.ppo(Clock(), "mlp", cls=PPO).networks.actor.network
    critic = Network(agents.extractor(), agents.TORSOS["mlp"](), heads.HLGaussVNetwork())
    with pytest.raises(TypeError, match="`critic` must have a head that gives one value per step, got HLGaussV"):
        GradientPPO(GradientPPOConfig(), Clock(), None, actor, critic, optax.sgd(0.1), optax.sgd(0.1))
    with pytest.raises(TypeError, match="`critic` must be a Network, got MLP"):
        GradientPPO(GradientPPOConfig(), Clock(), None, actor, MLP(), optax.sgd(0.1), optax.sgd(0.1))

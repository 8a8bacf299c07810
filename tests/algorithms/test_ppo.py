import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests import example_agents as agents
from tests.assertions import assert_equal

from memorax import lox
from memorax.algorithms import ALGORITHMS, PPO, PPOConfig
from memorax.core.spaces import Box
from memorax.networks import MLP, FeatureExtractor, Network, heads
from memorax.testing.algorithm_properties import PROPERTIES, stays_finite
from memorax.testing.probe_environments import Clock, Masked, Recall

SPACE = Box(-2.0, 3.0, (2,))


@pytest.fixture(scope="module", params=["mlp", "gru"])
def agent(request):
    return agents.ppo(Clock("terminated"), request.param)


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda f: f.__name__)
def test_property(agent, holds):
    holds(agent)


@pytest.mark.parametrize("ends", ["terminated", "truncated", "both", "never"])
def test_numbers_stay_finite_however_episodes_end(ends):
    stays_finite(agents.ppo, Clock(ends, min_length=1, max_length=2))


@pytest.mark.parametrize(
    "head",
    [heads.Gaussian(action_dim=2), heads.SquashedGaussian(action_dim=2), heads.Beta(action_dim=2)],
    ids=lambda head: type(head).__name__,
)
def test_continuous_actions(head):
    make = lambda env: agents.ppo(env, head=head, num_envs=2)  # noqa: E731
    env = Clock("truncated", action_space=SPACE)
    stays_finite(make, env)
    agent = make(env)
    key = jax.random.key(0)
    _, steps = agent.rollout(key, agent.init(key), 9)
    action = agent.vector_env.to_env(steps.action)
    assert action.shape == (2, 9, 2)
    assert ((action >= -2.0) & (action <= 3.0)).all()


@pytest.mark.parametrize("where", ["observation", "info"])
def test_masked_actions_are_never_taken(where):
    agent = agents.ppo(Masked(where), num_envs=2)
    key = jax.random.key(0)
    state = agent.train(key, agent.init(key), 2 * agent.steps_per_update)
    _, steps = agent.rollout(key, state, 40)
    allowed = jnp.take_along_axis(steps.observation["action_mask"], steps.action[..., None], -1)
    assert allowed.all()
    assert (steps.reward == 1.0).all()


@pytest.mark.parametrize(("torso", "critic"), [("gru", "mlp"), pytest.param("mlp", "gru", marks=pytest.mark.slow)])
def test_an_actor_with_memory_goes_with_a_critic_without_and_the_reverse(torso, critic):
    stays_finite(lambda env: agents.ppo(env, torso, critic_torso=critic), Clock("truncated"))


def test_a_shared_trunk_exists_once_and_both_losses_train_it():
    agent = agents.ppo(Clock())
    key = jax.random.key(0)
    state, steps = agent.rollout(key, agent.init(key), agent.config.num_steps)
    assert set(state.learner.critic.params["params"]) == {"head"}
    assert set(state.learner.actor.params["params"]) == {"feature_extractor", "torso", "head"}
    assert state.loop.carry["critic"] == ()
    batch = agent.batch(state.learner, steps, state.loop)
    carry = agent.init(key).loop.carry

    def gradient(agent):
        return jax.grad(agent.loss, has_aux=True)(state.learner.params, batch, carry)[0]

    both = gradient(agent)
    without_value = gradient(agents.ppo(Clock(), value_coefficient=0.0))
    differ = jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), both["actor"], without_value["actor"])
    assert max(jax.tree.leaves(differ["params"]["torso"])) > 1e-4
    assert max(jax.tree.leaves(differ["params"]["head"])) == 0.0


def test_separate_networks_do_not_touch_each_other():
    agent = agents.ppo(Clock(), shared=False)
    key = jax.random.key(0)
    state, steps = agent.rollout(key, agent.init(key), agent.config.num_steps)
    batch, carry = agent.batch(state.learner, steps, state.loop), agent.init(key).loop.carry

    def value_loss(params):
        _, (_, value) = agent.networks.unroll(params, batch.inputs, carry)
        return 0.5 * jnp.square(value - batch.target).mean()

    gradient = jax.grad(value_loss)(state.learner.params)
    assert all((x == 0).all() for x in jax.tree.leaves(gradient["actor"]))
    assert any((x != 0).any() for x in jax.tree.leaves(gradient["critic"]))


def test_the_kl_limit_stops_the_epochs():
    key = jax.random.key(0)

    def learner(**config):
        agent = agents.ppo(Clock(), "mlp", learning_rate=0.05, **config)
        state, logs = lox.spool(agent.train)(key, agent.init(key), num_steps=agent.steps_per_update)
        assert all(np.isfinite(x).all() for x in logs.values())
        return state.learner, logs

    # What is logged is the average over the epochs that ran, too.
    (stopped, logs), once = learner(update_epochs=4, target_kl=1e-9), learner(update_epochs=1)
    assert_equal((stopped, logs), once)
    free, _ = learner(update_epochs=4, target_kl=1e9)
    assert_equal(free, learner(update_epochs=4)[0])
    assert not np.array_equal(*(jax.tree.leaves(x.actor.params)[0] for x in (stopped, free)))


def test_burn_in_steps_are_not_learned_from_but_remembered():
    agent = agents.ppo(Recall(5), burn_in_length=3, num_minibatches=1)
    key = jax.random.key(0)
    state, steps = agent.rollout(key, agent.init(key), agent.config.num_steps)
    batch, carry = agent.batch(state.learner, steps, state.loop), agent.init(key).loop.carry
    loss = jax.jit(lambda batch: agent.loss(state.learner.params, batch, carry)[0])
    early = batch._replace(target=batch.target.at[:, :3].add(5.0), action=batch.action.at[:, :3].set(0))
    np.testing.assert_allclose(loss(batch), loss(early), rtol=1e-6)
    late = batch._replace(target=batch.target.at[:, 3:].add(5.0))
    assert abs(loss(batch) - loss(late)) > 1e-3
    seen = batch._replace(inputs=batch.inputs.replace(observation=batch.inputs.observation.at[:, :3].add(5.0)))
    assert abs(loss(batch) - loss(seen)) > 1e-6


def test_burn_in_means_nothing_to_networks_without_memory():
    stays_finite(lambda env: agents.ppo(env, "mlp", burn_in_length=5), Clock())


def test_ppo_is_registered():
    assert ALGORITHMS.get("ppo") == (PPO, PPOConfig)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_envs", 0, "`num_envs` must be at least 1, got 0"),
        ("num_steps", -3, "`num_steps` must be at least 1, got -3"),
        ("num_minibatches", 0, "`num_minibatches` must be at least 1"),
        ("update_epochs", 0, "`update_epochs` must be at least 1"),
        ("gamma", 1.5, r"`gamma` must be in \[0, 1\], got 1.5"),
        ("gae_lambda", -0.1, r"`gae_lambda` must be in \[0, 1\]"),
        ("clip_coefficient", -1.0, "`clip_coefficient` must be at least 0"),
        ("target_kl", 0.0, "`target_kl` must be above 0 or None, got 0.0"),
        ("burn_in_length", 128, r"`burn_in_length` \(128\) must be below `num_steps` \(128\)"),
        ("gamma", float("nan"), "`gamma` must be in"),
        ("target_kl", float("nan"), "`target_kl` must be above 0"),
    ],
)
def test_bad_configurations_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        PPOConfig(**{field: value})


@pytest.mark.parametrize(("field", "value"), [("num_envs", 8.0), ("num_steps", True), ("burn_in_length", 1.5)])
def test_numbers_of_things_are_integers(field, value):
    with pytest.raises(TypeError, match=f"`{field}` must be an integer, got {value}"):
        PPOConfig(**{field: value})


def test_minibatches_must_divide_the_environments_for_memory_and_the_batch_without():
    message = r"`num_minibatches` \(4\) must divide `num_envs` \(6\) for recurrent networks; try 3 or 2"
    with pytest.raises(ValueError, match=message):
        agents.ppo(Clock(), num_minibatches=4)
    agents.ppo(Clock(), "mlp", num_minibatches=4)
    with pytest.raises(ValueError, match=r"must divide `num_envs \* num_steps` \(48\) for networks without memory"):
        agents.ppo(Clock(), "mlp", num_minibatches=5)


def test_a_head_that_cannot_serve_the_action_space_is_refused():
    with pytest.raises(ValueError, match=r"Categorical.*3"):
        agents.ppo(Clock(), head=heads.Categorical(action_dim=4))
    with pytest.raises((TypeError, ValueError), match="Gaussian"):
        agents.ppo(Clock(), head=heads.Gaussian(action_dim=3))


def test_heads_in_the_wrong_place_are_refused():
    def build(actor_head, critic_head):
        actor, critic = (Network(agents.extractor(), agents.TORSOS["mlp"](), h) for h in (actor_head, critic_head))
        return PPO(PPOConfig(), Clock(), None, actor, critic, optax.sgd(0.1), optax.sgd(0.1))

    with pytest.raises(TypeError, match="`actor` must have a policy head, got VNetwork"):
        build(heads.VNetwork(), heads.Categorical(action_dim=3))
    with pytest.raises(TypeError, match="`actor` must have a policy head, got DiscreteQNetwork"):
        build(heads.DiscreteQNetwork(action_dim=3), heads.VNetwork())
    with pytest.raises(
        TypeError, match="`critic` must have a head that gives one value per step, got DiscreteQNetwork"
    ):
        build(heads.Categorical(action_dim=3), heads.DiscreteQNetwork(action_dim=3))
    with pytest.raises(TypeError, match="`critic` must be a Network, got MLP"):
        PPO(
            PPOConfig(),
            Clock(),
            None,
            agents.ppo(Clock()).networks.actor.network,
            MLP(),
            optax.sgd(0.1),
            optax.sgd(0.1),
        )


def test_half_a_shared_trunk_is_refused():
    trunk = agents.extractor()
    torsos = [agents.TORSOS["gru"]() for _ in range(2)]
    actor = Network(trunk, torsos[0], heads.Categorical(action_dim=3))
    critic = Network(trunk, torsos[1], heads.VNetwork())
    with pytest.raises(ValueError, match="same `feature_extractor` object but different `torso` objects"):
        PPO(PPOConfig(), Clock(), None, actor, critic, optax.sgd(0.1), optax.sgd(0.1))


def test_too_few_steps_for_an_update_are_refused():
    agent = agents.ppo(Clock())
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"`num_steps` must be at least one update \(48 steps\), got 47"):
        agent.train(key, agent.init(key), 47)
    with pytest.raises(ValueError, match="`evaluate` needs `num_steps` or `num_episodes`"):
        agent.evaluate(key, agent.init(key))
    with pytest.raises(ValueError, match="`num_episodes` must be at least 1 or None, got 0"):
        agent.evaluate(key, agent.init(key), num_episodes=0)


def test_networks_that_do_not_fit_are_refused_when_the_agent_is_built():
    flat = FeatureExtractor(observation_extractor=lambda x: x.reshape(x.shape[0], -1))
    make = agents.TORSOS["mlp"]
    actor = Network(flat, make(), heads.Categorical(action_dim=3))
    critic = Network(FeatureExtractor(observation_extractor=MLP(features=(3,))), make(), heads.VNetwork())
    with pytest.raises(ValueError, match="observation_extractor"):
        PPO(PPOConfig(), Clock(), None, actor, critic, optax.sgd(0.1), optax.sgd(0.1))


def test_seeds_side_by_side_are_initialized_without_batched_decompositions():
    # XLA's CPU backend can wait forever for a batch of QR decompositions.
    init = jax.vmap(agents.ppo(Clock()).init)
    program = str(jax.make_jaxpr(init)(jax.random.split(jax.random.key(0), 3)))
    ranks = {len(shape.split(",")) for shape in re.findall(r"f32\[([\d,]+)\][^\n]*?= qr\b", program)}
    assert ranks == {2}

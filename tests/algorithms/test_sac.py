import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests import example_agents as agents

from memorax import lox
from memorax.algorithms import ALGORITHMS, SAC, SACConfig, sac
from memorax.core.distributions import Categorical
from memorax.core.spaces import Box
from memorax.experiment import RunConfig, build_agent
from memorax.experiment.build import gradient_steps
from memorax.learning import soft_actor_critic
from memorax.learning.soft_actor_critic import ReplayedSequences, policy_actions
from memorax.learning.values import expected_values
from memorax.networks import MLP, Network, heads
from memorax.objectives import episode_ends, soft_value, temperature_loss
from memorax.testing.algorithm_properties import (
    PROPERTIES,
    does_not_depend_on_how_it_is_split,
    is_not_disturbed_by_evaluation,
    keeps_its_types,
    logs_episodes_and_losses,
    stays_finite,
)
from memorax.testing.probe_environments import Clock, Masked, MixedEnds

slow = functools.partial(pytest.param, marks=pytest.mark.slow)
PLANE = Box(-2.0, 3.0, (2,))
MADE = {
    "recurrent": lambda: agents.sac(Clock("both", action_space=PLANE), burn_in_length=1),
    "continuous": lambda: agents.sac(Clock("truncated", action_space=PLANE), "mlp"),
    "discrete": lambda: agents.sac(Clock(), "mlp"),
}


@pytest.fixture(scope="module")
def agent(request):
    return MADE[request.param]()


QUICK = (keeps_its_types, does_not_depend_on_how_it_is_split, is_not_disturbed_by_evaluation, logs_episodes_and_losses)


@pytest.mark.parametrize(
    ("agent", "holds"),
    [
        pytest.param(
            name,
            holds,
            id=f"{name}-{holds.__name__}",
            marks=[] if name == "discrete" and holds in QUICK else [pytest.mark.slow],
        )
        for name in MADE
        for holds in PROPERTIES
    ],
    indirect=["agent"],
)
def test_property(agent, holds):
    holds(agent)


@pytest.mark.parametrize(
    ("space", "options"),
    [
        (None, {"critic_head": heads.HLGaussQNetwork(3, 13, v_min=-1.0, v_max=4.0), "gradient_steps": 2}),
        # Actions that are -1 and 1 exactly.
        (PLANE, {"head": heads.SquashedGaussian(2, bias_init=nn.initializers.constant(30.0)), "burn_in_length": 2}),
        slow(PLANE, {"critic_head": heads.TwinContinuousQNetwork((5,))}),
        slow(PLANE, {"head": heads.Beta(2)}),
    ],
    ids=["hl-gauss", "at-the-border", "twin", "beta"],
)
def test_numbers_stay_finite(space, options):
    stays_finite(lambda env: agents.sac(env, "mlp", **options), Clock("both", 1, 2, action_space=space))


def drawn(agent, num_steps=40):
    """A learner, and what it learns from: sequences of random actions and the memory at their start."""

    @jax.jit
    def draw(key):
        state = agent.warmup(key, agent.init(key), num_steps)
        batch = agent.buffer.sample(state.buffer, key).experience
        carry = jax.tree.map(lambda x: x[:, 0], batch.carry)
        return state.learner, batch, agent.initialize_carry(key, len(batch.reward)) if carry is None else carry

    learner, batch, carry = draw(jax.random.key(3))
    return learner, ReplayedSequences(agent.networks, batch, carry, agent.burn_in)


def replays_what_it_did(agent):
    """P4: what all networks say of stored sequences, from the stored memories, is what they said while acting."""
    learner, seen = drawn(agent)
    batch, fresh = seen.batch, seen.batch.inputs.done[:, 0]
    assert batch.inputs.done[:, 1:].any()
    assert all(np.asarray(x)[~np.asarray(fresh)].any() for x in jax.tree.leaves(seen.carry))

    @jax.jit
    def again(learner):
        _, policy = agent.networks.actor.unroll(learner.actor.params, batch.inputs, seen.carry["actor"])
        carry = seen.carry["critics"]
        _, values, _ = agent.networks.value(learner.critics.params, batch.inputs, carry, batch.action)
        chosen = [expected_values(agent.networks.chosen(x, batch.action)) for x in values]
        return policy.log_prob(batch.action), jnp.stack(chosen, axis=-1)

    log_prob, q = again(learner)
    np.testing.assert_allclose(log_prob, batch.aux["log_prob"], atol=1e-4)
    np.testing.assert_allclose(q, batch.aux["q"], atol=1e-5)
    assert (q[..., 0] != q[..., 1]).any()


@pytest.mark.parametrize(
    ("space", "critic_torso"), [(PLANE, None), slow(None, "lru")], ids=["continuous", "discrete-with-another-critic"]
)
def test_what_networks_say_of_stored_sequences_is_what_they_said_while_acting(space, critic_torso):
    env = Clock("both", 2, 6, action_space=space)
    replays_what_it_did(agents.sac(env, critic_torso=critic_torso, cls=agents.recording(SAC)))


class Forgetful(agents.recording(SAC)):
    """Its critics never remember while acting."""

    def policy(self, learner, step, behavior):
        act = super().policy(learner, step, behavior)

        def forgetful(key, carry, timestep):
            after, action, aux = act(key, carry, timestep)
            return after | {"critics": carry["critics"]}, action, aux

        return forgetful


class AfterTheStep(agents.recording(SAC)):
    """Keeps the memory after the step in place of the one before it."""

    def record(self, transition):
        kept = super().record(transition)
        if transition.reward.ndim == 1:
            return kept
        return kept.replace(carry=jax.tree.map(lambda x: jnp.roll(x, -1, axis=1), kept.carry))


@pytest.mark.parametrize("mutant", [Forgetful, slow(AfterTheStep)])
def test_a_wrong_memory_is_found(mutant):
    with pytest.raises(AssertionError):
        replays_what_it_did(agents.sac(Clock("both", 2, 6), cls=mutant))


def shaken(tree):
    return jax.tree.map(lambda x: x + 0.3 * jnp.cos(7.0 * jnp.arange(x.size)).reshape(x.shape), tree)


@functools.cache
def before(space, torso, **config):
    """An agent, a learner whose target networks are others than its critics, and what it learns from."""
    env = MixedEnds()
    env._action_space = env.action_space() if space is None else space
    given = {"second_critic": heads.Alpha(0.7)}
    agent = agents.sac(env, torso, arguments=given, sequence_length=6, cls=Plain, **config)
    learner, seen = drawn(agent, 80)
    actor = learner.actor.replace(params=shaken(learner.actor.params))
    return agent, learner.replace(actor=actor, target=shaken(learner.critics.params)), seen


def learns_as_defined(space=None, torso="mlp", **config):
    """One gradient step by plain gradient descent, computed again one transition at a time."""
    agent, learner, seen = before(space, torso, **config)
    key, k, gamma = jax.random.key(5), agent.burn_in, agent.config.gamma

    @jax.jit
    def compute(learner):
        due = jnp.uint32(agent.config.target_update_frequency - agent.config.train_frequency)
        after, metrics = agent.gradient_step(key, learner, seen, due)
        _, policy = agent.networks.actor.unroll(learner.actor.params, seen.batch.inputs, seen.carry["actor"], k)
        given = seen.batch.inputs, seen.carry["critics"]
        decision = policy_actions(key, policy)
        target = agent.networks.value(learner.target, *given, decision.action, k)[1]
        return after, metrics, decision, jnp.stack(target), jnp.stack(seen.values(learner.critics.params)[0])

    after, metrics, decision, target, q = compute(learner)
    entropy, least = np.asarray(decision.entropy), np.asarray(target).min(0)
    if space is None:
        least = (np.asarray(decision.probabilities) * least).sum(-1)
    value = least + 0.7 * entropy
    batch = jax.tree.map(lambda x: np.asarray(x)[:, k:], seen.batch.replace(carry=None))
    truncated = batch.truncated & ~batch.terminated
    assert truncated[:, :-1].any()
    assert batch.terminated[:, :-1].any()
    errors = np.full(q.shape, np.nan)
    for row, t in np.argwhere(~truncated[:, :-1]):
        goes_on = 0.0 if batch.terminated[row, t] else gamma
        errors[:, row, t] = batch.reward[row, t] + goes_on * value[row, t + 1] - q[:, row, t]
    np.testing.assert_allclose(metrics["critic"], sum(0.5 * np.nanmean(np.square(e)) for e in errors), rtol=1e-3)
    np.testing.assert_allclose(metrics["td_error"], np.nanmean(np.abs(errors[0])), rtol=1e-3)
    counts = ~truncated[:, :-1]
    goal = 0.5 * np.log(3.0) if space is None else -1.0 * 2
    excess = entropy[:, :-1][counts].mean() - goal
    np.testing.assert_allclose(after.alpha.params["params"]["log_alpha"], np.log(0.7) - 0.7 * excess, rtol=1e-3)

    steps = jax.tree.map(lambda x: x[:, :-1], seen.batch.inputs)

    @jax.jit
    @jax.grad
    def gradient(params):
        decision, _, _ = seen.policy_actions(params, key)
        _, values, _ = agent.networks.value(after.critics.params, steps, seen.carry["critics"], decision.action, k)
        least = jnp.minimum(*values)
        least = least if space else (decision.probabilities * least).sum(-1)
        return -jnp.mean(least + 0.7 * decision.entropy, where=counts)

    expected = jax.tree.map(lambda x, g: x - g, learner.actor.params, gradient(learner.actor.params))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4), after.actor.params, expected)
    moved = jax.tree.map(lambda new, old: 0.25 * new + 0.75 * old, after.critics.params, learner.target)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), after.target, moved)


class Plain(SAC):
    """Moves against the gradient, and target networks a quarter of the way."""

    def __init__(self, config, *arguments, **options):
        config = SACConfig(**(vars(config) | {"tau": 0.25}))
        optimizers = {f"{name}_optimizer": optax.sgd(1.0) for name in ("actor", "critic", "alpha")}
        super().__init__(config, *arguments, **(options | optimizers))


@pytest.mark.parametrize(("space", "torso"), [(None, "mlp"), slow(PLANE, "gru")], ids=["discrete", "continuous"])
def test_a_gradient_step_is_that_computed_step_by_step(space, torso):
    learns_as_defined(space, torso, burn_in_length=1)


def into_the_next_episode(steps, gamma):
    reward, discount, cut = episode_ends(steps, gamma)
    return reward, discount, jnp.zeros_like(cut)


def of_the_most(values, *given):
    return soft_value([-x for x in values], *given)


def without_entropy(values, entropy, *given):
    return soft_value(values, 0.0 * entropy, *given)


@pytest.mark.parametrize(
    ("module", "name", "mutant"),
    [
        (sac, "episode_ends", into_the_next_episode),
        slow(soft_actor_critic, "soft_value", of_the_most),
        slow(soft_actor_critic, "soft_value", without_entropy),
        (sac, "temperature_loss", lambda *given: -temperature_loss(*given)),
    ],
    ids=["bootstraps-into-the-next-episode", "not-the-least", "without-entropy", "pays-for-what-abounds"],
)
def test_a_wrong_step_is_found(module, name, mutant, monkeypatch):
    monkeypatch.setattr(module, name, mutant)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        learns_as_defined()


ENDLESS = {"gamma": 0.5, "learning_rate": 0.02, "target_update_frequency": 12, "tau": 1.0, "batch_size": 16}


def knows_that_a_truncated_episode_goes_on():
    """P5: in an endless task that pays 1 per step and is cut by a clock, values tend to `1 / (1 - gamma)`."""
    # Entropy costs next to nothing.
    free = {"second_critic": heads.Alpha(1e-9)}
    agent = agents.sac(Clock("truncated", 2, 3, blind=True), "mlp", arguments=free, **ENDLESS)

    @jax.jit
    def run(key):
        state = agent.train(key, agent.init(key), 150 * agent.steps_per_update)
        return agent.rollout(key, state, 20)[1]

    steps = run(jax.random.key(6))
    assert steps.truncated.any()
    np.testing.assert_allclose(steps.aux["q"].mean(), 2.0, rtol=0.1)


@pytest.mark.slow
def test_a_truncated_episode_goes_on():
    knows_that_a_truncated_episode_goes_on()


@pytest.mark.slow
def test_taking_a_truncation_for_the_end_is_found(monkeypatch):
    def terminates(steps, gamma):
        return episode_ends(steps.replace(terminated=steps.done), gamma)

    monkeypatch.setattr(sac, "episode_ends", terminates)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        knows_that_a_truncated_episode_goes_on()


def test_soft_value_of_discrete_actions_by_hand():
    values = [jnp.asarray([[[1.0, 4.0, -1e9]]]), jnp.asarray([[[2.0, 3.0, -1e9]]])]
    policy = Categorical(jnp.log(jnp.asarray([[[0.25, 0.75, 1.0]]])), jnp.asarray([[[True, True, False]]]))
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    decision = policy_actions(jax.random.key(0), policy)
    got = soft_value(values, decision.entropy, jnp.asarray(0.5), decision.probabilities)
    np.testing.assert_allclose(got, [[0.25 * 1.0 + 0.75 * 3.0 + 0.5 * entropy]], rtol=1e-6)
    np.testing.assert_allclose(decision.unit, [[np.log(2.0)]], rtol=1e-6)


def test_soft_value_of_a_sampled_action_by_hand():
    got = soft_value([jnp.full((1, 1), 3.0), jnp.full((1, 1), 2.0)], jnp.full((1, 1), -4.0), jnp.asarray(0.5))
    np.testing.assert_allclose(got, [[0.0]])


# A deviation of e^-5 leaves some -3.6 nats per dimension, one of 1 some 0.6.
@pytest.mark.parametrize(("most", "rises"), [(-4.9, True), slow(2.0, False)])
def test_the_price_of_entropy_rises_where_there_is_less_than_there_shall_be(most, rises, key):
    head = heads.SquashedGaussian(2, max_log_std=most)
    agent = agents.sac(Clock(action_space=PLANE), "mlp", head=head)
    _, logs = lox.spool(agent.train)(key, agent.init(key), 48)
    assert (logs["losses/entropy"] < -1.0 * 2).all() == rises
    steps = np.diff(logs["losses/temperature"])
    assert (steps > 0).all() if rises else (steps < 0).all()
    np.testing.assert_allclose(logs["losses/temperature"][0], 1.0)


@pytest.mark.parametrize("where", ["observation", slow("info")])
def test_masked_actions_are_never_taken_or_counted(where, key):
    agent = agents.sac(Masked(where), "mlp")
    state = agent.train(key, agent.warmup(key, agent.init(key), 20), 24)
    _, steps = agent.rollout(key, state, 20)
    assert (steps.reward == 1.0).all()
    assert (state.buffer.experience.reward[:, :22] == 1.0).all()
    _, logs = lox.spool(agent.train)(key, state, 12)
    assert abs(logs["losses/td_error"]) < 100.0
    assert abs(logs["losses/actor"]) < 100.0


def test_an_update_may_take_several_gradient_steps(key):
    agent = agents.sac(Clock(), "mlp", gradient_steps=3, tau=0.5)
    state, logs = lox.spool(agent.train)(key, agent.init(key), 24)
    assert logs["losses/critic"].shape == (2,)
    assert state.learner.actor.opt_state[0].count == 6


def test_one_object_given_twice_is_two_critics(key):
    critics = jax.jit(agents.sac(Clock(), "mlp").init)(key).learner.critics.params
    kernels = [x for x in zip(*map(jax.tree.leaves, critics), strict=True) if x[0].ndim == 2]
    assert kernels
    assert all((a != b).all() for a, b in kernels)


def test_seeds_side_by_side_begin_as_seeds_alone(key):
    agent = agents.sac(Clock(action_space=PLANE), "mlp")
    keys = jax.random.split(key, 2)
    together = jax.jit(jax.vmap(agent.init))(keys).learner.critics.params
    alone = jax.jit(agent.init)(keys[1]).learner.critics.params
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[1], y, atol=1e-6), together, alone)


def test_actions_are_stretched_over_the_action_space_and_tried_uniformly(key):
    agent = agents.sac(Clock(action_space=PLANE), "mlp")
    kept = agent.warmup(key, agent.init(key), 200).buffer.experience.action[:, :100]
    np.testing.assert_allclose(agent.vector_env.to_env(jnp.asarray([[-1.0, 1.0]])), [[-2.0, 3.0]])
    np.testing.assert_allclose(np.quantile(kept, [0.0, 0.25, 0.5, 0.75, 1.0]), [-1.0, -0.5, 0.0, 0.5, 1.0], atol=0.15)


@pytest.mark.parametrize(
    ("torso", "config", "length"),
    [("mlp", {}, 2), ("mlp", {"burn_in_length": 9}, 2), ("gru", {"burn_in_length": 5}, 22)],
)
def test_sequences_are_as_long_as_they_need_to_be(torso, config, length):
    agent = agents.sac(Clock(), torso, sequence_length=None, **config)
    assert agent.buffer.layout.sample_sequence_length == length
    assert (agent.init(jax.random.key(0)).buffer.experience.carry is None) == (torso == "mlp")


def test_the_documented_configuration_runs():
    config = SACConfig(
        num_envs=8,
        tau=0.005,
        train_frequency=1,
        target_update_frequency=1,
        target_entropy_scale=0.89,
        gradient_steps=1,
        burn_in_length=0,
    )
    networks = agents.sac(Clock()).networks
    given = (single.network for single in (networks.actor, *networks.critics))
    agent = SAC(config, Clock(), None, *given, *[optax.adam(3e-4)] * 3)
    assert (agent.collect_steps, agent.num_updates) == (1, 8)
    jax.eval_shape(lambda key: agent.train(key, agent.init(key), 16), jax.random.key(0))


@pytest.mark.parametrize(
    ("env", "actor", "critic"),
    [
        ("memory::PositionOnlyPendulumEasy", heads.SquashedGaussian(1), heads.ContinuousQNetwork((7,))),
        ("memory::MemoryChain", heads.Categorical(2), heads.DiscreteQNetwork(2)),
    ],
)
def test_the_command_line_chooses_heads_by_the_actions(env, actor, critic):
    hyperparameters = SACConfig(train_frequency=4, gradient_steps=3)
    config = RunConfig(algorithm="sac", env=env, features=7, steps=8_000, hyperparameters=hyperparameters)
    networks = build_agent(config).networks
    assert [single.network.head for single in (networks.actor, *networks.critics)] == [actor, critic, critic]
    # 1,752 of the 2,000 updates: the first come before `learning_starts`.
    assert gradient_steps(config) == 3 * 1_752


def test_the_temperature_starts_at_the_scale_of_rewards():
    """In units of the reward, so that a scale alone does not change how much entropy is worth."""
    hyperparameters = SACConfig(batch_size=2, buffer_size=2_000, initial_temperature=0.5)
    config = RunConfig(
        algorithm="sac", env="memory::MemoryChain", features=7, reward_scale=0.25, hyperparameters=hyperparameters
    )
    state = jax.eval_shape(build_agent(config).init, jax.random.key(0))
    assert build_agent(config).alpha == heads.Alpha(0.125)
    assert len(state.learner.critics.params) == 2


@pytest.mark.parametrize(("given", "discrete", "continuous"), [(None, 0.5, 1.0), (0.25, 0.25, 0.25)])
def test_the_target_entropy_depends_on_the_kind_of_actions(given, discrete, continuous):
    assert agents.sac(Clock(), "mlp", target_entropy_scale=given).target_entropy_scale == discrete
    assert agents.sac(Clock(action_space=PLANE), "mlp", target_entropy_scale=given).target_entropy_scale == continuous


@pytest.mark.parametrize(("given", "discrete", "continuous"), [(None, 0.1, 1.0), (0.25, 0.25, 0.25)])
def test_the_first_temperature_depends_on_the_kind_of_actions(given, discrete, continuous):
    """A policy over few actions stays random as long as the temperature is above what actions differ by."""
    for env, expected in ((Clock(), discrete), (Clock(action_space=PLANE), continuous)):
        agent = agents.sac(env, "mlp", initial_temperature=given)
        assert agent.alpha == heads.Alpha(expected)
        assert "initial_temperature" not in agent.hyperparameters()
    critic = agents.sac(Clock(), "mlp").networks.critics[0].network
    actor, optimizers = agents.sac(Clock(), "mlp").networks.actor.network, [optax.adam(3e-4)] * 3
    config = SACConfig(initial_temperature=0.25)
    assert SAC(config, Clock(), None, actor, critic, heads.Alpha(0.7), *optimizers).alpha == heads.Alpha(0.7)


def test_sac_is_registered():
    assert ALGORITHMS.get("sac") == (SAC, SACConfig)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SACConfig(gradient_steps=0), "`gradient_steps` must be at least 1, got 0"),
        (lambda: SACConfig(target_entropy_scale=-1.0), "`target_entropy_scale` must be at least 0 or None, got -1.0"),
        (lambda: SACConfig(initial_temperature=0.0), "`initial_temperature` must be above 0 or None, got 0.0"),
        (lambda: SACConfig(tau=0.0), "`tau` must be above 0 and at most 1, got 0.0"),
        (lambda: heads.Alpha(0.0), "`initial_alpha` must be above 0, got 0.0"),
        (lambda: heads.Alpha(float("inf")), "`initial_alpha` must be finite, got inf"),
        (lambda: agents.sac(Clock(), "mlp", head=heads.Categorical(4)), "`action_dim` of head `Categorical` must be 3"),
        (lambda: agents.sac(Clock(), "mlp", buffer_size=3), "`buffer_size` must be at least 10, a sequence of 5 steps"),
        (
            lambda: agents.sac(Clock(action_space=Box(-np.inf, 1.0, (2,))), "mlp"),
            "head `SquashedGaussian` needs a Box with finite borders",
        ),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        (None, {"head": heads.DiscreteQNetwork(3)}, "`actor` must have a policy head, got DiscreteQNetwork"),
        (PLANE, {"head": heads.Gaussian(2)}, "`actor` must have a head of bounded actions, .*, got Gaussian; use `Squ"),
        (None, {"critic_head": heads.VNetwork()}, "`critic` must have .*, `DiscreteQNetwork` or .*, got VNetwork"),
        (None, {"critic_head": heads.C51QNetwork(3)}, "values of actions as numbers, .*, got C51QNetwork"),
        (None, {"critic_head": heads.Categorical(3)}, "values of actions as numbers, .*, got Categorical"),
        (PLANE, {"critic_head": heads.VNetwork()}, "`critic` must have .*, `ContinuousQNetwork`, got VNetwork"),
        (PLANE, {"critic_head": heads.DiscreteQNetwork(3)}, "head `DiscreteQNetwork` needs a Discrete action space"),
        (None, {"arguments": {"second_critic": MLP()}}, "`second_critic` must be a Network, got MLP"),
        (None, {"arguments": {"actor": MLP()}}, "`actor` must be a Network, got MLP"),
        (None, {"arguments": {"buffer": object()}}, "`buffer` must have .* got object"),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused(space, options, message):
    with pytest.raises(TypeError, match=message):
        agents.sac(Clock(action_space=space), "mlp", **options)


def test_a_trunk_for_actor_and_critics_is_refused():
    trunk = agents.extractor(), agents.TORSOS["mlp"]()
    actor, critic = Network(*trunk, heads.Categorical(3)), Network(*trunk, heads.DiscreteQNetwork(3))
    with pytest.raises(ValueError, match="`critic` must have a feature extractor and a torso of its own"):
        agents.sac(Clock(), arguments={"actor": actor, "critic": critic})

"""Every algorithm in every action space that it claims: types, what it replays, masks, what it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests import example_agents as agents
from tests.copied_tasks import Copies

from memorax.core.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from memorax.networks import heads
from memorax.testing import check_algorithm
from memorax.testing.action_probes import Echo
from memorax.testing.algorithm_properties import replays_what_it_did
from memorax.testing.probe_environments import Clock
from memorax.testing.q_learning_properties import CountingHead

BRANCHES = {
    "multi discrete": MultiDiscrete((2, 3)),
    "multi discrete, int8 matrix": MultiDiscrete([[2, 3, 2], [4, 2, 2]], jnp.int8),
    "multi binary": MultiBinary(4),
}
BOXES = {"number": Box(-1.0, 2.0, ()), "matrix": Box(-1.0, 2.0, (2, 3))}
NESTED = {
    "dict": Dict({"move": Discrete(3, jnp.uint8), "force": BOXES["matrix"], "flags": MultiBinary((2, 1), bool)}),
    "tuple": Tuple([MultiDiscrete((2, 3)), Dict({"angle": BOXES["number"], "gear": Discrete(4)})]),
}
EVERYTHING = BRANCHES | BOXES | NESTED


def mappo(env, *args, **options):
    return agents.mappo(Copies(env, 2), *args, **options)


CLAIMS = {
    "ppo": (agents.ppo, EVERYTHING),
    "gradient_ppo": (agents.gradient_ppo, EVERYTHING),
    "mappo": (mappo, EVERYTHING),
    "stream_ac": (agents.stream_ac, EVERYTHING),
    "dqn": (agents.dqn, BRANCHES),
    "r2d2": (agents.r2d2, BRANCHES),
    "pqn": (agents.pqn, BRANCHES),
    "sac": (agents.sac, BOXES | {"int8": Discrete(3, jnp.int8)}),
}
PAIRS = [(name, kind) for name, (_, spaces) in CLAIMS.items() for kind in spaces]


@pytest.mark.parametrize(("algorithm", "kind"), PAIRS)
def test_environments_are_given_actions_in_their_own_form(algorithm, kind):
    """`Clock` refuses an action of another structure, shape or dtype, when it is traced."""
    make, spaces = CLAIMS[algorithm]
    agent = make(Clock("truncated", action_space=spaces[kind]), "mlp")
    state = jax.eval_shape(agent.init, jax.random.key(0))
    after = jax.eval_shape(lambda state: agent.train(jax.random.key(1), state, agent.steps_per_update), state)
    evaluated = jax.eval_shape(lambda state: agent.evaluate(jax.random.key(1), state, num_episodes=2), state)
    forms = [jax.tree.map(lambda x: (x.shape, x.dtype), tree) for tree in (state, after, evaluated)]
    assert forms[0] == forms[1] == forms[2]


ONE_EACH = [("ppo", "dict"), ("gradient_ppo", "tuple"), ("stream_ac", "multi discrete"), ("sac", "matrix")]
ONE_EACH += [(name, "multi discrete, int8 matrix") for name in ("dqn", "r2d2", "pqn")]


@pytest.mark.parametrize(("algorithm", "kind"), ONE_EACH)
def test_a_rollout_is_replayed_as_it_was(algorithm, kind):
    make, spaces = CLAIMS[algorithm]
    agent = make(Clock("terminated", 2, 7, action_space=spaces[kind]))
    if algorithm in {"dqn", "r2d2", "pqn"}:
        replays_branches(agent)
    else:
        replays_what_it_did(agent)


def replays_branches(agent):
    state, _ = agent.rollout(jax.random.key(1), agent.init(jax.random.key(0)), 5)
    _, steps = agent.rollout(jax.random.key(2), state, 11)
    params = state.learner.params if hasattr(state.learner, "params") else state.learner.online.params
    _, values = jax.jit(agent.networks.unroll)(params, steps.inputs, state.loop.carry)
    assert len(values.branches) == 6
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), values, steps.aux["q"])


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "kind"), [("ppo", "tuple"), ("dqn", "multi discrete"), ("pqn", "multi binary")])
def test_all_properties_hold(algorithm, kind):
    make, spaces = CLAIMS[algorithm]
    space = spaces[kind]
    names = ["keeps_its_types", "does_not_depend_on_how_it_is_split", "logs_episodes_and_losses", "stays_finite"]
    check_algorithm(lambda env, **config: make(env, "mlp", **config), properties=names, action_space=space)


MASKED = [("ppo", MultiDiscrete((2, 3))), ("ppo", Dict({"a": Discrete(3), "b": MultiBinary(2)}))]
MASKED += [("pqn", MultiDiscrete((2, 3))), ("dqn", MultiDiscrete((2, 3))), ("ppo", Tuple([Discrete(3), Discrete(2)]))]


@pytest.mark.parametrize(("algorithm", "space"), MASKED, ids=lambda x: x if isinstance(x, str) else repr(x))
def test_masks_are_respected(algorithm, space):
    agent = CLAIMS[algorithm][0](Echo(space, masked=True), "mlp")
    state = agent.init(jax.random.key(0))
    _, steps = agent.rollout(jax.random.key(1), state, 20)
    assert (steps.reward >= 0).all()
    assert (steps.reward < 1).any()


def test_a_mask_of_another_size_is_refused_when_the_agent_is_built():
    class Other(Echo):
        def observation_space(self, params=None):
            return Dict(super().observation_space(params).spaces | {"action_mask": Box(0, 1, (4,), bool)})

        def _show(self, state, key):
            shown, state = super()._show(state, key)
            return shown | {"action_mask": shown["action_mask"][:4]}, state

    for make in (agents.ppo, agents.dqn):
        with pytest.raises(ValueError, match=r"`action_mask` of head `\w+` must have a last axis of 5, got shape"):
            make(Other(MultiDiscrete((2, 3)), masked=True), "mlp")


@pytest.mark.parametrize("make", [agents.dqn, agents.r2d2, agents.pqn])
def test_q_learners_refuse_what_has_no_finite_set_of_choices(make):
    for space in (BOXES["matrix"], NESTED["dict"]):
        with pytest.raises(TypeError, match="`env` must have Discrete or MultiDiscrete actions for `q_network`"):
            make(Clock(action_space=space), "mlp", head=CountingHead())
    with pytest.raises(TypeError, match=r"head `DiscreteQNetwork` needs a Discrete .* use `MultiCategorical`"):
        make(Clock(action_space=MultiDiscrete((2, 3))), "mlp", head=heads.DiscreteQNetwork(action_dim=5))
    with pytest.raises(ValueError, match=r"`nvec` of head `BranchingQNetwork` must be \(2, 3\) for .*, got \(3, 2\)"):
        make(Clock(action_space=MultiDiscrete((2, 3))), "mlp", head=heads.BranchingQNetwork((3, 2)))


@pytest.mark.parametrize("kind", ["multi discrete", "dict"])
def test_soft_actor_critic_refuses_several_actions(kind):
    given = {"head": heads.MultiCategorical((2, 3)), "critic_head": heads.BranchingQNetwork((2, 3))}
    with pytest.raises(TypeError, match="`env` must have Discrete or Box actions for soft actor-critic, got"):
        agents.sac(Clock(action_space=EVERYTHING[kind]), "mlp", **given)


FAST = {"gamma": 0.0, "learning_rate": 1e-2}
REPLAYED = FAST | {"num_envs": 6, "batch_size": 32}
LEARNERS = [
    ("ppo", NESTED["tuple"], FAST | {"num_envs": 16, "num_steps": 16}, 20_000, 0.85),
    ("pqn", MultiDiscrete((2, 3)), FAST | {"num_envs": 16, "epsilon_steps": 4_000}, 16_000, 0.95),
    ("dqn", MultiBinary(3), REPLAYED | {"epsilon_steps": 4_000}, 16_000, 0.9),
    ("sac", Box(-1.0, 2.0, (2, 1)), REPLAYED, 16_000, 0.85),
]


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "space", "config", "steps", "least"), LEARNERS, ids=lambda x: str(x)[:20])
def test_every_part_of_an_action_is_learned(algorithm, space, config, steps, least):
    agent = CLAIMS[algorithm][0](Echo(space), "mlp", **config)
    state = agent.train(jax.random.key(1), agent.init(jax.random.key(0)), steps)
    _, transitions = agent.vector_env.rollout(jax.random.key(2), state.loop, agent.acting(state, "exploit")[0], 100)
    assert transitions.reward.mean() >= least, transitions.reward.mean()

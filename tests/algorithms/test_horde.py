"""Demons beside the main head: what they learn, whom they teach, and who does not take them."""

import inspect
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests import example_agents as agents
from tests.copied_tasks import Copies

from memorax import lox
from memorax.algorithms import MAPPO, PPO, R2D2, GradientPPO, GradientPPOConfig, MAPPOConfig, PPOConfig
from memorax.core.spaces import Box, MultiDiscrete
from memorax.experiment.run.checkpoint import CheckpointWriter, newest, restore
from memorax.learning.values import as_scalars
from memorax.networks import Network, heads
from memorax.testing.probe_environments import Clock, MixedEnds

GAMMA = 0.8


def reward(transition):
    return transition.reward


def gvf(head, gamma=GAMMA, cumulant=reward):
    return heads.GVF(head, gamma=gamma, cumulant=cumulant)


def states(name="twin", kind=heads.VNetwork, **options):
    return heads.Horde(kind(), {name: gvf(kind(), **options)})


def actions(name="twin", kind=heads.DiscreteQNetwork, **options):
    return heads.Horde(kind(action_dim=3), {name: gvf(kind(action_dim=3), **options)})


def ppo(env, head, torso="mlp", cls=PPO, **config):
    trunk = agents.extractor(), agents.TORSOS[torso]()
    actor, critic = Network(*trunk, heads.Categorical(action_dim=3)), Network(*trunk, head)
    fields = agents.SMALL | {"gamma": GAMMA} | ({"truncation_length": 4} if cls is GradientPPO else {}) | config
    config = {MAPPO: MAPPOConfig, GradientPPO: GradientPPOConfig}.get(cls, PPOConfig)(**fields)
    return cls(config, env, env.default_params, actor, critic, optax.adam(0.02), optax.adam(0.02))


TWINS = {
    "ppo": lambda: ppo(MixedEnds(), states(), clip_value_loss=False, value_coefficient=0.5),
    "r2d2": lambda: agents.r2d2(MixedEnds(), "mlp", head=actions(), gamma=GAMMA, n_step=2),
}
MORE_TWINS = {
    "pqn, new targets": lambda: agents.pqn(MixedEnds(), "mlp", head=actions(), gamma=GAMMA, refresh_targets=True),
    "ppo, histograms": lambda: ppo(MixedEnds(), states(kind=lambda: heads.HLGaussVNetwork(11, -1.0, 4.0))),
    "mappo": lambda: ppo(Copies(Clock("truncated", 3, 3), 2), states(), cls=MAPPO, clip_value_loss=False),
    "pqn": lambda: agents.pqn(MixedEnds(), "mlp", head=actions(), gamma=GAMMA),
    "dqn": lambda: agents.dqn(MixedEnds(), "mlp", head=actions(), gamma=GAMMA, n_step=2),
    "dqn, distributions": lambda: agents.dqn(MixedEnds(), "mlp", head=actions(kind=heads.C51QNetwork), gamma=GAMMA),
    "r2d2, with memory": lambda: agents.r2d2(MixedEnds(), head=actions(), gamma=GAMMA, n_step=2),
}


def alike(tree):
    """Give the demon the parameters of the main head."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    named = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    return structure.unflatten(named[name.replace("['demons_twin']['head']", "['head']")] for name in named)


def a_demon_that_asks_for_the_return_learns_as_the_main_head(agent):
    """Through terminated and truncated episodes."""

    @jax.jit
    def run(key):
        start = alike(agent.init(key))
        state, logs = lox.spool(agent.train)(key, start, num_steps=4 * agent.steps_per_update)
        return start.learner, state.learner, alike(state.learner), logs

    start, end, wanted, logs = run(jax.random.key(0))
    own = logs["losses/critic"] if "losses/critic" in logs else logs["losses/q"]
    assert own.shape[0] == 4
    assert (own[-1] > 0).all()
    np.testing.assert_allclose(logs["losses/demon_twin"], own, rtol=1e-4)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), end, wanted)
    paths = jax.tree_util.tree_leaves_with_path((start, end))
    demon = [leaf for path, leaf in paths if "params['params']['head']['demons_twin']" in jax.tree_util.keystr(path)]
    assert demon
    assert all((x != y).any() for x, y in zip(demon[: len(demon) // 2], demon[len(demon) // 2 :], strict=True))


@pytest.mark.parametrize("name", TWINS)
def test_a_demon_that_asks_for_the_return_learns_as_the_main_head(name):
    a_demon_that_asks_for_the_return_learns_as_the_main_head(TWINS[name]())


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE_TWINS)
def test_so_it_does_everywhere(name):
    a_demon_that_asks_for_the_return_learns_as_the_main_head(MORE_TWINS[name]())


class Behaving(R2D2):
    """Lets demons follow the policy that acts, not the best one."""

    def loss(self, params, target_params, batch, carry, importance):
        # What was done stands in the place of what is best.
        original = self.networks.auxiliary.replayed_losses

        def behaving(batch, chosen, following, *rest):
            last = jax.tree.map(lambda x: x[:, -1:], following)
            followed = jax.tree.map(lambda x, y: jnp.concatenate([x[:, 1:], y], axis=1), chosen, last)
            return original(batch, chosen, followed, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.networks.auxiliary, "replayed_losses", behaving)
            return super().loss(params, target_params, batch, carry, importance)


class Foreign(PPO):
    """Lets demons bootstrap from the main head."""

    def value(self, learner):
        value = super().value(learner)

        def foreign(carry, timestep):
            values = value(carry, timestep)
            return values.replace(demons={"twin": values.main + 1.0})

        return foreign


@pytest.mark.slow
def test_the_twin_finds_mutants():
    mutants = [
        agents.r2d2(MixedEnds(), "mlp", head=actions(), gamma=GAMMA, cls=Behaving),
        ppo(MixedEnds(), states(), cls=Foreign, clip_value_loss=False),
    ]
    for agent in mutants:
        with pytest.raises(AssertionError):
            a_demon_that_asks_for_the_return_learns_as_the_main_head(agent)


def test_the_loss_of_a_demon_reaches_the_trunk_and_no_other_head():
    """With as many environments as steps, so that nothing is broadcast unseen."""
    agent = ppo(MixedEnds(), states("own", gamma=0.5), num_steps=6, num_minibatches=3, value_coefficient=0.25)

    @jax.jit
    def compute(key):
        state = agent.init(key)
        after, steps = agent.rollout(key, state, agent.config.num_steps)
        batch, carry = agent.batch(state.learner, steps, after.loop), state.loop.carry
        _, (_, value) = agent.networks.unroll(state.learner.params, batch.inputs, carry)

        def demon(params):
            loss, metrics = agent.loss(params, batch, carry)
            return metrics["demon_own"], loss

        both = [jax.grad(lambda params, i=i: demon(params)[i])(state.learner.params) for i in (0, 1)]
        return batch.auxiliary["own"].target, value.demons["own"], demon(state.learner.params)[0], both

    target, value, loss, (own, total) = compute(jax.random.key(0))
    assert target.shape == value.shape == (6, 6)
    np.testing.assert_allclose(loss, 0.5 * np.square(np.asarray(target) - np.asarray(value)).mean(), rtol=1e-5)
    trunk, head = own["actor"]["params"], own["critic"]["params"]["head"]
    assert any((x != 0).any() for x in jax.tree.leaves(trunk["torso"]))
    assert all((x == 0).all() for x in jax.tree.leaves((trunk["head"], head["head"])))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(0.25 * x, y, rtol=1e-5),
        head["demons_own"],
        total["critic"]["params"]["head"]["demons_own"],
    )


@pytest.mark.slow
def test_predictions_are_recorded_with_the_memory_of_their_episode():
    agent = ppo(Clock("truncated"), states(), "gru")

    @jax.jit
    def compute(key):
        state, _ = agent.rollout(key, agent.init(key), 5)
        _, steps = agent.rollout(key, state, 9)
        _, (_, value) = agent.networks.unroll(state.learner.params, steps.inputs, state.loop.carry)
        return steps, as_scalars(value)

    steps, value = compute(jax.random.key(3))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), value, steps.aux["value"])
    bootstrap = steps.aux["bootstrap"].demons["twin"]
    np.testing.assert_array_equal(bootstrap != 0, steps.truncated)
    assert (bootstrap != steps.aux["bootstrap"].main)[np.asarray(steps.truncated)].all()


@pytest.mark.slow
def test_runs_side_by_side_continue_from_their_checkpoint(tmp_path):
    agent = ppo(MixedEnds(), states(gamma=0.5, cumulant=lambda steps: steps.observation[..., 0]))
    keys, n = jax.random.split(jax.random.key(0), 3), 2 * agent.steps_per_update
    init, train = jax.jit(jax.vmap(agent.init)), jax.jit(jax.vmap(lambda key, state: agent.train(key, state, n)))
    half = train(keys, init(keys))
    writer = CheckpointWriter(tmp_path)
    writer.save(int(half.step[0]), half)
    writer.close()
    found = restore(newest(tmp_path), jax.eval_shape(init, keys))
    jax.tree.map(np.testing.assert_array_equal, train(keys, found), train(keys, half))


def test_a_demon_learns_how_long_an_episode_still_lasts():
    """Episodes last four steps, and the observation is the time."""
    head = states("time", gamma=0.5, cumulant=lambda steps: jnp.ones_like(steps.reward))
    agent = ppo(Clock("terminated", 4, 4), head)

    @jax.jit
    def run(key):
        state = agent.train(key, agent.init(key), 60 * agent.steps_per_update)
        return agent.rollout(key, state, 4)[1]

    steps = run(jax.random.key(1))
    time = np.asarray(steps.observation[..., 0])
    assert set(time.ravel()) == {0.0, 1.0, 2.0, 3.0}
    np.testing.assert_allclose(steps.aux["value"].demons["time"], 2.0 - 2.0 * 0.5 ** (4 - time), rtol=0.1)


class Choice(Clock):
    """An endless task, cut by a clock, that pays for the last action."""

    def __init__(self):
        super().__init__("truncated", blind=True)

    def step_env(self, key, state, action, params):
        observation, state, _, terminated, info = super().step_env(key, state, action, params)
        return observation, state, (action == 2).astype(jnp.float32), terminated, info


@pytest.mark.slow
def test_a_demon_of_actions_predicts_for_the_best_policy_whatever_is_done():
    """What is counted happens in one of three random steps, and never again by the best policy."""
    head = actions("first", gamma=0.5, cumulant=lambda steps: steps.action == 0)
    agent = agents.dqn(Choice(), "mlp", head=head, gamma=0.5, epsilon_end=1.0, sequence_length=2, batch_size=16)

    @jax.jit
    def run(key):
        state = agent.train(key, agent.init(key), 300 * agent.steps_per_update)
        return agent.rollout(key, state, 4)[1].aux["q"]

    q = run(jax.random.key(1))
    np.testing.assert_allclose(q.main, np.broadcast_to([1.0, 1.0, 2.0], (2, 4, 3)), atol=0.1)
    np.testing.assert_allclose(q.demons["first"], np.broadcast_to([1.0, 0.0, 0.0], (2, 4, 3)), atol=0.1)


def stream_ac(head):
    agent = agents.stream_ac(Clock())
    critic = Network(agents.extractor(), agents.TORSOS["mlp"](), head)
    return type(agent)(agent.config, Clock(), Clock().default_params, agent.networks.actor.network, critic)


def column(transition):
    return transition.reward[..., None]


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: stream_ac(states()), TypeError, "`critic` must have a head without general value functions, .*, got "
         "Horde; give its main head alone, VNetwork"),
        (lambda: ppo(Clock(), states(), cls=GradientPPO), TypeError, "without general value functions, .*, got Horde"),
        (lambda: agents.sac(Clock(), "mlp", critic_head=actions()), TypeError, "`DiscreteQNetwork` or "
         "`HLGaussQNetwork`, got Horde"),
        (lambda: agents.sac(Clock(action_space=Box(-1.0, 1.0, (2,))), "mlp", critic_head=states()), TypeError,
         "`ContinuousQNetwork`, got Horde"),
        (lambda: agents.sac(Clock(), "mlp", critic_head=gvf(heads.DiscreteQNetwork(3))), TypeError, "got GVF"),
        (lambda: agents.ppo(Clock(), "mlp", head=states()), TypeError, "`actor` must have a policy head, got Horde"),
        (lambda: agents.ppo(Clock(), "mlp", head=gvf(heads.VNetwork())), TypeError, "have a policy head, got GVF"),
        (lambda: ppo(Clock(), gvf(heads.VNetwork())), TypeError, "`critic` must have a head .*, got GVF; wrap it in "
         "Horde, beside a main head such as VNetwork"),
        (lambda: agents.dqn(Clock(), "mlp", head=gvf(heads.DiscreteQNetwork(3))), TypeError, "`q_network` must have a "
         "head .*, got GVF; wrap it in Horde"),
        (lambda: ppo(Clock(), actions()), TypeError, "one value per step, got Horde"),
        (lambda: agents.pqn(Clock(), "mlp", head=states()), TypeError, "one value per action, got Horde"),
        (lambda: agents.pqn(Clock(), "mlp", head=actions(kind=heads.C51QNetwork)), TypeError, "got C51QNetwork"),
        (lambda: agents.dqn(Clock(), "mlp", head=heads.Horde(heads.DiscreteQNetwork(3), {"v": gvf(heads.VNetwork())})),
         TypeError, "demon `v` of `q_network` must have a head that values what the main head does, DiscreteQNetwork, "
         "got VNetwork"),
        (lambda: ppo(Clock(), states(cumulant=column)), ValueError, r"`cumulant` of demon `twin` must give one number "
         r"per step, \[batch, time\] = \[6, 1\], got \[6, 1, 1\]"),
        (lambda: agents.dqn(Clock(), "mlp", head=actions(cumulant=column)), ValueError, r"got \[2, 1, 1\]"),
    ],
)  # fmt: skip
def test_whoever_does_not_take_it_says_so(build, error, message):
    with pytest.raises(error, match=message):
        build()


def fitting(name):
    """A horde of the kind that an algorithm would take, if it took one."""
    return actions() if name in {"DQN", "R2D2", "PQN", "SAC, discrete"} else states()


POLICY_HEADS = {"Beta", "Categorical", "Gaussian", "Hybrid", "MultiCategorical", "SquashedGaussian"}
HEADS = {
    "VNetwork": lambda name: heads.VNetwork(),
    "HLGaussVNetwork": lambda name: heads.HLGaussVNetwork(11),
    "DiscreteQNetwork": lambda name: heads.DiscreteQNetwork(3),
    "BranchingQNetwork": lambda name: heads.BranchingQNetwork((2, 3)),
    "C51QNetwork": lambda name: heads.C51QNetwork(3),
    "HLGaussQNetwork": lambda name: heads.HLGaussQNetwork(3),
    "ContinuousQNetwork": lambda name: heads.ContinuousQNetwork((9,)),
    "TwinContinuousQNetwork": lambda name: heads.TwinContinuousQNetwork((9,)),
    "Horde": fitting,
    "GVF": lambda name: gvf(fitting(name).head),
}
CONTINUOUS = Clock(action_space=Box(-1.0, 1.0, (2,)))


def clock_for(head):
    """A clock whose actions a head for all action values fits."""
    several = isinstance(head, heads.BranchingQNetwork)
    return Clock(action_space=MultiDiscrete((2, 3))) if several else Clock()


TAKERS = {
    "PPO": lambda head: ppo(Clock(), head),
    "MAPPO": lambda head: ppo(Copies(Clock(), 2), head, cls=MAPPO),
    "GradientPPO": lambda head: ppo(Clock(), head, cls=GradientPPO),
    "StreamAC": stream_ac,
    "DQN": lambda head: agents.dqn(clock_for(head), "mlp", head=head),
    "R2D2": lambda head: agents.r2d2(clock_for(head), "mlp", head=head),
    "PQN": lambda head: agents.pqn(clock_for(head), "mlp", head=head),
    "SAC, discrete": lambda head: agents.sac(Clock(), "mlp", critic_head=head),
    "SAC, continuous": lambda head: agents.sac(CONTINUOUS, "mlp", critic_head=head),
}


def published():
    """The table of the documentation: whether an algorithm takes a head."""
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    _, rows = page.split("### Value heads by algorithm\n\n")
    top, _, *rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.split("\n\n")[0].splitlines()]
    table = {}
    for head, *cells in rows:
        for names, cell in zip(top[1:], cells, strict=True):
            for name in [names] if names.startswith("SAC") else names.split(", "):
                table[name, head.strip("`")] = {"yes": True, "no": False}[cell]
    return table


def test_the_table_of_heads_is_complete():
    assert published().keys() == {(name, head) for name in TAKERS for head in HEADS}
    modules = {name for name in heads.__all__ if inspect.isclass(getattr(heads, name))}
    modules = {name for name in modules if issubclass(getattr(heads, name), nn.Module)}
    assert HEADS.keys() == modules - POLICY_HEADS - {"Alpha"}


@pytest.mark.parametrize("name", TAKERS)
def test_the_table_of_heads_is_true(name):
    verdicts = {pair: verdict for pair, verdict in published().items() if pair[0] == name}
    for (_, head), taken in verdicts.items():
        if taken:
            TAKERS[name](HEADS[head](name))
            continue
        with pytest.raises(TypeError, match=rf"must have a .* got {head}|head `{head}` needs a"):
            TAKERS[name](HEADS[head](name))

"""Calls that published pages and users' scripts make: their names, keywords and order stay."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

from memorax.core.types import Timestep
from memorax.networks import CNN, MLP, RNN, FeatureExtractor, Network, SequenceModelWrapper, heads
from memorax.networks.layers import Flatten

BATCH, TIME, WIDTH = 2, 3, 5


@pytest.fixture(scope="module")
def timestep():
    return Timestep(
        observation=jnp.ones((BATCH, TIME, WIDTH)),
        action=jax.nn.one_hot(jnp.zeros((BATCH, TIME), jnp.int32), 4),
        reward=jnp.ones((BATCH, TIME)),
        done=jnp.zeros((BATCH, TIME), bool).at[:, 0].set(True),
    )


def torsos():
    return {
        "linen-gru": lambda: RNN(cell=nn.GRUCell(features=64)),
        "linen-lstm": lambda: RNN(cell=nn.LSTMCell(features=64)),
        "wrapped-mlp": lambda: SequenceModelWrapper(MLP(features=(64,))),
        "wrapped-nnx-lstm": lambda: SequenceModelWrapper(RNN(nnx.LSTMCell(64, 64, rngs=nnx.Rngs(0)))),
        "wrapped-nnx-gru": lambda: SequenceModelWrapper(RNN(nnx.GRUCell(64, 64, rngs=nnx.Rngs(0)))),
    }


def policy_heads():
    return {
        "categorical": lambda: heads.Categorical(action_dim=4),
        "gaussian": lambda: heads.Gaussian(action_dim=2),
        "squashed": lambda: heads.SquashedGaussian(action_dim=2),
    }


def actor_and_critic():
    actor = Network(
        feature_extractor=FeatureExtractor(observation_extractor=MLP(features=(64,))),
        torso=SequenceModelWrapper(RNN(nnx.LSTMCell(64, 64, rngs=nnx.Rngs(0)))),
        head=heads.Categorical(action_dim=4),
    )
    critic = Network(
        feature_extractor=FeatureExtractor(observation_extractor=MLP(features=(64,))),
        torso=SequenceModelWrapper(RNN(nnx.LSTMCell(64, 64, rngs=nnx.Rngs(1)))),
        head=heads.VNetwork(),
    )
    return actor, critic


def shared_actor_and_critic():
    shared_feature_extractor = FeatureExtractor(observation_extractor=MLP(features=(64,)))
    shared_torso = SequenceModelWrapper(RNN(nnx.LSTMCell(64, 64, rngs=nnx.Rngs(0))))
    actor = Network(shared_feature_extractor, shared_torso, heads.Categorical(action_dim=4))
    critic = Network(shared_feature_extractor, shared_torso, heads.VNetwork())
    return actor, critic


def flat_actor_and_critic():
    actor = Network(
        feature_extractor=FeatureExtractor(observation_extractor=Flatten()),
        torso=RNN(cell=nn.GRUCell(features=64)),
        head=heads.Categorical(action_dim=4),
    )
    critic = Network(
        feature_extractor=FeatureExtractor(observation_extractor=Flatten()),
        torso=RNN(cell=nn.GRUCell(features=64)),
        head=heads.VNetwork(),
    )
    return actor, critic


def features_of(extractor, timestep):
    return jax.eval_shape(extractor.init_with_output, jax.random.key(0), timestep)[0].shape


def test_feature_extractor_for_vectors(timestep):
    extractor = FeatureExtractor(
        observation_extractor=MLP(features=(64, 64)),
        action_extractor=None,
        reward_extractor=None,
        done_extractor=None,
    )
    assert features_of(extractor, timestep) == (BATCH, TIME, 64)


def test_feature_extractor_for_images(timestep):
    extractor = FeatureExtractor(
        observation_extractor=CNN(features=(32, 64, 64), kernel_sizes=(8, 4, 3), strides=(4, 2, 1))
    )
    images = timestep.replace(observation=jnp.ones((BATCH, TIME, 64, 68, 3)))
    assert features_of(extractor, images)[:2] == (BATCH, TIME)


def test_feature_extractor_with_every_input(timestep):
    extractor = FeatureExtractor(
        observation_extractor=MLP(features=(64,)),
        action_extractor=MLP(features=(32,)),
        reward_extractor=MLP(features=(16,)),
        done_extractor=MLP(features=(16,)),
    )
    assert features_of(extractor, timestep) == (BATCH, TIME, 64 + 32 + 16 + 16)


@pytest.mark.parametrize("build", torsos().values(), ids=torsos())
def test_torsos(build, timestep):
    network = Network(FeatureExtractor(observation_extractor=MLP(features=(64,))), build(), heads.VNetwork())
    carry = network.initialize_carry(jax.random.key(0), (BATCH, 64))
    _, value = jax.eval_shape(network.init_with_output, jax.random.key(0), timestep, carry)[0]
    assert value.shape == (BATCH, TIME)


@pytest.mark.parametrize("build", policy_heads().values(), ids=policy_heads())
def test_policy_heads(build):
    def act(key):
        distribution, _ = build().init_with_output(key, jnp.ones((BATCH, TIME, 64)))
        return distribution.sample(key)

    assert jax.eval_shape(act, jax.random.key(0)).shape[:2] == (BATCH, TIME)


def test_q_heads():
    features, action = jnp.ones((BATCH, TIME, 64)), jnp.ones((BATCH, TIME, 7))
    q_values = jax.eval_shape(heads.DiscreteQNetwork(action_dim=4).init_with_output, jax.random.key(0), features)[0]
    assert q_values.shape == (BATCH, TIME, 4)
    head = heads.ContinuousQNetwork()
    q_value = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), features, action=action))[0]
    assert q_value.shape == (BATCH, TIME)


def published_config(**fields):
    from memorax.algorithms import PPOConfig

    sizes = {"num_envs": 8, "num_steps": 128, "gae_lambda": 0.95, "num_minibatches": 4, "update_epochs": 4}
    weights = {"normalize_advantage": True, "clip_coefficient": 0.2, "clip_value_loss": True}
    return PPOConfig(**{**sizes, **weights, "entropy_coefficient": 0.01, "burn_in_length": 0, **fields})


def test_ppo_config():
    from memorax.algorithms import PPOConfig

    assert PPOConfig(num_envs=8, gamma=0.99).gamma == 0.99
    assert PPOConfig(burn_in_length=20).burn_in_length == 20
    assert published_config().clip_coefficient == 0.2


@pytest.mark.parametrize("networks", [actor_and_critic, flat_actor_and_critic], ids=lambda networks: networks.__name__)
def test_ppo_is_built(networks):
    from memorax.algorithms import PPO
    from memorax.environments import make

    env, env_params = make("memory::RepeatPreviousEasy")
    actor, critic = networks()
    optimizer = optax.adam(3e-4)
    agent = PPO(published_config(), env, env_params, actor, critic, optimizer, optimizer)
    assert jax.eval_shape(agent.init, jax.random.key(0)).step.low.dtype == jnp.uint32


def test_the_training_loop():
    from memorax import lox
    from memorax.algorithms import PPO, PPOState
    from memorax.environments import make

    env, env_params = make("memory::RepeatPreviousEasy")
    actor, critic = flat_actor_and_critic()
    config = published_config(num_envs=4, num_steps=6, num_minibatches=2, update_epochs=1)
    agent = PPO(config, env, env_params, actor, critic, optax.adam(3e-4), optax.adam(3e-4))

    key = jax.random.key(0)
    key, init_key = jax.random.split(key)
    state = agent.init(init_key)
    assert isinstance(state, PPOState)

    key, warmup_key = jax.random.split(key)
    state = agent.warmup(warmup_key, state, num_steps=10_000)

    train = lox.spool(agent.train)
    key, train_key = jax.random.split(key)
    state, logs = train(train_key, state, num_steps=48)
    assert int(state.step) == 48
    assert "losses/actor" in logs

    evaluate = lox.spool(agent.evaluate)
    key, eval_key = jax.random.split(key)
    state, eval_logs = evaluate(eval_key, state, num_steps=5)
    assert eval_logs["returned_episode_returns"].shape == (5, 4)

    state, transitions = agent.rollout(key, state, num_steps=3)
    for field in ("observation", "action", "reward", "done"):
        assert getattr(transitions, field).shape[:2] == (4, 3)
    assert "returned_episode_returns" in transitions.info

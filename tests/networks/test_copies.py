"""Networks that are deep-copied and pickled."""

import copy
import pickle

import flax.linen as nn
import pytest

from memorax.networks import MLP, FeatureExtractor, Network, heads, streaming_network
from memorax.networks.sequence_models import MODELS
from memorax.networks.sequence_models.rnn import find_kernel

HEADS = {
    "Categorical": lambda: heads.Categorical(action_dim=3),
    "SquashedGaussian": lambda: heads.SquashedGaussian(action_dim=3, hidden=(4,)),
    "C51QNetwork": lambda: heads.C51QNetwork(action_dim=3),
    "TwinContinuousQNetwork": heads.TwinContinuousQNetwork,
    "GVF": lambda: heads.GVF(heads.VNetwork(), 0.9, reward),
}


def reward(transition):
    return transition.reward


def network(torso, head=None):
    return Network(FeatureExtractor(MLP((8,), activation=nn.silu)), torso, head or heads.VNetwork())


@pytest.mark.parametrize("cell", [nn.GRUCell, nn.LSTMCell, nn.OptimizedLSTMCell, nn.SimpleCell])
def test_copied_cell_keeps_its_kernel(cell):
    assert find_kernel(copy.deepcopy(cell(features=8))) is not None
    assert find_kernel(copy.deepcopy(cell(features=8, activation_fn=nn.relu))) is None


@pytest.mark.parametrize("name", MODELS.names())
def test_network_of_every_model_can_be_pickled(name):
    original = network(MODELS.get(name)(16))
    copied = pickle.loads(pickle.dumps(original))
    assert repr(copied) == repr(original)


@pytest.mark.parametrize("name", HEADS)
def test_network_of_every_kind_of_head_can_be_pickled(name):
    original = network(MODELS.get("gru")(8), HEADS[name]())
    assert repr(pickle.loads(pickle.dumps(original))) == repr(original)


def test_streaming_network_can_be_pickled():
    original = streaming_network(heads.VNetwork(), MODELS.get("lru")(8))
    assert repr(pickle.loads(pickle.dumps(original))) == repr(original)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_shared_torso_stays_shared(copied):
    actor = network(MODELS.get("gru")(8))
    critic = Network(actor.feature_extractor, actor.torso, heads.VNetwork())
    actor, critic = copied((actor, critic))
    assert actor.torso is critic.torso
    assert actor.feature_extractor is critic.feature_extractor

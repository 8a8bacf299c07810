"""What an agent computes: feature extractor, torso, head."""

from memorax.networks import blocks, heads, layers, sequence_models
from memorax.networks.cnn import CNN
from memorax.networks.feature_extractor import FeatureExtractor
from memorax.networks.mlp import MLP
from memorax.networks.network import Network
from memorax.networks.sequence_models import (
    RNN,
    RTRL,
    LRUCell,
    LRUConfig,
    Memoroid,
    MinGRUCell,
    MinGRUConfig,
    MinLSTMCell,
    MinLSTMConfig,
    RGLRUCell,
    RGLRUConfig,
    RL2Wrapper,
    RTUCell,
    RTUConfig,
    S5Cell,
    S5Config,
    SequenceModelWrapper,
)

__all__ = [
    "CNN",
    "MLP",
    "RNN",
    "RTRL",
    "FeatureExtractor",
    "LRUCell",
    "LRUConfig",
    "Memoroid",
    "MinGRUCell",
    "MinGRUConfig",
    "MinLSTMCell",
    "MinLSTMConfig",
    "Network",
    "RGLRUCell",
    "RGLRUConfig",
    "RL2Wrapper",
    "RTUCell",
    "RTUConfig",
    "S5Cell",
    "S5Config",
    "SequenceModelWrapper",
    "blocks",
    "heads",
    "layers",
    "sequence_models",
]

"""Memory models: sequence in, sequence out, with resets inside. `MODELS` knows them by name."""

from memorax.networks.sequence_models.base import SequenceModel, is_sequence_model
from memorax.networks.sequence_models.entry import MODELS, Model
from memorax.networks.sequence_models.memoroid import Memoroid
from memorax.networks.sequence_models.rl2 import RL2Wrapper
from memorax.networks.sequence_models.rnn import GRU, LSTM, RNN, SimpleRNN
from memorax.networks.sequence_models.rtrl import RTRL
from memorax.networks.sequence_models.wrapper import SequenceModelWrapper, memoryless_mlp

MODELS.register("gru", Model(GRU))
MODELS.register("lstm", Model(LSTM))
MODELS.register("simple", Model(SimpleRNN))
MODELS.register("mlp", Model(memoryless_mlp, memoryless=True))

__all__ = [
    "GRU",
    "LSTM",
    "MODELS",
    "RNN",
    "RTRL",
    "Memoroid",
    "Model",
    "RL2Wrapper",
    "SequenceModel",
    "SequenceModelWrapper",
    "SimpleRNN",
    "is_sequence_model",
    "memoryless_mlp",
]

"""Memory models: sequence in, sequence out, with resets inside. `MODELS` knows them by name."""

from memorax.networks.sequence_models.base import SequenceModel, is_sequence_model
from memorax.networks.sequence_models.deltaproduct import DeltaProduct, DeltaProductCell, DeltaProductConfig
from memorax.networks.sequence_models.entry import MODELS, Model
from memorax.networks.sequence_models.ffm import FFM, FFMCell, FFMConfig
from memorax.networks.sequence_models.gated_deltanet import GatedDeltaNet, GatedDeltaNetCell, GatedDeltaNetConfig
from memorax.networks.sequence_models.linear_attention import (
    LinearAttention,
    LinearAttentionCell,
    LinearAttentionConfig,
)
from memorax.networks.sequence_models.lru import LRU, LRUCell, LRUConfig
from memorax.networks.sequence_models.mamba import Mamba, MambaCell, MambaConfig
from memorax.networks.sequence_models.mamba2 import Mamba2, Mamba2Cell, Mamba2Config
from memorax.networks.sequence_models.mamba3 import Mamba3, Mamba3Cell, Mamba3Config
from memorax.networks.sequence_models.memoroid import Memoroid
from memorax.networks.sequence_models.mingru import MinGRU, MinGRUCell, MinGRUConfig
from memorax.networks.sequence_models.minlstm import MinLSTM, MinLSTMCell, MinLSTMConfig
from memorax.networks.sequence_models.mlstm import mLSTM, mLSTMCell, mLSTMConfig
from memorax.networks.sequence_models.retnet import RetNet, RetNetCell, RetNetConfig
from memorax.networks.sequence_models.rg_lru import RGLRU, RGLRUCell, RGLRUConfig
from memorax.networks.sequence_models.rnn import GRU, LSTM, RNN, SimpleRNN
from memorax.networks.sequence_models.rtu import RTU, RTUCell, RTUConfig
from memorax.networks.sequence_models.s5 import S5, S5Cell, S5Config
from memorax.networks.sequence_models.self_attention import Attention, SelfAttention, SelfAttentionConfig
from memorax.networks.sequence_models.shm import SHM, SHMCell, SHMConfig
from memorax.networks.sequence_models.slstm import sLSTM, sLSTMCell, sLSTMConfig
from memorax.networks.sequence_models.wrapper import SequenceModelWrapper, memoryless_mlp

MODELS.register("gru", Model(GRU))
MODELS.register("lstm", Model(LSTM))
MODELS.register("simple", Model(SimpleRNN))
MODELS.register("mlp", Model(memoryless_mlp, memoryless=True))
MODELS.register("lru", Model(LRU, example={"state_dim": 7}))
MODELS.register("s5", Model(S5, example={"state_dim": 12, "blocks": 2}))
MODELS.register("mingru", Model(MinGRU))
MODELS.register("minlstm", Model(MinLSTM))
MODELS.register("rg_lru", Model(RGLRU, example={"state_dim": 7}))
MODELS.register("rtu", Model(RTU, example={"state_dim": 7}))
MODELS.register("attention", Model(Attention, reach=3, example={"num_heads": 2, "head_dim": 4, "context_length": 3}))
MODELS.register("linear_attention", Model(LinearAttention, example={"num_heads": 3, "head_dim": 4}))
MODELS.register("retnet", Model(RetNet, example={"num_heads": 3, "head_dim": 4, "value_dim": 7}))
MODELS.register("mamba2", Model(Mamba2, example={"num_heads": 4, "head_dim": 3, "state_dim": 7, "num_groups": 2}))
MODELS.register("mlstm", Model(mLSTM, tolerance=1e-3, example={"inner_dim": 12, "num_heads": 3, "qkv_block_size": 2}))
MODELS.register("mamba", Model(Mamba, example={"state_dim": 3, "step_rank": 2}))
MODELS.register("ffm", Model(FFM, example={"memory_size": 3, "context_size": 4}))
MODELS.register("shm", Model(SHM, example={"memory_dim": 17, "num_thetas": 5}))
MODELS.register("gated_deltanet", Model(GatedDeltaNet, example={"num_heads": 3, "head_dim": 4, "value_dim": 7}))
MODELS.register("deltaproduct", Model(DeltaProduct, example={"num_heads": 3, "head_dim": 4, "value_dim": 7}))
MODELS.register("mamba3", Model(Mamba3, example={"num_heads": 4, "head_dim": 3, "state_dim": 8, "num_groups": 2}))
MODELS.register("slstm", Model(sLSTM, example={"num_heads": 3, "inner_dim": 12}))

__all__ = [
    "FFM",
    "GRU",
    "LRU",
    "LSTM",
    "MODELS",
    "RGLRU",
    "RNN",
    "RTU",
    "S5",
    "SHM",
    "Attention",
    "DeltaProduct",
    "DeltaProductCell",
    "DeltaProductConfig",
    "FFMCell",
    "FFMConfig",
    "GatedDeltaNet",
    "GatedDeltaNetCell",
    "GatedDeltaNetConfig",
    "LRUCell",
    "LRUConfig",
    "LinearAttention",
    "LinearAttentionCell",
    "LinearAttentionConfig",
    "Mamba",
    "Mamba2",
    "Mamba2Cell",
    "Mamba2Config",
    "Mamba3",
    "Mamba3Cell",
    "Mamba3Config",
    "MambaCell",
    "MambaConfig",
    "Memoroid",
    "MinGRU",
    "MinGRUCell",
    "MinGRUConfig",
    "MinLSTM",
    "MinLSTMCell",
    "MinLSTMConfig",
    "Model",
    "RGLRUCell",
    "RGLRUConfig",
    "RTUCell",
    "RTUConfig",
    "RetNet",
    "RetNetCell",
    "RetNetConfig",
    "S5Cell",
    "S5Config",
    "SHMCell",
    "SHMConfig",
    "SelfAttention",
    "SelfAttentionConfig",
    "SequenceModel",
    "SequenceModelWrapper",
    "SimpleRNN",
    "is_sequence_model",
    "mLSTM",
    "mLSTMCell",
    "mLSTMConfig",
    "memoryless_mlp",
    "sLSTM",
    "sLSTMCell",
    "sLSTMConfig",
]

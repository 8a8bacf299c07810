"""Memory models: modules that map sequences to sequences, with resets inside. `MODELS` has them by name."""

from memorax.networks.sequence_models.agalite import AGaLiTe, AGaLiTeCell, AGaLiTeConfig
from memorax.networks.sequence_models.bmru import BMRU, BMRUCell, BMRUConfig
from memorax.networks.sequence_models.deltaproduct import DeltaProduct, DeltaProductCell, DeltaProductConfig
from memorax.networks.sequence_models.ffm import FFM, FFMCell, FFMConfig
from memorax.networks.sequence_models.gated_deltanet import GatedDeltaNet, GatedDeltaNetCell, GatedDeltaNetConfig
from memorax.networks.sequence_models.gated_deltanet2 import (
    GatedDeltaNet2,
    GatedDeltaNet2Cell,
    GatedDeltaNet2Config,
)
from memorax.networks.sequence_models.gla import GLA, GLACell, GLAConfig
from memorax.networks.sequence_models.gru import GRU
from memorax.networks.sequence_models.hgrn2 import HGRN2, HGRN2Cell, HGRN2Config
from memorax.networks.sequence_models.indrnn import IndRNN, IndRNNCell, IndRNNConfig
from memorax.networks.sequence_models.kda import KDA, KDACell, KDAConfig
from memorax.networks.sequence_models.linear_attention import (
    LinearAttention,
    LinearAttentionCell,
    LinearAttentionConfig,
)
from memorax.networks.sequence_models.lru import LRU, LRUCell, LRUConfig
from memorax.networks.sequence_models.lstm import LSTM
from memorax.networks.sequence_models.mamba import Mamba, MambaCell, MambaConfig
from memorax.networks.sequence_models.mamba2 import Mamba2, Mamba2Cell, Mamba2Config
from memorax.networks.sequence_models.mamba3 import Mamba3, Mamba3Cell, Mamba3Config
from memorax.networks.sequence_models.mgu import MGU
from memorax.networks.sequence_models.mingru import MinGRU, MinGRUCell, MinGRUConfig
from memorax.networks.sequence_models.minlstm import MinLSTM, MinLSTMCell, MinLSTMConfig
from memorax.networks.sequence_models.mlp import memoryless_mlp
from memorax.networks.sequence_models.mlstm import mLSTM, mLSTMCell, mLSTMConfig
from memorax.networks.sequence_models.parts.base import SequenceModel, is_sequence_model
from memorax.networks.sequence_models.parts.entry import MODELS, ModelEntry
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.wrapper import SequenceModelWrapper
from memorax.networks.sequence_models.retnet import RetNet, RetNetCell, RetNetConfig
from memorax.networks.sequence_models.rg_lru import RGLRU, RGLRUCell, RGLRUConfig
from memorax.networks.sequence_models.rnn import RNN
from memorax.networks.sequence_models.rtu import RTU, RTUCell, RTUConfig
from memorax.networks.sequence_models.rwkv7 import RWKV7, RWKV7Cell, RWKV7Config
from memorax.networks.sequence_models.s5 import S5, S5Cell, S5Config
from memorax.networks.sequence_models.self_attention import Attention, SelfAttention, SelfAttentionConfig
from memorax.networks.sequence_models.shm import SHM, SHMCell, SHMConfig
from memorax.networks.sequence_models.simple import SimpleRNN
from memorax.networks.sequence_models.slstm import sLSTM, sLSTMCell, sLSTMConfig
from memorax.networks.sequence_models.ttt_linear import TTTLinear, TTTLinearCell, TTTLinearConfig

MODELS.register("gru", ModelEntry(GRU))
MODELS.register("lstm", ModelEntry(LSTM))
MODELS.register("simple", ModelEntry(SimpleRNN))
MODELS.register("mlp", ModelEntry(memoryless_mlp, memoryless=True))
MODELS.register("lru", ModelEntry(LRU, example={"state_dim": 7}))
MODELS.register("s5", ModelEntry(S5, example={"state_dim": 12, "blocks": 2}))
MODELS.register("mingru", ModelEntry(MinGRU))
MODELS.register("minlstm", ModelEntry(MinLSTM))
MODELS.register("rg_lru", ModelEntry(RGLRU, example={"state_dim": 7}))
MODELS.register("rtu", ModelEntry(RTU, example={"state_dim": 7}))
MODELS.register(
    "attention", ModelEntry(Attention, receptive_field=3, example={"num_heads": 2, "head_dim": 4, "context_length": 3})
)
MODELS.register("linear_attention", ModelEntry(LinearAttention, example={"num_heads": 3, "head_dim": 4}))
MODELS.register("retnet", ModelEntry(RetNet, example={"num_heads": 3, "head_dim": 4, "value_dim": 7}))
MODELS.register("mamba2", ModelEntry(Mamba2, example={"num_heads": 4, "head_dim": 3, "state_dim": 7, "num_groups": 2}))
MODELS.register(
    "mlstm", ModelEntry(mLSTM, tolerance=1e-3, example={"inner_dim": 12, "num_heads": 3, "qkv_block_size": 2})
)
MODELS.register("mamba", ModelEntry(Mamba, example={"state_dim": 3, "step_rank": 2}))
MODELS.register("ffm", ModelEntry(FFM, example={"memory_size": 3, "context_size": 4}))
MODELS.register("shm", ModelEntry(SHM, example={"memory_dim": 17, "num_thetas": 5}))
MODELS.register("gated_deltanet", ModelEntry(GatedDeltaNet, example={"num_heads": 3, "head_dim": 4, "value_dim": 7}))
MODELS.register("deltaproduct", ModelEntry(DeltaProduct, example={"num_heads": 3, "head_dim": 4, "value_dim": 7}))
MODELS.register("mamba3", ModelEntry(Mamba3, example={"num_heads": 4, "head_dim": 3, "state_dim": 8, "num_groups": 2}))
_MATRIX = {"num_heads": 3, "head_dim": 4, "value_dim": 7}
MODELS.register("gla", ModelEntry(GLA, example=_MATRIX | {"gate_rank": 2}))
MODELS.register("hgrn2", ModelEntry(HGRN2, example=_MATRIX | {"lower_bound": 0.1}))
MODELS.register("kda", ModelEntry(KDA, example=_MATRIX | {"gate_rank": 2}))
MODELS.register("gated_deltanet2", ModelEntry(GatedDeltaNet2, example=_MATRIX | {"gate_rank": 2}))
MODELS.register("rwkv7", ModelEntry(RWKV7, example={"num_heads": 3, "head_dim": 4, "gate_rank": 2}))
MODELS.register("agalite", ModelEntry(AGaLiTe, example={"num_heads": 3, "head_dim": 4, "eta": 2, "rank": 3}))
# The rectifier of the default would hide steps behind units that are off.
MODELS.register("indrnn", ModelEntry(IndRNN, example={"activation": "tanh"}))
MODELS.register("mgu", ModelEntry(MGU))
MODELS.register("bmru", ModelEntry(BMRU))
MODELS.register("ttt_linear", ModelEntry(TTTLinear, example={"num_heads": 3, "head_dim": 4, "mini_batch_size": 4}))
MODELS.register("slstm", ModelEntry(sLSTM, example={"num_heads": 3, "inner_dim": 12}))

__all__ = [
    "BMRU",
    "FFM",
    "GLA",
    "GRU",
    "HGRN2",
    "KDA",
    "LRU",
    "LSTM",
    "MGU",
    "MODELS",
    "RGLRU",
    "RNN",
    "RTU",
    "RWKV7",
    "S5",
    "SHM",
    "AGaLiTe",
    "AGaLiTeCell",
    "AGaLiTeConfig",
    "Attention",
    "BMRUCell",
    "BMRUConfig",
    "DeltaProduct",
    "DeltaProductCell",
    "DeltaProductConfig",
    "FFMCell",
    "FFMConfig",
    "GLACell",
    "GLAConfig",
    "GatedDeltaNet",
    "GatedDeltaNet2",
    "GatedDeltaNet2Cell",
    "GatedDeltaNet2Config",
    "GatedDeltaNetCell",
    "GatedDeltaNetConfig",
    "HGRN2Cell",
    "HGRN2Config",
    "IndRNN",
    "IndRNNCell",
    "IndRNNConfig",
    "KDACell",
    "KDAConfig",
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
    "ModelEntry",
    "RGLRUCell",
    "RGLRUConfig",
    "RTUCell",
    "RTUConfig",
    "RWKV7Cell",
    "RWKV7Config",
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
    "TTTLinear",
    "TTTLinearCell",
    "TTTLinearConfig",
    "is_sequence_model",
    "mLSTM",
    "mLSTMCell",
    "mLSTMConfig",
    "memoryless_mlp",
    "sLSTM",
    "sLSTMCell",
    "sLSTMConfig",
]

"""Networks as users and published pages write them; `make lint` checks the types."""

from typing import assert_type

import flax.linen as nn
import jax.numpy as jnp
from flax import nnx

from memorax.core.types import Timestep
from memorax.networks import (
    CNN,
    MLP,
    RNN,
    RTRL,
    AGaLiTeCell,
    BMRUCell,
    DeltaProductCell,
    FeatureExtractor,
    FFMCell,
    FFMConfig,
    GatedDeltaNet2Cell,
    GatedDeltaNetCell,
    GLACell,
    HGRN2Cell,
    IndRNNCell,
    KDACell,
    LinearAttentionCell,
    LinearAttentionConfig,
    LRUCell,
    LRUConfig,
    Mamba2Cell,
    Mamba2Config,
    Mamba3Cell,
    MambaCell,
    MambaConfig,
    Memoroid,
    MinGRUCell,
    MinGRUConfig,
    MinLSTMCell,
    Network,
    RetNetCell,
    RGLRUCell,
    RL2Wrapper,
    RTUCell,
    RTUConfig,
    S5Cell,
    S5Config,
    SelfAttention,
    SelfAttentionConfig,
    SequenceModelWrapper,
    SHMCell,
    SHMConfig,
    TTTLinearCell,
    heads,
    mLSTMCell,
    mLSTMConfig,
    sLSTMCell,
    sLSTMConfig,
)
from memorax.networks.architectures import gtrxl, xlstm
from memorax.networks.blocks import FFN, GLU, GatedResidual, MoE, PostNorm, PreNorm, Residual, SegmentRecurrence, Stack
from memorax.networks.sequence_models import GRU, LRU, LSTM, MODELS, S5, Attention, Mamba
from memorax.testing import check_sequence_model

# The three forms of a cell's constructor.
assert_type(LRUCell(features=64), LRUCell)
assert_type(LRUCell(LRUConfig(features=64)), LRUCell)
assert_type(LRUCell(config=LRUConfig(features=64, hidden_dim=64)), LRUCell)
assert_type(LRUCell(LRUConfig(), name="memory").config, LRUConfig)
LRUCell()
LRUCell(features=64, state_dim=32, r_min=0.9, r_max=0.999, dtype=jnp.bfloat16)

# Every cell by keywords.
cells = [
    AGaLiTeCell(features=64, eta=4, rank=2),
    BMRUCell(features=64, threshold=2.0),
    DeltaProductCell(features=64, num_householder=3),
    FFMCell(features=64, memory_size=32, context_size=4),
    GatedDeltaNet2Cell(features=64, gate_rank=8),
    GatedDeltaNetCell(features=64, negative_eigenvalues=True),
    GLACell(features=64, gate_normalizer=8.0),
    HGRN2Cell(features=64, lower_bound=0.5),
    KDACell(features=64, value_dim=32),
    LinearAttentionCell(features=64, num_heads=4, head_dim=16),
    LRUCell(features=64, hidden_dim=64),
    Mamba2Cell(features=64, num_heads=4, head_dim=16),
    Mamba3Cell(features=64, rope_fraction=1.0),
    MambaCell(features=64),
    MinGRUCell(features=64, log_space=True),
    MinLSTMCell(features=64),
    RGLRUCell(features=64, state_dim=32),
    RetNetCell(features=64, value_dim=32),
    S5Cell(features=64, hidden_dim=64),
    TTTLinearCell(features=64, mini_batch_size=8),
    mLSTMCell(features=64, inner_dim=64, num_heads=4),
]
torsos = [Memoroid(cell=cell) for cell in cells]
steps = [
    IndRNNCell(features=64, bound=2.0),
    RTUCell(features=64, state_dim=32),
    SHMCell(features=32, memory_dim=64),
    sLSTMCell(features=64, hidden_dim=64),
]
SelfAttention(num_heads=4)

# As published pages write them.
RNN(cell=nn.LSTMCell(features=64))
RNN(cell=sLSTMCell(config=sLSTMConfig(features=64, hidden_dim=64)))
RNN(cell=SHMCell(config=SHMConfig(features=64, output_features=32)))
RNN(cell=RTUCell(config=RTUConfig(features=64, hidden_dim=64)))
Memoroid(cell=S5Cell(config=S5Config(features=64, hidden_dim=64)))
Memoroid(cell=MambaCell(config=MambaConfig(features=64)))
Memoroid(cell=Mamba2Cell(config=Mamba2Config(features=64, num_heads=4, head_dim=16)))
Memoroid(cell=MinGRUCell(config=MinGRUConfig(features=64)))
Memoroid(cell=mLSTMCell(config=mLSTMConfig(features=64, hidden_dim=64, num_heads=4)))
Memoroid(cell=FFMCell(config=FFMConfig(features=64, memory_size=32, context_size=64)))
Memoroid(cell=LinearAttentionCell(config=LinearAttentionConfig(features=64, num_heads=4, head_dim=16)))
SelfAttention(config=SelfAttentionConfig(features=64, num_heads=4, context_length=128))
SequenceModelWrapper(RNN(nnx.LSTMCell(64, 64, rngs=nnx.Rngs(0))))
SequenceModelWrapper(Mamba(hidden_dim=64))
SequenceModelWrapper(S5(hidden_dim=64, state_dim=64))
SequenceModelWrapper(SelfAttention(num_heads=4, head_dim=16))
RTRL(model=RNN(cell=nn.GRUCell(features=64)))
RL2Wrapper(model=RNN(cell=nn.GRUCell(features=64)), episodes_per_trial=4)

# Ready-made torsos.
assert_type(GRU(), RNN)
assert_type(LSTM(64), RNN)
assert_type(LRU(64, state_dim=32, r_min=0.9), Memoroid)
assert_type(LRU(hidden_dim=64), Memoroid)
assert_type(Mamba(features=64, expansion=2), Memoroid)
assert_type(Attention(64, num_heads=4, context_length=32), SelfAttention)
MODELS.get("lru")(features=32, state_dim=16)
gtrxl(64, num_layers=2, num_heads=4)
xlstm(64, ratio=(7, 1))

# Networks.
extractor = FeatureExtractor(
    observation_extractor=MLP(features=(64,)),
    action_extractor=MLP(features=(32,)),
    reward_extractor=MLP(features=(16,)),
    done_extractor=MLP(features=(16,)),
)
images = FeatureExtractor(observation_extractor=CNN(features=(32, 64, 64), kernel_sizes=(8, 4, 3), strides=(4, 2, 1)))
torso = SequenceModelWrapper(MLP(features=(64,)))
Network(feature_extractor=extractor, torso=torso, head=heads.Categorical(action_dim=4))
Network(extractor, torso, heads.VNetwork(hidden=(128,), activation=nn.tanh))
Network(images, GRU(), heads.DiscreteQNetwork(action_dim=4, dueling=True, hidden=(64, 64)))
transformer = Stack(
    blocks=[
        PreNorm(Residual(SelfAttention(num_heads=4, head_dim=16))),
        PreNorm(Residual(FFN(hidden_dim=256))),
        PostNorm(GatedResidual(GLU(hidden_dim=256)), norm=nn.RMSNorm),
        Residual(MoE(FFN(hidden_dim=256), num_experts=4)),
        SegmentRecurrence(Attention(64, positional_embedding="relative"), 64),
    ]
)


class Mine(nn.Module):
    """A policy head of a user's own."""

    action_dim: int

    @nn.compact
    def __call__(self, features: jnp.ndarray) -> heads.Distribution:
        return heads.Categorical(self.action_dim)(features)

    @nn.nowrap
    def check_action_space(self, space: object) -> None:
        heads.Categorical(self.action_dim).check_action_space(space)


policy: heads.PolicyHead = Mine(4)
value: heads.ValueHead = heads.VNetwork()
heads.check_policy_head("actor", Mine(4))
check_sequence_model(LRUCell(features=7), properties=["stepwise"])
timestep = Timestep(jnp.zeros((2, 3, 5)), jnp.zeros((2, 3, 4)), jnp.zeros((2, 3)), jnp.zeros((2, 3), bool))

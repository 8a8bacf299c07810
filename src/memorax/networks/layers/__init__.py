"""Layers: causal convolutions, frame stacking, patches, norms and dense layers for heads, flattening."""

from memorax.networks.layers.block_diagonal_dense import BlockDiagonalDense
from memorax.networks.layers.causal_conv import CausalConv1d, ParallelCausalConv1d
from memorax.networks.layers.flatten import Flatten
from memorax.networks.layers.frames import Frames
from memorax.networks.layers.multi_head_layer_norm import MultiHeadLayerNorm
from memorax.networks.layers.patch_embedding import PatchEmbedding

__all__ = [
    "BlockDiagonalDense",
    "CausalConv1d",
    "Flatten",
    "Frames",
    "MultiHeadLayerNorm",
    "ParallelCausalConv1d",
    "PatchEmbedding",
]
